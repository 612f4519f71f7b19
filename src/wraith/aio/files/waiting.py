"""The code of a side that waits: what it names, and whether it is the one of before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from wraith.aio.disk.kept_code import KeptCode
from wraith.aio.files.events import WaitingEvent
from wraith.aio.files.reaching import address_texts
from wraith.aio.transfers import Transfer
from wraith.types import Address


@dataclass(frozen=True, slots=True)
class Announcement:
    """A code and where it leads. ``is_resumed``: an earlier process offered the same under it;
    ``is_changed``: it named another address or port then."""

    code: str = field(repr=False)
    addresses: tuple[str, ...]
    port: int
    is_resumed: bool
    is_changed: bool

    def event(self, left_out: Sequence[str] | None = None) -> WaitingEvent:
        """The first fact that is told."""
        names = None if left_out is None else tuple(left_out)
        return WaitingEvent(self.code, self.addresses, self.port, self.is_resumed, names)


def announce(
    transfer: Transfer,
    addresses: tuple[Address, ...],
    kept: KeptCode | None,
    *,
    maker_receives: bool = False,
) -> Announcement:
    """The code of ``transfer``, which waits at ``addresses``. ``kept`` notes what it names."""
    changed = kept is not None and kept.names(addresses, transfer.port)
    return Announcement(
        code=transfer.code(addresses, maker_receives=maker_receives),
        addresses=address_texts(addresses),
        port=transfer.port,
        is_resumed=kept is not None and kept.is_resumed,
        is_changed=changed,
    )
