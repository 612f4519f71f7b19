"""The two halves of a stream: bytes to send until acknowledged, bytes received until read.

Both work on ranges, never on packets. The send half keeps what was written in segments and hands
out slices of them for one sealed run; the receive half keeps what is in order as chunks and what
came early in pages, so that no order of arrival makes it hold more than the window that was
granted. Neither knows limits of the connection, frames or time.

Spec: docs/spec/connection.md.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence

from wraith.content.ranges import RangeSet
from wraith.errors import CloseCode, LimitExceeded, RemoteProtocolError
from wraith.types import Buffer

SMALL_WRITE_BYTES = 4_096
KEPT_SHARE = 2
"""A received piece of at least this part of its buffer (1 / share) is kept where it is."""
TAIL_BYTES_MAX = 65_536
PAGE_BYTES = 4_096
MAX_RANGES = 1_024


class SendHalf:
    """The bytes that one side sends on a stream.

    Offsets: ``acked_to`` ≤ ``next_offset`` (first byte never sent) ≤ ``written``.
    """

    __slots__ = (
        "_acked",
        "_ends",
        "_head",
        "_lost",
        "_segments",
        "_tail",
        "acked_to",
        "fin_acked",
        "fin_lost",
        "fin_sent",
        "finished",
        "limit",
        "next_offset",
        "reset_acked",
        "reset_code",
        "written",
    )

    def __init__(self, limit: int) -> None:
        #: The peer's absolute flow-control limit.
        self.limit = limit
        self.acked_to = 0
        self.next_offset = 0
        self.written = 0
        self.finished = False
        self.fin_sent = False
        self.fin_lost = False
        self.fin_acked = False
        self.reset_code: int | None = None
        self.reset_acked = False
        # Made with the first write: a peer can open streams by the thousand.
        self._segments: list[bytes | memoryview] | None = None
        self._ends: list[int] | None = None
        self._head = 0
        self._tail: bytearray | None = None
        self._acked: RangeSet | None = None
        self._lost: RangeSet | None = None

    # -- facts

    @property
    def buffered(self) -> int:
        """Bytes written and not yet acknowledged in order."""
        return self.written - self.acked_to

    @property
    def is_done(self) -> bool:
        """Everything, the end included, is acknowledged; or the reset in its place."""
        return self.reset_acked or (self.fin_acked and self.acked_to == self.written)

    @property
    def has_lost(self) -> bool:
        return bool(self._lost) or self.fin_lost

    def has_new(self) -> bool:
        """There is something never sent that the stream's window allows."""
        if self.reset_code is not None:
            return False
        if self.next_offset < self.written:
            return self.next_offset < self.limit
        return self.finished and not self.fin_sent

    def is_ready(self) -> bool:
        return self.reset_code is None and (self.has_lost or self.has_new())

    # -- commands

    def write(self, data: Buffer, n_bytes: int) -> None:
        """Appends the first ``n_bytes`` of ``data``: ``bytes`` are kept by reference, others are
        copied."""
        if n_bytes < SMALL_WRITE_BYTES:
            if self._tail is None:
                self._tail = bytearray()
            self._tail += data[:n_bytes]
            self.written += n_bytes
            if len(self._tail) >= TAIL_BYTES_MAX:
                self._freeze_tail()
            return
        self._freeze_tail()
        self.written += n_bytes
        if isinstance(data, bytes):
            kept: bytes | memoryview = data if n_bytes == len(data) else memoryview(data)[:n_bytes]
        elif isinstance(data, memoryview) and isinstance(data.obj, bytes):
            kept = data[:n_bytes]  # a view of something immutable
        else:
            kept = bytes(data[:n_bytes])
        self._keep(kept)

    def _keep(self, segment: bytes | memoryview) -> None:
        if self._segments is None or self._ends is None:
            self._segments, self._ends = [], []
        self._segments.append(segment)
        self._ends.append(self.written)

    def _freeze_tail(self) -> None:
        if self._tail:
            self._keep(bytes(self._tail))
            self._tail = None

    def finish(self) -> None:
        self.finished = True

    def reset(self, code: int) -> None:
        """Forgets everything that was to be sent; ``next_offset`` is the final size."""
        self.reset_code = code
        self._segments = self._ends = self._tail = None
        self._head = 0
        self._lost = None
        self.fin_lost = False
        self.acked_to = self.written = self.next_offset

    # -- sending

    def next_range(self, n_max: int, n_new_max: int) -> tuple[int, int, bool]:
        """``(offset, length, fin)`` of what goes next: lost bytes first, then new ones of which
        at most ``n_new_max`` are allowed. ``length`` 0 and ``fin`` false: nothing."""
        if self._lost:
            start, end = self._lost.first
            length = min(end - start, n_max)
            return start, length, self._ends_stream(start + length) and self._fin_is_due()
        if self.fin_lost and self.next_offset == self.written:
            return self.written, 0, True
        length = min(
            self.written - self.next_offset, self.limit - self.next_offset, n_max, n_new_max
        )
        length = max(length, 0)
        end = self.next_offset + length
        return self.next_offset, length, self._ends_stream(end) and not self.fin_sent

    def _ends_stream(self, end: int) -> bool:
        return self.finished and end == self.written

    def _fin_is_due(self) -> bool:
        return self.fin_lost or not self.fin_sent

    def gather(self, offset: int, length: int) -> list[bytes | memoryview]:
        """The bytes from ``offset`` on as slices of what was written, without copying."""
        if self._tail and offset + length > self.written - len(self._tail):
            self._freeze_tail()
        pieces: list[bytes | memoryview] = []
        segments, ends = self._segments, self._ends
        if segments is None or ends is None:
            return pieces
        at = bisect_right(ends, offset, self._head)
        stop = offset + length
        while offset < stop:
            segment, end = segments[at], ends[at]
            size = len(segment)
            start = offset - (end - size)
            if start or end > stop:
                segment = memoryview(segment)[start : min(size, start + stop - offset)]
            pieces.append(segment)
            offset = end
            at += 1
        return pieces

    def on_sent(self, offset: int, length: int, fin: bool) -> int:
        """Notes that this range left; returns how many of its bytes were new."""
        end = offset + length
        if fin:
            self.fin_sent = True
            self.fin_lost = False
        if self._lost is not None:
            self._lost.remove(offset, end)
            if not self._lost:
                self._lost = None
        if end > self.next_offset:
            n_new = end - self.next_offset
            self.next_offset = end
            return n_new
        return 0

    def on_acked(self, offset: int, length: int, fin: bool) -> None:
        if fin:
            self.fin_acked = True
            self.fin_lost = False
        end = offset + length
        if self.reset_code is not None or end <= self.acked_to:
            return
        if self._lost is not None:
            self._lost.remove(offset, end)
            if not self._lost:
                self._lost = None
        if offset > self.acked_to:
            if self._acked is None:
                self._acked = RangeSet()
            self._acked.add(offset, end)
            return
        self.acked_to = end
        if self._acked is not None:
            self._acked.remove(0, end)
            if self._acked and self._acked.first[0] == end:
                self.acked_to = self._acked.pop_first()[1]
            if not self._acked:
                self._acked = None
        self._trim()

    def _trim(self) -> None:
        segments, ends, acked_to = self._segments, self._ends, self.acked_to
        if segments is None or ends is None:
            return
        head, n = self._head, len(ends)
        while head < n and ends[head] <= acked_to:
            segments[head] = b""
            head += 1
        if head >= 64 or head == n:
            del segments[:head]
            del ends[:head]
            head = 0
        self._head = head

    def on_lost(self, offset: int, length: int, fin: bool) -> None:
        """Queues the range again, as far as it is not acknowledged."""
        if self.reset_code is not None:
            return
        if fin and not self.fin_acked:
            self.fin_lost = True
        start = max(offset, self.acked_to)
        end = offset + length
        if start >= end:
            return
        if self._lost is None:
            self._lost = RangeSet()
        if self._acked is None:
            self._lost.add(start, end)
        else:
            for a, b in self._acked.gaps(start, end):
                self._lost.add(a, b)
        if not self._lost:
            self._lost = None


class ReceiveHalf:
    """The bytes that one side receives on a stream.

    Offsets: ``read_to`` (handed to the application) ≤ ``next_offset`` (in order) ≤ ``highest``.
    """

    __slots__ = (
        "_chunks",
        "_early",
        "_pages",
        "_tail",
        "final_size",
        "highest",
        "is_stopped",
        "next_offset",
        "read_to",
        "reset_code",
    )

    def __init__(self) -> None:
        self.read_to = 0
        self.next_offset = 0
        self.highest = 0
        self.final_size: int | None = None
        self.reset_code: int | None = None
        self.is_stopped = False
        self._chunks: deque[bytes | bytearray | memoryview] | None = None
        self._tail: bytearray | None = None
        self._early: RangeSet | None = None
        self._pages: dict[int, bytearray] | None = None

    # -- facts

    @property
    def readable(self) -> int:
        """Bytes that can be read now."""
        return 0 if self.is_stopped else self.next_offset - self.read_to

    @property
    def is_complete(self) -> bool:
        """Every byte up to the end has arrived in order, or the stream was reset."""
        return self.reset_code is not None or self.next_offset == self.final_size

    @property
    def is_done(self) -> bool:
        """Nothing is left to read and nothing more will come."""
        if self.reset_code is not None:
            return True
        if self.is_stopped:
            return self.next_offset == self.final_size
        return self.read_to == self.final_size

    # -- receiving

    def set_final_size(self, final: int) -> None:
        """Raises:
        RemoteProtocolError: the final size changed or lies below what was received.
        """
        if self.final_size is None:
            if final < self.highest:
                raise RemoteProtocolError(
                    "final size below received data", close_code=CloseCode.FLOW_CONTROL_ERROR
                )
            self.final_size = final
        elif final != self.final_size:
            raise RemoteProtocolError("final size changed", close_code=CloseCode.FLOW_CONTROL_ERROR)

    def receive(self, offset: int, data: memoryview, fin: bool) -> int:
        """Takes stream bytes. Returns by how much ``highest`` rose.

        Large pieces are kept as views: nobody may write to ``data`` afterwards.

        Raises:
            RemoteProtocolError, LimitExceeded: final size or the bound on ranges is broken.
        """
        end = offset + len(data)
        if fin:
            self.set_final_size(end)
        elif self.final_size is not None and end > self.final_size:
            raise RemoteProtocolError(
                "data beyond the final size", close_code=CloseCode.FLOW_CONTROL_ERROR
            )
        rise = max(end - self.highest, 0)
        self.highest += rise
        if self.reset_code is not None or end <= self.next_offset:
            return rise
        if offset > self.next_offset:
            self._keep_early(offset, data)
            return rise
        before = self.next_offset
        self._append(data[before - offset :])
        if self._early is not None:
            self._drain_early(before // PAGE_BYTES)
        if self.is_stopped:
            self.read_to = self.next_offset
        return rise

    def _append(self, data: memoryview) -> None:
        n_bytes = len(data)
        self.next_offset += n_bytes
        if self.is_stopped:
            return
        if self._chunks is None:
            self._chunks = deque()
        if n_bytes >= SMALL_WRITE_BYTES:
            # Small pieces are copied: they must not hold a large buffer, whatever the peer sends.
            keeps = n_bytes * KEPT_SHARE >= memoryview(data.obj).nbytes
            self._chunks.append(data if keeps else bytes(data))
            self._tail = None
            return
        # Small pieces share one buffer: a peer that sends single bytes must not cost objects.
        if self._tail is None or len(self._tail) + n_bytes > TAIL_BYTES_MAX:
            self._tail = bytearray()
            self._chunks.append(self._tail)
        self._tail += data

    def _keep_early(self, offset: int, data: memoryview) -> None:
        if self._early is None:
            self._early = RangeSet()
            self._pages = {}
        end = offset + len(data)
        for start, stop in self._early.gaps(offset, end):
            if not self.is_stopped:
                self._write_pages(start, data[start - offset : stop - offset])
        self._early.add(offset, end)
        if len(self._early) > MAX_RANGES:  # [CN-24]
            raise LimitExceeded("too many gaps", close_code=CloseCode.FLOW_CONTROL_ERROR)

    def _write_pages(self, start: int, data: memoryview) -> None:
        assert self._pages is not None
        done = 0
        while done < len(data):
            number, at = divmod(start + done, PAGE_BYTES)
            n_bytes = min(PAGE_BYTES - at, len(data) - done)
            page = self._pages.get(number)
            if page is None:
                page = self._pages[number] = bytearray(PAGE_BYTES)
            page[at : at + n_bytes] = data[done : done + n_bytes]
            done += n_bytes

    def _drain_early(self, first_page: int) -> None:
        """Appends what came early and is in order now. Lower pages than ``first_page`` are gone
        already."""
        early, pages = self._early, self._pages
        assert early is not None and pages is not None
        early.remove(0, self.next_offset)
        if early and early.first[0] == self.next_offset:
            start, end = early.pop_first()
            if self.is_stopped:
                self.next_offset = end
            while start < end and not self.is_stopped:
                number, at = divmod(start, PAGE_BYTES)
                n_bytes = min(PAGE_BYTES - at, end - start)
                self._append(memoryview(pages[number])[at : at + n_bytes])
                start += n_bytes
        if early:
            for number in range(first_page, self.next_offset // PAGE_BYTES):
                pages.pop(number, None)
        else:
            self._early = self._pages = None

    # -- reading

    def read_chunks(self, n_max: int) -> list[Buffer]:
        """Up to ``n_max`` bytes in order, as the pieces they came in. The caller owns them."""
        out: list[Buffer] = []
        chunks = self._chunks
        if not chunks or self.is_stopped:
            return out
        while chunks and n_max > 0:
            chunk = chunks[0]
            if len(chunk) <= n_max:
                chunks.popleft()
                if chunk is self._tail:
                    self._tail = None
            else:
                if chunk is self._tail:
                    self._tail = None  # a view is handed out: it must not grow any more
                view = memoryview(chunk)
                chunks[0] = view[n_max:]
                chunk = view[:n_max]
            n_max -= len(chunk)
            self.read_to += len(chunk)
            out.append(chunk)
        if not chunks:
            self._chunks = None
        return out

    def stop(self) -> int:
        """Discards what is unread, now and later. Returns how many bytes that frees."""
        freed = self.next_offset - self.read_to
        self.is_stopped = True
        self._chunks = self._tail = None
        self.read_to = self.next_offset
        if self._pages is not None:
            self._pages.clear()
        return freed

    def reset(self, code: int, final: int) -> int:
        """The peer gave up at ``final``. Returns by how much ``highest`` rose.

        Raises:
            RemoteProtocolError: ``final`` breaks the final-size rule.
        """
        self.set_final_size(final)
        rise = final - self.highest
        self.highest = final
        self.reset_code = code
        self.next_offset = self.read_to = final
        self._chunks = self._tail = None
        self._early = self._pages = None
        return rise


def total_bytes(pieces: Sequence[Buffer]) -> int:
    return sum(map(len, pieces))
