"""Where the responder says that it listens, and what the initiator makes of it.

Spec: docs/spec/roads.md §7 [RO-64] [RO-65] [RO-70].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from wraith.connection.connection import Connection
from wraith.connection.roads.allowed import peer_may_name
from wraith.types import Address, Road, Role

ChooseRoads = Callable[[Iterable[Road]], Sequence[Road]]
"""Which of some roads may be used, with the proxies that lead there."""


class OwnRoads:
    """Where an endpoint listens, by access key: what the codes of that key name.

    Attributes:
        seq: of the latest change; 0: nothing was ever said.
    """

    __slots__ = ("_by_key", "seq")

    def __init__(self) -> None:
        self.seq = 0
        self._by_key: dict[bytes, tuple[Road, ...]] = {}

    def set(self, ak_public: bytes, roads: Iterable[Road]) -> bool:
        """Peers of this key reach the endpoint at ``roads`` now. False: that is nothing new."""
        roads = tuple(roads)
        if self._by_key.get(ak_public) == roads:
            return False
        self._by_key[ak_public] = roads
        self.seq += 1
        return True

    def forget(self, ak_public: bytes) -> None:
        """Nobody listens with this key any more; its peers keep what they know."""
        self._by_key.pop(ak_public, None)

    def tell(self, connection: Connection, told: int) -> int:
        """Tells an accepted peer what it has not heard since the change ``told``. Returns up to
        where it has heard now. [RO-64]"""
        if connection.role is Role.INITIATOR or not connection.authorised:
            return told
        roads = self._by_key.get(connection.access_key or b"")
        if roads is not None:
            connection.road_reports.name(self.seq, roads)
        return self.seq


def roads_after(
    code: Sequence[Road],
    named: Iterable[Road],
    *,
    choose: ChooseRoads | None,
    remote: Address | None,
) -> list[Road]:
    """The roads of a session whose peer has named new ones. [RO-65]

    Args:
        code: the roads that it was dialled by.
        named: of the newest ROADS frame.
        choose: what this side's own settings leave; ``None``: carriers of the code, no proxies.
        remote: as for ``peer_may_name``.
    """
    code_ports = frozenset(road.address.port for road in code if road.address is not None)
    direct = {(road.carrier, road.address) for road in code}
    allowed = [
        road
        for road in named
        if (road.carrier, road.address) in direct
        or peer_may_name(road, code_ports=code_ports, remote=remote)
    ]
    if choose is not None:
        usable = list(choose(allowed))
    elif any(road.proxy is not None for road in code):
        usable = []
    else:
        carriers = {road.carrier for road in code}
        usable = [road for road in allowed if road.carrier in carriers]
    return [*(road for road in code if road.address is None), *usable]
