"""Which roads of a peer's making may be dialled at all.

A ROADS frame comes from a peer that was let in, which is no reason to let it point this machine at
its own services, at its neighbours or at the mail server of a third party. A code comes from a
person, but its URL may be followed into a network that the person does not think of.

Spec: docs/spec/roads.md §7 [RO-70] [RO-71].
"""

from __future__ import annotations

from typing import Final

from wraith.types import Address, Road
from wraith.wire.places import AddressKind, kind_of

SYSTEM_PORTS: Final = 1024
#: An inner address may be named by a peer that is reached at one with the same first bytes.
_NEAR_BYTES: Final = {4: 2, 16: 6}


def peer_may_name(road: Road, *, code_ports: frozenset[int], remote: Address | None) -> bool:
    """Whether a road of a ROADS frame may be dialled.

    Args:
        road: as the frame names it.
        code_ports: the ports that the code of this session names; below 1024 only they are
            allowed.
        remote: where the session's active path leads; ``None`` if a proxy hides that.
    """
    address = road.address
    if address is None:
        return False
    if address.port < SYSTEM_PORTS and address.port not in code_ports:
        return False
    match kind_of(address.ip):
        case AddressKind.GLOBAL:
            return True
        case AddressKind.NEVER:
            return False
        case AddressKind.PRIVATE | AddressKind.LOOPBACK:
            near = _NEAR_BYTES[len(address.ip)]
            return (
                remote is not None
                and len(remote.ip) == len(address.ip)
                and remote.ip[:near] == address.ip[:near]
            )


def url_may_lead_to(ip: bytes, *, is_typed: bool) -> bool:
    """Whether the name or the literal of a URL may be followed to ``ip``. ``is_typed``: the person
    at this machine gave the URL, and it did not come in a code."""
    return is_typed or kind_of(ip) is AddressKind.GLOBAL
