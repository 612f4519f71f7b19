"""Whether this host has a way to an address at all. Sends nothing: a connected UDP socket asks the
kernel's routing table alone."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from typing import Final

from wraith.aio.transports.addresses import family_of, to_sockaddr
from wraith.types import Address

WAIT_STEP_S: Final = 1.0
_LOOPBACK_6: Final = bytes(15) + b"\x01"
_NO_ROUTE: Final = frozenset(
    {
        errno.ENETUNREACH,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.EADDRNOTAVAIL,
        errno.EAFNOSUPPORT,
    }
)


def has_route(address: Address) -> bool:
    """False when the kernel knows no way to ``address``. What else goes wrong is no answer."""
    try:
        with socket.socket(family_of(address), socket.SOCK_DGRAM) as probe:
            probe.connect(to_sockaddr(address))
    except OSError as exc:
        return exc.errno not in _NO_ROUTE
    return True


def is_loopback(address: Address) -> bool:
    """Whether only this machine reaches ``address``."""
    return address.ip[:1] == b"\x7f" if len(address.ip) == 4 else address.ip == _LOOPBACK_6


def any_route(addresses: Sequence[Address]) -> bool:
    """Whether one of them has a way."""
    return any(has_route(address) for address in addresses)


async def wait_until(holds: Callable[[], bool]) -> None:
    """Looks once a second until ``holds`` does: there is no portable word of the system."""
    while not holds():
        await asyncio.sleep(WAIT_STEP_S)
