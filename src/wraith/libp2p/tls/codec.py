"""Strict, bounded codec of the TLS 1.3 handshake messages that this engine sends and reads.

Must not hold keys or decide anything. A message keeps its extensions as ``(type, body)`` in order,
so that ``encode(decode(b)) == b`` for every accepted ``b``, including what we do not understand.
Every decoder is total: a value or :class:`wraith.errors.DecodeError`.

====== ===== =====================================
offset bytes handshake message
====== ===== =====================================
0      1     type
1      3     length n of the body, big endian
4      n     body
====== ===== =====================================

Spec: libp2p-quic [LQ-10]; RFC 8446 §4, appendix B.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from wraith.errors import DecodeError
from wraith.libp2p.reader import Libp2pReader, prefixed

TLS_1_2, TLS_1_3 = 0x0303, 0x0304
HEADER_BYTES = 4
BODY_BYTES_MAX = 32 * 1024
"""Longest body that is accepted. Real flights stay below 5 KiB; a QUIC library may buffer more."""
EXTENSIONS_MAX = 64
LIST_ITEMS_MAX = 512
RANDOM_BYTES = 32

HELLO_RETRY_RANDOM = bytes.fromhex(
    "cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c"
)
"""SHA-256("HelloRetryRequest"): the random that turns a ServerHello into one (RFC 8446 §4.1.3)."""


class HandshakeType(IntEnum):
    CLIENT_HELLO = 1
    SERVER_HELLO = 2
    NEW_SESSION_TICKET = 4
    END_OF_EARLY_DATA = 5
    ENCRYPTED_EXTENSIONS = 8
    CERTIFICATE = 11
    CERTIFICATE_REQUEST = 13
    CERTIFICATE_VERIFY = 15
    FINISHED = 20
    KEY_UPDATE = 24
    MESSAGE_HASH = 254


class ExtensionType(IntEnum):
    SERVER_NAME = 0
    STATUS_REQUEST = 5
    SUPPORTED_GROUPS = 10
    SIGNATURE_ALGORITHMS = 13
    ALPN = 16
    SIGNED_CERTIFICATE_TIMESTAMP = 18
    PADDING = 21
    PRE_SHARED_KEY = 41
    EARLY_DATA = 42
    SUPPORTED_VERSIONS = 43
    COOKIE = 44
    PSK_KEY_EXCHANGE_MODES = 45
    CERTIFICATE_AUTHORITIES = 47
    OID_FILTERS = 48
    SIGNATURE_ALGORITHMS_CERT = 50
    KEY_SHARE = 51
    QUIC_TRANSPORT_PARAMETERS = 57
    RENEGOTIATION_INFO = 0xFF01


class CipherSuite(IntEnum):
    AES_128_GCM_SHA256 = 0x1301
    AES_256_GCM_SHA384 = 0x1302
    CHACHA20_POLY1305_SHA256 = 0x1303


class SignatureScheme(IntEnum):
    ECDSA_SECP256R1_SHA256 = 0x0403
    RSA_PSS_RSAE_SHA256 = 0x0804
    RSA_PSS_RSAE_SHA384 = 0x0805
    RSA_PSS_RSAE_SHA512 = 0x0806
    ED25519 = 0x0807


Extension = tuple[int, bytes]
Extensions = tuple[Extension, ...]


def find_extension(extensions: Extensions, extension_type: int) -> bytes | None:
    return next((body for kind, body in extensions if kind == extension_type), None)


def encode_message(kind: HandshakeType, body: bytes) -> bytes:
    return bytes((kind,)) + prefixed(3, body)


def next_message_bytes(buffer: bytes | bytearray) -> int | None:
    """Length of the first whole message in ``buffer``, ``None`` while it is incomplete.

    Raises :class:`DecodeError` as soon as the header announces more than ``BODY_BYTES_MAX``.
    """
    if len(buffer) < HEADER_BYTES:
        return None
    length = int.from_bytes(buffer[1:4], "big")
    if length > BODY_BYTES_MAX:
        raise DecodeError("handshake message length", 1)
    total = HEADER_BYTES + length
    return total if len(buffer) >= total else None


def open_message(message: bytes, kind: HandshakeType) -> Libp2pReader:
    """A reader over the body of a whole message of the expected type."""
    reader = Libp2pReader(message, kind.name.lower())
    if reader.u8() != kind or reader.uint(3) != reader.remaining:
        raise reader.error()
    return reader


def _read_extensions(reader: Libp2pReader, prefix_optional: bool = False) -> Extensions:
    if prefix_optional and reader.at_end:
        return ()
    block = reader.sub(2, f"{reader.what} extensions")
    found: list[Extension] = []
    seen: set[int] = set()
    while not block.at_end:
        kind = block.u16()
        if kind in seen or len(found) >= EXTENSIONS_MAX:
            raise block.error()
        seen.add(kind)
        found.append((kind, block.part(2)))
    return tuple(found)


def _write_extensions(extensions: Extensions) -> bytes:
    return prefixed(2, b"".join(kind.to_bytes(2, "big") + prefixed(2, b) for kind, b in extensions))


def read_u16_list(body: bytes, what: str, n_prefix: int = 2) -> tuple[int, ...]:
    """A non-empty list of u16, filling ``body`` exactly."""
    reader = Libp2pReader(body, what)
    items = reader.sub(n_prefix, what, low=2)
    reader.end()
    found: list[int] = []
    while not items.at_end:
        if len(found) >= LIST_ITEMS_MAX:
            raise items.error()
        found.append(items.u16())
    return tuple(found)


def write_u16_list(items: tuple[int, ...], n_prefix: int = 2) -> bytes:
    return prefixed(n_prefix, b"".join(item.to_bytes(2, "big") for item in items))


@dataclass(frozen=True, slots=True)
class ClientHello:
    random: bytes
    session_id: bytes
    cipher_suites: tuple[int, ...]
    extensions: Extensions

    def encode(self) -> bytes:
        return encode_message(
            HandshakeType.CLIENT_HELLO,
            TLS_1_2.to_bytes(2, "big")
            + self.random
            + prefixed(1, self.session_id)
            + write_u16_list(self.cipher_suites)
            + b"\x01\x00"
            + _write_extensions(self.extensions),
        )

    @classmethod
    def decode(cls, message: bytes) -> ClientHello:
        reader = open_message(message, HandshakeType.CLIENT_HELLO)
        if reader.u16() != TLS_1_2:
            raise reader.error()
        random = reader.take(RANDOM_BYTES)
        session_id = reader.part(1, high=32)
        suites = reader.sub(2, "cipher suites", low=2)
        cipher_suites: list[int] = []
        while not suites.at_end:
            if len(cipher_suites) >= LIST_ITEMS_MAX:
                raise suites.error()
            cipher_suites.append(suites.u16())
        if reader.part(1) != b"\x00":
            raise reader.error()
        extensions = _read_extensions(reader)
        reader.end()
        kinds = [kind for kind, _ in extensions]
        if ExtensionType.PRE_SHARED_KEY in kinds[:-1]:
            raise DecodeError("pre_shared_key that is not the last extension")
        return cls(random, session_id, tuple(cipher_suites), extensions)


@dataclass(frozen=True, slots=True)
class ServerHello:
    """A ServerHello, or a HelloRetryRequest when ``random`` is the reserved value."""

    random: bytes
    session_id: bytes
    cipher_suite: int
    extensions: Extensions

    @property
    def is_retry_request(self) -> bool:
        return self.random == HELLO_RETRY_RANDOM

    def encode(self) -> bytes:
        return encode_message(
            HandshakeType.SERVER_HELLO,
            TLS_1_2.to_bytes(2, "big")
            + self.random
            + prefixed(1, self.session_id)
            + self.cipher_suite.to_bytes(2, "big")
            + b"\x00"
            + _write_extensions(self.extensions),
        )

    @classmethod
    def decode(cls, message: bytes) -> ServerHello:
        reader = open_message(message, HandshakeType.SERVER_HELLO)
        if reader.u16() != TLS_1_2:
            raise reader.error()
        random = reader.take(RANDOM_BYTES)
        session_id = reader.part(1, high=32)
        cipher_suite = reader.u16()
        if reader.u8() != 0:
            raise reader.error()
        extensions = _read_extensions(reader)
        reader.end()
        return cls(random, session_id, cipher_suite, extensions)


@dataclass(frozen=True, slots=True)
class EncryptedExtensions:
    extensions: Extensions

    def encode(self) -> bytes:
        body = _write_extensions(self.extensions)
        return encode_message(HandshakeType.ENCRYPTED_EXTENSIONS, body)

    @classmethod
    def decode(cls, message: bytes) -> EncryptedExtensions:
        reader = open_message(message, HandshakeType.ENCRYPTED_EXTENSIONS)
        extensions = _read_extensions(reader)
        reader.end()
        return cls(extensions)


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    context: bytes
    extensions: Extensions

    def encode(self) -> bytes:
        return encode_message(
            HandshakeType.CERTIFICATE_REQUEST,
            prefixed(1, self.context) + _write_extensions(self.extensions),
        )

    @classmethod
    def decode(cls, message: bytes) -> CertificateRequest:
        reader = open_message(message, HandshakeType.CERTIFICATE_REQUEST)
        context = reader.part(1)
        extensions = _read_extensions(reader)
        reader.end()
        return cls(context, extensions)


@dataclass(frozen=True, slots=True)
class Certificate:
    """``entries`` are ``(DER certificate, extensions)``, the end entity first."""

    context: bytes
    entries: tuple[tuple[bytes, Extensions], ...]

    def encode(self) -> bytes:
        entries = b"".join(prefixed(3, der) + _write_extensions(e) for der, e in self.entries)
        return encode_message(
            HandshakeType.CERTIFICATE, prefixed(1, self.context) + prefixed(3, entries)
        )

    @classmethod
    def decode(cls, message: bytes) -> Certificate:
        reader = open_message(message, HandshakeType.CERTIFICATE)
        context = reader.part(1)
        block = reader.sub(3, "certificate list")
        reader.end()
        entries: list[tuple[bytes, Extensions]] = []
        while not block.at_end:
            if len(entries) >= 16:
                raise block.error()
            entries.append((block.part(3, low=1), _read_extensions(block)))
        return cls(context, tuple(entries))


@dataclass(frozen=True, slots=True)
class CertificateVerify:
    scheme: int
    signature: bytes

    def encode(self) -> bytes:
        return encode_message(
            HandshakeType.CERTIFICATE_VERIFY,
            self.scheme.to_bytes(2, "big") + prefixed(2, self.signature),
        )

    @classmethod
    def decode(cls, message: bytes) -> CertificateVerify:
        reader = open_message(message, HandshakeType.CERTIFICATE_VERIFY)
        scheme = reader.u16()
        signature = reader.part(2)
        reader.end()
        return cls(scheme, signature)


@dataclass(frozen=True, slots=True)
class Finished:
    verify_data: bytes

    def encode(self) -> bytes:
        return encode_message(HandshakeType.FINISHED, self.verify_data)

    @classmethod
    def decode(cls, message: bytes, n_bytes: int) -> Finished:
        """``n_bytes`` is the hash length of the negotiated suite (32 or 48)."""
        reader = open_message(message, HandshakeType.FINISHED)
        verify_data = reader.take(n_bytes)
        reader.end()
        return cls(verify_data)


@dataclass(frozen=True, slots=True)
class NewSessionTicket:
    """Read only to be dropped: nothing in this engine resumes. Shape checked all the same."""

    lifetime_s: int
    age_add: int
    nonce: bytes
    ticket: bytes
    extensions: Extensions

    def encode(self) -> bytes:
        return encode_message(
            HandshakeType.NEW_SESSION_TICKET,
            self.lifetime_s.to_bytes(4, "big")
            + self.age_add.to_bytes(4, "big")
            + prefixed(1, self.nonce)
            + prefixed(2, self.ticket)
            + _write_extensions(self.extensions),
        )

    @classmethod
    def decode(cls, message: bytes) -> NewSessionTicket:
        reader = open_message(message, HandshakeType.NEW_SESSION_TICKET)
        lifetime_s, age_add = reader.uint(4), reader.uint(4)
        nonce = reader.part(1)
        ticket = reader.part(2, low=1)
        extensions = _read_extensions(reader)
        reader.end()
        return cls(lifetime_s, age_add, nonce, ticket, extensions)


# Bodies of extensions -----------------------------------------------------------------------------


KeyShare = tuple[int, bytes]


def read_client_shares(body: bytes) -> tuple[KeyShare, ...]:
    """``key_share`` of a ClientHello; may be empty (it asks for a HelloRetryRequest)."""
    reader = Libp2pReader(body, "key_share")
    block = reader.sub(2, "key_share")
    reader.end()
    found: list[KeyShare] = []
    while not block.at_end:
        group = block.u16()
        if any(group == known for known, _ in found) or len(found) >= EXTENSIONS_MAX:
            raise block.error()
        found.append((group, block.part(2, low=1)))
    return tuple(found)


def write_client_shares(shares: tuple[KeyShare, ...]) -> bytes:
    return prefixed(2, b"".join(group.to_bytes(2, "big") + prefixed(2, s) for group, s in shares))


def read_server_share(body: bytes) -> KeyShare:
    reader = Libp2pReader(body, "key_share")
    share = (reader.u16(), reader.part(2, low=1))
    reader.end()
    return share


def write_server_share(share: KeyShare) -> bytes:
    return share[0].to_bytes(2, "big") + prefixed(2, share[1])


def read_u16(body: bytes, what: str) -> int:
    """``supported_versions`` of a server, ``key_share`` of a HelloRetryRequest."""
    reader = Libp2pReader(body, what)
    value = reader.u16()
    reader.end()
    return value


def read_alpn(body: bytes) -> tuple[bytes, ...]:
    reader = Libp2pReader(body, "alpn")
    block = reader.sub(2, "alpn", low=2)
    reader.end()
    names: list[bytes] = []
    while not block.at_end:
        if len(names) >= LIST_ITEMS_MAX:
            raise block.error()
        names.append(block.part(1, low=1))
    return tuple(names)


def write_alpn(names: tuple[bytes, ...]) -> bytes:
    return prefixed(2, b"".join(prefixed(1, name) for name in names))


def read_cookie(body: bytes) -> bytes:
    reader = Libp2pReader(body, "cookie")
    cookie = reader.part(2, low=1)
    reader.end()
    return cookie


def write_cookie(cookie: bytes) -> bytes:
    return prefixed(2, cookie)
