"""The code of a side that waits: what it names, and whether it is the one of before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from wraith.aio.disk.kept_code import KeptCode
from wraith.aio.files.reaching import address_texts
from wraith.aio.road_choice import Reached
from wraith.types import Address

if TYPE_CHECKING:
    from wraith.aio.files.events import WaitingEvent


class Waits(Protocol):
    """A transfer that waits, or the port at which one is going to."""

    @property
    def port(self) -> int: ...

    @property
    def reached(self) -> Reached: ...

    def code(self, addresses: Sequence[Address], *, maker_receives: bool = False) -> str: ...


@dataclass(frozen=True, slots=True)
class Announcement:
    """A code and where it leads. ``is_resumed``: an earlier process offered the same under it;
    ``is_changed``: it named another address, port or carrier then."""

    code: str = field(repr=False)
    addresses: tuple[str, ...]
    port: int
    reached: Reached
    is_resumed: bool
    is_changed: bool

    def event(self, left_out: Sequence[str] | None = None) -> WaitingEvent:
        """The first fact that is told."""
        from wraith.aio.files.events import WaitingEvent  # people are told words

        names = None if left_out is None else tuple(left_out)
        carriers = tuple(carrier.name.lower() for carrier in self.reached.carriers)
        return WaitingEvent(
            self.code,
            self.addresses,
            self.port,
            self.is_resumed,
            names,
            carriers,
            self.reached.quic_port,
        )


def announce(
    waiting: Waits,
    addresses: tuple[Address, ...],
    kept: KeptCode | None,
    *,
    maker_receives: bool = False,
) -> Announcement:
    """The code of ``waiting``, which names ``addresses``. ``kept`` notes them."""
    reached = waiting.reached
    changed = kept is not None and kept.names(
        addresses, waiting.port, reached.carriers, reached.url
    )
    return Announcement(
        code=waiting.code(addresses, maker_receives=maker_receives),
        addresses=address_texts(addresses) + (() if reached.url is None else (reached.url,)),
        port=waiting.port,
        reached=reached,
        is_resumed=kept is not None and kept.is_resumed,
        is_changed=changed,
    )
