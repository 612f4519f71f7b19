"""Several services at one port, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import wraith
from wraith.aio import open_node
from wraith.aio.entropy import OsRng
from wraith.aio.running import RunningNode
from wraith.aio.sessions.listener import Listener
from wraith.aio.sessions.session import Session
from wraith.aio.transfers import Transfer
from wraith.config import Budgets
from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.errors import ConfigError, HandshakeTimeout, LocalProtocolError, PeerClosed
from wraith.node.codes import record_of
from wraith.node.config import NodeConfig
from wraith.node.events import Finished
from wraith.transfer.code import decode_code
from wraith.transfer.events import OfferReceived
from wraith.transfer.memory_store import MemorySource, MemoryTarget
from wraith.transfer.path_rules import PathRules
from wraith.types import Address

pytestmark = pytest.mark.asyncio
LOCAL = "127.0.0.1:0"
#: All peers are one prefix here.
CONFIG = wraith.EndpointConfig(
    budgets=Budgets(
        prefix_rate=1e5, prefix_burst=10**5, hello_full_rate=1e4, hello_full_burst=10**4
    )
)
LOOPBACK = Address(b"\x7f\0\0\1", 0)


class Target(MemoryTarget):
    """Keeps what it gets in memory, which can hold every name."""

    rules = PathRules()


async def sending(node: RunningNode, source: MemorySource) -> tuple[Transfer, str]:
    """A send at ``node`` that serves one receiver after the other, and its code."""
    access = AccessKey.generate(OsRng(), with_psk=True)
    transfer = await Transfer.open(
        source=source, node_config=NodeConfig(keep=True), access=access, at=node
    )
    transfer.start()
    return transfer, transfer.code([LOOPBACK._replace(port=node.port)])


async def received(code: str) -> dict[bytes, bytes | None]:
    """What a receiver of its own process would get."""
    target = Target()
    transfer = await Transfer.open(target=target, node_config=NodeConfig(), local=LOOPBACK)
    transfer.start(record_of(decode_code(code)))
    try:
        async for event in transfer.events():
            if isinstance(event, OfferReceived):
                transfer.accept(event.offer_id)
            if isinstance(event, Finished):
                assert event.error is None
    finally:
        await transfer.close()
    return target.placed


async def echo(listener: Listener) -> None:
    async def serve(session: Session) -> None:
        while True:
            session.send_datagram(await session.receive_datagram())

    tasks = set()
    async for session in listener:
        task = asyncio.ensure_future(serve(session))
        tasks.add(task)
        task.add_done_callback(lambda t: t.cancelled() or t.exception())


async def asked(code: str, text: bytes) -> bytes:
    async with wraith.connect(code) as session:
        session.send_datagram(text)
        return await session.receive_datagram()


@asynccontextmanager
async def crowd() -> AsyncIterator[tuple[RunningNode, list[str], list[Transfer], Listener]]:
    """Two sends and a listener at one port."""
    async with open_node(LOCAL, config=CONFIG) as node:
        sends = [await sending(node, MemorySource({name: name * 200_000})) for name in (b"a", b"b")]
        async with wraith.listen(at=node) as listener:
            codes = [code for _, code in sends]
            yield node, [*codes, listener.code], [transfer for transfer, _ in sends], listener
        for transfer, _ in sends:
            await transfer.close()


async def test_six_peers_of_two_sends_and_a_listener_reach_their_own() -> None:
    async with asyncio.timeout(60), crowd() as (node, codes, _, listener):
        serving = asyncio.ensure_future(echo(listener))
        *placed, first, second, third, fourth = await asyncio.gather(
            received(codes[0]),
            received(codes[1]),
            *(asked(codes[2], b"from %d" % n) for n in range(4)),
        )
        assert placed == [{b"a": b"a" * 200_000}, {b"b": b"b" * 200_000}]
        assert [first, second, third, fourth] == [b"from %d" % n for n in range(4)]
        assert {decode_code(code).addresses[0].port for code in codes} == {node.port}
        assert await received(codes[0]) == placed[0], "and again, as it keeps offering"
        serving.cancel()


async def test_a_listener_that_closes_takes_its_peers_and_nobody_else() -> None:
    async with asyncio.timeout(60), crowd() as (_, codes, sends, listener):
        session = await wraith.connect(codes[2])
        await listener.accept()
        await listener.close()
        with pytest.raises(PeerClosed) as ended:
            await session.receive_datagram()
        assert ended.value.close_code == 0
        with pytest.raises(LocalProtocolError):
            await listener.accept()
        assert await received(codes[1]) == {b"b": b"b" * 200_000}
        await sends[0].close()
        assert await received(codes[1]) == {b"b": b"b" * 200_000}


async def test_the_code_of_a_listener_that_closed_gets_silence() -> None:
    async with asyncio.timeout(60), crowd() as (_, codes, _, listener):
        await listener.close()
        quick = wraith.EndpointConfig(handshake_timeout_s=1.0)
        with pytest.raises(HandshakeTimeout):
            await wraith.connect(codes[2], config=quick)


async def test_a_full_queue_of_sessions_stops_no_other_service() -> None:
    async with (
        asyncio.timeout(60),
        crowd() as (node, codes, _, listener),
        wraith.listen(at=node) as other,
    ):
        serving = asyncio.ensure_future(echo(other))
        waiting = [await wraith.connect(codes[2]) for _ in range(64)]
        with pytest.raises(PeerClosed):
            await asked(codes[2], b"is there room?")
        assert listener.n_refused == 1
        assert await asked(other.code, b"and here?") == b"and here?"
        assert await received(codes[0]) == {b"a": b"a" * 200_000}
        serving.cancel()
        for session in waiting:
            await session.close()


async def test_a_fifth_service_is_refused() -> None:
    async with asyncio.timeout(60), crowd() as (node, codes, _, _), wraith.listen(at=node):
        with pytest.raises(LocalProtocolError, match="4 services listen at this port already"):
            await wraith.listen(at=node)
        with pytest.raises(LocalProtocolError, match="4 services listen at this port already"):
            await sending(node, MemorySource({b"e": b""}))
        assert await received(codes[0]) == {b"a": b"a" * 200_000}


async def test_a_node_that_closes_ends_all_of_its_services() -> None:
    async with asyncio.timeout(60), open_node(LOCAL) as node:
        transfer, _ = await sending(node, MemorySource({b"a": b"a"}))
        listener = await wraith.listen(at=node)
        session = await wraith.connect(listener.code)
        accepting = asyncio.ensure_future(listener.accept())
        await accepting
        accepting = asyncio.ensure_future(listener.accept())
        await asyncio.sleep(0)
        await node.close()
        with pytest.raises(PeerClosed):
            await session.receive_datagram()
        with pytest.raises(LocalProtocolError, match="closed"):
            await accepting
        with pytest.raises(LocalProtocolError, match="closed"):
            async for _ in transfer.events():
                pass
        with pytest.raises(LocalProtocolError, match="closed"):
            await wraith.listen(at=node)
        await transfer.close()
        await listener.close()


async def test_a_listener_at_a_node_has_the_node_s_address_and_identity() -> None:
    async with open_node(LOCAL, identity=wraith.Identity.generate(OsRng())) as node:
        with pytest.raises(ConfigError, match="local"):
            await wraith.listen(LOCAL, at=node)
        async with wraith.listen(at=node) as one, wraith.listen(at=node) as other:
            assert one.node_record.peer == other.node_record.peer
            assert one.port == other.port == node.port
            assert one.node_record.access_key != other.node_record.access_key
