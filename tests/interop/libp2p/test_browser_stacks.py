"""Against the stacks of browsers: curl_cffi (BoringSSL, ngtcp2) and Chromium (WebTransport).

Both are reached as servers only, without client certificates, under REQUIRE: a finished handshake
means X25519MLKEM768, because our engine knows nothing else then.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import shutil
from pathlib import Path

import pytest

from wraith.aio.libp2p import Libp2pHost
from wraith.errors import WraithError
from wraith.testing.foreign_peers import absent
from wraith.testing.http3_server import BODY, http3_host

try:
    from curl_cffi import requests as curl
except ImportError:
    curl = None

pytestmark = [pytest.mark.interop, pytest.mark.asyncio, pytest.mark.timeout(90)]

PAGE = """<!doctype html><title>waiting</title><script>
(async () => {
  try {
    const hash = Uint8Array.from(atob("%(hash)s"), c => c.charCodeAt(0));
    const session = new WebTransport("https://127.0.0.1:%(port)s/echo",
      {serverCertificateHashes: [{algorithm: "sha-256", value: hash}]});
    await session.ready;
    const stream = await session.createBidirectionalStream();
    const writer = stream.writable.getWriter();
    await writer.write(new TextEncoder().encode("echo me"));
    await writer.close();
    const reply = await new Response(stream.readable).text();
    document.title = "reply " + reply;
  } catch (error) { document.title = "failed " + error; }
})();
</script>"""


async def test_curl_gets_over_http3() -> None:
    if curl is None:
        absent("curl_cffi", "the package is not installed (pip install curl_cffi)")
    refusals: list[WraithError] = []
    async with await http3_host() as host:
        host.on_refused = refusals.append
        port = host.listen_addresses[0].value("udp")
        answer = await asyncio.to_thread(
            curl.get,
            f"https://127.0.0.1:{port}/",
            impersonate="chrome",
            http_version="v3only",
            verify=False,
            timeout=20,
        )
        assert answer.status_code == 200 and answer.content == BODY, refusals
        assert host.counters.handshakes == {"X25519MLKEM768": 1}


def short_lived_certificate(host: Libp2pHost) -> bytes:
    """Chromium pins P-256 certificates of at most 14 days by their hash; the endpoint gets one."""
    from wraith.aio.clock import SystemClock
    from wraith.libp2p.certificate import make_certificate
    from wraith.libp2p.tls.codec import SignatureScheme

    certificate = make_certificate(
        host.identity,
        host.rng,
        SystemClock().unix_time(),
        scheme=SignatureScheme.ECDSA_SECP256R1_SHA256,
        validity_s=13 * 86_400,
    )
    host.machine._credentials = (certificate,)
    return hashlib.sha256(certificate.der).digest()


async def test_chromium_webtransport_echo(tmp_path: Path) -> None:
    browser = next(
        (
            found
            for name in ("chromium", "chromium-browser", "google-chrome")
            if (found := shutil.which(name))
        ),
        None,
    )
    if browser is None:
        absent("chromium", "no chromium, chromium-browser or google-chrome in PATH")
    async with await http3_host() as host:
        port = host.listen_addresses[0].value("udp")
        digest = base64.b64encode(short_lived_certificate(host)).decode()
        page = tmp_path / "page.html"
        page.write_text(PAGE % {"hash": digest, "port": port})
        process = await asyncio.create_subprocess_exec(
            str(browser),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=15000",
            "--dump-dom",
            page.as_uri(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        output, _ = await asyncio.wait_for(process.communicate(), 60)
        assert "<title>reply echo me</title>" in output.decode()
        assert host.counters.handshakes["X25519MLKEM768"] >= 1
