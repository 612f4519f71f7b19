"""Flow control: absolute limits on stream bytes, one per stream and one per connection.

Receive windows open by consumption only and double while the application keeps up (two updates
within two round trips). Spec: docs/spec/connection.md [CN-20 to CN-23].
"""

from __future__ import annotations

from wraith.config import KIB, EndpointConfig

FULL_BUDGET_STREAM_WINDOW = 64 * KIB
FULL_BUDGET_CONN_WINDOW = 96 * KIB
GROWTH_RTTS = 2.0
SEND_FLOOR_BYTES = 64 * KIB
"""The memory that a session always has: with it each one moves, however full the endpoint is."""
STREAM_SHARE = 7
"""A stream keeps at most so many times what it leaves free: one alone takes seven eighths, and the
next one always finds room (Choudhury and Hahne, Dynamic Queue Length Thresholds, 1998)."""


class SendSum:
    """Stream bytes that all connections of one endpoint keep together (``send_memory_sum``)."""

    __slots__ = ("total", "used")

    def __init__(self, total: int) -> None:
        self.total = total
        self.used = 0


class SendMemory:
    """Stream bytes of one connection that are written and not acknowledged in order. [CN-65]"""

    __slots__ = ("_limit", "_sum", "used")

    def __init__(self, limit: int, whole: SendSum | None = None) -> None:
        self._limit = limit
        self._sum = whole if whole is not None else SendSum(limit)
        self.used = 0

    @property
    def room(self) -> int:
        """Bytes that are free."""
        shared = min(self._limit - self.used, self._sum.total - self._sum.used)
        return max(shared, SEND_FLOOR_BYTES - self.used, 0)

    def room_for(self, kept: int) -> int:
        """Bytes that a stream which keeps ``kept`` may take now."""
        return max((STREAM_SHARE * self.room - kept) // (STREAM_SHARE + 1), 0)

    def take(self, n_bytes: int) -> None:
        self.used += n_bytes
        self._sum.used += n_bytes

    def give(self, n_bytes: int) -> None:
        self.used -= n_bytes
        self._sum.used -= n_bytes

    def release(self) -> None:
        """The connection has ended."""
        self.give(self.used)


class WindowBudget:
    """Bounds what all connections of one endpoint may promise together (``window_sum``).

    Once it is used up nothing grows and new connections announce small windows; those are granted
    all the same, so that a peer can always be served.
    """

    __slots__ = ("sending", "total", "used")

    def __init__(self, total: int, send_total: int = 1 << 62) -> None:
        self.total = total
        self.used = 0
        #: What they keep to send it again.
        self.sending = SendSum(send_total)

    def initial_windows(self, config: EndpointConfig) -> tuple[int, int]:
        """``(stream_window, conn_window)`` to announce to a new peer."""
        if self.used + config.conn_window <= self.total:
            return config.stream_window, config.conn_window
        return (
            min(FULL_BUDGET_STREAM_WINDOW, config.stream_window),
            min(FULL_BUDGET_CONN_WINDOW, config.conn_window),
        )

    def charge(self, n_bytes: int) -> None:
        """Takes what a new connection has announced."""
        self.used += n_bytes

    def try_grow(self, n_bytes: int) -> bool:
        """Takes ``n_bytes`` more if they are there."""
        if self.used + n_bytes > self.total:
            return False
        self.used += n_bytes
        return True

    def release(self, n_bytes: int) -> None:
        self.used -= n_bytes


class ReceiveWindow:
    """Bounds what the peer may send: ``limit`` is absolute and never sinks."""

    __slots__ = ("_budget", "_last_update", "consumed", "limit", "window", "window_max")

    def __init__(self, window: int, window_max: int, budget: WindowBudget | None = None) -> None:
        self.window = window
        self.window_max = window_max if window_max > window else window
        self.limit = window
        self.consumed = 0
        self._budget = budget
        self._last_update: float | None = None

    def consume(self, n_bytes: int) -> None:
        """The application has read ``n_bytes``."""
        self.consumed += n_bytes

    def extend(self, now: float, srtt_s: float) -> bool:
        """Raises ``limit`` once less than half of the window is left above what was read; true when
        the peer must be told."""
        if self.limit - self.consumed >= self.window - self.window // 2:
            return False
        if self._last_update is not None and now - self._last_update < GROWTH_RTTS * srtt_s:
            grown = min(2 * self.window, self.window_max)
            if self._budget is None or self._budget.try_grow(grown - self.window):
                self.window = grown
        self._last_update = now
        self.limit = self.consumed + self.window
        return True


class SendWindow:
    """Bounds what this connection may send in all streams together, as the peer says."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    @property
    def room(self) -> int:
        return self.limit - self.used

    def raise_to(self, limit: int) -> bool:
        """Takes an announcement; a lower one is ignored. True when it raised the limit."""
        if limit <= self.limit:
            return False
        self.limit = limit
        return True
