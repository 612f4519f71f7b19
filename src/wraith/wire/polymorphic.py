"""Packets put together and taken apart by a session's layout, and the header masks: the reference.

``hotpath`` does the same inline, a run at a time; this is the version to read and to test against.
Holds no keys: they are arguments.

Spec: wire-format §3, §4 [WF-3, WF-4, WF-5].
"""

from __future__ import annotations

from dataclasses import dataclass

from wraith.crypto.kdf import keyed_hash
from wraith.crypto.session_keys import CID_BYTES
from wraith.errors import DecodeError
from wraith.types import Buffer
from wraith.wire.buffer import Reader, Writer
from wraith.wire.format import FieldId, WireFormatSpec
from wraith.wire.packet import (
    EPOCH_SHIFT,
    HDR_BYTES,
    PAYLOAD_BYTES_MIN,
    PN_BOUND,
    RESERVED_BITS,
    SAMPLE_BYTES,
)


@dataclass(frozen=True, slots=True)
class PacketFields:
    """The six fields of one datagram, in no particular order. ``payload`` is ciphertext."""

    cid: bytes
    hdr: bytes
    dummy1: bytes
    payload: bytes
    tag: bytes
    dummy2: bytes


@dataclass(frozen=True, slots=True)
class WireCodec:
    """Applies one layout."""

    spec: WireFormatSpec

    def encode(self, fields: PacketFields) -> bytes:
        """The datagram. Raises ``ValueError`` if a field has not the size that the layout gives
        it."""
        if len(fields.payload) < PAYLOAD_BYTES_MIN:
            raise ValueError(f"a payload has at least {PAYLOAD_BYTES_MIN} bytes")
        values = self._by_id(fields)
        writer = Writer()
        for field in self.spec.fields:
            writer.raw(values[field.id], field.size)
        return writer.getvalue()

    def decode(self, datagram: Buffer) -> PacketFields:
        """The fields as they stand. Raises ``DecodeError`` if the datagram is too short."""
        reader = Reader(datagram)
        payload_bytes = reader.remaining - self.spec.fixed_overhead
        if payload_bytes < PAYLOAD_BYTES_MIN:
            raise DecodeError("packet", reader.remaining)
        taken = {
            field.id: reader.take(
                payload_bytes if field.size is None else field.size, field.id.name
            )
            for field in self.spec.fields
        }
        return PacketFields(
            taken[FieldId.CID],
            taken[FieldId.HDR],
            taken[FieldId.DUMMY1],
            taken[FieldId.PAYLOAD],
            taken[FieldId.TAG],
            taken[FieldId.DUMMY2],
        )

    @staticmethod
    def _by_id(fields: PacketFields) -> dict[FieldId, bytes]:
        return {
            FieldId.CID: fields.cid,
            FieldId.HDR: fields.hdr,
            FieldId.DUMMY1: fields.dummy1,
            FieldId.PAYLOAD: fields.payload,
            FieldId.TAG: fields.tag,
            FieldId.DUMMY2: fields.dummy2,
        }


def encode_hdr(epoch: int, pn: int) -> bytes:
    """``flags u8 ‖ pn u32``; bits 7-6 of the flags are the epoch mod 4. [WF-3, WF-6]"""
    if not 0 <= pn < PN_BOUND:
        raise ValueError(f"a packet number is below {PN_BOUND}")
    return Writer().u8((epoch & 3) << EPOCH_SHIFT).u32(pn).getvalue()


def decode_hdr(hdr: bytes) -> tuple[int, int]:
    """``(epoch mod 4, pn)``. Raises ``DecodeError`` for reserved bits or a number beyond the bound:
    to the receiver that means that the datagram is not of this session. [WF-3, WF-6]"""
    reader = Reader(hdr)
    flags, pn = reader.u8("flags"), reader.u32("packet number")
    reader.expect_end("header")
    if flags & RESERVED_BITS:
        raise DecodeError("flags", 0)
    if pn >= PN_BOUND:
        raise DecodeError("packet number", 1)
    return flags >> EPOCH_SHIFT, pn


def sample_of(datagram: Buffer) -> bytes:
    """The last 16 bytes of the datagram as sent: ciphertext, tag or fresh random in every
    layout."""
    return bytes(datagram[-SAMPLE_BYTES:])


def mask_hdr(hp_key: bytes, sample: bytes, hdr: bytes) -> bytes:
    """HDR ⊕ M[0:5], M = keyed BLAKE3(hp_key, sample). Masking and unmasking are the same. [WF-4]"""
    return xor(hdr, keyed_hash(hp_key, sample)[:HDR_BYTES])


def mask_cid_form_a(hp_key: bytes, sample: bytes, cid: bytes) -> bytes:
    """CID ⊕ M[5:13]: bytes of the same mask that HDR does not use. [WF-4]"""
    return xor(cid, keyed_hash(hp_key, sample)[HDR_BYTES : HDR_BYTES + CID_BYTES])


def mask_cid_form_b(hmk: bytes, sample: bytes, cid: bytes) -> bytes:
    """CID ⊕ keyed BLAKE3(hmk, sample)[0:8]: the receiving endpoint can undo it before it knows
    which session is meant. [WF-5]"""
    return xor(cid, keyed_hash(hmk, sample)[:CID_BYTES])


def xor(a: bytes, b: bytes) -> bytes:
    """Bytewise, of equal lengths."""
    return bytes(x ^ y for x, y in zip(a, b, strict=True))
