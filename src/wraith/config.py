"""Frozen configuration values. Every number has a unit in its name and a range that is checked.

Constants of the *specification* (sizes, labels, bounds that both ends must share) live beside the
code that uses them; what a deployment may change lives here. A security option's default is the
strict value; loosening one is always explicit.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from wraith.errors import ConfigError
from wraith.types import UDP_PAYLOAD_BYTES_MAX, SuiteId

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

KIB = 1024
MIB = 1024 * KIB


_KINDS: dict[object, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "a whole number"),
    "int | None": ((int, type(None)), "a whole number, or None"),
    "float": ((int, float), "a number"),
    "float | None": ((int, float, type(None)), "a number, or None"),
    "bool": ((bool,), "True or False"),
    "str": ((str,), "text"),
}


def check_kinds(config: DataclassInstance) -> None:
    """A value of another type is told here, by its key, and not where it is first used."""
    for each in fields(config):
        kinds, accepted = _KINDS.get(each.type, ((object,), ""))
        value = getattr(config, each.name)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise ConfigError(each.name, value, accepted)


def _within(key: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(key, value, f"a number from {low} to {high}")


@dataclass(frozen=True, slots=True)
class Budgets:
    """Limits on the cost of strangers (docs/spec/handshake.md). Rates are per second.

    The defaults are those of the pure-Python row; ``native()`` gives the other one.
    """

    preauth_rate: float = 2_000.0
    preauth_burst: int = 500
    prefix_rate: float = 50.0
    prefix_burst: int = 40
    known_prefix_share: float = 0.25
    known_prefixes: int = 4_096
    hello_full_rate: float = 100.0
    hello_full_burst: int = 50
    connections_max: int = 16_384
    half_open_max: int = 4_096
    half_open_per_prefix: int = 64
    cookie_half_open: int = 1_024
    replay_entries: int = 262_144
    early_datagrams: int = 12
    early_bytes: int = 16 * KIB
    early_bytes_total: int = MIB

    def __post_init__(self) -> None:
        check_kinds(self)
        for each in fields(self):
            _within(each.name, getattr(self, each.name), 0, 1 << 40)

    @classmethod
    def native(cls) -> Budgets:
        return cls(
            preauth_rate=10_000.0,
            preauth_burst=2_000,
            hello_full_rate=2_000.0,
            hello_full_burst=500,
            replay_entries=1_310_720,
        )


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """Everything that one endpoint and its connections may be told.

    Suite D counts only where the caller also says ``require_pq=False``. Windows are those of the
    Balanced profile. ``datagram_bytes`` pins the UDP payload
    size and switches the path MTU search off; ``None`` starts at 1200 and searches (RFC 8899).
    ``tickets``: a listener issues them to peers that keep some.
    """

    suites: tuple[SuiteId, ...] = (SuiteId.A, SuiteId.B)
    congestion: str = "cubic"
    max_clock_skew_s: float = 60.0
    handshake_timeout_s: float = 10.0
    initial_rtt_s: float = 0.333
    idle_timeout_s: int = 30
    keepalive: bool = True
    max_ack_delay_ms: int = 25
    max_udp_bytes: int = 1472
    datagram_bytes: int | None = None
    stream_window: int = MIB
    stream_window_max: int = 16 * MIB
    conn_window: int = 3 * MIB // 2
    conn_window_max: int = 24 * MIB
    window_sum: int = 32 * MIB
    max_streams: int = 128
    send_buffer_bytes: int = MIB
    send_memory_bytes: int = 64 * MIB
    send_memory_sum: int = 256 * MIB
    replay_window: int = 8192
    rekey_interval_s: float = 120.0
    rekey_packets: int = 1_000_000
    authorise_timeout_s: float = 60.0
    require_client_identity: bool = True
    tickets: bool = True
    budgets: Budgets = field(default_factory=Budgets)

    def __post_init__(self) -> None:
        check_kinds(self)
        if not isinstance(self.budgets, Budgets):
            raise ConfigError("budgets", self.budgets, "a wraith.Budgets")
        if not isinstance(self.suites, tuple) or not all(
            isinstance(suite, SuiteId) for suite in self.suites
        ):
            raise ConfigError("suites", self.suites, "a tuple of SuiteId, best first")
        if not self.suites or len(set(self.suites)) != len(self.suites):
            raise ConfigError("suites", self.suites, "a list of different suites, best first")
        for suite in self.suites:
            if suite is SuiteId.C:
                raise ConfigError("suites", suite.name, "A, B or D; C is reserved")
        if self.congestion not in ("cubic", "newreno", "bbr"):
            raise ConfigError("congestion", self.congestion, "cubic, newreno or bbr")
        _within("max_clock_skew_s", self.max_clock_skew_s, 1, 300)
        _within("handshake_timeout_s", self.handshake_timeout_s, 1, 60)
        _within("initial_rtt_s", self.initial_rtt_s, 0.001, 10)
        _within("idle_timeout_s", self.idle_timeout_s, 1, 65_535)
        _within("max_ack_delay_ms", self.max_ack_delay_ms, 0, 1_000)
        _within("max_udp_bytes", self.max_udp_bytes, 1_200, UDP_PAYLOAD_BYTES_MAX)
        if self.datagram_bytes is not None:
            _within("datagram_bytes", self.datagram_bytes, 1_200, UDP_PAYLOAD_BYTES_MAX)
        _within("stream_window", self.stream_window, 16 * KIB, (1 << 32) - 1)
        _within("conn_window", self.conn_window, self.stream_window, (1 << 32) - 1)
        _within("stream_window_max", self.stream_window_max, self.stream_window, 1 << 40)
        _within("conn_window_max", self.conn_window_max, self.conn_window, 1 << 40)
        _within("max_streams", self.max_streams, 1, 16_384)
        _within("send_buffer_bytes", self.send_buffer_bytes, 1, 1 << 40)
        _within("window_sum", self.window_sum, 0, 1 << 40)
        _within("authorise_timeout_s", self.authorise_timeout_s, 0.001, 86_400)
        _within("send_memory_bytes", self.send_memory_bytes, 128 * KIB, 1 << 40)
        _within("send_memory_sum", self.send_memory_sum, self.send_memory_bytes, 1 << 40)
        if self.replay_window & (self.replay_window - 1):
            raise ConfigError("replay_window", self.replay_window, "a power of two")
        _within("replay_window", self.replay_window, 256, 65_536)
        _within("rekey_packets", self.rekey_packets, 1_000, 1_000_000)
        _within("rekey_interval_s", self.rekey_interval_s, 1, 600)
