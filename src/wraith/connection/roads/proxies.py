"""Which proxy leads to a peer: what ``--proxy`` and the environment mean, and what that makes of
roads.

A proxy decides who learns whom this host talks to, so the strict reading counts: where one must be
used, a road that cannot go through it is left out, and never gone directly. The environment is
handed in; aio/transports/proxy_environment.py reads it.

Spec: docs/spec/proxies.md [PX-1] to [PX-5]. People read docs/howto/through-a-proxy.md.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from wraith.errors import ConfigError
from wraith.types import Carrier, Road

AUTO: Final = "auto"
NONE: Final = "none"
BESIDE_DIRECT: Final = "direct+"
ACCEPTED_URL: Final = (
    "http://HOST:PORT or socks5://HOST:PORT, before HOST perhaps USER:PASSWORD@ (printable ASCII, "
    "special characters as %XX)"
)
HOST_CHARS_MAX: Final = 253
CREDENTIAL_CHARS_MAX: Final = 255
_PORT_MAX: Final = 65_535
_LABEL: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,15}")
#: A proxy moves bytes of a stream: these carriers go through one, datagrams do not.
_THROUGH: Final = frozenset((Carrier.TCP, Carrier.WS))
_DATAGRAMS: Final = frozenset((Carrier.UDP, Carrier.QUIC))


class ProxyScheme(StrEnum):
    """What a proxy speaks."""

    HTTP = "http"
    SOCKS5 = "socks5"


#: ``socks5h`` is how some programs say that the proxy resolves names. Here it always does.
_SCHEMES: Final = {
    "http": ProxyScheme.HTTP,
    "socks5": ProxyScheme.SOCKS5,
    "socks5h": ProxyScheme.SOCKS5,
}


def checked_host(text: str) -> str | None:
    """A numeric address in its usual form, or a name of letters, digits, ``-`` and ``_`` in lower
    case; ``None`` for anything else. What passes can stand in a request line. IPv6 without
    brackets and without a zone."""
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        pass
    else:
        return None if getattr(parsed, "scope_id", None) else str(parsed)
    labels = text.removesuffix(".").split(".")
    if len(text) > HOST_CHARS_MAX or not all(map(_LABEL.fullmatch, labels)):
        return None
    # 010.1.1.1 and 127.1 are addresses to some programs and names to others.
    return None if labels[-1].isdigit() else text.lower()


@dataclass(frozen=True, slots=True)
class ProxyUrl:
    """A proxy, and how to authenticate to it. ``str`` and ``repr`` show no credentials.

    Attributes:
        host: a numeric address or a name, as ``checked_host`` gives it.
        user, password: empty for a proxy that asks for none; printable ASCII, 255 at most.
    """

    scheme: ProxyScheme
    host: str
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str, key: str = "proxy") -> ProxyUrl:
        """Reads a URL; without a scheme it is an HTTP proxy, as elsewhere.

        Args:
            key: what the setting is called, for the error.
        Raises:
            ConfigError: anything else, with what is accepted. It shows the scheme at most: the
                rest may hold a password wherever it was mistyped.
        """
        url = text.strip()
        scheme_text, separator, rest = url.partition("://")
        scheme = _SCHEMES.get(scheme_text.lower()) if separator else ProxyScheme.HTTP
        credentials, at, place = (rest if separator else url).rpartition("@")
        user, colon, password = credentials.partition(":")
        host, port = _host_and_port(place.removesuffix("/"))
        found = cls(scheme or ProxyScheme.HTTP, host or "", port, unquote(user), unquote(password))
        if (
            scheme is None
            or host is None
            or (at and not (user and colon))
            or not found._has_usable_credentials()
        ):
            shown = f"{scheme_text}://…" if separator and _SCHEME.fullmatch(scheme_text) else "…"
            raise ConfigError(key, shown, ACCEPTED_URL)
        return found

    def _has_usable_credentials(self) -> bool:
        for text in (self.user, self.password):
            if len(text) > CREDENTIAL_CHARS_MAX or not (text.isascii() and text.isprintable()):
                return False
        if self.scheme is ProxyScheme.SOCKS5:
            return bool(self.user) == bool(self.password)  # RFC 1929: neither may be empty
        return ":" not in self.user  # RFC 7617: the first colon ends it

    @property
    def with_credentials(self) -> str:
        """The URL as ``Road.proxy`` holds it. Never shown."""
        held = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@" if self.user else ""
        return f"{self.scheme.value}://{held}{self._place}"

    @property
    def _place(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        """``socks5://127.0.0.1:9050``, whatever the credentials."""
        return f"{self.scheme.value}://{self._place}"


@dataclass(frozen=True, slots=True)
class ProxyPlan:
    """What to do about proxies; the road machine takes it. The default is: nothing.

    Attributes:
        proxy: which one.
        is_only: every byte goes through it. Else it is tried beside the direct roads.
        exempt: entries of NO_PROXY; what they name is reached directly, over every carrier.
        source: the setting that said so.
        note: a remark on the setting, for people.
    """

    proxy: ProxyUrl | None = None
    is_only: bool = False
    exempt: tuple[str, ...] = ()
    source: str = ""
    note: str = ""

    @property
    def allows_udp(self) -> bool:
        """False: no datagram leaves, but to hosts that ``exempt`` names."""
        return self.proxy is None or not self.is_only

    @property
    def sentence(self) -> str:
        """The one line that tells a person; empty where nothing is special."""
        if self.proxy is None:
            return self.note
        if self.is_only:
            return f"everything goes through {self.proxy} ({self.source}), UDP is off"
        return f"roads through {self.proxy} ({self.source}) are tried beside the direct ones"

    def is_exempt(self, host: str) -> bool:
        """Whether ``host``, a name or a numeric address, is to be reached directly."""
        return any(_names(entry, host) for entry in self.exempt)

    def roads(self, roads: Iterable[Road]) -> tuple[Road, ...]:
        """``roads`` with the proxy applied.

        Where it is the only way: streams lead through it and datagrams are left out. Else: all as
        they are, then the streams once more through it. A road that has a proxy keeps it.
        """
        direct = tuple(roads)
        if self.proxy is None:
            return direct
        if self.is_only:
            led = (road if self._stays(road) else self._through(road) for road in direct)
            return tuple(road for road in led if road is not None)
        beside = (self._through(road) for road in direct if not self._stays(road))
        return direct + tuple(road for road in beside if road is not None)

    def _stays(self, road: Road) -> bool:
        if road.proxy is not None or road.carrier not in _THROUGH | _DATAGRAMS:
            return True
        return self.is_exempt(road_host(road))

    def _through(self, road: Road) -> Road | None:
        assert self.proxy is not None
        if road.carrier not in _THROUGH:
            return None
        return replace(road, proxy=self.proxy.with_credentials)


def proxy_plan(choice: str, environment: Mapping[str, str]) -> ProxyPlan:
    """What ``--proxy`` means in this environment.

    ``none``: no proxy. A URL: every byte through it, whatever the environment says. ``direct+URL``:
    beside direct roads. ``auto``: ALL_PROXY, every byte through it; else HTTPS_PROXY, beside direct
    roads; and NO_PROXY names hosts that are reached directly. Of each name the lower-case one
    counts first, and an empty value is none.

    Raises:
        ConfigError: a URL is not accepted.
    """
    if choice == NONE:
        return ProxyPlan()
    if choice != AUTO:
        url = choice.removeprefix(BESIDE_DIRECT)
        if "://" not in url:  # where words are accepted too, a URL must be seen to be one
            accepted = f"{AUTO}, {NONE}, {ACCEPTED_URL}; {BESIDE_DIRECT}URL tries both ways"
            raise ConfigError("proxy", "…", accepted)
        is_only = not choice.startswith(BESIDE_DIRECT)
        return ProxyPlan(ProxyUrl.parse(url), is_only=is_only, source="--proxy")
    exempt = tuple(_set_in(environment, "NO_PROXY").replace(",", " ").lower().split())
    for name, is_only in (("ALL_PROXY", True), ("HTTPS_PROXY", False)):
        url = _set_in(environment, name)
        if url and "*" not in exempt:
            return ProxyPlan(ProxyUrl.parse(url, name), is_only, exempt, name)
    return ProxyPlan()


def road_host(road: Road) -> str:
    """The host that ``road`` leads to: a numeric address, or the host of its URL in lower case."""
    if road.address is not None:
        return str(ipaddress.ip_address(road.address.ip))
    assert road.url is not None
    return (urlsplit(road.url).hostname or "").partition("%")[0]


def _set_in(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name.lower(), "").strip() or environment.get(name, "").strip()


def _names(entry: str, host: str) -> bool:
    """Whether one entry of NO_PROXY names ``host``: ``*``, an address, a network such as
    10.0.0.0/8, or a domain with all that ends in it. An entry that is none of these names
    nothing."""
    if entry == "*":
        return True
    host = host.removesuffix(".").lower()
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        domain = entry.removeprefix("*").strip(".")
        return bool(domain) and (host == domain or host.endswith("." + domain))
    try:
        return address in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return False


def _host_and_port(text: str) -> tuple[str | None, int]:
    host, _, port_text = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            return None, 0
    elif ":" in host:
        return None, 0
    is_port = port_text.isascii() and port_text.isdigit() and len(port_text) <= 5
    port = int(port_text) if is_port else 0
    return (checked_host(host) if 0 < port <= _PORT_MAX else None), port
