"""What a receiver says that it has, while it waits to be checked."""

from __future__ import annotations

from array import array

import pytest

from wraith.content.inventory import Inventory
from wraith.transfer.checking import NOTED_BYTES_MAX, Checking
from wraith.transfer.messages import HaveItem

D = bytes(32)


@pytest.mark.spec("TR-104")
def test_ranges_beyond_what_is_noted_are_checked_and_sent_again() -> None:
    """A file that differs is dropped, also where nobody has kept count any more."""
    n_files = NOTED_BYTES_MAX // 256  # each takes 528 bytes
    sizes = array("Q", [1 << 40] * n_files)
    inventory = Inventory(sizes)
    checking = Checking(sizes, inventory)
    for at in range(0, n_files, 256):
        for entry in range(at, at + 256):
            checking.add(HaveItem(entry, ((0, 1),), D))
        batch = checking.next_batch()
        checking.checked(batch, [item.entry != n_files - 1 for item in batch])
    noted = [entry for entry in range(n_files) if inventory.ranges(entry)]
    assert 0 < len(noted) <= NOTED_BYTES_MAX // 528 and noted == list(range(len(noted)))
    assert list(checking.drop_what_differs()) == [n_files - 1]
