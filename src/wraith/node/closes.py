"""Says what a closed connection means for a transfer.

Spec: docs/spec/transfer.md §10 [TR-94].
"""

from __future__ import annotations

from wraith.connection.events import Closed
from wraith.errors import (
    Busy,
    CloseCode,
    ConnectionLost,
    NotAuthorised,
    PeerKeyMismatch,
    PolicyRefused,
    RemoteProtocolError,
    TransferError,
    WraithError,
)
from wraith.node.events import NodeCloseCode
from wraith.transfer.state import ReceiverState, SenderState


class CodeSpent(TransferError):
    """This offer is complete; its code is spent."""

    code = "code-spent"
    hint = "ask for a new code"


def final_error(event: Closed) -> WraithError | None:
    """The error of a close after which dialling again is of no use. [TR-94]"""
    if event.by_peer:
        match event.code:
            case NodeCloseCode.BUSY:
                return Busy()
            case NodeCloseCode.REPLACED:
                return ConnectionLost("another wraith with this identity took over")
            case NodeCloseCode.SPENT:
                return CodeSpent()
            case CloseCode.AUTHENTICATION_FAILED:
                return NotAuthorised(hint="the other side asked for another identity")
    if isinstance(event.error, PeerKeyMismatch | PolicyRefused | RemoteProtocolError):
        return event.error
    return None


_UNANSWERED = frozenset({SenderState.OFFERING, SenderState.AWAITING_ANSWER})


def is_offer_unread(event: Closed, state: SenderState | ReceiverState) -> bool:
    """The peer of a sender closed for a message that it could not read, and only the offer had
    been said: its wraith is of another version. [TR-136]"""
    return event.by_peer and event.code == CloseCode.PROTOCOL_ERROR and state in _UNANSWERED


def words_of(event: Closed) -> str:
    """Why, for people."""
    if event.error is not None:
        return str(event.error)
    return event.reason or "the connection was closed"
