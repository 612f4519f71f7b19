"""Unreliable messages of a session over real sockets."""

from __future__ import annotations

import asyncio

import pytest

from wraith.aio.sessions import session as session_module
from wraith.errors import LocalProtocolError
from wraith.testing.sessions import session_pair

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]


async def test_messages_arrive_whole() -> None:
    async with session_pair() as pair:
        largest = bytes(pair.client.max_datagram_bytes)
        assert len(largest) > 1000
        for message in (b"a", b"bb", largest):
            assert pair.client.send_datagram(message)
        assert sorted([await pair.server.receive_datagram() for _ in range(3)], key=len) == [
            b"a",
            b"bb",
            largest,
        ]
        pair.server.send_datagram(b"back")
        assert await pair.client.receive_datagram() == b"back"


async def test_too_long_a_message_is_refused_at_once() -> None:
    async with session_pair() as pair:
        with pytest.raises(LocalProtocolError):
            pair.client.send_datagram(bytes(pair.client.max_datagram_bytes + 1))


async def test_messages_that_nobody_takes_are_dropped_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_module, "UNREAD_DATAGRAMS_MAX", 4)
    async with session_pair() as pair:
        for i in range(10):
            pair.client.send_datagram(bytes([i]))
            await asyncio.sleep(0.005)
        async with asyncio.timeout(5):
            while pair.server.n_datagrams_dropped < 6:
                await asyncio.sleep(0.005)
        kept = [await pair.server.receive_datagram() for _ in range(4)]
        assert kept == [bytes([i]) for i in range(6, 10)], "the newest are kept"
