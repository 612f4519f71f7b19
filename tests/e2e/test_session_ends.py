"""How sessions end, over real sockets: codes, refusals, timeouts, silence."""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from dataclasses import replace

import pytest

import wraith
from wraith.config import EndpointConfig
from wraith.connection.connection import Connection
from wraith.connection.handshake.node_record import NodeRecord
from wraith.crypto.ed25519 import Identity
from wraith.errors import (
    CodeInvalid,
    ConfigError,
    ConnectionLost,
    HandshakeTimeout,
    LocalProtocolError,
    NotAuthorised,
    PeerClosed,
    PeerKeyMismatch,
    PolicyRefused,
    TransportError,
)
from wraith.testing.rng import HashKem
from wraith.testing.sessions import session_pair
from wraith.types import SuiteId, Transmit

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]
QUICK = EndpointConfig(handshake_timeout_s=1)


async def test_an_orderly_end_is_told_apart_and_is_a_connection_error() -> None:
    async with session_pair() as pair:
        stream = await pair.client.open_stream()
        await stream.write(b"x")
        incoming = await pair.server.accept_stream()
        await pair.client.close()
        await pair.server.wait_closed()
        with pytest.raises(ConnectionError) as caught:
            await incoming.write(b"more")
        assert type(caught.value).__name__ == "PeerFinished"


async def test_the_peer_sees_code_and_reason() -> None:
    async with session_pair() as pair:
        stream = await pair.client.open_stream()
        await stream.write(b"x")
        incoming = await pair.server.accept_stream()
        await incoming.read()
        waiting = [
            asyncio.create_task(incoming.read()),
            asyncio.create_task(pair.server.accept_stream()),
            asyncio.create_task(pair.server.receive_datagram()),
            asyncio.create_task(pair.server.wait_closed()),
        ]
        await asyncio.sleep(0)
        await pair.client.close(0x1042, "enough")
        await pair.client.close(0x1042, "enough")
        for result in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(result, PeerClosed)
            assert (result.close_code, result.reason) == (0x1042, "enough")
        with pytest.raises(LocalProtocolError):
            await stream.write(b"more")
        with pytest.raises(PeerClosed):
            await incoming.write(b"more")
        assert pair.client.is_closed and pair.server.is_closed


async def test_a_close_without_error_ends_loops_quietly() -> None:
    async with session_pair() as pair:
        await pair.client.close()
        assert [stream async for stream in pair.server] == []
        await pair.server.wait_closed()
        await pair.client.wait_closed()
        assert pair.server.stats().received_packets > 0, "facts outlive the session"


async def test_leaving_the_context_delivers_what_was_finished() -> None:
    data = os.urandom(2 << 20)
    async with wraith.listen("127.0.0.1:0") as listener:

        async def send() -> None:
            async with wraith.connect(listener.code) as session:
                stream = await session.open_stream()
                await stream.write(data)
                stream.finish()

        sender = asyncio.create_task(send())
        server = await listener.accept()
        incoming = await server.accept_stream()
        assert await incoming.read_all() == data
        await sender


async def test_bytes_that_arrived_before_the_close_can_still_be_read() -> None:
    async with session_pair() as pair:
        stream = await pair.client.open_stream()
        await stream.write(b"last words")
        stream.finish()
        await stream.wait_sent()
        incoming = await pair.server.accept_stream()
        await pair.client.close()
        await pair.server.wait_closed()
        assert await incoming.read_all() == b"last words"


async def test_only_listed_identities_get_in() -> None:
    alice, mallory = (Identity.from_seed(os.urandom(32)) for _ in range(2))
    async with wraith.listen("127.0.0.1:0", allow={alice.public}) as listener:
        async with wraith.connect(listener.code, identity=alice) as session:
            server = await listener.accept()
            assert server.peer == alice.public
            assert session.peer is not None
        with pytest.raises(NotAuthorised):
            await wraith.connect(listener.code, identity=mallory)
        assert listener.n_refused == 1
        listener.allow = {mallory.public}
        async with wraith.connect(listener.code, identity=mallory):
            assert (await listener.accept()).peer == mallory.public


async def test_another_node_at_the_address_is_noticed() -> None:
    async with wraith.listen("127.0.0.1:0", config=QUICK) as listener:
        other = Identity.from_seed(os.urandom(32)).public
        record = replace(listener.node_record, peer=other)
        with pytest.raises(PeerKeyMismatch):
            await wraith.connect(record, config=QUICK)


async def test_a_wrong_access_key_or_psk_meets_silence() -> None:
    async with wraith.listen("127.0.0.1:0", config=QUICK) as listener:
        record = listener.node_record
        for wrong in (
            replace(record, access_key=os.urandom(32)),
            replace(record, access_psk=os.urandom(32)),
        ):
            with pytest.raises(HandshakeTimeout):
                await wraith.connect(wrong, config=QUICK)
        assert listener.sessions == ()


async def test_a_mistyped_code_fails_at_once() -> None:
    async with wraith.listen("127.0.0.1:0") as listener:
        code = listener.code
        typo = code[:-1] + ("a" if code[-1] != "a" else "b")
        began = time.monotonic()
        with pytest.raises(CodeInvalid):
            await wraith.connect(typo)
        assert time.monotonic() - began < 1
        spaced = code[:50].upper() + " \n" + code[50:]
        async with wraith.connect(spaced):
            pass


async def test_classical_key_exchange_is_refused_unless_both_ask_for_it() -> None:
    with pytest.raises(PolicyRefused):
        await wraith.listen("127.0.0.1:0", suites=(SuiteId.D,))
    async with wraith.listen(
        "127.0.0.1:0", suites=(SuiteId.D,), require_pq=False, config=QUICK
    ) as listener:
        with pytest.raises(PolicyRefused):
            await wraith.connect(listener.code, config=QUICK)
        async with wraith.connect(listener.code, require_pq=False) as session:
            assert not session.security.post_quantum
            assert session.security.key_exchange == "X25519"
            assert session.security.suite is SuiteId.D


async def test_suite_d_of_a_configuration_is_refused_unless_the_call_asks_for_it_too() -> None:
    every = replace(QUICK, suites=(SuiteId.A, SuiteId.B, SuiteId.D))
    with pytest.raises(PolicyRefused):
        await wraith.listen("127.0.0.1:0", config=every)
    async with wraith.listen("127.0.0.1:0", config=every, require_pq=False) as listener:
        with pytest.raises(PolicyRefused):
            await wraith.connect(listener.code, config=every)
        classical = replace(every, suites=(SuiteId.D,))
        async with wraith.connect(listener.code, config=classical, require_pq=False) as session:
            assert session.security.suite is SuiteId.D


@pytest.mark.parametrize("suite", [SuiteId.A, SuiteId.B])
async def test_the_security_card_says_what_was_negotiated(suite: SuiteId) -> None:
    identity = Identity.from_seed(os.urandom(32))
    async with session_pair(suites=(suite,), identity=identity) as pair:
        for session in (pair.client, pair.server):
            assert session.security.post_quantum
            assert session.security.key_exchange == "X25519+ML-KEM-768"
            assert session.security.suite is suite
        assert pair.server.security.peer == identity.public
        assert pair.client.export_key("test", 48) == pair.server.export_key("test", 48)
        assert pair.client.export_key("test", 32) != pair.client.export_key("other", 32)


async def test_nobody_there_is_a_timeout_and_cancelling_leaves_nothing() -> None:
    async with wraith.listen("127.0.0.1:0") as listener:
        record = listener.node_record
    with pytest.raises(HandshakeTimeout):
        await wraith.connect(record, config=QUICK)
    dialling = asyncio.ensure_future(wraith.connect(record))
    await asyncio.sleep(0.05)
    dialling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dialling
    with pytest.raises(TransportError):
        await wraith.connect(NodeRecord(access_key=os.urandom(32)))


async def test_a_silent_peer_is_given_up() -> None:
    config = EndpointConfig(idle_timeout_s=1, keepalive=False)
    async with session_pair(config=config) as pair:
        pair.client._endpoint.close()  # vanishes without a word
        with pytest.raises((ConnectionLost, TransportError)):
            await pair.server.wait_closed()


async def test_keepalive_holds_an_idle_session() -> None:
    config = EndpointConfig(idle_timeout_s=1)
    async with session_pair(config=config) as pair:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pair.server.wait_closed(), 2.5)
        assert not pair.client.is_closed
        stream = await pair.client.open_stream()
        await stream.write(b"still there")
        assert await (await pair.server.accept_stream()).read() == b"still there"


async def test_closing_the_listener_tells_every_peer() -> None:
    listener = await wraith.listen("127.0.0.1:0")
    first = await wraith.connect(listener.code)
    second = await wraith.connect(listener.code)
    accepting = asyncio.create_task(listener.accept())
    await accepting
    await listener.accept()
    waiting = asyncio.create_task(listener.accept())
    await asyncio.sleep(0)
    await listener.close()
    await listener.close()
    for session in (first, second):
        await session.wait_closed()
        await session.close()
    with pytest.raises(LocalProtocolError):
        await waiting
    assert [session async for session in listener] == []


async def test_a_close_that_the_peer_did_not_get_is_said_again() -> None:
    listener = await wraith.listen("127.0.0.1:0")
    client = await wraith.connect(listener.code)
    await listener.accept()
    stream = await client.open_stream()
    sockets = listener._endpoint.driver._sockets
    send = sockets.send
    lost: list[bytes] = []

    def lossy(transmit: Transmit, start: int) -> int:
        if len(lost) < 2:  # GOAWAY and the first CLOSE
            lost.append(bytes(transmit.data))
            return len(transmit.data)
        return send(transmit, start)

    sockets.send = lossy  # type: ignore[method-assign]
    closing = asyncio.create_task(listener.close())
    while len(lost) < 2:
        await asyncio.sleep(0)
    assert not client.is_closed
    await stream.write(b"is anybody there?")
    async with asyncio.timeout(5):
        await client.wait_closed()
        await closing
    assert listener._endpoint.driver.closed
    await client.close()


async def test_closing_does_not_wait_long_for_a_peer_that_is_gone() -> None:
    listener = await wraith.listen("127.0.0.1:0")
    client = await wraith.connect(listener.code)
    await listener.accept()
    client._endpoint.close()
    async with asyncio.timeout(3.5):
        await listener.close()
    assert listener._endpoint.driver.closed


async def test_grace_lets_sessions_end_by_themselves() -> None:
    listener = await wraith.listen("127.0.0.1:0")
    client = await wraith.connect(listener.code)
    server = await listener.accept()
    closing = asyncio.create_task(listener.close(grace_s=30))
    await asyncio.sleep(0.05)
    assert not closing.done() and not server.is_closed
    assert client.is_going_away, "told at once, so that it can finish what it does"
    refused = [asyncio.ensure_future(wraith.connect(listener.node_record, config=QUICK))]
    with pytest.raises(TransportError):
        await refused[0]
    await client.close()
    async with asyncio.timeout(10):
        await closing


async def test_an_insecure_kem_is_refused() -> None:
    from wraith.aio.sessions.endpoint import open_endpoint

    with pytest.raises(ConfigError, match="kem"):
        await open_endpoint(config=EndpointConfig(), identity=None, listening=False, kem=HashKem())


async def test_a_listener_dials_from_its_own_port() -> None:
    async with wraith.listen("127.0.0.1:0") as one, wraith.listen("127.0.0.1:0") as other:
        session = await one.connect(other.code)
        incoming = await other.accept()
        assert incoming.connection.path.remote.port == one.port
        assert incoming.peer == one.node_record.peer
        await session.close()
        await incoming.wait_closed()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
async def test_a_forked_child_cannot_use_the_session() -> None:
    async with session_pair() as pair:
        stream = await pair.client.open_stream()
        await stream.write(b"parent")
        child = os.fork()
        if child == 0:
            try:
                stream.write_nowait(b"child")
            except LocalProtocolError:
                os._exit(0)
            except BaseException:
                os._exit(2)
            os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        incoming = await pair.server.accept_stream()
        assert await incoming.read() == b"parent"
        await stream.write(b" goes on")
        assert await incoming.read() == b" goes on"


async def test_whether_a_silent_peer_has_heard_the_end_is_asked_after_drains_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    n_asked = 0

    def counted(connection: Connection) -> bool:
        nonlocal n_asked
        n_asked += 1
        return bool(was_settled.__get__(connection))

    was_settled = inspect.getattr_static(Connection, "is_settled")
    async with session_pair() as pair:
        pair.client._endpoint.close()  # gone without a word
        monkeypatch.setattr(Connection, "is_settled", property(counted))
        await pair.listener.close()
    assert 0 < n_asked <= 8, "not every few milliseconds until three probe timeouts are over"
