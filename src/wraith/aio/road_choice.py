"""Which roads a node may take: its carriers and its proxies.

Spec: docs/spec/roads.md, docs/spec/proxies.md.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from wraith.aio.transports.proxy_environment import plan_proxies
from wraith.connection.handshake.node_record import NodeRecord
from wraith.connection.roads.proxies import AUTO, NONE, ProxyPlan
from wraith.errors import ConfigError, ConnectFailed, MissingExtra
from wraith.types import Address, Carrier, Road
from wraith.wire.places import AddressKind, check_url, kind_of, literal_of

if TYPE_CHECKING:
    from wraith.aio.transports.socket_set import SocketSet

NAMES: Final = {
    "udp": Carrier.UDP, "tcp": Carrier.TCP, "ws": Carrier.WS, "quic": Carrier.QUIC,
}  # fmt: skip
ACCEPTED: Final = f"one or more of {', '.join(NAMES)}"
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
    if not isinstance(names, Iterable):
        raise ConfigError("carriers", names, ACCEPTED)
    words = names.split(",") if isinstance(names, str) else list(names)
    found: list[Carrier] = []
    for word in words:
        carrier = NAMES.get(word.strip().lower()) if isinstance(word, str) else None
        if carrier is None:
            raise ConfigError("carriers", word, ACCEPTED)
        if not is_installed(carrier):
            raise MissingExtra(_NEEDS[carrier][1], f"the carrier {word.strip().lower()}")
        found.append(carrier)
    if not found:
        raise ConfigError("carriers", "none", ACCEPTED)
    return tuple(dict.fromkeys(found))


class WebPlace(NamedTuple):
    """Where a node listens for WebSocket: others find it at ``url``, and what stands there, or the
    node itself, brings them to ``local``."""

    url: str
    local: Address

    @property
    def prefix(self) -> str:
        """Of the paths that count, without a slash at its end."""
        return urlsplit(self.url).path.rstrip("/")


def web_place(url: str | None, local: Address | None) -> WebPlace | None:
    """The place of ``--ws`` and ``--ws-listen``; ``None`` if there is neither.

    Raises:
        ConfigError: one is missing, or is none; or the URL leads into a private network, where a
            code must not send whoever reads it.
    """
    if url is None and local is None:
        return None
    if url is None or local is None:
        raise ConfigError("ws", url, "a URL, and with it the address to listen at (--ws-listen)")
    try:
        check_url(url)
    except (TypeError, ValueError):
        raise ConfigError("ws", url, "ws://HOST/PREFIX or wss://HOST/PREFIX") from None
    literal = literal_of(url)
    if literal is not None and kind_of(literal) is not AddressKind.GLOBAL:
        raise ConfigError("ws", url, "a name, or an address that is reached from everywhere")
    return WebPlace(url, local)


@dataclass(frozen=True, slots=True)
class RoadChoice:
    """What a node may use.

    Attributes:
        listens: the carriers on which it can be reached.
        dials: the carriers on which it goes to others.
        proxies: what leads there.
        web: where it listens for WebSocket, and the URL that leads there.
    """

    listens: frozenset[Carrier] = frozenset((Carrier.UDP,))
    dials: frozenset[Carrier] = frozenset((Carrier.UDP,))
    proxies: ProxyPlan = field(default_factory=ProxyPlan)
    web: WebPlace | None = None

    @property
    def uses_udp(self) -> bool:
        """False: not a datagram leaves this node, and none is looked at."""
        return Carrier.UDP in self.listens or Carrier.UDP in self.dials

    def reached(self, sockets: SocketSet) -> Reached:
        """On what a node with these sockets is reached: not on what its port was taken of."""
        url = None if self.web is None else self.web.url
        quic_port = None if sockets.quic is None else sockets.quic.port
        here = Reached(Carrier.UDP in self.listens, bool(sockets.tcp), url, quic_port)
        taken = (each for each in (Carrier.TCP, Carrier.QUIC) if each in self.listens)
        return here._replace(missing=tuple(each for each in taken if each not in here.carriers))

    def roads(self, record: NodeRecord) -> tuple[Road, ...]:
        """The roads to a node that may be tried.

        Raises:
            ConnectFailed: it names some, and none of them may.
        """
        led = self.usable(record.roads)
        if record.roads and not led:
            named = names_of(road.carrier for road in record.roads)
            raise ConnectFailed(
                f"the code names roads over {named}, and none of them may be taken here",
                hint="allow another carrier (--carriers, WRAITH_CARRIERS), or no proxy; or let the "
                "other side listen on what may be used here",
            )
        return led

    def usable(self, roads: Iterable[Road]) -> tuple[Road, ...]:
        """Those of ``roads`` that may be tried, with the proxies that lead there."""
        return self.proxies.roads(road for road in roads if road.carrier in self.dials)


class Reached(NamedTuple):
    """On what a node can be reached: over UDP and TCP at its port, over QUIC at ``quic_port``, and
    at which ``url``. A code names it. ``missing``: these, too, if their port were not taken."""

    udp: bool = True
    tcp: bool = False
    url: str | None = None
    quic_port: int | None = None
    missing: tuple[Carrier, ...] = ()

    @property
    def carriers(self) -> tuple[Carrier, ...]:
        """These, UDP first."""
        there = (
            (Carrier.UDP, self.udp),
            (Carrier.TCP, self.tcp),
            (Carrier.WS, self.url is not None),
            (Carrier.QUIC, self.quic_port is not None),
        )
        return tuple(carrier for carrier, is_there in there if is_there)

    def named(self, addresses: Sequence[Address]) -> NamedPlaces:
        """What a record of a node at ``addresses`` says."""
        web = () if self.url is None else (Road(Carrier.WS, url=self.url),)
        quic: tuple[Road, ...] = ()
        if self.quic_port is not None:
            there = [address._replace(port=self.quic_port) for address in addresses]
            quic = tuple(Road(Carrier.QUIC, address) for address in there)
        if self.udp:
            return NamedPlaces(tuple(addresses), self.tcp, (*quic, *web))
        alone = (Road(Carrier.TCP, address) for address in addresses if self.tcp)
        return NamedPlaces((), False, (*alone, *quic, *web))


class NamedPlaces(NamedTuple):
    """The fields of a ``NodeRecord`` that say where it is."""

    addresses: tuple[Address, ...]
    has_tcp: bool
    other_roads: tuple[Road, ...]


def names_of(carriers: Iterable[Carrier]) -> str:
    """For people: ``UDP and TCP``."""
    *first, last = [carrier.name for carrier in dict.fromkeys(carriers)] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def choose(carriers: str | Iterable[str] | None, proxy: str = AUTO) -> RoadChoice:
    """The choice of a side that goes to others: ``--carriers``, else whatever is installed; and
    ``--proxy``. It can be reached on nothing.

    Raises:
        ConfigError, MissingExtra: as ``carriers_of`` and ``plan_proxies``.
    """
    if not isinstance(proxy, str):
        raise ConfigError("proxy", f"a value of type {type(proxy).__name__}", "text")
    proxies = plan_proxies(proxy)
    if carriers is None:
        every = frozenset(carrier for carrier in NAMES.values() if is_installed(carrier))
        return RoadChoice(frozenset(), every, proxies)
    return RoadChoice(frozenset(), frozenset(carriers_of(carriers)), proxies)


def choose_listening(
    carriers: str | Iterable[str] | None = None,
    proxy: str = AUTO,
    *,
    default: Iterable[Carrier] = (Carrier.UDP, Carrier.TCP),
    web: WebPlace | None = None,
) -> RoadChoice:
    """The choice of a side that waits for others: on ``--carriers``, else on ``default``, and on
    WebSocket where there is a ``web``. It goes to others over the same.

    Raises:
        ConfigError: as ``carriers_of``; or it was told to go through a proxy, where nobody would
            find it; or WebSocket is among the carriers and has no place, or the other way round.
        MissingExtra: as ``carriers_of``.
    """
    if proxy not in (AUTO, NONE):
        raise ConfigError("proxy", "…", f"{AUTO} or {NONE} where one waits: nobody comes that way")
    if carriers is None:
        chosen = frozenset(default) | frozenset(carriers_of("ws") if web is not None else ())
    else:
        chosen = frozenset(carriers_of(carriers))
    if (Carrier.WS in chosen) != (web is not None):
        raise ConfigError(
            "carriers",
            names_of(sorted(chosen)),
            "ws goes together with its URL and the address behind it (--ws, --ws-listen) where one "
            "waits for others",
        )
    return RoadChoice(chosen, chosen, web=web)


def choose_both(
    carriers: str | Iterable[str], proxy: str = AUTO, *, web: WebPlace | None = None
) -> RoadChoice:
    """The choice of a node that waits for others and goes to others, both over ``carriers``; its
    own way leads through what the environment says, if ``proxy`` is ``auto``.

    Raises:
        ConfigError, MissingExtra: as ``choose_listening`` and ``plan_proxies``.
    """
    listens = choose_listening(carriers, proxy, web=web)
    return replace(listens, proxies=plan_proxies(proxy))
