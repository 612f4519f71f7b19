"""The layout of a packet's six fields, which both ends derive from the session secret.

It must not claim security. 2,916 layouts hide nothing by themselves; that the bytes look
random comes from encryption and from masking (``polymorphic``).

Spec: wire-format §2 [WF-1, WF-2, WF-11].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from wraith.crypto.drbg import ChaCha20Words
from wraith.crypto.kdf import Label, derive_key
from wraith.crypto.session_keys import CID_BYTES
from wraith.wire.packet import (
    DUMMY_BYTES_MAX,
    FIXED_OVERHEAD_MIN,
    HDR_BYTES,
    PAYLOAD_BYTES_MIN,
    TAG_BYTES,
)


class FieldId(IntEnum):
    """The fields by their number in ``WireFormatSpec.pack``."""

    CID = 0
    HDR = 1
    DUMMY1 = 2
    PAYLOAD = 3
    TAG = 4
    DUMMY2 = 5


@dataclass(frozen=True, slots=True)
class WireField:
    """One field and its size in bytes; ``None`` is the payload, which takes the rest."""

    id: FieldId
    size: int | None


@dataclass(frozen=True, slots=True)
class BackOffsets:
    """Offsets of the back group for one payload size."""

    payload: int
    tag: int
    dummy2: int


_FRONT = (FieldId.CID, FieldId.HDR, FieldId.DUMMY1)
_BACK = (FieldId.PAYLOAD, FieldId.TAG, FieldId.DUMMY2)
_SIZES: dict[FieldId, int | None] = {
    FieldId.CID: CID_BYTES,
    FieldId.HDR: HDR_BYTES,
    FieldId.PAYLOAD: None,
    FieldId.TAG: TAG_BYTES,
}
"""Of the fields that have the same size in every layout."""


class WireFormatSpec:
    """One session's layout, an immutable value.

    Attributes:
        fixed_overhead: bytes of a datagram that are not payload, 29 to 45.
        d1, d2: sizes of the two dummies, 0 to 8 each.
        cid_offset, hdr_offset, dummy1_offset: where the front group's fields begin; the CID lies at
        0 to
            13.
    """

    __slots__ = (
        "_back",
        "_front",
        "fixed_overhead",
        "d1",
        "d2",
        "cid_offset",
        "hdr_offset",
        "dummy1_offset",
    )

    def __init__(self, fields: Sequence[WireField]) -> None:
        """Raises ``ValueError`` unless ``fields`` are the front three, then the back three, with
        allowed sizes."""
        sizes = {field.id: field.size for field in fields}
        order = [field.id for field in fields]
        if sorted(order[:3]) != list(_FRONT) or sorted(order[3:]) != list(_BACK):
            raise ValueError("a wire format names each of the six fields once, in its group")
        d1, d2 = sizes[FieldId.DUMMY1], sizes[FieldId.DUMMY2]
        if any(sizes[id_] != size for id_, size in _SIZES.items()) or d1 is None or d2 is None:
            raise ValueError("a field of the wire format has a wrong size")
        if not (0 <= d1 <= DUMMY_BYTES_MAX and 0 <= d2 <= DUMMY_BYTES_MAX):
            raise ValueError("a dummy has 0 to 8 bytes")
        self._set(order[:3], d1, order[3:], d2)

    def _set(self, front: Sequence[FieldId], d1: int, back: Sequence[FieldId], d2: int) -> None:
        self._front, self._back = tuple(front), tuple(back)
        self.d1, self.d2 = d1, d2
        self.fixed_overhead = FIXED_OVERHEAD_MIN + d1 + d2
        at = 0
        for field in front:
            if field is FieldId.CID:
                self.cid_offset = at
                at += CID_BYTES
            elif field is FieldId.HDR:
                self.hdr_offset = at
                at += HDR_BYTES
            else:
                self.dummy1_offset = at
                at += d1

    @property
    def fields(self) -> tuple[WireField, ...]:
        """The six fields in wire order."""
        sizes = {**_SIZES, FieldId.DUMMY1: self.d1, FieldId.DUMMY2: self.d2}
        return tuple(WireField(field, sizes[field]) for field in (*self._front, *self._back))

    @classmethod
    def derive(cls, session_secret: bytes) -> WireFormatSpec:
        """The layout of a session; ``session_secret`` has 32 bytes. [WF-1]

        The draws are in a fixed order because the layout is part of the protocol: two sizes, then
        one Fisher-Yates shuffle per group.
        """
        words = ChaCha20Words(derive_key(Label.WIRE_FORMAT, session_secret))
        d1 = words.below(DUMMY_BYTES_MAX + 1)
        d2 = words.below(DUMMY_BYTES_MAX + 1)
        front, back = list(_FRONT), list(_BACK)
        for group in (front, back):
            for i in (2, 1):
                j = words.below(i + 1)
                group[i], group[j] = group[j], group[i]
        return cls._of(front, d1, back, d2)

    @classmethod
    def unpack(cls, packed: bytes) -> WireFormatSpec:
        """Inverse of ``pack``. Raises ``ValueError`` for anything else. [WF-11]"""
        if len(packed) != 8 or max(packed) > DUMMY_BYTES_MAX:
            raise ValueError("a packed wire format has 8 small bytes")
        if sorted(packed[:3]) != list(_FRONT) or sorted(packed[4:7]) != list(_BACK):
            raise ValueError("a packed wire format names each field once, in its group")
        front = [FieldId(value) for value in packed[:3]]
        back = [FieldId(value) for value in packed[4:7]]
        return cls._of(front, packed[3], back, packed[7])

    def pack(self) -> bytes:
        """8 bytes: three field ids of the front ‖ d1 ‖ three field ids of the back ‖ d2. [WF-11]"""
        return bytes((*self._front, self.d1, *self._back, self.d2))

    def back_offsets(self, payload_bytes: int) -> BackOffsets:
        """Offsets of payload, tag and second dummy in a datagram with so much payload."""
        sizes = {FieldId.PAYLOAD: payload_bytes, FieldId.TAG: TAG_BYTES, FieldId.DUMMY2: self.d2}
        offsets: dict[FieldId, int] = {}
        at = CID_BYTES + HDR_BYTES + self.d1
        for field in self._back:
            offsets[field] = at
            at += sizes[field]
        return BackOffsets(offsets[FieldId.PAYLOAD], offsets[FieldId.TAG], offsets[FieldId.DUMMY2])

    @property
    def datagram_bytes_min(self) -> int:
        """No packet of this session is shorter."""
        return self.fixed_overhead + PAYLOAD_BYTES_MIN

    @classmethod
    def _of(
        cls, front: Sequence[FieldId], d1: int, back: Sequence[FieldId], d2: int
    ) -> WireFormatSpec:
        """Without a check: the groups are permutations, the sizes small."""
        spec = cls.__new__(cls)
        spec._set(front, d1, back, d2)
        return spec

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WireFormatSpec) and self.pack() == other.pack()

    def __hash__(self) -> int:
        return hash(self.pack())

    def __repr__(self) -> str:
        order = ",".join(field.name for field in (*self._front, *self._back))
        return f"WireFormatSpec({order}; d1={self.d1}, d2={self.d2})"
