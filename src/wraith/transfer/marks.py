"""Names that a person should see before they say yes, wherever in an offer they stand.

Marked are names that begin with a dot, files with an execute bit, and links. Each kind is counted,
and the first ten of it by their bytes are kept, so it costs the same for ten entries and a million.

Spec: transfer §6 [TR-106].
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass

from wraith.transfer.listing import Entry, Kind

MARKED_SHOWN = 10
_EXECUTE = 0o111


@dataclass(frozen=True, slots=True)
class Marked:
    """The number of marks of one kind, and the paths of the first ones."""

    n: int = 0
    first: tuple[bytes, ...] = ()


NOT_MARKED = Marked()


@dataclass(frozen=True, slots=True)
class Marks:
    """The marked names of one offer. A name may be of several kinds."""

    hidden: Marked = NOT_MARKED
    executable: Marked = NOT_MARKED
    links: Marked = NOT_MARKED

    @property
    def n_unseen(self) -> int:
        """Names that are not among the first ones of their kind."""
        kinds = (self.hidden, self.executable, self.links)
        return sum(kind.n - len(kind.first) for kind in kinds)


NO_MARKS = Marks()


class _First:
    """Counts names and keeps the first ones by their bytes."""

    def __init__(self) -> None:
        self.n = 0
        self._paths: list[bytes] = []

    def add(self, path: bytes) -> None:
        self.n += 1
        paths = self._paths
        if len(paths) < MARKED_SHOWN:
            insort(paths, path)
        elif path < paths[-1]:
            insort(paths, path)
            paths.pop()

    def marked(self) -> Marked:
        return Marked(self.n, tuple(self._paths))


class Marking:
    """Looks at the entries of an offer as they come."""

    def __init__(self) -> None:
        self._hidden, self._executable, self._links = _First(), _First(), _First()

    def see(self, entries: Iterable[Entry]) -> None:
        """Takes the next entries."""
        for entry in entries:
            path = entry.path
            if path.rpartition(b"/")[2][:1] == b".":
                self._hidden.add(path)
            if entry.mode & _EXECUTE and entry.kind is Kind.FILE:
                self._executable.add(path)
            elif entry.kind is Kind.LINK:
                self._links.add(path)

    def marks(self) -> Marks:
        """Of all that was seen."""
        return Marks(self._hidden.marked(), self._executable.marked(), self._links.marked())


def mark_words(entry: Entry) -> str:
    """The marks of one entry, for people; empty for most."""
    words = ["hidden"] if entry.path.rpartition(b"/")[2][:1] == b"." else []
    if entry.mode & _EXECUTE and entry.kind is Kind.FILE:
        words.append("executable")
    return f"  [{', '.join(words)}]" if words else ""
