"""Leaves and parents of the ratchet tree, and what they are made of (RFC 9420 §5.3, §7.1, §7.2).

All values are frozen; a leaf keeps its encoding, because its signature and its hash are over those
bytes.

Spec: mls §5 [ML-10, ML-11].
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final

from wraith.mls.codec import MlsReader, opaque, optional, u8, u16, u32, u64, vector

VERSION_MLS10: Final = 1
_N_LIST_MAX: Final = 4096
_N_CERTIFICATES_MAX: Final = 16


class ExtensionType(IntEnum):
    """Extension types of RFC 9420 §17.3."""

    APPLICATION_ID = 1
    RATCHET_TREE = 2
    REQUIRED_CAPABILITIES = 3
    EXTERNAL_PUB = 4
    EXTERNAL_SENDERS = 5


#: Every implementation knows these; capabilities do not list them (RFC 9420 §7.2).
DEFAULT_EXTENSIONS: Final = frozenset(ExtensionType)
DEFAULT_PROPOSALS: Final = frozenset(range(1, 8))


@dataclass(frozen=True, slots=True)
class Extension:
    """``type`` as on the wire, known or not; ``data`` opaque."""

    type: int
    data: bytes

    def encode(self) -> bytes:
        return u16(self.type) + opaque(self.data)

    @classmethod
    def read(cls, reader: MlsReader) -> Extension:
        return cls(reader.u16("extension type"), reader.opaque("extension data"))


Extensions = tuple[Extension, ...]


def read_extensions(reader: MlsReader) -> Extensions:
    """``Extension extensions<V>``; a type that comes twice is refused. [ML-11]"""
    extensions = reader.vector(Extension.read, "extensions", _N_LIST_MAX)
    if len({extension.type for extension in extensions}) != len(extensions):
        raise reader.refuse("extensions")
    return extensions


def encode_extensions(extensions: Extensions) -> bytes:
    return vector(extension.encode() for extension in extensions)


def find_extension(extensions: Extensions, type_: int) -> bytes | None:
    for extension in extensions:
        if extension.type == type_:
            return extension.data
    return None


class CredentialType(IntEnum):
    BASIC = 1
    X509 = 2


@dataclass(frozen=True, slots=True)
class BasicCredential:
    """A bare assertion of an identity, which the application must check."""

    identity: bytes
    type = CredentialType.BASIC

    def encode(self) -> bytes:
        return u16(self.type) + opaque(self.identity)


@dataclass(frozen=True, slots=True)
class X509Credential:
    """A certificate chain, DER, the leaf's certificate first."""

    certificates: tuple[bytes, ...]
    type = CredentialType.X509

    def encode(self) -> bytes:
        return u16(self.type) + vector(opaque(der) for der in self.certificates)


@dataclass(frozen=True, slots=True)
class UnknownCredential:
    """Of a type not known here: decoded so that it can be refused by name."""

    type: int
    data: bytes

    def encode(self) -> bytes:
        return u16(self.type) + opaque(self.data)


Credential = BasicCredential | X509Credential | UnknownCredential


def read_credential(reader: MlsReader) -> Credential:
    type_ = reader.u16("credential type")
    if type_ == CredentialType.BASIC:
        return BasicCredential(reader.opaque("credential identity"))
    if type_ == CredentialType.X509:
        return X509Credential(
            reader.vector(
                lambda inner: inner.opaque("certificate"), "certificates", _N_CERTIFICATES_MAX
            )
        )
    return UnknownCredential(type_, reader.opaque("credential"))


def _numbers(reader: MlsReader, what: str) -> tuple[int, ...]:
    return reader.vector(lambda inner: inner.u16(what), what, _N_LIST_MAX)


def _encode_numbers(numbers: Iterable[int]) -> bytes:
    return vector(u16(number) for number in numbers)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The types that a client understands. Those that every client knows are not listed."""

    versions: tuple[int, ...] = (VERSION_MLS10,)
    cipher_suites: tuple[int, ...] = ()
    extensions: tuple[int, ...] = ()
    proposals: tuple[int, ...] = ()
    credentials: tuple[int, ...] = (CredentialType.BASIC,)

    def encode(self) -> bytes:
        return b"".join(
            map(
                _encode_numbers,
                (
                    self.versions,
                    self.cipher_suites,
                    self.extensions,
                    self.proposals,
                    self.credentials,
                ),
            )
        )

    @classmethod
    def read(cls, reader: MlsReader) -> Capabilities:
        return cls(
            _numbers(reader, "capabilities versions"),
            _numbers(reader, "capabilities cipher_suites"),
            _numbers(reader, "capabilities extensions"),
            _numbers(reader, "capabilities proposals"),
            _numbers(reader, "capabilities credentials"),
        )

    def has_extension(self, type_: int) -> bool:
        return type_ in DEFAULT_EXTENSIONS or type_ in self.extensions

    def has_proposal(self, type_: int) -> bool:
        return type_ in DEFAULT_PROPOSALS or type_ in self.proposals


@lru_cache(maxsize=64)
def _shared(capabilities: Capabilities) -> Capabilities:
    """One object for equal values: a thousand leaves seldom differ here."""
    return capabilities


@dataclass(frozen=True, slots=True)
class RequiredCapabilities:
    """The group context's extension 3: what each member must understand."""

    extensions: tuple[int, ...] = ()
    proposals: tuple[int, ...] = ()
    credentials: tuple[int, ...] = ()

    def encode(self) -> bytes:
        return (
            _encode_numbers(self.extensions)
            + _encode_numbers(self.proposals)
            + _encode_numbers(self.credentials)
        )

    @classmethod
    def read(cls, reader: MlsReader) -> RequiredCapabilities:
        return cls(
            _numbers(reader, "required extensions"),
            _numbers(reader, "required proposals"),
            _numbers(reader, "required credentials"),
        )

    def met_by(self, capabilities: Capabilities) -> bool:
        return (
            all(capabilities.has_extension(type_) for type_ in self.extensions)
            and all(capabilities.has_proposal(type_) for type_ in self.proposals)
            and all(type_ in capabilities.credentials for type_ in self.credentials)
        )


@dataclass(frozen=True, slots=True)
class ExternalSender:
    """One entry of the group context's extension 5: who may propose without being a member."""

    signature_key: bytes
    credential: Credential

    def encode(self) -> bytes:
        return opaque(self.signature_key) + self.credential.encode()

    @classmethod
    def read(cls, reader: MlsReader) -> ExternalSender:
        return cls(reader.opaque("external sender key"), read_credential(reader))


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Unix seconds. Adding and joining check them; a commit is never judged by a clock."""

    not_before: int
    not_after: int

    def encode(self) -> bytes:
        return u64(self.not_before) + u64(self.not_after)


class LeafNodeSource(IntEnum):
    KEY_PACKAGE = 1
    UPDATE = 2
    COMMIT = 3


@dataclass(frozen=True, slots=True, eq=False)
class LeafNode:
    """One member. ``raw`` is the whole encoding, the signature included.

    ``lifetime`` is there for a leaf out of a key package, ``parent_hash`` for one out of a commit.
    """

    encryption_key: bytes
    signature_key: bytes
    credential: Credential
    capabilities: Capabilities
    source: LeafNodeSource
    lifetime: Lifetime | None
    parent_hash: bytes | None
    extensions: Extensions
    signature: bytes
    raw: bytes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LeafNode) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def encode(self) -> bytes:
        return self.raw

    def to_be_signed(self, group_id: bytes, leaf: int) -> bytes:
        """``LeafNodeTBS``: for a leaf of a key package neither argument counts."""
        content = self.raw[: len(self.raw) - len(opaque(self.signature))]
        return content + leaf_binding(self.source, group_id, leaf)

    @classmethod
    def read(cls, reader: MlsReader) -> LeafNode:
        start = reader.offset
        encryption_key = reader.opaque("leaf encryption_key")
        signature_key = reader.opaque("leaf signature_key")
        credential = read_credential(reader)
        capabilities = _shared(Capabilities.read(reader))
        number = reader.u8("leaf source")
        lifetime = parent_hash = None
        if number == LeafNodeSource.KEY_PACKAGE:
            lifetime = Lifetime(reader.u64("not_before"), reader.u64("not_after"))
        elif number == LeafNodeSource.COMMIT:
            parent_hash = reader.opaque("leaf parent_hash")
        elif number != LeafNodeSource.UPDATE:
            raise reader.refuse("leaf source")
        extensions = read_extensions(reader)
        signature = reader.opaque("leaf signature")
        return cls(
            encryption_key,
            signature_key,
            credential,
            capabilities,
            LeafNodeSource(number),
            lifetime,
            parent_hash,
            extensions,
            signature,
            reader.since(start),
        )


def leaf_content(
    encryption_key: bytes,
    signature_key: bytes,
    credential: Credential,
    capabilities: Capabilities,
    source: LeafNodeSource,
    extensions: Extensions,
    lifetime: Lifetime | None = None,
    parent_hash: bytes | None = None,
) -> bytes:
    """A leaf's encoding without its signature."""
    selected = b""
    if source is LeafNodeSource.KEY_PACKAGE and lifetime is not None:
        selected = lifetime.encode()
    elif source is LeafNodeSource.COMMIT and parent_hash is not None:
        selected = opaque(parent_hash)
    return b"".join(
        (
            opaque(encryption_key),
            opaque(signature_key),
            credential.encode(),
            capabilities.encode(),
            u8(source),
            selected,
            encode_extensions(extensions),
        )
    )


def leaf_binding(source: LeafNodeSource, group_id: bytes, leaf: int) -> bytes:
    """The end of ``LeafNodeTBS``, after the content: the place in a group, once there is one."""
    if source is LeafNodeSource.KEY_PACKAGE:
        return b""
    return opaque(group_id) + u32(leaf)


@dataclass(frozen=True, slots=True)
class ParentNode:
    """``unmerged_leaves``: leaf indices, ascending, that do not know this node's private key."""

    encryption_key: bytes
    parent_hash: bytes
    unmerged_leaves: tuple[int, ...] = ()

    def encode(self) -> bytes:
        return (
            opaque(self.encryption_key)
            + opaque(self.parent_hash)
            + vector(map(u32, self.unmerged_leaves))
        )

    @classmethod
    def read(cls, reader: MlsReader) -> ParentNode:
        encryption_key = reader.opaque("parent encryption_key")
        parent_hash = reader.opaque("parent parent_hash")
        inner = reader.sub("unmerged_leaves")
        unmerged: list[int] = []
        while inner.remaining:
            leaf = inner.u32("unmerged_leaves")
            if unmerged and leaf <= unmerged[-1]:
                raise inner.refuse("unmerged_leaves")
            unmerged.append(leaf)
        return cls(encryption_key, parent_hash, tuple(unmerged))


Node = LeafNode | ParentNode

_LEAF, _PARENT = 1, 2


def read_node(reader: MlsReader) -> Node | None:
    """``optional<Node>``."""
    if not reader.present("node"):
        return None
    type_ = reader.u8("node type")
    if type_ == _LEAF:
        return LeafNode.read(reader)
    if type_ == _PARENT:
        return ParentNode.read(reader)
    raise reader.refuse("node type")


def encode_node(node: Node | None) -> bytes:
    if node is None:
        return b"\0"
    return optional(u8(_LEAF if isinstance(node, LeafNode) else _PARENT) + node.encode())
