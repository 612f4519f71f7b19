"""PeerIds, base58, host keys and multiaddrs: round trips and refusals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.errors import DecodeError
from wraith.libp2p.multiaddr import Multiaddr, literal_address, quic_multiaddr
from wraith.libp2p.peer_id import (
    HostKeyType,
    HostPublicKey,
    PeerId,
    decode_base58,
    encode_base58,
)
from wraith.types import Address

KEY = HostPublicKey(HostKeyType.ED25519, bytes(range(32)))
PEER = PeerId.from_public_key(KEY)


@given(st.binary(max_size=64))
def test_base58_round_trip(data: bytes) -> None:
    assert decode_base58(encode_base58(data)) == data


@pytest.mark.parametrize("text", ["0", "O", "I", "l", "1 1", "é"])
def test_base58_refuses_other_characters(text: str) -> None:
    with pytest.raises(DecodeError):
        decode_base58(text)


def test_ed25519_peer_id_contains_its_key() -> None:
    assert PEER.inline_key == KEY
    assert PeerId.parse(str(PEER)) == PeerId.parse(PEER.to_cid()) == PEER


@pytest.mark.spec("LQ-1")
def test_long_keys_are_hashed() -> None:
    peer = PeerId.from_public_key(HostPublicKey(HostKeyType.RSA, bytes(270)))
    assert peer.multihash[:2] == b"\x12\x20" and peer.inline_key is None
    assert str(peer).startswith("Qm")


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        KEY.encode()[:-1],
        KEY.encode() + b"\x00",
        b"\x08\x09" + KEY.encode()[2:],  # unknown key type
        KEY.encode()[2:] + KEY.encode()[:2],  # fields in the other order
        b"\x08\x81\x00" + KEY.encode()[2:],  # padded varint: a second encoding of one key
        b"\x08\x01\x12\x1f" + bytes(31),
        bytes(4096),
    ],
)
@pytest.mark.spec("LQ-2")
def test_host_key_has_one_encoding(encoded: bytes) -> None:
    with pytest.raises(DecodeError):
        HostPublicKey.decode(encoded)


@pytest.mark.parametrize(
    "multihash",
    [
        b"",
        b"\x00",
        b"\x00\x24" + bytes(35),
        b"\x00\x24" + bytes(36),
        b"\x12\x20" + bytes(31),
        b"\x13\x20" + bytes(32),
        PEER.multihash + b"\x00",
    ],
)
def test_peer_id_refuses_other_multihashes(multihash: bytes) -> None:
    with pytest.raises(DecodeError):
        PeerId.decode(multihash)


@pytest.mark.parametrize("text", ["", "x", "Qm", "1", "z", "b", "12D3KooW", "b" + "a" * 200])
def test_peer_id_refuses_other_texts(text: str) -> None:
    with pytest.raises(DecodeError):
        PeerId.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        f"/ip4/192.0.2.7/udp/4001/quic-v1/p2p/{PEER}",
        "/ip6/2001:db8::1/udp/0/quic-v1",
        "/dns4/node.example/udp/4001/quic-v1",
        "/ip4/127.0.0.1/tcp/4001/ws",
        f"/ip4/192.0.2.7/udp/4001/quic-v1/webtransport/certhash/uEiAkH5a4DPGKUuOBjYw0CgwjvcJCJMD2K_1aluKR_tpevQ/p2p/{PEER}",
        f"/ip4/192.0.2.7/udp/4001/quic-v1/p2p/{PEER}/p2p-circuit",
    ],
)
@pytest.mark.spec("LQ-3")
def test_multiaddr_round_trips(text: str) -> None:
    address = Multiaddr.parse(text)
    assert str(address) == text
    assert Multiaddr.decode(address.encode()) == address


@pytest.mark.spec("LQ-3")
def test_multiaddr_is_canonical() -> None:
    long = Multiaddr.parse(f"/ip6/2001:0db8:0:0::1/udp/1/quic-v1/ipfs/{PEER}/")
    assert str(long) == f"/ip6/2001:db8::1/udp/1/quic-v1/p2p/{PEER}"
    assert long.peer_id == PEER


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "ip4/1.2.3.4",
        "/ip4",
        "/ip4/1.2.3",
        "/ip4/1.2.3.4/udp/65536",
        "/ip4/1.2.3.4/udp/-1",
        "/ip4/1.2.3.4/udp/01",
        "/foo/1",
        "/p2p/12D3Koo",
        "/ip6/::g",
        "/quic-v1" * 17,
        "/" + "a" * 2000,
    ],
)
def test_multiaddr_refuses_other_texts(text: str) -> None:
    with pytest.raises(DecodeError):
        Multiaddr.parse(text)


@given(st.binary(max_size=80))
def test_multiaddr_decode_is_total(data: bytes) -> None:
    try:
        address = Multiaddr.decode(data)
    except DecodeError:
        return
    assert Multiaddr.decode(address.encode()) == address


def test_only_quic_v1_is_dialled() -> None:
    good = Multiaddr.parse("/ip4/192.0.2.7/udp/4001/quic-v1")
    assert literal_address(good) == Address(bytes((192, 0, 2, 7)), 4001)
    assert quic_multiaddr(Address(bytes((192, 0, 2, 7)), 4001)) == good
    assert good.with_peer(PEER).with_peer(PEER).peer_id == PEER
    assert literal_address(Multiaddr.parse("/dns/a.example/udp/1/quic-v1")) is None
    for text in ("/ip4/1.2.3.4/tcp/1", "/ip4/1.2.3.4/udp/1/quic", f"/p2p/{PEER}", "/ip4/1.2.3.4"):
        with pytest.raises(DecodeError):
            literal_address(Multiaddr.parse(text))
