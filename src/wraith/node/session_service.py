"""What a program opens at a node: every event of its connections goes to the program as it is.

The program answers ``PeerAuthenticated`` itself and commands the connections directly.

Spec: docs/reference/api.md.
"""

from __future__ import annotations

from wraith.connection.connection import Connection
from wraith.connection.endpoint_events import EndpointEvent
from wraith.connection.events import Event

SessionEvent = tuple[Connection, Event]


class SessionService:
    """Hands on ``(connection, event)`` pairs, oldest first. Decides nothing."""

    # Two lists, the older one turned round: an empty deque is six times as large, and a dialled
    # session has a service of its own.
    __slots__ = ("_newer", "_older")

    def __init__(self) -> None:
        self._newer: list[SessionEvent] = []
        self._older: list[SessionEvent] = []

    def on_event(self, connection: Connection, event: Event, now: float) -> None:
        """As ``Service.on_event``."""
        self._newer.append((connection, event))

    def on_endpoint_event(self, event: EndpointEvent, now: float) -> None:
        """Somebody's clock is off: a program is not told, because it cannot act on it."""

    def pump(self, now: float) -> bool:
        """Moves nothing: the program does."""
        return False

    def before_sending(self, now: float) -> None:
        """Needs nothing."""

    def handle_timer(self, now: float) -> None:
        """Has no timer."""

    def next_timer(self) -> float | None:
        """As ``handle_timer``."""
        return None

    def next_event(self) -> SessionEvent | None:
        """The next pair."""
        if not self._older:
            if not self._newer:
                return None
            self._newer.reverse()
            self._older, self._newer = self._newer, []
        return self._older.pop()
