"""Dialling a WebSocket road: its URL, and a reason for each way to fail."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from wraith.aio.transports.base import OpenFailed
from wraith.aio.transports.websocket import WebSocketUrl, open_link
from wraith.aio.transports.websocket_dial import connect_tcp
from wraith.connection.links.link import StreamLink
from wraith.connection.links.preface import PREFACE_BYTES, LinkKeys
from wraith.connection.roads.reasons import RoadReason
from wraith.crypto.secret import Secret
from wraith.errors import ConfigError, MissingExtra
from wraith.testing.proxies import free_port
from wraith.testing.web_authority import WebAuthority
from wraith.testing.ws_links import WsServer
from wraith.types import Carrier, Road

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
RESET = struct.pack("ii", 1, 0)


@pytest.mark.spec("CA-68")
@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("ws://example.org", (False, "example.org", 80, "")),
        ("wss://example.org/", (True, "example.org", 443, "")),
        ("WSS://Example.ORG:8443/a/b/", (True, "example.org", 8443, "/a/b")),
        ("ws://192.0.2.1:80/x~y", (False, "192.0.2.1", 80, "/x~y")),
        ("ws://[2001:db8::1]:81/p", (False, "2001:db8::1", 81, "/p")),
    ],
)
def test_a_url_is_read_in_its_parts(text: str, parts: tuple[bool, str, int, str]) -> None:
    assert WebSocketUrl.parse(text) == WebSocketUrl(*parts)


@pytest.mark.spec("CA-68")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.org",
        "http://example.org",
        "ws://",
        "ws:///p",
        "ws://a:0",
        "ws://a:65536",
        "ws://a:b",
        "ws://user:secret@a/",
        "ws://a/p?q",
        "ws://a/p#f",
        "ws://a/p q",
        "ws://a/p\r\nHost: b",
        "ws://a/é",
        "ws://[::1",
        "ws://[12]/",
        "ws://[::1%lo]/",
        "ws://a/" + "b" * 120,
    ],
)
def test_everything_else_is_no_url(text: str) -> None:
    with pytest.raises(ConfigError):
        WebSocketUrl.parse(text)


# --- reasons ------------------------------------------------------------------------------------


def fresh_link() -> StreamLink:
    key = bytes(32)
    keys = LinkKeys(Secret(key), Secret(key), bytes(8))
    return StreamLink.dialled(keys, bytes(PREFACE_BYTES))


async def reason_of(
    url: str,
    *,
    tls: ssl.SSLContext | None = None,
    timeout_s: float = 10.0,
    proxy: str | None = None,
) -> str:
    with pytest.raises(OpenFailed) as failed:
        await open_link(
            Road(Carrier.WS, url=url, proxy=proxy),
            fresh_link(),
            1,
            token="t" * 32,
            tls=tls,
            timeout_s=timeout_s,
        )
    return str(failed.value.failure)


@asynccontextmanager
async def peer(serve: Serve) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server of one connection at a time; its port, and what each connection sent first."""
    seen: list[bytes] = []

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            seen.append(await reader.read(4_096))
            await serve(reader, writer)
            await writer.drain()
            await reader.read()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], seen


async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


def answers(data: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return serve


@pytest.mark.spec("CA-67")
@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("serve", "reason"),
    [
        (closes, "not-upgraded"),
        (resets, "reset-at-preface"),
        (answers(b"HTTP/1.1 404 Not Found\r\n\r\n"), "http-status(404)"),
        (answers(b"HTTP/1.1 302 x\r\nLocation: /login\r\n\r\n"), "captive-portal(302, /login)"),
        (answers(b"HTTP/1.1 200 OK\r\n\r\n<html>"), "captive-portal(200)"),
        (answers(b"220 mail.example.org ESMTP\r\n\r\n"), "not-upgraded"),
    ],
)
async def test_a_refused_request_is_one_short_request_and_a_reason(
    serve: Serve, reason: str
) -> None:
    async with peer(serve) as (port, seen):
        assert await reason_of(f"ws://127.0.0.1:{port}/p") == reason
    (request,) = seen
    assert request.startswith(b"GET /p/" + b"t" * 32 + b" HTTP/1.1\r\n")
    assert len(request) < 400


@pytest.mark.spec("CA-67")
@pytest.mark.asyncio
async def test_silence_is_told_by_how_far_it_went() -> None:
    async def never(host: str, port: int) -> socket.socket:
        await asyncio.get_running_loop().create_future()
        raise AssertionError((host, port))

    with pytest.raises(OpenFailed) as failed:
        await open_link(
            Road(Carrier.WS, url="ws://example.org"),
            fresh_link(),
            1,
            token="t",
            connect=never,
            timeout_s=0.02,
        )
    assert failed.value.failure.reason is RoadReason.SYN_TIMEOUT
    async with peer(says_nothing) as (port, seen):
        assert await reason_of(f"ws://127.0.0.1:{port}", timeout_s=0.1) == "accepted-silent"
        assert len(seen) == 1


@pytest.mark.asyncio
async def test_where_nobody_listens_is_refused() -> None:
    assert await reason_of(f"ws://127.0.0.1:{free_port()}") == "refused"
    assert await reason_of(f"ws://localhost:{free_port()}") == "refused"


@pytest.mark.asyncio
@pytest.mark.parametrize("host", ["nobody.invalid", "a" * 64 + ".org", "a..b"])
async def test_a_name_without_address_is_unknown(host: str) -> None:
    assert await reason_of(f"ws://{host}:1") == "name-unknown"


@pytest.mark.asyncio
async def test_a_name_with_two_addresses_reaches_the_one_that_listens() -> None:
    async with peer(says_nothing) as (port, _):
        sock = await connect_tcp("localhost", port)
        assert sock.getpeername()[1] == port
        sock.close()


@pytest.mark.spec("CA-69")
@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("serve", "reason"),
    [
        (closes, "reset-at-clienthello"),
        (resets, "reset-at-clienthello"),
        (answers(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "tls-alert(WRONG_VERSION_NUMBER)"),
        (answers(bytes.fromhex("15030300020228")), "tls-alert(SSLV3_ALERT_HANDSHAKE_FAILURE)"),
    ],
)
async def test_tls_that_fails_is_a_reason(serve: Serve, reason: str) -> None:
    async with peer(serve) as (port, seen):
        assert await reason_of(f"wss://localhost:{port}/p") == reason
    assert len(seen) == 1
    assert seen[0][:2] == b"\x16\x03"


@pytest.mark.spec("CA-69")
@pytest.mark.asyncio
async def test_a_certificate_of_nobody_known_is_told_with_its_issuer_and_nothing_is_asked(
    tmp_path: Path,
) -> None:
    authority = WebAuthority(tmp_path, "Corporate\x1b[31m Inspection")
    other = WebAuthority(tmp_path / "other", "Mine")
    async with WsServer(tls=authority.server_context("localhost")) as server:
        url = server.url(scheme="wss", host="localhost")
        for context in (None, other.client_context()):
            assert await reason_of(url, tls=context) == "tls-untrusted(CN=Corporate[31m Inspection)"
        assert await reason_of(
            url.replace("localhost", "127.0.0.1"), tls=authority.client_context()
        )
        dialler, listener = await server.pair(url, tls=authority.client_context())
        await dialler.send(bytes(100), 100)
        await listener.until_bytes(100)
        assert dialler.socket.characteristics.encrypted_outside
    assert server.accepted.empty()


@pytest.mark.spec("CA-69")
@pytest.mark.asyncio
@pytest.mark.parametrize("verifies", [True, False])
async def test_a_context_that_leaves_a_check_out_is_refused(verifies: bool) -> None:
    tls = ssl.create_default_context()
    tls.check_hostname = False
    if not verifies:
        tls.verify_mode = ssl.CERT_NONE
    async with peer(says_nothing) as (port, seen):
        road = Road(Carrier.WS, url=f"wss://localhost:{port}")
        with pytest.raises(ConfigError):
            await open_link(road, fresh_link(), 1, token="t", tls=tls)
    assert seen == []


@pytest.mark.asyncio
async def test_a_road_with_a_proxy_never_goes_without_it() -> None:
    async with peer(says_nothing) as (port, seen):
        url, proxy = f"ws://127.0.0.1:{port}", f"socks5://user:secret@127.0.0.1:{free_port()}"
        reason = await reason_of(url, proxy=proxy)
        assert reason.startswith(("proxy-", "refused")), reason
        assert "secret" not in reason
    assert seen == []


@pytest.mark.asyncio
async def test_a_dialler_that_is_cancelled_leaves_no_connection() -> None:
    ended = asyncio.Event()

    async def waits(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
        finally:
            ended.set()

    async with peer(waits) as (port, seen):
        road = Road(Carrier.WS, url=f"ws://127.0.0.1:{port}")
        task = asyncio.create_task(open_link(road, fresh_link(), 1, token="t"))
        async with asyncio.timeout(10):
            while not seen:
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await ended.wait()


def test_the_library_is_loaded_when_a_link_is_opened_and_not_before() -> None:
    program = (
        "import sys, wraith.aio.transports.websocket, wraith.aio.transports.websocket_listener\n"
        "sys.exit(any(name.startswith('websockets') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=30).returncode == 0


@pytest.mark.asyncio
async def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wraith.aio.transports.websocket_shell", None)
    with pytest.raises(MissingExtra) as missing:
        await open_link(Road(Carrier.WS, url="ws://a"), fresh_link(), 1, token="t")
    assert "websockets" in missing.value.hint
    with pytest.raises(MissingExtra):
        WsServer()
