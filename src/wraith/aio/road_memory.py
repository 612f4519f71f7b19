"""What the home folder knows of the network that this host is in, for one node that dials.

The network is looked at once, when the node begins to dial: what is learnt afterwards is noted for
that network. Spec: docs/spec/roads.md §2 [RO-19].
"""

from __future__ import annotations

from wraith.abc import Rng, WallClock
from wraith.aio.disk.home_folder import HomeFolder
from wraith.aio.disk.roads_file import RoadsFile
from wraith.aio.transports.network_state import (
    NetworkIdentity,
    network_identity,
    read_network_state,
)
from wraith.node.node import Node


class RoadMemory:
    """Blocks for a few milliseconds in each method, and raises nothing for what the disk does."""

    def __init__(self, home: HomeFolder, rng: Rng, clock: WallClock) -> None:
        self._file = RoadsFile(home, rng)
        self._clock = clock
        self._network: NetworkIdentity | None = None

    def begin(self, node: Node) -> None:
        """Tells ``node`` which carriers fail here, and lets it keep how they fare."""
        self._network = network_identity(read_network_state())
        if self._network is not None:
            node.known_to_fail = self._file.known_to_fail(self._network, self._unix_now())
            node.road_news = []

    def note(self, node: Node) -> None:
        """Writes down what ``node`` has learnt since."""
        news, node.road_news = node.road_news, None if self._network is None else []
        if self._network is not None and news:
            self._file.note(self._network, news, self._unix_now())

    def _unix_now(self) -> int:
        return int(self._clock.unix_time())
