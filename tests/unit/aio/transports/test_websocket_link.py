"""Links over WebSocket between real sockets: records in messages, room, and every way to end."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from wraith.aio.transports import link_socket
from wraith.aio.transports.base import BROKEN, PEER_CLOSED, PENDING_BYTES_MAX
from wraith.aio.transports.websocket_link import MESSAGE_BYTES_MAX
from wraith.aio.transports.websocket_shell import WebServerShell
from wraith.connection.links.link import StreamLink
from wraith.connection.links.preface import PREFACE_BYTES
from wraith.testing.rng import SeededRng
from wraith.testing.ws_links import DEADLINE_S, LinkEnd, RawDialler, WsServer
from wraith.types import Carrier, Transmit

pytestmark = pytest.mark.asyncio
GOODBYE = b"\x88\x02\x03\xe8"
PROTOCOL_ERROR = b"\x88\x02\x03\xea"


def records(server: WsServer, *packets: bytes) -> tuple[bytes, list[bytes]]:
    """A preface, and a record of each packet behind it."""
    preface, keys = server.preface()
    link = StreamLink.dialled(keys, b"")
    return preface, [b"".join(link.frame(memoryview(packet), len(packet))) for packet in packets]


# --- data ---------------------------------------------------------------------------------------


@pytest.mark.spec("CA-65")
@pytest.mark.parametrize("size", [33, 1_201, 16_384])
async def test_packets_arrive_whole_and_in_order_both_ways(size: int) -> None:
    async with WsServer() as server:
        dialler, listener = await server.pair()
        for sender, receiver in ((dialler, listener), (listener, dialler)):
            data = SeededRng(size).public_bytes(size * 200 + 40)
            await sender.send(data[: size * 200], size)
            await sender.send(data[size * 200 :], 40)
            await receiver.until_bytes(len(data))
            assert b"".join(receiver.packets) == data
            assert {len(packet) for packet in receiver.packets[:-1]} == {size}
            assert receiver.n_turns > 0
        assert dialler.socket.path.carrier is Carrier.WS
        assert dialler.socket.path.remote.port == server.port
        assert listener.socket.path.remote == dialler.socket.path.local


@asynccontextmanager
async def fake_listener(
    on_read: Callable[[list[bytes], int], None],
) -> AsyncIterator[int]:
    """A WebSocket server that hands on the messages of each read, and how many answers it made;
    its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shell = WebServerShell(lambda _: True)
        with suppress(ConnectionResetError):
            while data := await reader.read(65_536):
                messages = [bytes(message) for message in shell.receive(memoryview(data))]
                answers = shell.to_send()
                writer.write(b"".join(answers))
                on_read(messages, len(answers))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as fake:
        yield fake.sockets[0].getsockname()[1]


@pytest.mark.spec("CA-65")
@pytest.mark.parametrize(("size", "per_message"), [(16_384, 3), (1_200, 53), (33, 1_285)])
async def test_messages_hold_many_whole_records_and_at_most_64_kib(
    size: int, per_message: int
) -> None:
    async with WsServer() as server:
        link = StreamLink.accepted(server.prove)
        done = asyncio.Event()
        sizes: list[int] = []
        found: list[bytes] = []

        def on_read(messages: list[bytes], _: int) -> None:
            for message in messages:
                sizes.append(len(message))
                found.extend(bytes(data) for data, _ in link.feed(message))
                assert link.is_at_boundary
            if sum(map(len, found)) == len(sent):
                done.set()

        sent = SeededRng(size).public_bytes(size * per_message * 3)
        async with fake_listener(on_read) as port:
            dialler = await server.dial(server.url(port))
            for at in range(0, len(sent), len(sent) // 3):
                await dialler.send(sent[at : at + len(sent) // 3], size)
            async with asyncio.timeout(DEADLINE_S):
                await done.wait()
            dialler.socket.reset()
        assert b"".join(found) == sent
        # The preface takes the room of records in the first message.
        n_first = (MESSAGE_BYTES_MAX - PREFACE_BYTES) // (size + 18)
        assert sizes[0] == PREFACE_BYTES + n_first * (size + 18)
        assert max(sizes[1:]) == per_message * (size + 18)
        assert max(sizes) <= MESSAGE_BYTES_MAX


@pytest.mark.spec("CA-65")
async def test_what_comes_in_one_write_with_the_request_is_delivered_after_the_start() -> None:
    async with WsServer() as server:
        raw = await RawDialler.opened(server)
        preface, (record, other) = records(server, b"p" * 50, b"q" * 60)
        raw.send(preface + record, other)
        listener = await server.next()
        await listener.until_bytes(110)
        assert listener.packets == [b"p" * 50, b"q" * 60]
        raw.leave()


# --- what is wrong ------------------------------------------------------------------------------


async def ends_silent(server: WsServer, *messages: bytes) -> LinkEnd:
    """Sends messages and good ones behind them; the connection must stay open and mute."""
    raw = await RawDialler.opened(server)
    listener = await server.next()
    preface, more = records(server, b"late" * 20)
    raw.send(*messages)
    raw.send(preface + more[0])
    raw.write(b"\x89\x80\0\0\0\0")  # a ping, which nothing answers
    assert await raw.rest() == b""
    assert listener.closed == BROKEN
    return listener


WRONG: dict[str, Callable[[bytes], bytes]] = {
    "a byte": lambda preface: preface[:1],
    "87": lambda preface: preface[:87],
    "88 wrong": lambda preface: bytes(88),
    "much": lambda preface: bytes(60_000),
    "the first bit": lambda preface: bytes([preface[0] ^ 1]) + preface[1:],
    "a bit of the tag": lambda preface: preface[:40] + bytes([preface[40] ^ 8]) + preface[41:],
    "the last bit": lambda preface: preface[:87] + bytes([preface[87] ^ 0x80]),
}


@pytest.mark.spec("CA-66")
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
async def test_a_preface_that_is_none_is_never_answered(wrong: Callable[[bytes], bytes]) -> None:
    async with WsServer() as server:
        preface, (record,) = records(server, b"p" * 50)
        for message in (wrong(preface), wrong(preface) + record):
            listener = await ends_silent(server, message)
            assert listener.packets == []


@pytest.mark.spec("CA-66")
async def test_a_preface_that_is_shown_again_is_never_answered() -> None:
    """Whoever ends TLS can repeat it, over a connection with another path."""
    async with WsServer() as server:
        raw = await RawDialler.opened(server)
        preface, (record,) = records(server, b"p" * 50)
        raw.send(preface + record)
        first = await server.next()
        await first.until_bytes(50)
        again = await ends_silent(server, preface + record)
        assert again.packets == [] and first.closed is None
        raw.leave()


@pytest.mark.spec("CA-66")
@pytest.mark.parametrize("cut", [1, 40, 87])
async def test_a_preface_in_two_messages_is_none(cut: int) -> None:
    async with WsServer() as server:
        preface, (record,) = records(server, b"p" * 50)
        listener = await ends_silent(server, preface[:cut], preface[cut:] + record)
        assert listener.packets == []


@pytest.mark.spec("CA-66")
async def test_a_preface_of_another_carrier_is_never_answered() -> None:
    async with WsServer() as server:
        preface, _ = server.preface(Carrier.TCP)
        listener = await ends_silent(server, preface)
        assert listener.packets == []


@pytest.mark.spec("CA-66")
async def test_a_length_that_does_not_open_ends_the_link_in_silence() -> None:
    async with WsServer() as server:
        preface, (first, second) = records(server, b"p" * 50, b"q" * 60)
        broken = bytes([second[0] ^ 1]) + second[1:]
        listener = await ends_silent(server, preface + first, broken)
        assert listener.packets == [b"p" * 50]


@pytest.mark.spec("CA-66")
@pytest.mark.parametrize("cut", [1, 17, 18, 19, 67])
async def test_a_message_that_ends_inside_a_record_ends_with_1002(cut: int) -> None:
    async with WsServer() as server:
        raw = await RawDialler.opened(server)
        listener = await server.next()
        preface, (first, second) = records(server, b"p" * 50, b"q" * 50)
        raw.send(preface + first + second[:cut], second[cut:])
        assert await raw.until_end() == PROTOCOL_ERROR
        assert await listener.until_closed() == "ws-closed(1002)"
        assert listener.packets == [b"p" * 50]


@pytest.mark.spec("CA-66")
@pytest.mark.parametrize("is_proven", [True, False])
async def test_text_ends_with_1002(is_proven: bool) -> None:
    async with WsServer() as server:
        raw = await RawDialler.opened(server)
        listener = await server.next()
        preface, (record,) = records(server, b"p" * 50)
        if is_proven:
            raw.send(preface + record)
        raw.write(b"\x81\x85\0\0\0\0hello")
        assert await raw.until_end() == PROTOCOL_ERROR
        assert await listener.until_closed() == "ws-closed(1002)"
        assert len(listener.packets) == is_proven


# --- room ---------------------------------------------------------------------------------------


@pytest.mark.spec("CA-72")
async def test_a_peer_that_does_not_read_is_given_no_more_than_the_room() -> None:
    async with WsServer() as server:
        raw = await RawDialler.opened(server, buffer_bytes=4_096)
        listener = await server.next()
        preface, (record,) = records(server, b"p" * 50)
        raw.send(preface + record)
        await listener.until_bytes(50)
        link, n_sent = listener.socket, 0
        assert link.room_bytes == PENDING_BYTES_MAX
        while link.room_bytes >= 16_384 and n_sent < 1 << 30:
            data = memoryview(bytes(link.room_bytes // 16_384 * 16_384))
            link.send(Transmit(data, 16_384, link.path))
            n_sent += len(data)
            await asyncio.sleep(0)
        assert n_sent < 64 << 20, "the kernel took what it would"
        assert link._held_by_asyncio + link._pending_bytes <= PENDING_BYTES_MAX + 2_048
        n_read = len(await raw.read(n_sent))
        await listener.until(lambda: listener.has_room(PENDING_BYTES_MAX // 2))
        assert n_read == n_sent
        raw.leave()


@pytest.mark.spec("CA-72")
async def test_pings_of_a_peer_that_does_not_read_make_nothing_grow() -> None:
    async with WsServer() as server:
        raw = await RawDialler.opened(server, buffer_bytes=4_096)
        listener = await server.next()
        preface, (record, after) = records(server, b"p" * 50, b"q" * 50)
        raw.send(preface + record)
        ping = b"\x89\xfd\0\0\0\0" + bytes(125)
        n_pings = 20_000
        raw.write(ping * n_pings)
        await raw.drain()
        raw.send(after)
        await listener.until_bytes(100)
        assert listener.socket._held_by_asyncio + listener.socket._pending_bytes < 65_536
        raw.leave()


# --- the end ------------------------------------------------------------------------------------


@pytest.mark.spec("CA-71")
async def test_close_sends_what_is_held_then_says_goodbye() -> None:
    async with WsServer() as server:
        dialler, listener = await server.pair()
        data = SeededRng("held").public_bytes(15 * 16_384)
        dialler.socket.send(Transmit(memoryview(data), 16_384, dialler.socket.path))
        dialler.socket.close()
        dialler.socket.close()
        assert dialler.socket.room_bytes == 0
        assert await listener.until_closed() == PEER_CLOSED
        assert b"".join(listener.packets) == data
        assert dialler.closed is None, "who closes is not told"


@pytest.mark.spec("CA-71")
async def test_a_peer_that_does_not_answer_the_goodbye_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link_socket, "LINGER_S", 0.02)
    async with WsServer() as server:
        raw = await RawDialler.opened(server)
        listener = await server.next()
        preface, (record,) = records(server, b"p" * 50)
        raw.send(preface + record)
        await listener.until_bytes(50)
        listener.socket.close()
        assert await raw.until_end() == GOODBYE
        assert listener.closed is None


@pytest.mark.spec("CA-71")
@pytest.mark.parametrize("code", [1000, 1001, 1005, 4000])
async def test_the_code_of_a_peer_that_closes_is_told(code: int) -> None:
    async with WsServer() as server:
        raw = await RawDialler.opened(server)
        listener = await server.next()
        preface, (record,) = records(server, b"p" * 50)
        raw.send(preface + record)
        body = b"" if code == 1005 else code.to_bytes(2, "big")
        raw.write(bytes([0x88, 0x80 | len(body)]) + bytes(4) + body)
        assert await raw.until_end() == bytes([0x88, len(body)]) + body
        assert await listener.until_closed() == (
            PEER_CLOSED if code == 1000 else f"ws-closed({code})"
        )
        assert listener.packets == [b"p" * 50]


@pytest.mark.spec("CA-71")
async def test_a_connection_that_ends_without_a_word_is_1006_and_a_reset_says_how_late() -> None:
    async with WsServer() as server:
        raw = await RawDialler.opened(server)
        listener = await server.next()
        await raw.rest()
        assert await listener.until_closed() == "ws-closed(1006)"
        raw = await RawDialler.opened(server)
        listener = await server.next()
        preface, (record,) = records(server, b"p" * 50)
        raw.send(preface + record)
        await listener.until_bytes(50)
        raw.reset()
        assert re.fullmatch(r"reset-later\(\d+ bytes\)", await listener.until_closed())


# --- the ping -----------------------------------------------------------------------------------


@pytest.mark.spec("CA-70")
async def test_a_dialler_that_is_silent_pings_and_a_listener_does_not() -> None:
    pinged = asyncio.Event()
    n_answers = 0

    def on_read(messages: list[bytes], n: int) -> None:
        nonlocal n_answers
        assert messages == []
        n_answers += n
        if n_answers >= 4:  # 101 and three pongs
            pinged.set()

    async with WsServer() as server, fake_listener(on_read) as port:
        dialler = await server.dial(server.url(port), ping_after_s=(0.01, 0.02))
        async with asyncio.timeout(DEADLINE_S):
            await pinged.wait()
        _, listener = await server.pair()
        assert listener.socket._timer is None
        dialler.socket.reset()
