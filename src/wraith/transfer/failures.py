"""Notes which files of a listing failed, and why: one byte for each, however many there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from wraith.transfer.messages import Reason


class Failures(Mapping[int, Reason]):
    """Entry → reason, in ascending order of the entries. It grows only as far as it is needed."""

    def __init__(self) -> None:
        self._marks = bytearray()
        self._n = 0

    def note(self, entry: int, reason: Reason) -> None:
        """``entry`` is one of the listing; an earlier reason gives way."""
        marks = self._marks
        if entry >= len(marks):
            marks.extend(bytes(entry + 1 - len(marks)))
        self._n += not marks[entry]
        marks[entry] = reason + 1

    def __contains__(self, entry: object) -> bool:
        return isinstance(entry, int) and entry < len(self._marks) and self._marks[entry] != 0

    def __getitem__(self, entry: int) -> Reason:
        if entry not in self:
            raise KeyError(entry)
        return Reason(self._marks[entry] - 1)

    def __iter__(self) -> Iterator[int]:
        return (entry for entry, mark in enumerate(self._marks) if mark)

    def __len__(self) -> int:
        return self._n
