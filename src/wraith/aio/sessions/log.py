"""What a program's log tells of listeners and sessions, at INFO: begin, end, whom, and why.

Never a code, a key or an address: ``aio/tracing.py`` hides them. The peer's identity is public.
"""

from __future__ import annotations

import time

from wraith.abc import Tracer
from wraith.aio.sessions.session import Session
from wraith.connection.connection import Connection
from wraith.connection.events import PathChanged, RoadFailed


class SessionLog:
    """The lines of one program at one node: ``wraith.listener`` and ``wraith.session``."""

    __slots__ = ("_began", "_tracer")

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._began: dict[Session, float] = {}

    def listening(self, port: int) -> None:
        """Peers can come."""
        self._tracer.record("listener.open", info=True, port=port)

    def closed_listener(self, port: int) -> None:
        """Nobody can come any more."""
        self._tracer.record("listener.closed", info=True, port=port)

    def refused(self, connection: Connection, why: str) -> None:
        """A peer proved its key and was turned away."""
        self._tracer.record(
            "session.refused",
            info=True,
            peer=connection.peer,
            reason=why,
            address=connection.path.remote,
        )

    def opened(self, session: Session, *, is_dialled: bool) -> None:
        """Both sides can speak."""
        self._began[session] = time.monotonic()
        security = session.security
        self._tracer.record(
            "session.open",
            info=True,
            peer=session.peer,
            side="dialled" if is_dialled else "accepted",
            suite=security.suite.name,
            post_quantum=security.post_quantum,
            address=session.connection.path.remote,
        )

    def road_failed(self, session: Session, event: RoadFailed) -> None:
        """One of several ways does not lead to the peer."""
        self._tracer.record(
            "session.road_failed",
            info=True,
            peer=session.peer,
            carrier=event.road.carrier.name,
            reason=event.failure,
            address=event.road,
        )

    def path_changed(self, session: Session, event: PathChanged) -> None:
        """The session goes on elsewhere."""
        self._tracer.record(
            "session.path_changed",
            info=True,
            peer=session.peer,
            carrier=event.path.carrier.name,
            address=event.path.remote,
        )

    def closed(self, session: Session, connection: Connection) -> None:
        """The end, in whatever way; of a dial that reached nobody as well."""
        began = self._began.pop(session, None)
        self._tracer.record(
            "session.closed" if began is not None else "session.failed",
            info=True,
            peer=connection.peer,
            reason=session.close_error,
            seconds=None if began is None else round(time.monotonic() - began, 3),
            address=connection.path.remote,
        )
