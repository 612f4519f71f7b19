"""The group context: what all members of an epoch agree on (RFC 9420 §8.1).

Spec: mls §8 [ML-21].
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from wraith.mls.codec import MlsReader, decode, opaque, u16, u64
from wraith.mls.nodes import (
    VERSION_MLS10,
    Extensions,
    ExtensionType,
    ExternalSender,
    RequiredCapabilities,
    encode_extensions,
    find_extension,
    read_extensions,
)

_N_EXTERNAL_SENDERS_MAX = 256


@dataclass(frozen=True, slots=True)
class GroupContext:
    """``cipher_suite`` by number; both hashes as long as the suite's."""

    cipher_suite: int
    group_id: bytes
    epoch: int
    tree_hash: bytes
    confirmed_transcript_hash: bytes
    extensions: Extensions = ()
    version: int = VERSION_MLS10

    def encode(self) -> bytes:
        return b"".join(
            (
                u16(self.version),
                u16(self.cipher_suite),
                opaque(self.group_id),
                u64(self.epoch),
                opaque(self.tree_hash),
                opaque(self.confirmed_transcript_hash),
                encode_extensions(self.extensions),
            )
        )

    @classmethod
    def read(cls, reader: MlsReader) -> GroupContext:
        version = reader.u16("context version")
        return cls(
            cipher_suite=reader.u16("context cipher_suite"),
            group_id=reader.opaque("context group_id"),
            epoch=reader.u64("context epoch"),
            tree_hash=reader.opaque("context tree_hash"),
            confirmed_transcript_hash=reader.opaque("context confirmed_transcript_hash"),
            extensions=read_extensions(reader),
            version=version,
        )

    def with_tree_hash(self, tree_hash: bytes) -> GroupContext:
        return replace(self, tree_hash=tree_hash)

    def with_transcript(self, confirmed_transcript_hash: bytes) -> GroupContext:
        return replace(self, confirmed_transcript_hash=confirmed_transcript_hash)

    @property
    def required_capabilities(self) -> RequiredCapabilities | None:
        """Raises ``DecodeError`` if the extension is malformed."""
        data = find_extension(self.extensions, ExtensionType.REQUIRED_CAPABILITIES)
        if data is None:
            return None
        return decode(RequiredCapabilities.read, data, "required_capabilities")

    @property
    def external_senders(self) -> tuple[ExternalSender, ...]:
        """Raises ``DecodeError`` if the extension is malformed."""
        data = find_extension(self.extensions, ExtensionType.EXTERNAL_SENDERS)
        if data is None:
            return ()
        return decode(
            lambda reader: reader.vector(
                ExternalSender.read, "external_senders", _N_EXTERNAL_SENDERS_MAX
            ),
            data,
            "external_senders",
        )
