"""The order that control messages have over one connection. Whoever says a thing twice is refused.

=========  ============================================================================
HAVE       by (entry, first chunk), over all messages; ranges of a file do not touch
SKIP       entries ascend over all messages, ranges do not touch
DROP       entries ascend over all messages
FAILED     each entry once, in any order
END        each entry once, in any order
PROGRESS   ``consumed`` never falls; the other two may
PAGE       counted by ``offer_reading``
=========  ============================================================================

So what a peer can make us do is bounded by the entries and ranges that there are, however many
messages it writes. Everything here belongs to one connection.

Spec: transfer §4 [TR-103].
"""

from __future__ import annotations

from wraith.errors import StateViolation

Ranges = tuple[tuple[int, int], ...]
"""``(first, n)``, ascending and not touching, as the decoder leaves them."""


class HaveOrder:
    """Of the items of all HAVE messages."""

    def __init__(self) -> None:
        self._entry = -1
        self._after = -1

    def take(self, entry: int, ranges: Ranges) -> bool:
        """Whether this is the first item of its file.

        Raises:
            StateViolation: it does not stand behind all that was said.
        """
        is_first = entry > self._entry
        if not is_first and (entry < self._entry or ranges[0][0] <= self._after):
            raise StateViolation("HAVE out of order")
        first, n = ranges[-1]
        self._entry, self._after = entry, first + n
        return is_first


class Ascending:
    """Of entries that are named once, in order. ``what`` is the message."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._after = -1

    def take_ranges(self, ranges: Ranges) -> None:
        """Raises ``StateViolation`` unless they stand behind all others, with one between."""
        if ranges[0][0] <= self._after:
            raise StateViolation(f"{self._what} out of order")
        first, n = ranges[-1]
        self._after = first + n

    def take(self, entries: tuple[int, ...]) -> None:
        """Raises ``StateViolation`` unless they ascend and stand behind all others."""
        after = self._after
        for entry in entries:
            if entry <= after:
                raise StateViolation(f"{self._what} out of order")
            after = entry
        self._after = after


class Once:
    """Of entries that are named once, in any order: one byte per entry, made as far as needed."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._seen = bytearray()

    def take(self, entry: int) -> None:
        """Raises ``StateViolation`` for an entry that was named before. ``entry`` must be one of
        the listing."""
        seen = self._seen
        if entry >= len(seen):
            seen.extend(bytes(entry + 1 - len(seen)))
        if seen[entry]:
            raise StateViolation(f"{self._what} twice for one file")
        seen[entry] = 1


class NeverFalling:
    """A number that a peer reports again and again."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._value = 0

    def take(self, value: int) -> None:
        """Raises ``StateViolation`` for a smaller one than before."""
        if value < self._value:
            raise StateViolation(f"{self._what} falls")
        self._value = value
