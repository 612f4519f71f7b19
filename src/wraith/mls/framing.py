"""Messages: framing, signing, membership tags, sealing (RFC 9420 §6).

A handshake message travels as a ``PublicMessage`` (signed, and tagged by members) or, like every
application message, as a ``PrivateMessage`` (sealed under a key of the secret tree, its sender
under the sender data key, padded with zeros).

Spec: mls §12 [ML-32, ML-33, ML-34, ML-35, ML-36].
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from wraith.crypto.secret import Secret
from wraith.errors import DecryptError, LocalProtocolError
from wraith.mls.codec import MlsReader, opaque, u8, u16, u32, u64
from wraith.mls.nodes import VERSION_MLS10
from wraith.mls.proposals import Commit, Proposal, read_proposal
from wraith.mls.secret_tree import RatchetKind, SecretTree, Step
from wraith.mls.signing import Signer
from wraith.mls.suites import CipherSuite

_SIGN_LABEL: Final = b"FramedContentTBS"
_REUSE_GUARD_BYTES: Final = 4


class WireFormat(IntEnum):
    PUBLIC_MESSAGE = 1
    PRIVATE_MESSAGE = 2
    WELCOME = 3
    GROUP_INFO = 4
    KEY_PACKAGE = 5


class ContentType(IntEnum):
    APPLICATION = 1
    PROPOSAL = 2
    COMMIT = 3


class SenderType(IntEnum):
    MEMBER = 1
    EXTERNAL = 2
    NEW_MEMBER_PROPOSAL = 3
    NEW_MEMBER_COMMIT = 4


@dataclass(frozen=True, slots=True)
class Sender:
    """``index``: a member's leaf, or an external sender's place in the group context; else 0."""

    type: SenderType
    index: int = 0

    def encode(self) -> bytes:
        if self.type in (SenderType.MEMBER, SenderType.EXTERNAL):
            return u8(self.type) + u32(self.index)
        return u8(self.type)

    @classmethod
    def read(cls, reader: MlsReader) -> Sender:
        number = reader.u8("sender type")
        if not 1 <= number <= 4:
            raise reader.refuse("sender type")
        type_ = SenderType(number)
        if type_ in (SenderType.MEMBER, SenderType.EXTERNAL):
            return cls(type_, reader.u32("sender index"))
        return cls(type_)


Content = bytes | Proposal | Commit
"""Application data, a proposal, or a commit."""


def content_type(content: Content) -> ContentType:
    if isinstance(content, bytes):
        return ContentType.APPLICATION
    return ContentType.COMMIT if isinstance(content, Commit) else ContentType.PROPOSAL


def encode_content(content: Content) -> bytes:
    return opaque(content) if isinstance(content, bytes) else content.encode()


def read_content(reader: MlsReader, type_: ContentType) -> Content:
    if type_ is ContentType.APPLICATION:
        return reader.opaque("application_data")
    if type_ is ContentType.PROPOSAL:
        return read_proposal(reader)
    return Commit.read(reader)


def _read_content_type(reader: MlsReader) -> ContentType:
    number = reader.u8("content type")
    if not 1 <= number <= 3:
        raise reader.refuse("content type")
    return ContentType(number)


@dataclass(frozen=True, slots=True)
class FramedContent:
    group_id: bytes
    epoch: int
    sender: Sender
    authenticated_data: bytes
    content: Content

    def encode(self) -> bytes:
        return b"".join(
            (
                opaque(self.group_id),
                u64(self.epoch),
                self.sender.encode(),
                opaque(self.authenticated_data),
                u8(content_type(self.content)),
                encode_content(self.content),
            )
        )

    @classmethod
    def read(cls, reader: MlsReader) -> FramedContent:
        group_id = reader.opaque("group_id")
        epoch = reader.u64("epoch")
        sender = Sender.read(reader)
        authenticated_data = reader.opaque("authenticated_data")
        content = read_content(reader, _read_content_type(reader))
        return cls(group_id, epoch, sender, authenticated_data, content)


@dataclass(frozen=True, slots=True)
class AuthenticatedContent:
    """Content with its signature and, for a commit, its confirmation tag."""

    wire_format: WireFormat
    framed: FramedContent
    signature: bytes
    confirmation_tag: bytes | None

    def encode(self) -> bytes:
        return u16(self.wire_format) + self.framed.encode() + self.auth()

    def auth(self) -> bytes:
        """``FramedContentAuthData``."""
        tag = b"" if self.confirmation_tag is None else opaque(self.confirmation_tag)
        return opaque(self.signature) + tag

    @classmethod
    def read(cls, reader: MlsReader) -> AuthenticatedContent:
        number = reader.u16("wire format")
        if number not in (WireFormat.PUBLIC_MESSAGE, WireFormat.PRIVATE_MESSAGE):
            raise reader.refuse("wire format")
        framed = FramedContent.read(reader)
        return cls(WireFormat(number), framed, *read_auth(reader, content_type(framed.content)))

    def verify(self, suite: CipherSuite, public: bytes, context: bytes) -> None:
        """Raises ``InvalidSignature``. ``context``: the encoded group context. [ML-32]"""
        tbs = to_be_signed(self.wire_format, self.framed, context)
        suite.verify_with_label(public, _SIGN_LABEL, tbs, self.signature)


def read_auth(reader: MlsReader, type_: ContentType) -> tuple[bytes, bytes | None]:
    signature = reader.opaque("signature")
    tag = reader.opaque("confirmation_tag") if type_ is ContentType.COMMIT else None
    return signature, tag


def to_be_signed(wire_format: WireFormat, framed: FramedContent, context: bytes) -> bytes:
    """``FramedContentTBS``: members and joiners by commit also sign the group context."""
    bound = framed.sender.type in (SenderType.MEMBER, SenderType.NEW_MEMBER_COMMIT)
    return b"".join(
        (u16(VERSION_MLS10), u16(wire_format), framed.encode(), context if bound else b"")
    )


def sign_content(
    suite: CipherSuite,
    wire_format: WireFormat,
    framed: FramedContent,
    context: bytes,
    signer: Signer,
) -> bytes:
    return suite.sign_with_label(signer, _SIGN_LABEL, to_be_signed(wire_format, framed, context))


@dataclass(frozen=True, slots=True)
class PublicMessage:
    """Readable by all who see it; ``membership_tag`` is there for a member's."""

    content: AuthenticatedContent
    membership_tag: bytes | None

    def encode(self) -> bytes:
        tag = b"" if self.membership_tag is None else opaque(self.membership_tag)
        return self.content.framed.encode() + self.content.auth() + tag

    @classmethod
    def read(cls, reader: MlsReader) -> PublicMessage:
        framed = FramedContent.read(reader)
        signature, tag = read_auth(reader, content_type(framed.content))
        membership = None
        if framed.sender.type is SenderType.MEMBER:
            membership = reader.opaque("membership_tag")
        return cls(
            AuthenticatedContent(WireFormat.PUBLIC_MESSAGE, framed, signature, tag), membership
        )

    @classmethod
    def protect(
        cls, suite: CipherSuite, content: AuthenticatedContent, membership: Secret, context: bytes
    ) -> PublicMessage:
        """Raises ``LocalProtocolError`` for application data, which is never public. [ML-33]"""
        if isinstance(content.framed.content, bytes):
            raise LocalProtocolError("application data is never sent as a PublicMessage")
        tag = None
        if content.framed.sender.type is SenderType.MEMBER:
            tag = suite.mac(membership, _to_be_maced(content, context))
        return cls(content, tag)

    def check_membership(self, suite: CipherSuite, membership: Secret, context: bytes) -> None:
        """A member's message carries the tag that only members can make. [ML-33]

        Raises:
            DecryptError: it does not.
        """
        tagged = _to_be_maced(self.content, context)
        if self.membership_tag is None or not suite.mac_matches(
            membership, tagged, self.membership_tag
        ):
            raise DecryptError


def _to_be_maced(content: AuthenticatedContent, context: bytes) -> bytes:
    return to_be_signed(WireFormat.PUBLIC_MESSAGE, content.framed, context) + content.auth()


@dataclass(frozen=True, slots=True)
class PrivateMessage:
    group_id: bytes
    epoch: int
    content_type: ContentType
    authenticated_data: bytes
    encrypted_sender_data: bytes
    ciphertext: bytes

    def encode(self) -> bytes:
        return b"".join(
            (
                opaque(self.group_id),
                u64(self.epoch),
                u8(self.content_type),
                opaque(self.authenticated_data),
                opaque(self.encrypted_sender_data),
                opaque(self.ciphertext),
            )
        )

    @classmethod
    def read(cls, reader: MlsReader) -> PrivateMessage:
        return cls(
            reader.opaque("group_id"),
            reader.u64("epoch"),
            _read_content_type(reader),
            reader.opaque("authenticated_data"),
            reader.opaque("encrypted_sender_data"),
            reader.opaque("ciphertext"),
        )


@dataclass(frozen=True, slots=True)
class SenderData:
    leaf: int
    generation: int
    reuse_guard: bytes

    def encode(self) -> bytes:
        return u32(self.leaf) + u32(self.generation) + self.reuse_guard

    @classmethod
    def read(cls, reader: MlsReader) -> SenderData:
        return cls(
            reader.u32("sender leaf"),
            reader.u32("generation"),
            reader.take(_REUSE_GUARD_BYTES, "reuse_guard"),
        )


def sender_data_key(suite: CipherSuite, secret: Secret, ciphertext: bytes) -> tuple[bytes, bytes]:
    """``(key, nonce)`` from a sample of the ciphertext (RFC 9420 §6.3.2)."""
    sample, raw = ciphertext[: suite.hash_bytes], secret.reveal()
    return (
        suite.expand_with_label(raw, b"key", sample, suite.key_bytes),
        suite.expand_with_label(raw, b"nonce", sample, suite.nonce_bytes),
    )


def ratchet_kind(type_: ContentType) -> RatchetKind:
    return RatchetKind.APPLICATION if type_ is ContentType.APPLICATION else RatchetKind.HANDSHAKE


def protect_private(
    suite: CipherSuite,
    content: AuthenticatedContent,
    step: Step,
    sender_data_secret: Secret,
    reuse_guard: bytes,
    padding_bytes: int,
) -> PrivateMessage:
    """Seal ``content`` under the peeked ``step``, which the caller then takes. [ML-34]"""
    framed = content.framed
    type_ = content_type(framed.content)
    plaintext = encode_content(framed.content) + content.auth() + bytes(padding_bytes)
    header = opaque(framed.group_id) + u64(framed.epoch) + u8(type_)
    ciphertext = suite.seal(
        step.key,
        _guarded(step.nonce, reuse_guard),
        header + opaque(framed.authenticated_data),
        plaintext,
    )
    data = SenderData(framed.sender.index, step.generation, reuse_guard)
    sealed = suite.seal(
        *sender_data_key(suite, sender_data_secret, ciphertext), header, data.encode()
    )
    return PrivateMessage(
        framed.group_id, framed.epoch, type_, framed.authenticated_data, sealed, ciphertext
    )


def open_private(
    suite: CipherSuite,
    message: PrivateMessage,
    sender_data_secret: Secret,
    secret_tree: SecretTree,
) -> tuple[AuthenticatedContent, Step]:
    """The content, its signature not verified yet, and the step that the caller takes if all is
    well. [ML-35, ML-36]

    Raises:
        DecryptError: anything does not authenticate, or the sender has no leaf in this tree.
        MessageReplayed, GenerationTooFar: as ``SecretTree.peek``.
        DecodeError: what was sealed is malformed, or its padding is not all zero.
    """
    header = opaque(message.group_id) + u64(message.epoch) + u8(message.content_type)
    key, nonce = sender_data_key(suite, sender_data_secret, message.ciphertext)
    reader = MlsReader(suite.open(key, nonce, header, message.encrypted_sender_data))
    data = SenderData.read(reader)
    reader.expect_end("sender data")
    if data.leaf >= secret_tree.width:
        raise DecryptError
    step = secret_tree.peek(data.leaf, ratchet_kind(message.content_type), data.generation)
    plaintext = suite.open(
        step.key,
        _guarded(step.nonce, data.reuse_guard),
        header + opaque(message.authenticated_data),
        message.ciphertext,
    )
    inner = MlsReader(plaintext)
    content = read_content(inner, message.content_type)
    signature, tag = read_auth(inner, message.content_type)
    at = inner.offset
    if inner.remaining and plaintext.count(0, at) != len(plaintext) - at:
        raise inner.refuse("padding")
    framed = FramedContent(
        message.group_id,
        message.epoch,
        Sender(SenderType.MEMBER, data.leaf),
        message.authenticated_data,
        content,
    )
    return AuthenticatedContent(WireFormat.PRIVATE_MESSAGE, framed, signature, tag), step


def _guarded(nonce: bytes, guard: bytes) -> bytes:
    mixed = int.from_bytes(nonce[:_REUSE_GUARD_BYTES], "big") ^ int.from_bytes(guard, "big")
    return mixed.to_bytes(_REUSE_GUARD_BYTES, "big") + nonce[_REUSE_GUARD_BYTES:]


#: Buckets of a handshake message's plaintext; above the last, multiples of it.
_PAD_BUCKETS: Final = (256, 1024, 4096, 16384)


def handshake_padding(n: int) -> int:
    """Zeros after a handshake plaintext of ``n`` bytes, so that its length shows a bucket only."""
    for bucket in _PAD_BUCKETS:
        if n <= bucket:
            return bucket - n
    return -n % _PAD_BUCKETS[-1]
