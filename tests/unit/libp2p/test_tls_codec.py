"""The TLS codec's laws on real messages: round trips, truncations, bounds, and the fuzz corpus."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.errors import DecodeError
from wraith.libp2p.config import PqPolicy
from wraith.libp2p.tls import codec
from wraith.libp2p.tls.codec import HandshakeType
from wraith.testing.quic_link import TlsPair
from wraith.testing.tls_fuzz import decode_anything

CORPUS = Path(__file__).parents[2] / "fuzz" / "corpus" / "tls_codec"

DECODERS: dict[HandshakeType, Callable[[bytes], Any]] = {
    HandshakeType.CLIENT_HELLO: codec.ClientHello.decode,
    HandshakeType.SERVER_HELLO: codec.ServerHello.decode,
    HandshakeType.ENCRYPTED_EXTENSIONS: codec.EncryptedExtensions.decode,
    HandshakeType.CERTIFICATE_REQUEST: codec.CertificateRequest.decode,
    HandshakeType.CERTIFICATE: codec.Certificate.decode,
    HandshakeType.CERTIFICATE_VERIFY: codec.CertificateVerify.decode,
    HandshakeType.FINISHED: lambda message: codec.Finished.decode(message, 32),
    HandshakeType.NEW_SESSION_TICKET: codec.NewSessionTicket.decode,
}


def sample_messages() -> list[bytes]:
    pair = TlsPair(PqPolicy.PREFER).run()
    ticket = codec.NewSessionTicket(7200, 5, b"\x00", b"ticket", ((42, b"\xff" * 4),)).encode()
    return [message for _, _, message in pair.moved] + [ticket]


SAMPLES = sample_messages()


def test_samples_cover_every_message() -> None:
    assert {message[0] for message in SAMPLES} == set(DECODERS)


@pytest.mark.spec("LQ-10")
@pytest.mark.parametrize("message", SAMPLES, ids=lambda m: HandshakeType(m[0]).name)
def test_round_trip(message: bytes) -> None:
    assert DECODERS[HandshakeType(message[0])](message).encode() == message


@pytest.mark.parametrize("message", SAMPLES, ids=lambda m: HandshakeType(m[0]).name)
def test_every_truncation_and_extension_is_refused(message: bytes) -> None:
    decode = DECODERS[HandshakeType(message[0])]
    body = message[4:]
    for n in [*range(min(len(body), 200)), len(body) - 1]:
        with pytest.raises(DecodeError):
            decode(message[:n])
        with pytest.raises(DecodeError):
            decode(codec.encode_message(HandshakeType(message[0]), body[:n]))
    with pytest.raises(DecodeError):
        decode(codec.encode_message(HandshakeType(message[0]), body + b"\x00"))


@pytest.mark.parametrize("message", SAMPLES, ids=lambda m: HandshakeType(m[0]).name)
def test_what_decodes_encodes_to_itself(message: bytes) -> None:
    decode = DECODERS[HandshakeType(message[0])]
    for position in range(4, min(len(message), 300)):
        changed = bytearray(message)
        changed[position] ^= 0x55
        try:
            value = decode(bytes(changed))
        except DecodeError:
            continue
        assert value.encode() == changed


@pytest.mark.spec("LQ-10")
def test_duplicate_extensions_are_refused() -> None:
    hello = codec.EncryptedExtensions(((16, b"a"), (16, b"b")))
    with pytest.raises(DecodeError):
        codec.EncryptedExtensions.decode(hello.encode())


def test_pre_shared_key_must_be_last() -> None:
    hello = codec.ClientHello(bytes(32), b"", (0x1301,), ((41, b""), (43, b"")))
    with pytest.raises(DecodeError, match="pre_shared_key"):
        codec.ClientHello.decode(hello.encode())


def test_length_is_bounded_from_the_header_on() -> None:
    limit = codec.BODY_BYTES_MAX
    assert codec.next_message_bytes(b"\x01" + limit.to_bytes(3, "big")) is None
    with pytest.raises(DecodeError):
        codec.next_message_bytes(b"\x01" + (limit + 1).to_bytes(3, "big"))
    assert codec.next_message_bytes(b"\x01\x00\x00") is None
    assert codec.next_message_bytes(b"\x14\x00\x00\x01\xaa\xbb") == 5


def test_number_of_extensions_is_bounded() -> None:
    many = tuple((number, b"") for number in range(codec.EXTENSIONS_MAX + 1))
    with pytest.raises(DecodeError):
        codec.EncryptedExtensions.decode(codec.EncryptedExtensions(many).encode())
    codec.EncryptedExtensions.decode(codec.EncryptedExtensions(many[1:]).encode())


@pytest.mark.parametrize(
    ("read", "body"),
    [
        (codec.read_alpn, b""),
        (codec.read_alpn, b"\x00\x00"),
        (codec.read_alpn, b"\x00\x01\x00"),
        (codec.read_cookie, b"\x00\x00"),
        (codec.read_client_shares, b"\x00\x05\x00\x1d\x00\x01"),
        (codec.read_client_shares, b"\x00\x0a" + b"\x00\x1d\x00\x01a" * 2),
        (codec.read_server_share, b"\x00\x1d\x00\x00"),
        (lambda body: codec.read_u16_list(body, "groups"), b"\x00\x03\x00\x1d\x00"),
        (lambda body: codec.read_u16_list(body, "groups"), b"\x00\x00"),
    ],
)
def test_extension_bodies_are_strict(read: Callable[[bytes], object], body: bytes) -> None:
    with pytest.raises(DecodeError):
        read(body)


@given(st.binary(max_size=300))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    decode_anything(data)


def test_fuzz_corpus_is_replayed() -> None:
    files = sorted(CORPUS.iterdir())
    assert len(files) >= 20, "the committed corpus is part of the tests"
    for file in files:
        decode_anything(file.read_bytes())
