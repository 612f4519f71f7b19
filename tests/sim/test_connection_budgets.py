"""How many frames a packet holds: what a sender puts in, what a receiver takes."""

from __future__ import annotations

import pytest

from wraith.config import EndpointConfig
from wraith.connection import events as ev
from wraith.connection.keys import SessionEpochs
from wraith.errors import CloseCode
from wraith.testing.established import EstablishedPair, handshake_results
from wraith.types import NetworkPath, StreamId
from wraith.wire.frames import (
    Ack,
    DatagramFrame,
    ExtensionFrame,
    Ping,
    Pong,
    StreamClose,
    decode_frames,
    encode_frame,
)

SMALL = {
    "PING": encode_frame(Ping(7)),
    "ACK": encode_frame(Ack(7, 1, 0, ((0, 1),))),
    "an extension": encode_frame(ExtensionFrame(0x20, b"")),
    "STREAM_CLOSE": encode_frame(StreamClose(StreamId(1), 0)),
}
DATAGRAM = encode_frame(DatagramFrame(0, 0, b""))


@pytest.mark.spec("CN-63")
@pytest.mark.parametrize("name", SMALL)
def test_128_small_frames_in_a_packet_are_taken_and_129_close(name: str) -> None:
    pair = EstablishedPair()
    pair.run(seconds=1)
    pair.forge(pair.i, 128 * SMALL[name] + 200 * DATAGRAM)
    assert not pair.r.of(ev.Closed)
    pair.forge(pair.i, 129 * SMALL[name])
    assert [e.code for e in pair.r.of(ev.Closed)] == [CloseCode.PROTOCOL_ERROR]


@pytest.mark.spec("CN-63")
def test_256_datagrams_in_a_packet_are_taken_and_257_close() -> None:
    pair = EstablishedPair()
    pair.run(seconds=1)
    pair.forge(pair.i, 256 * DATAGRAM)
    assert not pair.r.of(ev.Closed)
    assert len(pair.r.of(ev.DatagramReceived)) == 256
    pair.forge(pair.i, 257 * DATAGRAM)
    assert [e.code for e in pair.r.of(ev.Closed)] == [CloseCode.PROTOCOL_ERROR]


class Watch:
    """Opens what the initiator sends, and counts the frames of each packet beside DATA."""

    def __init__(self, pair: EstablishedPair, config: EndpointConfig) -> None:
        _, theirs = handshake_results(config, config)
        self._opener = SessionEpochs(theirs, 8_192).opener
        self._opener.set_cids(0, 7)
        self.most_other = self.most_datagrams = 0
        pair.net.a_to_b.taps.append(self._see)

    def _see(self, datagram: bytes) -> bytes:
        result = self._opener.open_run(datagram, len(datagram), bytearray(len(datagram)), 0.0)
        for _, _, raw in result.others:
            frames = decode_frames(raw)
            n_datagrams = sum(isinstance(frame, DatagramFrame) for frame in frames)
            self.most_datagrams = max(self.most_datagrams, n_datagrams)
            self.most_other = max(self.most_other, len(frames) - n_datagrams)
        return datagram


LARGE = EndpointConfig(datagram_bytes=9_000, max_udp_bytes=9_000, max_streams=1_000)


@pytest.mark.spec("CN-62")
def test_a_thousand_streams_that_are_reset_at_once_pass() -> None:
    pair = EstablishedPair(config=LARGE)
    watch = Watch(pair, LARGE)
    pair.run(seconds=1)
    connection = pair.i.connection
    streams = [connection.open_stream(now=pair.now) for _ in range(1_000)]
    for sid in streams:
        connection.stream_write(sid, b"x", now=pair.now)
    pair.run(seconds=5)
    for sid in streams:
        connection.stream_reset(sid, 0, pair.now)
    pair.run(seconds=5)
    assert len(pair.r.of(ev.StreamWasReset)) == 1_000
    assert not pair.r.of(ev.Closed)
    assert watch.most_other == 64


@pytest.mark.spec("CN-62")
def test_five_thousand_small_datagrams_pass() -> None:
    pair = EstablishedPair(config=LARGE)
    watch = Watch(pair, LARGE)
    pair.run(seconds=1)
    n_sent = 0
    while n_sent < 5_000:
        while n_sent < 5_000 and pair.i.connection.send_datagram(
            n_sent.to_bytes(8, "big"), pair.now
        ):
            n_sent += 1
        pair.run(seconds=0.1)
    got = [event.data for event in pair.r.of(ev.DatagramReceived)]
    assert got == [n.to_bytes(8, "big") for n in range(5_000)]
    assert not pair.r.of(ev.Closed)
    assert watch.most_datagrams == 128


@pytest.mark.spec("CN-64")
def test_of_many_pings_in_a_packet_one_is_answered() -> None:
    pair = EstablishedPair()
    watch = pair.r.connection._shared.builder
    assert watch is not None
    pair.run(seconds=1)
    session = pair.i.connection._shared.parts
    assert session is not None
    sealer, out = session.keys.sealer, bytearray(1_500)
    n_bytes, *_ = sealer.seal_run(
        epoch=0,
        cid_index=session.paths.main.index,
        form=0,
        lead=b"".join(encode_frame(Ping(n)) for n in range(50)),
        datagram_bytes=1_400,
        n_max=1,
        random=bytes(sealer.dummy_bytes),
        out=out,
    )
    path = NetworkPath(pair.r.address, pair.i.address)
    pair.r.connection.receive_datagrams(bytes(out[:n_bytes]), n_bytes, path, pair.now)
    assert watch.oneshots == [encode_frame(Pong(0))]
