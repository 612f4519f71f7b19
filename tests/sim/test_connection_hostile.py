"""An authenticated peer that breaks the rules: one CLOSE with its code, never an exception."""

from __future__ import annotations

import random

import pytest

from wraith.config import EndpointConfig
from wraith.connection import events as ev
from wraith.errors import CloseCode, RemoteProtocolError
from wraith.testing.established import EstablishedPair
from wraith.types import StreamId
from wraith.wire.control_records import (
    HandshakeConfirm,
    RekeyInit,
    RekeyRequest,
    RekeyResp,
    encode_record,
)
from wraith.wire.frames import (
    Ack,
    Data,
    Frame,
    MaxStreams,
    Priority,
    QosMode,
    QosUpdate,
    Reset,
    Stop,
    StreamClose,
    StreamOpen,
    encode_frame,
)

R_CLASS = 1 << 30
CONFIG = EndpointConfig(stream_window=65_536, conn_window=131_072, max_streams=8)


def sid(n: int) -> StreamId:
    return StreamId(n)


def data(n: int, offset: int, body: bytes, fin: bool = False) -> bytes:
    return encode_frame(Data(sid(n), offset, body, fin))


def control(record: bytes, at: int = 0) -> bytes:
    return data(0, at, record)


# From the initiator to the responder; stream 0 of the initiator is empty so far.
BREACHES: dict[str, tuple[int, list[bytes]]] = {
    "unknown frame": (CloseCode.PROTOCOL_ERROR, [b"\x1f\0\0\0"]),
    "truncated frame": (CloseCode.PROTOCOL_ERROR, [b"\x05\0\0\x08abc"]),
    "truncated data": (CloseCode.PROTOCOL_ERROR, [b"\x01\0\0\x04\0\0\0\1"]),
    "ack of a packet never sent": (
        CloseCode.PROTOCOL_ERROR,
        [encode_frame(Ack(0, 1_000_000, 0, ((1_000_000, 1_000_000),)))],
    ),
    "ack with an empty gap": (
        CloseCode.PROTOCOL_ERROR,
        [b"\x02\0\0\x0e\0\0\0\0\1\0\0\1\0\0\0\0\0\1"],
    ),
    "stream beyond the limit": (CloseCode.STREAM_LIMIT_EXCEEDED, [data(9, 0, b"x")]),
    "stream number 0": (CloseCode.INVALID_STREAM_ID, [data(1 << 31, 0, b"x")]),
    "stream of ours, never opened": (CloseCode.INVALID_STREAM_ID, [data(R_CLASS | 1, 0, b"x")]),
    "stop for a stream of ours, never opened": (
        CloseCode.INVALID_STREAM_ID,
        [encode_frame(Stop(sid(3 << 30 | 1), 0))],
    ),
    "beyond the stream window": (CloseCode.WINDOW_EXCEEDED, [data(1, 65_536, b"x")]),
    "reset beyond the stream window": (
        CloseCode.WINDOW_EXCEEDED,
        [encode_frame(Reset(sid(1), 0, 65_537))],
    ),
    "close beyond the stream window": (
        CloseCode.WINDOW_EXCEEDED,
        [encode_frame(StreamClose(sid(1), 65_537))],
    ),
    "beyond the connection window": (
        CloseCode.WINDOW_EXCEEDED,
        [data(n, 65_535, b"x") for n in (1, 2)] + [data(3, 0, b"x")],
    ),
    "changed final size": (
        CloseCode.FLOW_CONTROL_ERROR,
        [data(1, 0, b"abc", True), data(1, 0, b"abcd", True)],
    ),
    "data beyond the final size": (
        CloseCode.FLOW_CONTROL_ERROR,
        [data(1, 0, b"abc", True), data(1, 3, b"d")],
    ),
    "reset below received data": (
        CloseCode.FLOW_CONTROL_ERROR,
        [data(1, 10, b"abc"), encode_frame(Reset(sid(1), 0, 5))],
    ),
    "too many gaps": (
        CloseCode.FLOW_CONTROL_ERROR,
        [b"".join(data(1, 2 * n + 1, b"x") for n in range(m, m + 600)) for m in (0, 600)],
    ),
    "end of stream 0": (CloseCode.INVALID_STREAM_ID, [data(0, 0, b"", True)]),
    "reset of stream 0": (CloseCode.INVALID_STREAM_ID, [encode_frame(Reset(sid(0), 0, 0))]),
    "close of stream 0": (CloseCode.INVALID_STREAM_ID, [encode_frame(StreamClose(sid(0), 0))]),
    "open of stream 0": (CloseCode.INVALID_STREAM_ID, [encode_frame(StreamOpen(sid(0), 0))]),
    "stop of stream 0": (CloseCode.INVALID_STREAM_ID, [encode_frame(Stop(sid(0), 0))]),
    "priority of stream 0": (CloseCode.INVALID_STREAM_ID, [encode_frame(Priority(sid(0), 0))]),
    "qos of stream 0": (
        CloseCode.INVALID_STREAM_ID,
        [encode_frame(QosUpdate(sid(0), QosMode.RELIABLE, 0))],
    ),
    "too far ahead on stream 0": (CloseCode.FLOW_CONTROL_ERROR, [control(b"x", 65_536)]),
    "a frame on stream 0": (CloseCode.PROTOCOL_ERROR, [control(b"\x05\0\0\x08" + bytes(8))]),
    "an oversized record": (CloseCode.PROTOCOL_ERROR, [control(b"\x03\0\xff\xff")]),
    "a record as a frame": (
        CloseCode.PROTOCOL_ERROR,
        [encode_record(HandshakeConfirm(bytes(32)))],
    ),
    "a confirmation from the initiator": (
        CloseCode.PROTOCOL_ERROR,
        [control(encode_record(HandshakeConfirm(bytes(32))))],
    ),
    "a rekey request from the driver": (
        CloseCode.PROTOCOL_ERROR,
        [control(encode_record(RekeyRequest(3)))],
    ),
    "a rekey answer without a question": (
        CloseCode.REKEY_FAILED,
        [control(encode_record(RekeyResp(1, b"x" * 32, bytes(1_088))))],
    ),
    "a rekey for a wrong epoch": (
        CloseCode.REKEY_FAILED,
        [control(encode_record(RekeyInit(2, b"x" * 32, bytes(1_184))))],
    ),
    "a rekey with an all-zero share": (
        CloseCode.REKEY_FAILED,
        [control(encode_record(RekeyInit(1, bytes(32), bytes(1_184))))],
    ),
    "a rekey with a short key": (
        CloseCode.REKEY_FAILED,
        [control(encode_record(RekeyInit(1, b"x" * 32, bytes(100))))],
    ),
    "MAX_STREAMS for a class of its own": (
        CloseCode.PROTOCOL_ERROR,
        [encode_frame(MaxStreams(0, 1_000))],
    ),
    "an unreadable close reason": (CloseCode.PROTOCOL_ERROR, [b"\x07\0\0\x05\0\0\0\0\xff"]),
}


@pytest.mark.spec("CN-3", "CN-11", "CN-14", "CN-15", "CN-16", "CN-20", "CN-22")
@pytest.mark.parametrize("name", BREACHES)
def test_a_breach_gives_exactly_one_close_with_its_code(name: str) -> None:
    code, packets = BREACHES[name]
    pair = EstablishedPair(config=CONFIG)
    pair.run(seconds=1)
    before = pair.net.b.n_datagrams_sent
    for packet in packets:
        pair.forge(pair.i, packet)
    (closed,) = pair.r.of(ev.Closed)
    assert closed.code == code and not closed.by_peer
    assert isinstance(closed.error, RemoteProtocolError)
    assert pair.net.b.n_datagrams_sent - before <= len(packets)
    pair.run(seconds=5)
    assert [e.code for e in pair.i.of(ev.Closed)] == [code]
    assert pair.i.of(ev.Closed)[0].by_peer
    assert len(pair.r.of(ev.Closed)) == 1


@pytest.mark.spec("RK-4")
def test_only_the_initiator_of_the_handshake_begins_a_rekey() -> None:
    pair = EstablishedPair(config=CONFIG)
    pair.run(seconds=1)
    session = pair.r.connection._shared.parts
    assert session is not None
    record = encode_record(RekeyInit(1, b"x" * 32, bytes(1_184)))
    pair.forge(pair.r, control(record[:1_000], session.control.send.written))
    pair.forge(pair.r, control(record[1_000:], session.control.send.written + 1_000))
    assert [e.code for e in pair.i.of(ev.Closed)] == [CloseCode.REKEY_FAILED]


# What is odd but allowed.
ALLOWED: dict[str, list[Frame | bytes]] = {
    "an unknown extension": [b"\x3f\xff\0\x03abc"],
    "a lower window": [encode_frame(StreamOpen(sid(1), 0)), b"\x0c\0\0\x0c" + bytes(12)],
    "frames for a closed stream": [data(1, 0, b"", True)] * 3,
    "an acknowledgement of an unknown epoch": [Ack(7, 1_000_000, 0, ((1_000_000, 1_000_000),))],
    "a path response that was never asked for": [b"\x0f\0\0\x08" + bytes(8)],
    "a ticket request": [control(b"\x03\0\0\x02\x03\x01")],
    "fill only": [bytes(10)],
}


@pytest.mark.spec("RC-24")
@pytest.mark.parametrize("name", ALLOWED)
def test_what_is_odd_but_allowed_does_not_close(name: str) -> None:
    pair = EstablishedPair(config=CONFIG)
    pair.run(seconds=1)
    for item in ALLOWED[name]:
        pair.forge(pair.i, item if isinstance(item, bytes) else encode_frame(item))
    assert not pair.r.of(ev.Closed)


@pytest.mark.spec("CN-12")
def test_an_id_opens_all_lower_ones_of_its_class() -> None:
    pair = EstablishedPair(config=CONFIG)
    pair.run(seconds=1)
    pair.forge(pair.i, data(3, 0, b"x"))
    assert [e.sid for e in pair.r.of(ev.StreamOpened)] == [1, 2, 3]


# -- not authenticated


@pytest.mark.parametrize("seed", range(3))
def test_garbage_and_bit_flips_change_nothing(seed: int) -> None:
    rnd = random.Random(seed)
    pair = EstablishedPair(seed=seed)
    seen: list[bytes] = []

    def flip(datagram: bytes) -> bytes:
        seen.append(datagram)
        return datagram

    pair.net.a_to_b.taps.append(flip)
    transfer = pair.send(rnd.randbytes(100_000))
    for _ in range(400):
        pair.run(seconds=0.002)
        if seen:
            forged = bytearray(rnd.choice(seen))
            forged[rnd.randrange(len(forged))] ^= 1 << rnd.randrange(8)
            pair.net.inject(bytes(forged), pair.i.address, pair.r.address)
        pair.net.inject(rnd.randbytes(rnd.randrange(1, 1_500)), pair.i.address, pair.r.address)
    assert pair.run(seconds=30, until=lambda: transfer.is_equal)
    assert not pair.r.of(ev.Closed) and not pair.i.of(ev.Closed)


def test_replays_are_dropped_and_not_acknowledged_again() -> None:
    pair = EstablishedPair()
    seen: list[bytes] = []
    pair.net.a_to_b.taps.append(lambda d: seen.append(d) or d)  # type: ignore[func-returns-value]
    pair.send(bytes(20_000))
    pair.run(seconds=2)
    n_received = pair.r.connection.stats().received_packets
    n_sent = pair.net.b.n_datagrams_sent
    for datagram in seen:
        pair.net.inject(datagram, pair.i.address, pair.r.address)
    assert pair.r.connection.stats().received_packets == n_received
    assert pair.net.b.n_datagrams_sent == n_sent


def test_random_authenticated_payloads_never_raise() -> None:
    rnd = random.Random(3)
    kinds = [*list(range(1, 26)), 32, 63]
    for _ in range(150):
        pair = EstablishedPair(config=CONFIG, seed=1)
        pair.run(seconds=0.1)
        for _ in range(10):
            payload = b""
            for _ in range(rnd.randrange(1, 5)):
                size = rnd.choice([4, 5, 8, 12, 13, 16, 22])
                body = rnd.randbytes(size) if rnd.random() < 0.5 else bytes(size)
                payload += bytes([rnd.choice(kinds), rnd.randrange(2)])
                payload += len(body).to_bytes(2, "big") + body
            if not pair.r.of(ev.Closed):
                pair.forge(pair.i, payload)
        assert len(pair.r.of(ev.Closed)) <= 1
