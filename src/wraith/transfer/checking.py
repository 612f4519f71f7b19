"""Queues what a receiver claims to have until it is checked. The queue is bounded.

Items of HAVE wait here for the disk, counted in bytes of memory; beyond ``CHECKS_BYTES_MAX`` the
control stream is not read. What holds is noted for the plan of what to send, within
``NOTED_BYTES_MAX``: beyond that ranges are checked like all others and then sent again, which costs
their receiver nothing but the traffic. A file that differs anywhere is dropped as a whole.

Spec: transfer §4, §6 [TR-103, TR-104].
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator

from wraith.content.chunking import Cut
from wraith.content.inventory import Inventory
from wraith.errors import LimitExceeded
from wraith.transfer.messages import HaveItem
from wraith.transfer.order import HaveOrder

CHECKS_BYTES_MAX = 4 * 1024 * 1024
ITEM_COST_BYTES = 256
RANGE_COST_BYTES = 128
"""Bytes that an item and each of its ranges take in memory while they wait, rounded up."""

ITEMS_PER_CHECK = 256
RANGES_PER_CHECK = 2_048
CHECKS_UNDER_WAY_MAX = 2

NOTED_BYTES_MAX = 4 * 1024 * 1024
NOTED_FILE_COST_BYTES = 512
NOTED_RANGE_COST_BYTES = 16
"""Bytes that an unfinished file and each of its ranges take in an ``Inventory``."""


class Checking:
    """One connection's. ``sizes`` are those of the listing; ``inventory`` takes what holds."""

    def __init__(self, sizes: array[int], inventory: Inventory) -> None:
        self._sizes = sizes
        self._inventory = inventory
        self._order = HaveOrder()
        self._waiting: deque[HaveItem] = deque()
        self._held_bytes = 0
        self._noted_bytes = 0
        self._n_under_way = 0
        self._dropped = bytearray(len(sizes))

    @property
    def has_room(self) -> bool:
        """More may come before the disk has caught up. [TR-104]"""
        return self._held_bytes < CHECKS_BYTES_MAX

    @property
    def is_idle(self) -> bool:
        """All that came has been checked."""
        return not self._waiting and not self._n_under_way

    def add(self, item: HaveItem) -> None:
        """Takes the next item.

        Raises:
            RemoteProtocolError: out of order, or of something that is not in the listing.
        """
        sizes, entry = self._sizes, item.entry
        if entry >= len(sizes) or not sizes[entry]:
            raise LimitExceeded("HAVE beyond the listing")
        first, n = item.ranges[-1]
        if first + n > Cut(sizes[entry]).n_chunks:
            raise LimitExceeded("HAVE beyond the end of a file")
        self._order.take(entry, item.ranges)
        self._waiting.append(item)
        self._held_bytes += _cost(item)

    def next_batch(self) -> tuple[HaveItem, ...]:
        """What to check next, nothing while enough is under way. Say ``checked`` afterwards."""
        if not self._waiting or self._n_under_way >= CHECKS_UNDER_WAY_MAX:
            return ()
        batch: list[HaveItem] = []
        n_ranges = 0
        while self._waiting and len(batch) < ITEMS_PER_CHECK and n_ranges < RANGES_PER_CHECK:
            item = self._waiting.popleft()
            batch.append(item)
            n_ranges += len(item.ranges)
        self._n_under_way += 1
        return tuple(batch)

    def checked(self, batch: tuple[HaveItem, ...], holds: list[bool]) -> None:
        """The disk has said of each item whether it holds."""
        self._n_under_way -= 1
        for item, is_same in zip(batch, holds, strict=True):
            self._held_bytes -= _cost(item)
            if is_same:
                self._note(item)
            else:
                self._dropped[item.entry] = 1

    def drop_what_differs(self) -> Iterator[int]:
        """The files of which something differs, ascending; none of them is noted any more."""
        entry = -1
        while (entry := self._dropped.find(1, entry + 1)) >= 0:
            self._inventory.drop(entry)
            yield entry

    def clear(self) -> None:
        """Nothing more is wanted."""
        self._waiting.clear()
        self._held_bytes = 0

    def _note(self, item: HaveItem) -> None:
        cut = Cut(self._sizes[item.entry])
        if item.ranges != ((0, cut.n_chunks),):  # a whole file costs a bit
            cost = NOTED_FILE_COST_BYTES + NOTED_RANGE_COST_BYTES * len(item.ranges)
            if self._noted_bytes + cost > NOTED_BYTES_MAX:
                return
            self._noted_bytes += cost
        for first, n in item.ranges:
            self._inventory.add(item.entry, first, n, cut.n_bytes(first, n))


def _cost(item: HaveItem) -> int:
    return ITEM_COST_BYTES + RANGE_COST_BYTES * len(item.ranges)
