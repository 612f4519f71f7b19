"""Packet numbers that are left out on purpose, so that acknowledgements of the void are seen.

A receiver that acknowledges what never arrived makes a sender believe in a path that is not there
(RFC 9000 §21.4). It cannot know which numbers were omitted, so sooner or later it acknowledges one.
Every 512 to 4,096 packets one number is omitted. While the congestion window grows that would be
too rare, as it may grow a hundredfold meanwhile: once it is larger by half, one is omitted soon.

Decides when, and remembers which. It neither seals nor sends, and nothing else in this room knows
of the gaps: thresholds and statistics count packets, never numbers.
Spec: docs/spec/recovery.md [RC-25 to RC-27].
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from wraith.abc import Rng
from wraith.errors import RemoteProtocolError

SPACING_MIN_PACKETS = 512
SPACING_SPAN_PACKETS = 3_585
"""The spacing is 512 … 4,096 packets."""
REMEMBERED_MAX = 64
SOON_SHARE = 4
"""A window that has grown gets its omission within this part (1 / n) of it."""
_DRAW_BYTES = 4


class OmittedNumbers:
    """The omissions of one session, in all epochs that live.

    Args:
        rng: one draw for each omission, at the secret door: whoever knows it can hide.
        window_bytes: the congestion window of the beginning.
    """

    __slots__ = ("_due", "_numbers", "_rng", "_share", "_soon", "_window_bytes")

    def __init__(self, rng: Rng, window_bytes: int) -> None:
        self._rng = rng
        self._numbers: dict[int, list[int]] = {}
        self._share = 0.0  # the draw, 0 … 1, that places the next omission
        self._due = 0
        self._soon: int | None = None
        self._window_bytes = window_bytes  # the smallest since the last omission
        self._draw(0)

    def _draw(self, n_sent: int) -> None:
        draw = int.from_bytes(self._rng.secret_bytes(_DRAW_BYTES), "big")
        self._share = draw / (1 << 8 * _DRAW_BYTES)
        self._due = n_sent + SPACING_MIN_PACKETS + int(self._share * SPACING_SPAN_PACKETS)
        self._soon = None

    def packets_left(self, n_sent: int, window_bytes: int, datagram_bytes: int) -> int | None:
        """How many packets the next run may have; 0: a number is to be omitted before it. ``None``:
        as many as it likes, for the ordinary spacing never cuts a run. [RC-25]

        Args:
            n_sent: packets of the session so far.
            window_bytes: the congestion window now.
        """
        if window_bytes < self._window_bytes:
            self._window_bytes = window_bytes
        elif self._soon is None and 2 * window_bytes >= 3 * self._window_bytes:
            n_soon = window_bytes // (SOON_SHARE * datagram_bytes)
            self._soon = n_sent + int(self._share * n_soon)
        if n_sent >= self._due:
            return 0
        return None if self._soon is None else max(self._soon - n_sent, 0)

    def on_omitted(self, epoch: int, pn: int, n_sent: int, window_bytes: int) -> None:
        """``pn`` was spent on nothing. The last 64 of an epoch are remembered. [RC-26]"""
        numbers = self._numbers.setdefault(epoch, [])
        numbers.append(pn)
        if len(numbers) > REMEMBERED_MAX:
            del numbers[0]
        self._window_bytes = window_bytes
        self._draw(n_sent)

    def check(self, epoch: int, ranges: Sequence[tuple[int, int]]) -> None:
        """Takes the ranges of an ACK, inclusive, whether or not they tell anything new. [RC-26]

        Raises:
            RemoteProtocolError: one of them covers a number that no packet ever had.
        """
        numbers = self._numbers.get(epoch)
        if not numbers:
            return
        for first, last in ranges:
            at = bisect_left(numbers, first)
            if at < len(numbers) and numbers[at] <= last:
                raise RemoteProtocolError("acknowledgement of a packet that was never sent")

    def forget_epoch(self, epoch: int) -> None:
        """Nothing of this epoch is acknowledged any more."""
        self._numbers.pop(epoch, None)
