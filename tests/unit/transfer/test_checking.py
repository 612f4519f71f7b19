"""What a receiver says that it has, while it waits to be checked."""

from __future__ import annotations

from array import array

import pytest

from wraith.transfer.checking import NOTED_BYTES_MAX, Checking
from wraith.transfer.inventory import Inventory
from wraith.transfer.messages import HaveItem

D = bytes(32)


@pytest.mark.spec("TR-104")
def test_ranges_beyond_what_is_noted_are_checked_and_sent_again() -> None:
    """A file that differs is dropped, also where nobody has kept count any more."""
    n_files = 2 * NOTED_BYTES_MAX // 1_024 // 16
    sizes = array("Q", [1 << 40] * n_files)
    inventory = Inventory(sizes)
    checking = Checking(sizes, inventory)
    ranges = tuple((2 * i, 1) for i in range(1_024))
    for entry in range(n_files):
        checking.add(HaveItem(entry, ranges, D))
        batch = checking.next_batch()
        checking.checked(batch, [entry != n_files - 1])
    noted = [entry for entry in range(n_files) if inventory.ranges(entry)]
    assert 0 < len(noted) < n_files // 2 + 1 and noted == list(range(len(noted)))
    assert list(checking.drop_what_differs()) == [n_files - 1]
