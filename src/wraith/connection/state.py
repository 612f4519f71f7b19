"""The life of a session: seven states, one transition table, one function that applies it.

Facts (round-trip time, windows, keys) are fields elsewhere; this file alone says which state a
session is in. Rendered in docs/spec/connection.md, compared by a test.
"""

from __future__ import annotations

from enum import Enum

from wraith.errors import LocalProtocolError


class SessionState(Enum):
    __hash__ = object.__hash__  # Enum's own is a Python call, and every datagram asks ``is_open``

    CLOSED = "Closed"
    CONNECTING = "Connecting"
    ESTABLISHED = "Established"
    REKEYING = "Rekeying"
    MIGRATING = "Migrating"
    RESUMING = "Resuming"
    DRAINING = "Draining"


class Input(Enum):
    __hash__ = object.__hash__

    CONNECT = "connect without a ticket, or a proven hello"
    RESUME = "connect with a ticket, or a proven resumption hello"
    AGAIN = "cookie or unsupported: the same handshake once more"
    RETRY_FULL = "the ticket was refused: full handshake"
    ESTABLISH = "handshake complete"
    FAIL = "handshake failed or timed out"
    REKEY = "rekey begun"
    REKEYED = "a packet of the next epoch authenticated"
    PATH = "path validation begun"
    PATH_DONE = "path validated or given up"
    CLOSE = "close sent or received, idle timeout, rekey failure"
    DRAINED = "draining time over"


_S = SessionState
_I = Input

TRANSITIONS: dict[tuple[SessionState, Input], SessionState] = {
    (_S.CLOSED, _I.CONNECT): _S.CONNECTING,
    (_S.CLOSED, _I.RESUME): _S.RESUMING,
    (_S.CONNECTING, _I.AGAIN): _S.CONNECTING,
    (_S.RESUMING, _I.AGAIN): _S.RESUMING,
    (_S.RESUMING, _I.RETRY_FULL): _S.CONNECTING,
    (_S.CONNECTING, _I.ESTABLISH): _S.ESTABLISHED,
    (_S.RESUMING, _I.ESTABLISH): _S.ESTABLISHED,
    (_S.CONNECTING, _I.FAIL): _S.CLOSED,
    (_S.RESUMING, _I.FAIL): _S.CLOSED,
    (_S.ESTABLISHED, _I.FAIL): _S.CLOSED,  # never confirmed: silence, not a close
    (_S.REKEYING, _I.FAIL): _S.CLOSED,
    (_S.MIGRATING, _I.FAIL): _S.CLOSED,
    (_S.ESTABLISHED, _I.REKEY): _S.REKEYING,
    (_S.MIGRATING, _I.REKEY): _S.MIGRATING,
    (_S.REKEYING, _I.REKEYED): _S.ESTABLISHED,
    (_S.MIGRATING, _I.REKEYED): _S.MIGRATING,
    (_S.ESTABLISHED, _I.PATH): _S.MIGRATING,
    (_S.REKEYING, _I.PATH): _S.MIGRATING,
    (_S.MIGRATING, _I.PATH): _S.MIGRATING,
    (_S.MIGRATING, _I.PATH_DONE): _S.ESTABLISHED,  # or Rekeying, see LifeCycle.apply
    (_S.ESTABLISHED, _I.CLOSE): _S.DRAINING,
    (_S.REKEYING, _I.CLOSE): _S.DRAINING,
    (_S.MIGRATING, _I.CLOSE): _S.DRAINING,
    (_S.DRAINING, _I.DRAINED): _S.CLOSED,
}

OPEN_STATES = frozenset({_S.ESTABLISHED, _S.REKEYING, _S.MIGRATING})
"""States in which application data flows."""


class LifeCycle:
    """Where one session is. The only writer of its state.

    A rekey and a path validation are two independent sub-machines: both may be pending, and the
    reported state is Draining before Migrating before Rekeying. The table cannot say where
    Migrating returns to, so whether a rekey is pending is remembered here.
    """

    __slots__ = ("_rekeying", "is_open", "state")

    def __init__(self, state: SessionState = SessionState.CLOSED) -> None:
        self.state = state
        #: Application data flows. Kept beside ``state``: it is asked several times per burst.
        self.is_open = state in OPEN_STATES
        self._rekeying = False

    @property
    def is_rekeying(self) -> bool:
        """A rekey is pending, whatever state is reported."""
        return self._rekeying

    def apply(self, event: Input) -> SessionState:
        """Moves to the next state and returns it.

        Raises:
            LocalProtocolError: the table has no such transition; nothing has changed.
        """
        target = TRANSITIONS.get((self.state, event))
        if target is None:
            raise LocalProtocolError(f"{event.name} is not allowed in state {self.state.value}")
        if event is Input.REKEY:
            self._rekeying = True
        elif event is Input.REKEYED:
            self._rekeying = False
        elif event is Input.PATH_DONE and self._rekeying:
            target = SessionState.REKEYING
        self.state = target
        self.is_open = target in OPEN_STATES
        return target


def render_table() -> str:
    """The table as it stands in docs/spec/connection.md."""
    lines = ["| From | Input | To |", "|---|---|---|"]
    for (state, event), target in TRANSITIONS.items():
        lines.append(f"| {state.value} | {event.name}: {event.value} | {target.value} |")
    return "\n".join(lines) + "\n"
