"""Cutting a handshake body into sealed datagrams whose sizes say nothing.

Sizes are uniform in [600, 1200], the set drawn again until it holds the body; the body then fills
the datagrams in order. Every part keeps at least eight random padding bytes: the veil is
deterministic, so a resent part must differ in its plaintext to differ on the wire.

Spec: handshake.md [HS-10] [HS-11].
"""

from __future__ import annotations

from collections.abc import Sequence

from wraith.abc import Rng
from wraith.connection.paths.shaper import Shaper
from wraith.crypto.veil import VeilKeys
from wraith.types import Role
from wraith.wire.handshake import (
    DATAGRAM_BYTES_MAX,
    DATAGRAM_BYTES_MIN,
    PART_HEADER_BYTES,
    PARTS_MAX,
    HelloPrefix,
    PartKind,
    encode_part,
)

VEIL_TAG_BYTES = 32
REPRESENTATIVE_BYTES = 32
PAD_BYTES_MIN = 8
PART_OVERHEAD = VEIL_TAG_BYTES + PART_HEADER_BYTES


def uniform(rng: Rng, low: int, high: int) -> int:
    """A visible number, uniform in ``low..high`` (bias below 2⁻⁵⁰)."""
    return low + int.from_bytes(rng.public_bytes(8), "big") % (high - low + 1)


def draw_sizes(
    rng: Rng, body_bytes: int, first_extra: int = 0, shaper: Shaper | None = None
) -> tuple[int, ...]:
    """Datagram sizes for a body.

    Args:
        body_bytes: what the parts have to carry together.
        first_extra: bytes of the first datagram beyond the part overhead (representative, prefix).
        shaper: chooses the sizes, and so their number.
    Returns:
        As few sizes as can hold the body, each in [600, 1200].
    """
    overhead = PART_OVERHEAD + PAD_BYTES_MIN
    if shaper is not None:
        chosen: list[int] = []
        room = -first_extra
        while room < body_bytes and len(chosen) < PARTS_MAX:
            chosen.append(_choose(shaper, DATAGRAM_BYTES_MIN))
            room += chosen[-1] - overhead
        if room >= body_bytes:
            return tuple(chosen)
    n = 1
    while n * (DATAGRAM_BYTES_MAX - overhead) - first_extra < body_bytes:
        n += 1
    if n > PARTS_MAX:
        raise ValueError("a handshake body of this size has no flight")
    while True:
        sizes = tuple(uniform(rng, DATAGRAM_BYTES_MIN, DATAGRAM_BYTES_MAX) for _ in range(n))
        if sum(sizes) - n * overhead - first_extra >= body_bytes:
            return sizes


def cut(
    kind: PartKind, body: bytes, sizes: Sequence[int], prefix: HelloPrefix | None = None
) -> list[bytes]:
    """Plaintexts of the parts of a body for datagrams of ``sizes``, without padding: as much as
    fits, in order. ``prefix`` goes with the first part, whose datagram also has a representative.
    """
    head = prefix.encode() if prefix is not None else b""
    plaintexts: list[bytes] = []
    at = 0
    for index, size in enumerate(sizes):
        extra = len(head) + REPRESENTATIVE_BYTES if head and index == 0 else 0
        fragment = body[at : at + size - PART_OVERHEAD - PAD_BYTES_MIN - extra]
        plaintexts.append(
            encode_part(
                kind=kind,
                index=index,
                total=len(sizes),
                body_bytes=len(body),
                offset=at,
                fragment=fragment,
                prefix=head if index == 0 else b"",
            )
        )
        at += len(fragment)
    return plaintexts


def seal_part(rng: Rng, veil: VeilKeys, sender: Role, plaintext: bytes, size: int) -> bytes:
    """One veiled datagram of ``size`` bytes. The padding is random: the veil is deterministic."""
    padding = rng.public_bytes(size - VEIL_TAG_BYTES - len(plaintext))
    return veil.seal(sender, plaintext + padding)


def _choose(shaper: Shaper, least: int) -> int:
    chosen = shaper.handshake_bytes(least, DATAGRAM_BYTES_MAX)
    return min(max(chosen, least), DATAGRAM_BYTES_MAX)


def redraw_size(rng: Rng, plaintext_bytes: int, shaper: Shaper | None = None) -> int:
    """Another size for a part that is sealed again, as it is: its cut must stay what it was, or
    parts of two sealings would not fit together."""
    need = plaintext_bytes + VEIL_TAG_BYTES + PAD_BYTES_MIN
    least = max(DATAGRAM_BYTES_MIN, need)
    if shaper is not None:
        return _choose(shaper, least)
    return uniform(rng, least, DATAGRAM_BYTES_MAX)


class ResponseFlight:
    """RESPONSE as it is sent, and sent again: other sizes and other padding each time. [HS-25]

    Attributes:
        n_repeats: how often it has been sealed again; -1 before the first time.
    """

    __slots__ = ("_parts", "_rng", "_sent_at", "_shaper", "_sizes", "n_repeats")

    def __init__(self, body: bytes, *, rng: Rng, shaper: Shaper | None) -> None:
        self.n_repeats = -1
        self._rng = rng
        self._shaper = shaper
        self._sent_at = 0.0
        self._sizes = draw_sizes(rng, len(body), shaper=shaper)
        self._parts = cut(PartKind.RESPONSE, body, self._sizes)

    def seal(self, veil: VeilKeys, now: float) -> list[bytes]:
        """All parts, sealed now."""
        self.n_repeats += 1
        self._sent_at = now
        sizes = self._sizes
        if self.n_repeats:
            sizes = tuple(redraw_size(self._rng, len(part), self._shaper) for part in self._parts)
        return [
            seal_part(self._rng, veil, Role.RESPONDER, part, size)
            for part, size in zip(self._parts, sizes, strict=True)
        ]

    def rtt_s(self, now: float) -> float | None:
        """Since it was sent, if it was sent once: an answer has come at ``now``."""
        return now - self._sent_at if self.n_repeats == 0 else None

    def forget(self) -> None:
        """It is not sent again."""
        self._parts = []
