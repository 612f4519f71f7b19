"""Says whether the two sides of a code can reach each other, as far as this machine can tell, and
what it means when nobody answers.

Spec: docs/reference/exit-codes.md, 11 and 12.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from wraith.aio.transports.addresses import format_address
from wraith.aio.transports.interfaces import reachable_addresses
from wraith.errors import ConnectFailed, HandshakeTimeout, WraithError
from wraith.types import Address, Road


def code_addresses(local: Address, port: int) -> tuple[Address, ...]:
    """What a code names: the address that was asked for alone, else those of all interfaces."""
    if any(local.ip):
        return (local._replace(port=port),)
    found = reachable_addresses(port)
    if local.ip:
        found = tuple(a for a in found if len(a.ip) == len(local.ip)) or found
    return found


def address_texts(addresses: Sequence[Address]) -> tuple[str, ...]:
    """As people and JSON write them."""
    return tuple(format_address(address) for address in addresses)


def place_texts(roads: Iterable[Road]) -> tuple[str, ...]:
    """Where ``roads`` lead, each address and each URL once."""
    return tuple(dict.fromkeys(str(road) for road in roads))


def routed(roads: Iterable[Road]) -> tuple[Address, ...]:
    """The addresses of which this machine must have a way to one. None where a road leads through a
    proxy or to a URL: then the machine's own routes say nothing."""
    found: list[Address] = []
    for road in roads:
        if road.address is None or road.proxy is not None:
            return ()
        found.append(road.address)
    return tuple(dict.fromkeys(found))


def no_route(addresses: Sequence[Address], hint: str = "connect it to a network") -> ConnectFailed:
    """This machine knows no way to any of ``addresses``."""
    where = ", ".join(address_texts(addresses))
    return ConnectFailed(f"this machine has no route to {where}", hint=hint)


def no_address(hint: str = "connect it to a network") -> ConnectFailed:
    """This machine has no address that a code could name."""
    return ConnectFailed("this machine has no address that anybody could reach", hint=hint)


def reasons_of_silence(other: str) -> str:
    """Lists what it may mean that ``other`` does not answer: silence is all that a stranger
    gets."""
    utc = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    return (
        f"the code may be old or used already, {other} may have gone, a firewall may "
        f"drop UDP on the way, or a clock may be wrong (here it is {utc} UTC); "
        "`wraith doctor --to -` tries each road"
    )


def explained(
    error: WraithError, dialled: Sequence[str], timeout_s: float, other: str
) -> WraithError:
    """``error``, with what may be behind it where it is silence."""
    if not isinstance(error, HandshakeTimeout):
        return error
    text = f"nobody answered at {', '.join(dialled)} within {timeout_s:g} s"
    return HandshakeTimeout(text, hint=reasons_of_silence(other))
