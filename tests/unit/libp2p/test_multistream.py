"""multistream-select, identify and ping: pure halves talking to each other and to bad peers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.errors import DecodeError, RemoteProtocolError
from wraith.libp2p import identify, ping
from wraith.libp2p.identify import IdentifyInfo
from wraith.libp2p.multiaddr import Multiaddr
from wraith.libp2p.multistream import (
    HEADER,
    PROPOSALS_MAX,
    MultistreamInitiator,
    MultistreamResponder,
    encode_message,
)
from wraith.libp2p.peer_id import HostKeyType, HostPublicKey, PeerId
from wraith.libp2p.protobuf import encode_bytes_field, encode_varint_field
from wraith.libp2p.reader import Libp2pReader, encode_uvarint
from wraith.testing.rng import SeededRng

KEY = HostPublicKey(HostKeyType.ED25519, bytes(32))


def negotiate(
    initiator: MultistreamInitiator, responder: MultistreamResponder, step: int = 1000
) -> None:
    while True:
        out, back = initiator.bytes_to_send(), responder.bytes_to_send()
        if not out and not back:
            return
        for start in range(0, len(out), step):
            responder.receive(out[start : start + step])
        for start in range(0, len(back), step):
            initiator.receive(back[start : start + step])


@pytest.mark.parametrize("step", [1, 7, 1000])
@pytest.mark.spec("LQ-60")
def test_agreement_on_the_first_common_protocol(step: int) -> None:
    initiator = MultistreamInitiator(["/a/1", "/b/1", "/c/1"])
    responder = MultistreamResponder({"/b/1", "/c/1"})
    negotiate(initiator, responder, step)
    assert initiator.chosen == responder.chosen == "/b/1"


def test_an_accepted_first_choice_costs_one_round_trip() -> None:
    initiator, responder = MultistreamInitiator(["/a/1"]), MultistreamResponder({"/a/1"})
    responder.receive(initiator.bytes_to_send())
    assert responder.chosen == "/a/1"
    initiator.receive(responder.bytes_to_send() + b"data at once")
    assert initiator.chosen == "/a/1" and initiator.rest == b"data at once"


def test_bytes_after_the_negotiation_are_handed_back() -> None:
    responder = MultistreamResponder({"/a/1"})
    responder.receive(encode_message(HEADER) + encode_message("/a/1") + b"early")
    assert responder.rest == b"early"


def test_no_common_protocol() -> None:
    initiator, responder = MultistreamInitiator(["/a/1", "/b/1"]), MultistreamResponder({"/c/1"})
    with pytest.raises(RemoteProtocolError, match="none of /a/1, /b/1"):
        negotiate(initiator, responder)


@pytest.mark.parametrize(
    "data",
    [
        b"\x00",
        b"\x80\x80\x80\x01",
        b"\xff\x7f",
        b"\x05hello",
        b"\x03\xff\xfe\n",
        b"\x04a\nb\n",
        b"\x80\x00",
    ],
)
def test_malformed_messages(data: bytes) -> None:
    for machine in (MultistreamResponder({"/a/1"}), MultistreamInitiator(["/a/1"])):
        with pytest.raises((DecodeError, RemoteProtocolError)):
            machine.receive(data)


def test_another_header_or_answer_is_refused() -> None:
    for data in (
        encode_message("/multistream/2.0.0"),
        encode_message(HEADER) + encode_message("/z"),
    ):
        with pytest.raises(RemoteProtocolError):
            MultistreamInitiator(["/a/1"]).receive(data)
    with pytest.raises(RemoteProtocolError):
        MultistreamResponder({"/a/1"}).receive(encode_message("/a/1"))


def test_proposals_are_bounded() -> None:
    responder = MultistreamResponder({"/a/1"})
    with pytest.raises(RemoteProtocolError, match="too many"):
        responder.receive(encode_message(HEADER) + encode_message("/b/1") * (PROPOSALS_MAX + 1))


@pytest.mark.spec("LQ-60")
@pytest.mark.parametrize("body", [b"/a/1\n/b/1\n", b"\n\n", b"/a/1", b"/a/1\r"])
def test_a_message_is_one_line_with_its_end(body: bytes) -> None:
    """A name with a newline inside would be two names to whoever logs or splits it."""
    data = encode_message(HEADER) + encode_uvarint(len(body)) + body
    for machine in (MultistreamResponder({"/a/1", "/a/1\n/b/1"}), MultistreamInitiator(["/a/1"])):
        with pytest.raises(DecodeError):
            machine.receive(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_a_documented_error(data: bytes) -> None:
    for machine in (MultistreamResponder({"/a/1"}), MultistreamInitiator(["/a/1"])):
        try:
            machine.receive(data)
        except RemoteProtocolError:
            continue


def full_info() -> IdentifyInfo:
    return IdentifyInfo(
        public_key=KEY,
        listen_addresses=(Multiaddr.parse("/ip4/192.0.2.1/udp/4001/quic-v1"),),
        protocols=("/ipfs/ping/1.0.0", "/wraith/echo/1.0.0"),
        observed_address=Multiaddr.parse("/ip4/198.51.100.3/udp/999/quic-v1"),
        protocol_version="wraith/2",
        agent_version="test",
    )


def test_identify_round_trip_and_truncation() -> None:
    encoded = full_info().encode()
    assert IdentifyInfo.decode(encoded) == full_info()
    for n in range(len(encoded)):
        with pytest.raises(DecodeError):
            IdentifyInfo.decode(encoded[:n])


def message(body: bytes) -> bytes:
    return encode_uvarint(len(body)) + body


@pytest.mark.spec("LQ-61")
def test_identify_in_several_messages_is_one() -> None:
    """go-libp2p sends what exceeds 2 KiB as two messages; here cut at every byte of the way."""
    info = full_info()
    protocols = tuple(f"/extra/{n}/1.0.0" for n in range(100))
    data = info.encode() + message(
        b"".join(encode_bytes_field(3, name.encode()) for name in protocols)
        + encode_bytes_field(6, b"later")
        + encode_bytes_field(8, bytes(400))
    )
    found = IdentifyInfo.decode(data)
    assert found.protocols == info.protocols + protocols
    assert found.public_key == KEY and found.agent_version == "later"
    for cut in range(len(data)):
        reader = identify.IdentifyReader()
        reader.feed(data[:cut])
        assert reader.is_whole == (cut == len(info.encode()))
        reader.feed(data[cut:])
        assert reader.finish() == found


@pytest.mark.spec("LQ-61")
def test_identify_of_many_protocols_is_sent_in_messages_that_every_peer_reads() -> None:
    names = tuple(f"/a/protocol/with/a/long/name/{n}/1.0.0" for n in range(1000))
    info = replace(full_info(), protocols=names)
    data, sizes = info.encode(), []
    while data:
        reader = Libp2pReader(data, "test")
        sizes.append(reader.uvarint())
        reader.take(sizes[-1])
        data = data[len(data) - reader.remaining :]
    assert len(sizes) <= 10 and max(sizes) <= 4096
    found = IdentifyInfo.decode(info.encode())
    assert len(found.protocols) > 800 and found.protocols == names[: len(found.protocols)]
    assert replace(found, protocols=()) == replace(info, protocols=())


@pytest.mark.spec("LQ-61")
def test_identify_takes_ten_messages_and_no_eleventh() -> None:
    one = message(encode_bytes_field(3, b"/a/1"))
    assert len(IdentifyInfo.decode(10 * one).protocols) == 10
    with pytest.raises(DecodeError):
        IdentifyInfo.decode(11 * one)


@pytest.mark.spec("LQ-61")
def test_identify_with_two_keys_is_refused() -> None:
    """A later message cannot put another key behind the one that was checked."""
    other = HostPublicKey(HostKeyType.ED25519, b"\x01" * 32)
    both = [message(encode_bytes_field(1, key.encode())) for key in (KEY, other)]
    assert IdentifyInfo.decode(both[0] + both[0]).public_key == KEY
    with pytest.raises(DecodeError):
        IdentifyInfo.decode(both[1] + both[0])


@pytest.mark.spec("LQ-61")
def test_identify_names_the_connection_s_key() -> None:
    info = full_info()
    info.check_peer(PeerId.from_public_key(KEY))
    with pytest.raises(RemoteProtocolError):
        info.check_peer(PeerId.from_public_key(HostPublicKey(HostKeyType.ED25519, b"\x01" * 32)))


def test_identify_ignores_what_it_does_not_know_and_cleans_texts() -> None:
    body = encode_varint_field(77, 5) + encode_bytes_field(2, b"\xff\xff\x03")
    body += encode_bytes_field(6, b"evil\x1b[2J\n" + b"x" * 500)
    info = IdentifyInfo.decode(bytes((len(body) & 0x7F | 0x80, len(body) >> 7)) + body)
    assert info.listen_addresses == () and info.public_key is None
    assert "\x1b" not in info.agent_version and len(info.agent_version) <= 256


@pytest.mark.parametrize(
    "data", [b"\xff\xff\x7f", b"\x02\x08\x80", b"\x02\x0b\x00", b"\x03\x0a\x05a"]
)
def test_identify_refuses(data: bytes) -> None:
    with pytest.raises(DecodeError):
        IdentifyInfo.decode(data)


@pytest.mark.spec("LQ-62")
def test_ping_payloads_are_fresh_and_checked() -> None:
    rng = SeededRng("ping")
    first, second = ping.make_payload(rng), ping.make_payload(rng)
    assert first != second and len(first) == 32
    ping.check_answer(first, first)
    with pytest.raises(RemoteProtocolError):
        ping.check_answer(first, second)
