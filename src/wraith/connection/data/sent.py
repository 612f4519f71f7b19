"""What was put on the wire, by runs: one record for what one ``seal_run`` call made, and slices of
it. Nothing here is per packet, and nothing here decides (docs/spec/recovery.md)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from wraith.connection.paths.open_path import Path


@dataclass(slots=True, eq=False, kw_only=True)
class SentRun:
    """One run on the wire of ``path``: ``n`` datagrams with consecutive packet numbers.

    All datagrams are ``datagram_bytes`` long but the last (``last_bytes``), unless ``ends`` says
    where each one ends, counted from the start of the run (from ``seal_frames``). Datagram 0
    carries ``first_len`` stream bytes from ``offset`` on, each later one ``per_len``, the last the
    rest of ``length``. ``lead`` holds opaque tokens of datagram 0 for whoever built it. The
    ``delivered`` fields and ``first_sent_time`` are those of the path when the run left.
    """

    path: Path
    epoch: int
    first_pn: int
    n: int
    time: float
    datagram_bytes: int
    last_bytes: int
    sid: int = 0
    offset: int = 0
    length: int = 0
    first_len: int = 0
    per_len: int = 0
    fin: bool = False
    lead: tuple[object, ...] = ()
    eliciting: bool
    in_flight: bool
    mtu_probe: bool = False
    ends: tuple[int, ...] | None = None
    counter: int = 0
    delivered_bytes: int = 0
    delivered_time: float = 0.0
    first_sent_time: float = 0.0
    pending: list[tuple[int, int]] = field(default_factory=list)

    def slice_bytes(self, first: int, last: int) -> int:
        """UDP payload bytes of datagrams ``first`` … ``last``."""
        if self.ends is not None:
            return self.ends[last] - (self.ends[first - 1] if first else 0)
        n_bytes = (last - first + 1) * self.datagram_bytes
        if last == self.n - 1:
            n_bytes += self.last_bytes - self.datagram_bytes
        return n_bytes


class SentSlice(NamedTuple):
    """Datagrams ``first`` … ``last`` (inclusive, counted from 0) of ``run``."""

    run: SentRun
    first: int
    last: int

    @property
    def n_bytes(self) -> int:
        return self.run.slice_bytes(self.first, self.last)

    @property
    def largest_bytes(self) -> int:
        """The size of the largest of these datagrams."""
        run = self.run
        return run.datagram_bytes if self.first < run.n - 1 else run.last_bytes

    def stream_range(self) -> tuple[int, int, int, bool]:
        """``(sid, offset, length, fin)`` of the stream bytes in these datagrams."""
        run = self.run
        start = 0 if self.first == 0 else run.first_len + (self.first - 1) * run.per_len
        if self.last == run.n - 1:
            return run.sid, run.offset + start, run.length - start, run.fin
        end = run.first_len + self.last * run.per_len
        return run.sid, run.offset + start, end - start, False
