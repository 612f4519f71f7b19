"""Pre-shared keys: their names, and how several become one secret (RFC 9420 §8.4).

Spec: mls §9 [ML-30].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from wraith.crypto.secret import Secret
from wraith.mls.codec import MlsReader, opaque, u8, u16, u64
from wraith.mls.suites import CipherSuite


class PskType(IntEnum):
    EXTERNAL = 1
    RESUMPTION = 2


class ResumptionUsage(IntEnum):
    APPLICATION = 1
    REINIT = 2
    BRANCH = 3


@dataclass(frozen=True, slots=True)
class ExternalPsk:
    """A key that the application agreed upon elsewhere, by its id."""

    psk_id: bytes
    psk_nonce: bytes

    def encode(self) -> bytes:
        return u8(PskType.EXTERNAL) + opaque(self.psk_id) + opaque(self.psk_nonce)


@dataclass(frozen=True, slots=True)
class ResumptionPsk:
    """The resumption secret of an epoch of a group."""

    usage: ResumptionUsage
    group_id: bytes
    epoch: int
    psk_nonce: bytes

    def encode(self) -> bytes:
        return b"".join(
            (
                u8(PskType.RESUMPTION),
                u8(self.usage),
                opaque(self.group_id),
                u64(self.epoch),
                opaque(self.psk_nonce),
            )
        )


PreSharedKeyId = ExternalPsk | ResumptionPsk


def read_psk_id(reader: MlsReader) -> PreSharedKeyId:
    type_ = reader.u8("psk type")
    if type_ == PskType.EXTERNAL:
        return ExternalPsk(reader.opaque("psk_id"), reader.opaque("psk_nonce"))
    if type_ != PskType.RESUMPTION:
        raise reader.refuse("psk type")
    usage = reader.u8("psk usage")
    if usage not in ResumptionUsage.__members__.values():
        raise reader.refuse("psk usage")
    return ResumptionPsk(
        ResumptionUsage(usage),
        reader.opaque("psk_group_id"),
        reader.u64("psk_epoch"),
        reader.opaque("psk_nonce"),
    )


def psk_secret(suite: CipherSuite, psks: Sequence[tuple[PreSharedKeyId, Secret]]) -> Secret:
    """All of ``psks`` in their order as one secret; without any, zeros. [ML-30]"""
    zeros = bytes(suite.hash_bytes)
    secret = zeros
    for index, (psk_id, psk) in enumerate(psks):
        extracted = suite.extract(zeros, psk.reveal())
        label = psk_id.encode() + u16(index) + u16(len(psks))
        given = suite.expand_with_label(extracted, b"derived psk", label, suite.hash_bytes)
        secret = suite.extract(given, secret)
    return Secret(secret)
