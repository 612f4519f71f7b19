"""A listener for WebSockets among strangers: what they are told, how long, and how many of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from wraith.aio.transports import websocket_listener
from wraith.aio.transports.base import OpenFailed
from wraith.aio.transports.websocket_listener import WebSocketListener
from wraith.aio.transports.websocket_shell import NOT_FOUND
from wraith.connection.links.pools import UNDECIDED_PER_PREFIX_MAX, Stage
from wraith.errors import ConfigError, TransportError
from wraith.testing.web_authority import WebAuthority
from wraith.testing.ws_links import DEADLINE_S, LOOPBACK, RawDialler, WsServer, exchange
from wraith.types import Address

pytestmark = pytest.mark.asyncio
HALF_A_HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"


async def connect(server: WsServer) -> RawDialler:
    return RawDialler(*await asyncio.open_connection("127.0.0.1", server.port))


async def until(*, server: WsServer, n_strangers: int) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while server.listener.n_strangers != n_strangers:
            await asyncio.sleep(0.001)


@pytest.mark.spec("CA-64")
@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /share/x HTTP/1.1\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000),
        b"GET /share/" + b"A" * 32 + b" HTTP/1.0\r\n\r\n",
        b"EHLO x\r\n\r\n",
    ],
)
async def test_a_stranger_with_a_head_is_answered_404_and_let_go(request_bytes: bytes) -> None:
    async with WsServer() as server:
        assert await exchange(server.port, request_bytes) == NOT_FOUND
        await until(server=server, n_strangers=0)
        assert server.accepted.empty()


@pytest.mark.spec("CA-64")
@pytest.mark.parametrize(
    "greeting",
    [b"", b"\x16\x03\x01\x00\xa5\x01" + bytes(200), b"SSH-2.0-x\r\n", HALF_A_HEAD, bytes(70_000)],
    ids=["nothing", "tls", "ssh", "half a head", "zeros"],
)
async def test_a_stranger_without_a_head_hears_nothing(greeting: bytes) -> None:
    async with WsServer() as server:
        assert await exchange(server.port, greeting, half_close=True) == b""
        await until(server=server, n_strangers=0)


@pytest.mark.spec("CA-62")
async def test_a_path_counts_once() -> None:
    async with WsServer() as server:
        token = server.token()
        await server.dial(token=token)
        with pytest.raises(OpenFailed) as failed:
            await server.dial(token=token)
        assert str(failed.value.failure) == "http-status(404)"


@pytest.mark.spec("CA-64")
@pytest.mark.parametrize("prefix", ["", "/", "/a/b", "/a/b/"])
async def test_the_prefix_stands_in_front_of_the_token_and_nothing_else_does(prefix: str) -> None:
    async with WsServer(prefix=prefix) as server:
        await server.dial()
        await server.next()
        for wrong in (f"/x{prefix}", f"{prefix.rstrip('/')}/x", f"{prefix.rstrip('/') or '/'}x"):
            with pytest.raises(OpenFailed):
                await server.dial(f"ws://127.0.0.1:{server.port}{wrong}")


@pytest.mark.spec("CA-73")
async def test_a_head_that_does_not_come_is_waited_for_and_then_thrown_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websocket_listener, "HEAD_WAIT_S", 0.02)
    monkeypatch.setattr(websocket_listener, "DISCARD_S", (0.05, 0.06))
    async with WsServer() as server:
        slow = await connect(server)
        slow.write(HALF_A_HEAD)
        late = await connect(server)
        async with asyncio.timeout(DEADLINE_S):
            while len(server.listener._discarding) < 2:
                await asyncio.sleep(0.001)
        late.write(HALF_A_HEAD + b"\r\n")
        for stranger in (slow, late):
            with pytest.raises(ConnectionResetError):
                assert await stranger.until_end() == b""
        assert server.listener.n_strangers == 0


@pytest.mark.spec("CA-73")
async def test_one_prefix_has_sixteen_places_and_its_oldest_makes_room() -> None:
    async with WsServer() as server:
        strangers = [await connect(server) for _ in range(UNDECIDED_PER_PREFIX_MAX)]
        await until(server=server, n_strangers=UNDECIDED_PER_PREFIX_MAX)
        dialler, listener = await server.pair()  # an honest one still comes in
        await dialler.send(bytes(50), 50)
        await listener.until_bytes(50)
        with pytest.raises(ConnectionResetError):
            await strangers[0].until_end()
        assert server.listener.n_strangers == UNDECIDED_PER_PREFIX_MAX - 1
        strangers[1].write(b"\r\n\r\n")
        assert await strangers[1].until_end() == NOT_FOUND
        for stranger in strangers:
            stranger.leave()
        await until(server=server, n_strangers=0)


@pytest.mark.spec("CA-73")
@pytest.mark.parametrize("n", [300, pytest.param(10_000, marks=pytest.mark.slow)])
async def test_a_crowd_from_one_place_leaves_nothing_behind(n: int) -> None:
    async with WsServer() as server:
        most = 0
        for _ in range(n):
            stranger = await connect(server)
            stranger.write(HALF_A_HEAD)
            most = max(most, server.listener.n_strangers)
            if server.listener.n_strangers > UNDECIDED_PER_PREFIX_MAX // 2:
                stranger.leave()
        assert most <= UNDECIDED_PER_PREFIX_MAX
        await server.pair()


@pytest.mark.spec("CA-74")
async def test_the_address_of_a_listed_proxy_has_no_bounds_of_its_own() -> None:
    async with WsServer(proxies=("127.0.0.1",)) as server:
        n = 3 * UNDECIDED_PER_PREFIX_MAX
        strangers = [await connect(server) for _ in range(n)]
        await until(server=server, n_strangers=n)
        for stranger in strangers:
            stranger.write(b"\r\n\r\n")
        assert {await stranger.until_end() for stranger in strangers} == {NOT_FOUND}


@pytest.mark.spec("CA-73")
async def test_tls_that_never_comes_is_bounded_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_listener, "HEAD_WAIT_S", 0.1)
    authority = WebAuthority(tmp_path, "Test Root")
    async with WsServer(tls=authority.server_context("localhost")) as server:
        strangers = [await connect(server) for _ in range(UNDECIDED_PER_PREFIX_MAX + 1)]
        await until(server=server, n_strangers=UNDECIDED_PER_PREFIX_MAX)
        with pytest.raises(ConnectionError):
            if await strangers[0].until_end() == b"":
                raise ConnectionAbortedError
        await until(server=server, n_strangers=0)
        monkeypatch.undo()
        url = server.url(scheme="wss", host="localhost")
        dialler, listener = await server.pair(url, tls=authority.client_context())
        await dialler.send(bytes(50), 50)
        await listener.until_bytes(50)
        await listener.send(bytes(1 << 20), 16_384)
        await dialler.until_bytes(1 << 20)


@pytest.mark.spec("CA-73")
async def test_whom_the_door_refuses_sees_what_everybody_sees() -> None:
    async with WsServer() as server:
        server.lets_in = False
        dialler = await server.dial()
        await dialler.send(bytes(50), 50)
        async with asyncio.timeout(DEADLINE_S):
            while dialler.socket._held_by_asyncio:
                await asyncio.sleep(0)
        assert server.doorstep.count(Stage.DISCARDING) == 1
        assert (dialler.closed, dialler.n_bytes) == (None, 0)
        assert server.accepted.empty()


async def test_closing_a_listener_ends_strangers_and_leaves_links() -> None:
    async with WsServer() as server:
        dialler, listener = await server.pair()
        stranger = await connect(server)
        await until(server=server, n_strangers=1)
        server.listener.close()
        server.listener.close()
        with pytest.raises(ConnectionResetError):
            await stranger.until_end()
        await dialler.send(bytes(50), 50)
        await listener.until_bytes(50)
        with pytest.raises(OpenFailed) as failed:
            await server.dial()
        assert str(failed.value.failure) == "refused"


async def test_a_taken_port_and_a_wrong_proxy_are_told() -> None:
    async with WsServer() as server:
        taken = Address(LOOPBACK.ip, server.port)
        with pytest.raises(TransportError, match="cannot bind TCP port"):
            WebSocketListener.bind(taken, accepts_token=lambda _: False)
        with pytest.raises(ConfigError):
            WebSocketListener.bind(LOOPBACK, accepts_token=lambda _: False, proxies=["nginx"])
    WebSocketListener.bind(Address(b"", 0), accepts_token=lambda _: False).close()
