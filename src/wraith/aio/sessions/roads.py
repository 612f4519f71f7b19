"""The roads of a session, for programs.

Spec: docs/reference/api.md, "Session".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from wraith.connection.roads.ways import RoadState, RoadStatus
from wraith.types import NetworkPath, Road


@dataclass(frozen=True, slots=True)
class SessionRoad:
    """One way to the peer, as it stands.

    Attributes:
        carrier: ``udp``, ``tcp``, ``ws`` or ``quic``.
        address: where it leads: ``192.0.2.1:4433``, or a URL.
        state: a word of docs/spec/roads.md: ``active`` is the one in use; ``untried``, ``trying``,
            ``open``, ``standby``, ``suspect``, ``closed``, ``failed``.
        reason: why it has failed, a word of docs/reference/roads.md and perhaps what was seen.
        is_proxied: it leads through a proxy.
    """

    carrier: str
    address: str
    state: str
    reason: str | None = None
    is_proxied: bool = False

    def _leads_along(self, road: Road) -> bool:
        """Whether it is the same way, whatever has become of it since."""
        is_proxied = road.proxy is not None
        place = (road.carrier.name.lower(), str(road), is_proxied)
        return place == (self.carrier, self.address, self.is_proxied)


def roads_of(statuses: Iterable[RoadStatus], path: NetworkPath) -> tuple[SessionRoad, ...]:
    """What is known of roads; where nothing is, ``path`` is the only one."""
    found = tuple(
        SessionRoad(
            status.road.carrier.name.lower(),
            str(status.road),
            status.state.value,
            None if status.failure is None else str(status.failure),
            status.road.proxy is not None,
        )
        for status in statuses
    )
    only = SessionRoad(path.carrier.name.lower(), str(path.remote), RoadState.ACTIVE.value)
    return found or (only,)
