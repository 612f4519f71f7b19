"""Options that ``wraith send`` and ``wraith receive`` share, and what they mean."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import wraps
from typing import Any

import click

from wraith.aio.files.calls import STILL_TRYING_S
from wraith.aio.road_choice import RoadChoice, choose, choose_listening, web_place
from wraith.aio.sessions.policy import effective_config
from wraith.aio.transports.addresses import parse_address
from wraith.cli.output import Output
from wraith.config import EndpointConfig
from wraith.node.config import NodeConfig
from wraith.types import ANY_ADDRESS, UDP_PAYLOAD_BYTES_MAX, Address, SuiteId

EXIT_CODES = """\b
Exit codes:
  0 done            1 failed               2 usage, no terminal to ask on
  3 partly done    11 not reached         12 nobody answered
 13 another key    14 not accepted        15 content does not match
 16 refused        17 busy with another   18 unsafe path
 19 no space       20 protocol broken     21 cryptography failed
 22 closed         23 connection lost     24 timeout
130 interrupted: the same command goes on where it stopped
All of them: wraith help exit-codes
"""

_UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}
_BINARY = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]?)(i?)(?:b|b/s)?", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)", re.IGNORECASE)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


class Rate(click.ParamType[float]):
    """Bytes per second: ``500k``, ``2.5M``, ``1MiB``."""

    name = "rate"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        found = _RATE.fullmatch(str(value).strip())
        if found is None:
            self.fail(f"{value!r} is not a rate such as 500k, 2.5M or 1MiB", param, ctx)
        number, unit, binary = found[1], found[2].lower(), found[3]
        rate = float(number) * (_BINARY[unit] if binary and unit else _UNITS[unit])
        if rate < 1_000:
            self.fail("at least 1k (bytes per second)", param, ctx)
        return rate


class Duration(click.ParamType[float]):
    """Seconds, or ``10m``, ``2h``, ``1d``; ``forever`` is infinite."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        text = str(value).strip().lower()
        if text in ("forever", "inf"):
            return math.inf
        found = _DURATION.fullmatch(text)
        if found is None:
            self.fail(f"{value!r} is not a time such as 30, 10m, 2h or forever", param, ctx)
        return float(found[1]) * _SECONDS[found[2]]


class LocalAddress(click.ParamType[Address]):
    """``HOST:PORT`` with a numeric host."""

    name = "address"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Address:
        if isinstance(value, Address):
            return value
        return parse_address(str(value))


@dataclass(frozen=True, slots=True)
class CommonOptions:
    """The values of the options that both commands have, as they were given."""

    port: int | None
    carriers: str | None
    proxy: str
    ws: str | None
    ws_listen: Address | None
    suite: str | None
    require_pq: bool
    max_datagram: int
    connect_timeout: float
    wait_for_network: bool
    history: bool
    json_events: bool
    quiet: bool
    verbose: bool

    def output(self) -> Output:
        return Output(json_events=self.json_events, quiet=self.quiet)

    def endpoint_config(self) -> EndpointConfig:
        """The configuration that the options for the connection ask for.

        Raises:
            click.UsageError: suite D without ``--no-require-pq``.
        """
        if self._suite() is SuiteId.D and self.require_pq:
            raise click.UsageError(
                "suite D has no post-quantum key exchange: give --no-require-pq as well if that "
                "is really wanted"
            )
        suites = None if self.suite is None else (SuiteId[self.suite.upper()],)
        config = effective_config(None, require_pq=self.require_pq, suites=suites)
        return replace(config, max_udp_bytes=self.max_datagram)

    def node_config(self, *, wait_s: float) -> NodeConfig:
        """The configuration that they ask of the node; ``wait_s`` is in seconds and may be
        infinite."""
        return NodeConfig(
            connect_timeout_s=self.connect_timeout,
            still_trying_s=STILL_TRYING_S,
            wait_s=None if math.isinf(wait_s) else wait_s,
            require_pq=self.require_pq,
            suite=self._suite(),
        )

    def choice(self, *, dials: bool) -> RoadChoice:
        """The roads that they allow to a side that ``dials``, or to one that waits.

        Raises:
            ConfigError, MissingExtra: as ``choose``.
        """
        web = web_place(self.ws, self.ws_listen)
        if not dials:
            return choose_listening(self.carriers, self.proxy, web=web)
        if web is not None:
            raise click.UsageError("--ws and --ws-listen are for the side that waits")
        return choose(self.carriers, self.proxy)

    def _suite(self) -> SuiteId | None:
        return SuiteId[self.suite.upper()] if self.suite is not None else None


def common_options(command: Callable[..., int]) -> Callable[..., int]:
    """Adds the options of both commands, in the order of the help; ``command`` gets their values
    as one argument, ``common``."""
    names = [each.name for each in fields(CommonOptions)]

    @wraps(command)
    def gathered(**values: Any) -> int:
        common = CommonOptions(**{name: values.pop(name) for name in names})
        return command(common=common, **values)

    for option in reversed(_COMMON):
        gathered = option(gathered)
    return gathered


_COMMON = [
    click.option(
        "--port",
        type=click.IntRange(1, 65_535),
        envvar="WRAITH_PORT",
        show_envvar=True,
        help="UDP and TCP port to listen on. [default: the same as before if it is free, else any]",
    ),
    click.option(
        "--carriers",
        metavar="LIST",
        envvar="WRAITH_CARRIERS",
        show_envvar=True,
        help="What may be used: udp, tcp, ws, quic, with commas between. [default: udp,tcp to wait "
        "at, all that are installed to dial]",
    ),
    click.option(
        "--proxy",
        default="auto",
        show_default=True,
        metavar="auto|none|URL",
        envvar="WRAITH_PROXY",
        show_envvar=True,
        help="For the side that dials. A URL (http:// or socks5://): everything goes through it. "
        "auto: what ALL_PROXY, HTTPS_PROXY and NO_PROXY say. A URL with a password belongs into "
        "the environment: everybody on this host sees the arguments.",
    ),
    click.option(
        "--ws",
        metavar="URL",
        envvar="WRAITH_WS",
        show_envvar=True,
        help="For the side that waits: a web server at this URL (ws:// or wss://) leads here, and "
        "the code names it. Needs the extra ws, and --ws-listen.",
    ),
    click.option(
        "--ws-listen",
        type=LocalAddress(),
        metavar="HOST:PORT",
        envvar="WRAITH_WS_LISTEN",
        show_envvar=True,
        help="Where that web server finds this side, 127.0.0.1:8080 for one.",
    ),
    click.option(
        "--suite",
        type=click.Choice(["A", "B", "D"], case_sensitive=False),
        metavar="A|B|D",
        envvar="WRAITH_SUITE",
        show_envvar=True,
        help="Cipher suite: A (XChaCha20-Poly1305) and B (AES-256-GCM) are post-quantum, D is "
        "not. [default: A or B, as the other side prefers]",
    ),
    click.option(
        "--require-pq/--no-require-pq",
        default=True,
        show_default=True,
        envvar="WRAITH_REQUIRE_PQ",
        show_envvar=True,
        help="Refuse key exchange that a quantum computer could break.",
    ),
    click.option(
        "--max-datagram",
        type=click.IntRange(1_200, UDP_PAYLOAD_BYTES_MAX),
        default=1_472,
        show_default=True,
        metavar="BYTES",
        envvar="WRAITH_MAX_DATAGRAM",
        show_envvar=True,
        help="Largest datagram (UDP payload) to try. Both sides may raise it where frames are "
        "larger than Ethernet's: 8972 for jumbo frames.",
    ),
    click.option(
        "--connect-timeout",
        type=Duration(),
        default="30",
        show_default=True,
        envvar="WRAITH_CONNECT_TIMEOUT",
        show_envvar=True,
        help="How long to try before anyone has answered.",
    ),
    click.option(
        "--wait-for-network",
        is_flag=True,
        help="Wait while this machine has no network, instead of ending with 11.",
    ),
    click.option(
        "--history/--no-history",
        default=True,
        show_default=True,
        envvar="WRAITH_HISTORY",
        show_envvar=True,
        help="Note it for `wraith history` when it is complete.",
    ),
    click.option(
        "--json", "json_events", is_flag=True, help="JSON lines on stdout, one per event."
    ),
    click.option("-q", "--quiet", is_flag=True, help="Errors only."),
    click.option("-v", "--verbose", is_flag=True, help="Say more; see also WRAITH_LOG."),
]


def local_address(listen: Address | None, port: int | None) -> Address:
    """The address to bind.

    Raises:
        click.UsageError: both options name a port.
    """
    context = click.get_current_context(silent=True)
    source = context.get_parameter_source("port") if context is not None else None
    if source in (click.core.ParameterSource.ENVIRONMENT, click.core.ParameterSource.DEFAULT_MAP):
        port = port if listen is None else None  # an option stands above both
    if listen is not None and port is not None:
        raise click.UsageError("--listen names a port already; leave --port out")
    if listen is not None:
        return listen
    return Address(b"", port) if port is not None else ANY_ADDRESS
