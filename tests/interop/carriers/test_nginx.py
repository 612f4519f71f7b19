"""Links through a real nginx with TLS, started with the very configuration of the howto."""

from __future__ import annotations

import asyncio
import re
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from wraith.aio.transports.base import PEER_CLOSED, OpenFailed
from wraith.connection.roads.reasons import RoadReason
from wraith.crypto.kdf import blake3
from wraith.testing.nginx import HOST, NOT_FOUND_PAGE, Nginx
from wraith.testing.proxies import free_port
from wraith.testing.rng import SeededRng
from wraith.testing.two_homes import TwoHomes, finish
from wraith.testing.web_authority import WebAuthority
from wraith.testing.ws_links import DEADLINE_S, LinkEnd, WsServer

pytestmark = [pytest.mark.interop, pytest.mark.asyncio]

KEY = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
UPGRADE = f"Upgrade: websocket\r\nConnection: Upgrade\r\n{KEY}\r\nSec-WebSocket-Version: 13\r\n"


@pytest.fixture
def authority(tmp_path: Path) -> WebAuthority:
    return WebAuthority(tmp_path / "authority", "Test Root")


async def dial(server: WsServer, nginx: Nginx, authority: WebAuthority) -> LinkEnd:
    return await server.dial(nginx.url(), tls=authority.client_context(), connect=nginx.connect)


async def test_the_configuration_of_the_howto_is_accepted(
    tmp_path: Path, authority: WebAuthority
) -> None:
    nginx = Nginx(tmp_path / "nginx", authority, 8080)
    command = [nginx.program, "-t", "-p", str(nginx.folder), "-c", str(nginx.configuration)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr


async def test_many_megabytes_go_both_ways_through_tls_and_nginx(
    tmp_path: Path, authority: WebAuthority
) -> None:
    async with WsServer() as server, Nginx(tmp_path / "nginx", authority, server.port) as nginx:
        dialler = await dial(server, nginx, authority)
        listener = await server.next()
        for sender, receiver, size in (
            (dialler, listener, 16_384),
            (listener, dialler, 16_384),
            (dialler, listener, 1_201),
            (listener, dialler, 33),
        ):
            data = SeededRng(size).public_bytes(20_000 * size if size < 16_384 else 16 << 20)
            n_before = receiver.n_bytes
            receiver.packets.clear()
            await sender.send(data, size)
            await receiver.until_bytes(n_before + len(data))
            assert blake3(b"".join(receiver.packets)) == blake3(data)
            assert {len(packet) for packet in receiver.packets} == {size}
        assert (dialler.closed, listener.closed) == (None, None)
        dialler.socket.close()
        assert await listener.until_closed() == PEER_CLOSED


async def test_a_wrong_path_looks_to_the_byte_like_one_that_the_site_does_not_have(
    tmp_path: Path, authority: WebAuthority
) -> None:
    async with WsServer() as server, Nginx(tmp_path / "nginx", authority, server.port) as nginx:
        used = server.token()
        await server.dial(
            nginx.url(), token=used, tls=authority.client_context(), connect=nginx.connect
        )
        await compare(nginx, authority, used)
    async with Nginx(tmp_path / "without-a-node", authority, server.port) as nginx:
        await compare(nginx, authority, used)


REQUESTS: dict[str, Callable[[str], str]] = {
    "page": lambda path: f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n",
    "http 1.0": lambda path: f"GET {path} HTTP/1.0\r\nHost: {HOST}\r\n\r\n",
    "head": lambda path: f"HEAD {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n",
    "post": lambda path: (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"
        "hello"
    ),
    "chunks": lambda path: (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n"
        "Connection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    ),
    "an upload under way": lambda path: (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 100000\r\n"
        "Connection: close\r\n\r\nthe first of many"
    ),
    "an upload too large": lambda path: (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 99000000\r\n"
        "Connection: close\r\n\r\nthe first of many"
    ),
    "expect": lambda path: (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\n"
        "Expect: 100-continue\r\nConnection: close\r\n\r\nhello"
    ),
    "options": lambda path: f"OPTIONS {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n",
    "trace": lambda path: f"TRACE {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n",
    "range": lambda path: (
        f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nRange: bytes=0-3\r\nConnection: close\r\n\r\n"
    ),
    "put": lambda path: (
        f"PUT {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    ),
    "upgrade": lambda path: f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{UPGRADE}\r\n",
    "upgrade with a body": lambda path: (
        f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{UPGRADE}Content-Length: 100000\r\n\r\nthe first"
    ),
    "upgrade that expects": lambda path: (
        f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{UPGRADE}Expect: 100-continue\r\n\r\n"
    ),
    "upgrade in chunks": lambda path: (
        f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{UPGRADE}Transfer-Encoding: chunked\r\n\r\n5\r\n"
    ),
    "upgrade to another": lambda path: (
        f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{UPGRADE.replace('websocket', 'h2c')}\r\n"
    ),
    "upgrade by post": lambda path: (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\n{UPGRADE}Content-Length: 0\r\n\r\n"
    ),
    "upgrade in 1.0": lambda path: f"GET {path} HTTP/1.0\r\nHost: {HOST}\r\n{UPGRADE}\r\n",
    "upgrade, wrong version": lambda path: (
        f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{UPGRADE.replace('13', '12')}\r\n"
    ),
    "upgrade, wrong key": lambda path: (
        f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{UPGRADE.replace('AA==', '')}\r\n"
    ),
    "long": lambda path: (
        f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nCookie: {'c' * 5_000}\r\nConnection: close\r\n\r\n"
    ),
}


async def compare(nginx: Nginx, authority: WebAuthority, used: str) -> None:
    ours = {
        "wrong": "/share/" + "A" * 32,
        "used": f"/share/{used}",
        "none": "/share/",
        "x": "/share/x",
    }
    for kind, request in REQUESTS.items():
        page = await ask(nginx, authority, request("/elsewhere/" + "A" * 32))
        assert page.startswith(b"HTTP/1.1 404 Not Found\r\n")
        assert page.endswith(b"\r\n\r\n" + (b"" if kind == "head" else NOT_FOUND_PAGE))
        for name, path in ours.items():
            answer = await ask(nginx, authority, request(path))
            assert answer == page, (kind, name)


async def ask(nginx: Nginx, authority: WebAuthority, request: str) -> bytes:
    """The answer to ``request``, but for the time in it. The connection may stay open after it."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", nginx.port, ssl=authority.client_context(), server_hostname=HOST
    )
    try:
        writer.write(request.encode())
        async with asyncio.timeout(DEADLINE_S):
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            assert length is not None, head
            body = b"" if request.startswith("HEAD") else await reader.readexactly(int(length[1]))
    finally:
        writer.transport.abort()
    return re.sub(rb"\r\nDate: [^\r]*", b"", head) + body


async def test_nginx_killed_in_the_middle_ends_the_link_at_both_ends_with_a_reason(
    tmp_path: Path, authority: WebAuthority
) -> None:
    async with WsServer() as server, Nginx(tmp_path / "nginx", authority, server.port) as nginx:
        dialler = await dial(server, nginx, authority)
        listener = await server.next()
        await dialler.send(bytes(50), 50)
        await listener.until_bytes(50)
        await listener.send(bytes(60), 60)
        await dialler.until_bytes(60)
        listener.packets.clear()
        data = SeededRng("cut").public_bytes(64 << 20)
        sending = asyncio.create_task(dialler.send(data, 16_384))
        await listener.until_bytes(4 << 20)
        await nginx.kill()
        for end in (dialler, listener):
            reason = await end.until_closed()
            assert re.fullmatch(r"ws-closed\(1006\)|reset-later\(\d+ bytes\)", reason)
        with pytest.raises(AssertionError):
            await sending
        assert 4 << 20 <= listener.n_bytes < len(data)
        assert b"".join(listener.packets) == data[: listener.n_bytes - 50]
        with pytest.raises(OpenFailed) as failed:
            await dial(server, nginx, authority)
        assert failed.value.failure.reason is RoadReason.REFUSED


async def test_a_certificate_of_an_unknown_authority_is_refused_with_its_issuer(
    tmp_path: Path, authority: WebAuthority
) -> None:
    other = WebAuthority(tmp_path / "other", "Somebody Else")
    async with WsServer() as server, Nginx(tmp_path / "nginx", other, server.port) as nginx:
        for context in (authority.client_context(), None):  # None: the system's trust store
            with pytest.raises(OpenFailed) as failed:
                await server.dial(nginx.url(), tls=context, connect=nginx.connect)
            assert str(failed.value.failure) == "tls-untrusted(CN=Somebody Else)"
        assert (nginx.folder / "access.log").read_text() == "", "a request was sent"


async def test_a_certificate_for_another_name_is_refused(
    tmp_path: Path, authority: WebAuthority
) -> None:
    async with WsServer() as server, Nginx(tmp_path / "nginx", authority, server.port) as nginx:
        url = nginx.url().replace(HOST, "example.net")
        with pytest.raises(OpenFailed) as failed:
            await server.dial(url, tls=authority.client_context(), connect=nginx.connect)
        assert failed.value.failure.reason is RoadReason.TLS_UNTRUSTED


async def test_tls_that_the_server_does_not_speak_is_an_alert(
    tmp_path: Path, authority: WebAuthority
) -> None:
    context = authority.client_context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    replaced = {"TLSv1.2 TLSv1.3": "TLSv1.3"}
    async with (
        WsServer() as server,
        Nginx(tmp_path / "nginx", authority, server.port, replaced) as nginx,
    ):
        with pytest.raises(OpenFailed) as failed:
            await server.dial(nginx.url(), tls=context, connect=nginx.connect)
        assert failed.value.failure.reason is RoadReason.TLS_ALERT


async def test_the_client_of_a_listed_proxy_is_the_one_that_nginx_names(
    tmp_path: Path, authority: WebAuthority
) -> None:
    for proxies, ip in ((("127.0.0.1",), "127.0.0.2"), ((), "127.0.0.1")):
        async with WsServer(proxies=proxies) as server:
            folder = tmp_path / f"nginx-{len(proxies)}"
            async with Nginx(folder, authority, server.port) as nginx:
                await server.dial(
                    nginx.url(),
                    tls=authority.client_context(),
                    connect=nginx.connect_from_elsewhere,
                )
                listener = await server.next()
                assert str(listener.socket.path.remote).startswith(f"{ip}:")


@pytest.mark.slow
@pytest.mark.parametrize("pings", [True, False])
async def test_pings_keep_a_silent_link_alive_beyond_the_patience_of_nginx(
    tmp_path: Path, authority: WebAuthority, pings: bool
) -> None:
    replaced = {"timeout 75s": "timeout 1s"}
    async with (
        WsServer() as server,
        Nginx(tmp_path / "nginx", authority, server.port, replaced) as nginx,
    ):
        dialler = await server.dial(
            nginx.url(),
            tls=authority.client_context(),
            connect=nginx.connect,
            ping_after_s=(0.2, 0.3) if pings else (30, 30),
        )
        listener = await server.next()
        if not pings:
            await dialler.until_closed()
            return
        await asyncio.sleep(2.5)  # more than twice what nginx waits
        assert (dialler.closed, listener.closed) == (None, None)
        await dialler.send(bytes(100), 100)
        await listener.until_bytes(100)


async def test_what_a_command_offers_behind_nginx_is_received_over_a_websocket_alone(
    tmp_path: Path, authority: WebAuthority
) -> None:
    """Both commands as people run them. The name of the page leads to this machine here, and the
    system's trust store is the test's."""
    homes, node_port = TwoHomes(tmp_path), free_port()
    async with Nginx(tmp_path / "nginx", authority, node_port, host="localhost") as nginx:
        try:
            url = f"wss://localhost:{nginx.port}/share"
            sender = homes.send(
                homes.file("a.bin", 3_000_000),
                *("--ws", url, "--ws-listen", f"127.0.0.1:{node_port}"),
            )
            waiting = await asyncio.to_thread(sender.wait_event, "waiting")
            assert waiting["carriers"] == ["udp", "tcp", "ws"]
            receiver = homes.receive(
                str(waiting["code"]),
                *("--carriers", "ws"),
                environment={"SSL_CERT_FILE": str(authority.certificate)},
            )
            exits = await asyncio.to_thread(finish, sender, receiver)
            assert exits == (0, 0), sender.story() + receiver.story()
        finally:
            homes.close()
    assert (homes.out / "a.bin").read_bytes() == (homes.source / "a.bin").read_bytes()
    connected = receiver.last("connected")
    assert (connected["carrier"], connected["post_quantum"]) == ("ws", True)
