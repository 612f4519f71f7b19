"""Proposals, and the commit that carries them (RFC 9420 §12.1, §12.4). Values and codecs only.

Spec: mls §11 [ML-31].
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from wraith.mls.codec import MlsReader, opaque, optional, u8, u16, u32, vector
from wraith.mls.key_package import KeyPackage
from wraith.mls.nodes import Extensions, LeafNode, encode_extensions, read_extensions
from wraith.mls.psk import PreSharedKeyId, read_psk_id
from wraith.mls.suites import CipherSuite
from wraith.mls.treekem import UpdatePath

_REF_LABEL = b"MLS 1.0 Proposal Reference"
#: Far above any limit of a group; only a bound on what is decoded before limits are looked at.
_N_PROPOSALS_MAX = 1 << 14


class ProposalType(IntEnum):
    ADD = 1
    UPDATE = 2
    REMOVE = 3
    PSK = 4
    REINIT = 5
    EXTERNAL_INIT = 6
    GROUP_CONTEXT_EXTENSIONS = 7


@dataclass(frozen=True, slots=True)
class Add:
    key_package: KeyPackage
    type = ProposalType.ADD

    def encode(self) -> bytes:
        return u16(self.type) + self.key_package.encode()


@dataclass(frozen=True, slots=True)
class Update:
    leaf_node: LeafNode
    type = ProposalType.UPDATE

    def encode(self) -> bytes:
        return u16(self.type) + self.leaf_node.encode()


@dataclass(frozen=True, slots=True)
class Remove:
    removed: int
    type = ProposalType.REMOVE

    def encode(self) -> bytes:
        return u16(self.type) + u32(self.removed)


@dataclass(frozen=True, slots=True)
class PreSharedKey:
    psk: PreSharedKeyId
    type = ProposalType.PSK

    def encode(self) -> bytes:
        return u16(self.type) + self.psk.encode()


@dataclass(frozen=True, slots=True)
class ReInit:
    group_id: bytes
    version: int
    cipher_suite: int
    extensions: Extensions
    type = ProposalType.REINIT

    def encode(self) -> bytes:
        return b"".join(
            (
                u16(self.type),
                opaque(self.group_id),
                u16(self.version),
                u16(self.cipher_suite),
                encode_extensions(self.extensions),
            )
        )


@dataclass(frozen=True, slots=True)
class ExternalInit:
    kem_output: bytes
    type = ProposalType.EXTERNAL_INIT

    def encode(self) -> bytes:
        return u16(self.type) + opaque(self.kem_output)


@dataclass(frozen=True, slots=True)
class GroupContextExtensions:
    extensions: Extensions
    type = ProposalType.GROUP_CONTEXT_EXTENSIONS

    def encode(self) -> bytes:
        return u16(self.type) + encode_extensions(self.extensions)


Proposal = Add | Update | Remove | PreSharedKey | ReInit | ExternalInit | GroupContextExtensions


def read_proposal(reader: MlsReader) -> Proposal:
    """A type that is not known is refused: its length cannot be known either."""
    type_ = reader.u16("proposal type")
    match type_:
        case ProposalType.ADD:
            return Add(KeyPackage.read(reader))
        case ProposalType.UPDATE:
            return Update(LeafNode.read(reader))
        case ProposalType.REMOVE:
            return Remove(reader.u32("removed"))
        case ProposalType.PSK:
            return PreSharedKey(read_psk_id(reader))
        case ProposalType.REINIT:
            return ReInit(
                reader.opaque("reinit group_id"),
                reader.u16("reinit version"),
                reader.u16("reinit cipher_suite"),
                read_extensions(reader),
            )
        case ProposalType.EXTERNAL_INIT:
            return ExternalInit(reader.opaque("external init kem_output"))
        case ProposalType.GROUP_CONTEXT_EXTENSIONS:
            return GroupContextExtensions(read_extensions(reader))
        case _:
            raise reader.refuse("proposal type")


def proposal_reference(suite: CipherSuite, authenticated_content: bytes) -> bytes:
    """``ProposalRef`` of the encoded ``AuthenticatedContent`` that carried a proposal."""
    return suite.ref_hash(_REF_LABEL, authenticated_content)


@dataclass(frozen=True, slots=True)
class ProposalRef:
    reference: bytes


ProposalOrRef = Proposal | ProposalRef

_BY_VALUE, _BY_REFERENCE = 1, 2


def _read_proposal_or_ref(reader: MlsReader) -> ProposalOrRef:
    kind = reader.u8("proposal or reference")
    if kind == _BY_VALUE:
        return read_proposal(reader)
    if kind == _BY_REFERENCE:
        return ProposalRef(reader.opaque("proposal reference"))
    raise reader.refuse("proposal or reference")


def _encode_proposal_or_ref(one: ProposalOrRef) -> bytes:
    if isinstance(one, ProposalRef):
        return u8(_BY_REFERENCE) + opaque(one.reference)
    return u8(_BY_VALUE) + one.encode()


@dataclass(frozen=True, slots=True)
class Commit:
    proposals: tuple[ProposalOrRef, ...]
    path: UpdatePath | None

    def encode(self) -> bytes:
        path = None if self.path is None else self.path.encode()
        return vector(map(_encode_proposal_or_ref, self.proposals)) + optional(path)

    @classmethod
    def read(cls, reader: MlsReader) -> Commit:
        proposals = reader.vector(_read_proposal_or_ref, "proposals", _N_PROPOSALS_MAX)
        path = UpdatePath.read(reader) if reader.present("path") else None
        return cls(proposals, path)
