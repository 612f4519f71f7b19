"""Telling a sender what is here already: verified ranges, cut into items, items into messages.

Spec: transfer §6.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from wraith.content.inventory import Inventory
from wraith.transfer.message_codec import BODY_BYTES_MAX, RANGES_PER_ITEM, have_item_bytes
from wraith.transfer.messages import Have, HaveItem, Skip

Held = tuple[int, tuple[tuple[int, int], ...]]
"""An entry and ranges ``(first, n)`` of its chunks."""


def held_items(inventory: Inventory) -> Iterator[Held]:
    """Everything that is verified, in the pieces that one HAVE item can name."""
    for entry in inventory.held_entries():
        ranges = inventory.ranges(entry)
        for at in range(0, len(ranges), RANGES_PER_ITEM):
            yield entry, tuple(ranges[at : at + RANGES_PER_ITEM])


def have_messages(items: Iterable[Held], digests: Iterable[bytes]) -> Iterator[Have]:
    """HAVE messages, each filled as far as it goes."""
    batch: list[HaveItem] = []
    n_bytes = 0
    for (entry, ranges), digest in zip(items, digests, strict=True):
        item = HaveItem(entry, ranges, digest)
        if n_bytes + have_item_bytes(item) > BODY_BYTES_MAX:
            yield Have(tuple(batch))
            batch, n_bytes = [], 0
        batch.append(item)
        n_bytes += have_item_bytes(item)
    if batch:
        yield Have(tuple(batch))


def skip_messages(skipped: list[tuple[int, int]]) -> Iterator[Skip]:
    """SKIP messages for ``(first, n)`` entries that are not wanted."""
    step = BODY_BYTES_MAX // 8
    for at in range(0, len(skipped), step):
        yield Skip(tuple(skipped[at : at + step]))
