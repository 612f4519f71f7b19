"""What the machines of one connection share: its life cycle, timers and events, and the parts of
the session once it is established.

A connection is composed: ``data_phase`` takes bytes and time and makes datagrams, ``moving``
follows the peer to other addresses, ``ending`` closes. None of them knows the connection; all of
them see this. Takes no decisions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from wraith.abc import Rng, Tracer
from wraith.config import EndpointConfig
from wraith.connection import events as ev
from wraith.connection.data.buffer_pool import BufferPool
from wraith.connection.data.datagrams import QUEUE_MESSAGES
from wraith.connection.data.flow import WindowBudget
from wraith.connection.inbound import Inbound
from wraith.connection.packet_builder import PacketBuilder
from wraith.connection.parts import ConnectionParts
from wraith.connection.state import Input, LifeCycle
from wraith.connection.timers import Timer, Timers
from wraith.errors import CloseCode, LimitExceeded, LocalProtocolError
from wraith.types import NetworkPath, Role

KEEPALIVE_LOW, KEEPALIVE_SPAN = 1 / 2, 1 / 3
IDLE_PTOS_MIN = 3
WITHHELD_PER_STREAM = 6
"""So many events for each of ``max_streams`` wait for ``accept``: three a stream, two classes."""
_WITHHELD = (
    ev.StreamOpened,
    ev.StreamReadable,
    ev.StreamWasReset,
    ev.StreamWasStopped,
    ev.DatagramReceived,
)


class Shared:
    """Plain attributes, written by the machines of the connection."""

    __slots__ = (
        "budget",
        "builder",
        "config",
        "events",
        "inbound",
        "is_authorised",
        "keepalive_factor",
        "life",
        "own_pool",
        "parts",
        "path",
        "rng",
        "role",
        "timers",
        "tracer",
        "wake",
        "withheld",
    )

    def __init__(
        self,
        *,
        role: Role,
        path: NetworkPath,
        config: EndpointConfig,
        rng: Rng,
        tracer: Tracer,
        budget: WindowBudget | None,
        wake: Callable[[], None] | None,
        is_resuming: bool,
    ) -> None:
        self.role = role
        #: Where the peer is reached.
        self.path = path
        self.config = config
        self.rng = rng
        self.tracer = tracer
        self.budget = budget
        #: Called after what may leave something to send. It must only take a note.
        self.wake = wake
        self.life = LifeCycle()
        self.life.apply(Input.RESUME if is_resuming else Input.CONNECT)
        self.timers = Timers()
        self.events: deque[ev.Event] = deque()
        #: Events that wait for ``accept``.
        self.withheld: list[ev.Event] = []
        #: Application data is delivered.
        self.is_authorised = False
        self.keepalive_factor = KEEPALIVE_LOW
        #: Output buffers of this connection, if it has nobody else's.
        self.own_pool: BufferPool | None = None
        #: All three are there while a session is: from ``establish`` until nothing is left to say.
        self.parts: ConnectionParts | None = None
        self.builder: PacketBuilder | None = None
        self.inbound: Inbound | None = None

    def usable(self) -> ConnectionParts:
        """The session, if the application may use it now.

        Raises:
            LocalProtocolError: it may not.
        """
        parts = self.parts
        if parts is None or not self.life.is_open or not self.is_authorised:
            raise LocalProtocolError("the connection is not established")
        return parts

    def command(self) -> ConnectionParts:
        """As ``usable``, for what may leave something to send."""
        parts = self.usable()
        if self.wake is not None:
            self.wake()
        return parts

    def woken(self) -> None:
        """There may be something to send."""
        if self.wake is not None:
            self.wake()

    def emit(self, event: ev.Event) -> None:
        """Tells the application, as soon as it may know. [CN-61]"""
        if self.is_authorised or not isinstance(event, _WITHHELD):
            self.events.append(event)
        elif len(self.withheld) < WITHHELD_PER_STREAM * self.config.max_streams + QUEUE_MESSAGES:
            self.withheld.append(event)
        else:
            raise LimitExceeded(
                "too much before being accepted", close_code=CloseCode.STREAM_LIMIT_EXCEEDED
            )

    def touch(self, now: float) -> None:
        """Restarts idle and keep-alive. [CN-4]"""
        parts = self.parts
        assert parts is not None
        idle = max(parts.idle_s, IDLE_PTOS_MIN * parts.paths.slowest_pto_s())
        self.timers.set(Timer.IDLE, now + idle)
        if self.role is Role.INITIATOR and self.config.keepalive:
            self.timers.set(Timer.KEEPALIVE, now + self.keepalive_factor * parts.idle_s)

    def draw_keepalive(self) -> None:
        """A new jittered interval: ½ … ⅚ of the idle timeout."""
        draw = int.from_bytes(self.rng.public_bytes(2), "big") / 65_536
        self.keepalive_factor = KEEPALIVE_LOW + KEEPALIVE_SPAN * draw
