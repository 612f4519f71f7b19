"""Which roads a node may take: its carriers and its proxies.

Spec: docs/spec/roads.md, docs/spec/proxies.md.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from wraith.aio.transports.proxy_environment import plan_proxies
from wraith.connection.handshake.node_record import NodeRecord
from wraith.connection.roads.proxies import AUTO, ProxyPlan
from wraith.errors import ConfigError, MissingExtra
from wraith.types import Carrier, Road

NAMES: Final = {
    "udp": Carrier.UDP, "tcp": Carrier.TCP, "ws": Carrier.WS, "quic": Carrier.QUIC,
}  # fmt: skip
#: What a carrier needs beside the plain installation: the library, and the extra that brings it.
_NEEDS: Final = {Carrier.WS: ("websockets", "ws"), Carrier.QUIC: ("aioquic", "quic")}


def is_installed(carrier: Carrier) -> bool:
    """Whether this installation has what ``carrier`` needs."""
    needs = _NEEDS.get(carrier)
    return needs is None or importlib.util.find_spec(needs[0]) is not None


def carriers_of(names: str | Iterable[str]) -> tuple[Carrier, ...]:
    """The carriers of ``udp,tcp`` or of ``["udp", "tcp"]``.

    Raises:
        ConfigError: no such carrier, or none.
        MissingExtra: this installation lacks what one of them needs.
    """
    words = names.split(",") if isinstance(names, str) else list(names)
    found: list[Carrier] = []
    for word in words:
        carrier = NAMES.get(str(word).strip().lower())
        if carrier is None:
            raise ConfigError("carriers", str(word), ", ".join(NAMES))
        if not is_installed(carrier):
            raise MissingExtra(_NEEDS[carrier][1], f"the carrier {word.strip().lower()}")
        found.append(carrier)
    if not found:
        raise ConfigError("carriers", "none", ", ".join(NAMES))
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class RoadChoice:
    """What a node may use.

    Attributes:
        listens: the carriers on which it can be reached.
        dials: the carriers on which it goes to others.
        proxies: what leads there.
    """

    listens: frozenset[Carrier] = frozenset((Carrier.UDP,))
    dials: frozenset[Carrier] = frozenset((Carrier.UDP,))
    proxies: ProxyPlan = field(default_factory=ProxyPlan)

    def roads(self, record: NodeRecord) -> tuple[Road, ...]:
        """The roads to a node that may be tried; empty if none of its own may."""
        usable = [road for road in record.roads if road.carrier in self.dials]
        return self.proxies.roads(usable)


def choose(
    carriers: str | Iterable[str] | None,
    proxy: str = AUTO,
    *,
    listens: Iterable[Carrier] = (Carrier.UDP, Carrier.TCP),
) -> RoadChoice:
    """The choice of ``--carriers`` and ``--proxy``. Without carriers a node listens on ``listens``
    and goes to others on whatever is installed.

    Raises:
        ConfigError, MissingExtra: as ``carriers_of`` and ``plan_proxies``.
    """
    proxies = plan_proxies(proxy)
    if carriers is None:
        every = frozenset(carrier for carrier in NAMES.values() if is_installed(carrier))
        return RoadChoice(frozenset(listens), every, proxies)
    chosen = frozenset(carriers_of(carriers))
    return RoadChoice(chosen, chosen, proxies)
