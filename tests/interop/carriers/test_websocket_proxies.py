"""WebSocket roads that lead through real proxies."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from wraith.aio.transports.base import OpenFailed
from wraith.connection.roads.reasons import RoadReason
from wraith.testing.proxies import microsocks, tinyproxy
from wraith.testing.rng import SeededRng
from wraith.testing.web_authority import WebAuthority
from wraith.testing.ws_links import WsServer

pytestmark = [pytest.mark.interop, pytest.mark.asyncio]

Proxied = Callable[[Path, str], AbstractContextManager[str]]
PROXIES: dict[str, Proxied] = {
    "socks5": lambda _, password: microsocks(user="user", password=password),
    "http": lambda folder, password: tinyproxy(folder, user="user", password=password),
}


@pytest.mark.parametrize("kind", PROXIES)
@pytest.mark.parametrize("is_secure", [False, True])
async def test_a_link_runs_through_a_proxy(kind: str, is_secure: bool, tmp_path: Path) -> None:
    authority = WebAuthority(tmp_path / "authority", "Test Root")
    tls = authority.server_context("localhost") if is_secure else None
    async with WsServer(tls=tls) as server:
        url = server.url(scheme="wss" if is_secure else "ws", host="localhost")
        with PROXIES[kind](tmp_path, "right") as proxy:
            dialler = await server.dial(url, tls=authority.client_context(), proxy=proxy)
            listener = await server.next()
            data = SeededRng(kind).public_bytes(8 << 20)
            await dialler.send(data, 16_384)
            await listener.until_bytes(len(data))
            assert b"".join(listener.packets) == data
            await listener.send(data, 16_384)
            await dialler.until_bytes(len(data))
            wrong = proxy.replace("right", "wrong")
            with pytest.raises(OpenFailed) as failed:
                await server.dial(url, tls=authority.client_context(), proxy=wrong)
            assert failed.value.failure.reason is RoadReason.PROXY_AUTH
        assert server.accepted.empty()
