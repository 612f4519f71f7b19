"""Against the stacks of browsers: curl_cffi (BoringSSL, ngtcp2) and Chromium (WebTransport).

Both are reached as servers only, without client certificates, under REQUIRE: a finished handshake
means X25519MLKEM768, because our engine knows nothing else then.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from pathlib import Path

import pytest

from wraith.aio.libp2p import Libp2pHost
from wraith.errors import WraithError
from wraith.libp2p.events import QuicSecurity
from wraith.testing.browser import find_browser, run_page
from wraith.testing.foreign_peers import absent
from wraith.testing.http3_server import BODY, http3_host

try:
    from curl_cffi import requests as curl
except ImportError:
    curl = None

pytestmark = [pytest.mark.interop, pytest.mark.asyncio, pytest.mark.timeout(90)]

PAGE = """(async () => {
  const hex = async (data) => Array.from(
    new Uint8Array(await crypto.subtle.digest("SHA-256", data)),
    (byte) => byte.toString(16).padStart(2, "0")).join("");
  try {
    const hash = Uint8Array.from(atob("%(hash)s"), (c) => c.charCodeAt(0));
    const session = new WebTransport("https://127.0.0.1:%(port)s/echo",
      {serverCertificateHashes: [{algorithm: "sha-256", value: hash}]});
    await session.ready;
    const data = new Uint8Array(%(n)s);
    for (let at = 0; at < data.length; at += 65536)
      crypto.getRandomValues(data.subarray(at, at + 65536));
    const stream = await session.createBidirectionalStream();
    const reading = new Response(stream.readable).arrayBuffer();
    const writer = stream.writable.getWriter();
    await writer.write(data);
    await writer.close();
    const reply = await reading;
    await report({n: reply.byteLength, sent: await hex(data), received: await hex(reply)});
  } catch (error) { await report({failed: `${error} ${error.source ?? ""}`}); }
})();"""


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


@pytest.mark.parametrize("n", [7, 1 << 20])
async def test_chromium_webtransport_echo(tmp_path: Path, n: int) -> None:
    browser = find_browser()
    if browser is None:
        absent("chromium", "no chromium, chromium-browser or google-chrome in PATH")
    refusals: list[WraithError] = []
    reached: list[QuicSecurity] = []
    async with await http3_host() as host:
        host.on_refused = refusals.append
        host.on_connection = lambda connection: reached.append(connection.security)
        port = host.listen_addresses[0].value("udp")
        digest = base64.b64encode(short_lived_certificate(host)).decode()
        script = PAGE % {"hash": digest, "port": port, "n": n}
        found = await run_page(browser, script, tmp_path / "profile")
        assert "failed" not in found, (found, refusals)
        assert found["n"] == n and found["received"] == found["sent"]
        assert [each.group for each in reached] == ["X25519MLKEM768"]
        assert reached[0].post_quantum and reached[0].alpn == "h3"
