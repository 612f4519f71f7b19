"""The life of one transfer over one connection, as two tables. The only writer of a state.

Neither table knows bytes, files or time. An input that has no entry for the present state is
refused with ``StateViolation`` and leaves the state as it was; the caller then aborts.

Spec: transfer §7 [TR-40, TR-41].
"""

from __future__ import annotations

from enum import Enum

from wraith.errors import StateViolation


class SenderState(Enum):
    OFFERING = "offering"
    AWAITING_ANSWER = "awaiting answer"
    CHECKING = "checking"
    SENDING = "sending"
    AWAITING_RECEIPT = "awaiting receipt"
    DONE = "done"
    DECLINED = "declined"
    FAILED = "failed"


class SenderInput(Enum):
    LISTING_SENT = "listing sent"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    RANGES_CHECKED = "ranges checked"
    ALL_SENT = "all sent"
    RECEIPT = "receipt"
    ABORT = "abort"


class ReceiverState(Enum):
    AWAITING_OFFER = "awaiting offer"
    READING_LISTING = "reading listing"
    SURVEYING = "surveying"
    DECIDING = "deciding"
    OPENING = "opening"
    TELLING = "telling what is here"
    AWAITING_START = "awaiting start"
    RECEIVING = "receiving"
    COMPLETING = "completing"
    AWAITING_RECEIPT_OK = "awaiting receipt ok"
    DONE = "done"
    DECLINED = "declined"
    FAILED = "failed"


class ReceiverInput(Enum):
    OFFER = "offer"
    LISTING_WHOLE = "listing whole"
    SURVEYED = "surveyed"
    ACCEPT = "accept"
    DECLINE = "decline"
    OPENED = "opened"
    OPENED_COMPLETE = "opened, complete"
    RANGES_TOLD = "ranges told"
    START = "start"
    ALL_VERIFIED = "all verified"
    PLACED = "placed"
    RECEIPT_OK = "receipt ok"
    ABORT = "abort"


_S, _SI = SenderState, SenderInput
_R, _RI = ReceiverState, ReceiverInput

SENDER_TRANSITIONS: dict[tuple[SenderState, SenderInput], SenderState] = {
    (_S.OFFERING, _SI.LISTING_SENT): _S.AWAITING_ANSWER,
    # A receiver may refuse an offer before it has seen all of it, never accept one.
    (_S.OFFERING, _SI.DECLINED): _S.DECLINED,
    (_S.AWAITING_ANSWER, _SI.ACCEPTED): _S.CHECKING,
    (_S.AWAITING_ANSWER, _SI.DECLINED): _S.DECLINED,
    (_S.CHECKING, _SI.RANGES_CHECKED): _S.SENDING,
    # Complete since an earlier run: the receipt comes at once.
    (_S.CHECKING, _SI.RECEIPT): _S.DONE,
    (_S.SENDING, _SI.ALL_SENT): _S.AWAITING_RECEIPT,
    (_S.AWAITING_RECEIPT, _SI.RECEIPT): _S.DONE,
    **{
        (state, _SI.ABORT): _S.FAILED
        for state in (_S.OFFERING, _S.AWAITING_ANSWER, _S.CHECKING, _S.SENDING)
    },
    (_S.AWAITING_RECEIPT, _SI.ABORT): _S.FAILED,
}

RECEIVER_TRANSITIONS: dict[tuple[ReceiverState, ReceiverInput], ReceiverState] = {
    (_R.AWAITING_OFFER, _RI.OFFER): _R.READING_LISTING,
    (_R.READING_LISTING, _RI.LISTING_WHOLE): _R.SURVEYING,
    (_R.SURVEYING, _RI.SURVEYED): _R.DECIDING,
    (_R.DECIDING, _RI.ACCEPT): _R.OPENING,
    (_R.OPENING, _RI.OPENED): _R.TELLING,
    (_R.OPENING, _RI.OPENED_COMPLETE): _R.AWAITING_RECEIPT_OK,
    (_R.TELLING, _RI.RANGES_TOLD): _R.AWAITING_START,
    (_R.AWAITING_START, _RI.START): _R.RECEIVING,
    (_R.RECEIVING, _RI.ALL_VERIFIED): _R.COMPLETING,
    (_R.COMPLETING, _RI.PLACED): _R.AWAITING_RECEIPT_OK,
    (_R.AWAITING_RECEIPT_OK, _RI.RECEIPT_OK): _R.DONE,
    **{
        (state, _RI.DECLINE): _R.DECLINED
        for state in (_R.READING_LISTING, _R.SURVEYING, _R.DECIDING, _R.OPENING)
    },
    **{
        (state, _RI.ABORT): _R.FAILED
        for state in _R
        if state not in (_R.AWAITING_RECEIPT_OK, _R.DONE, _R.DECLINED, _R.FAILED)
    },
}

SENDER_ENDS = frozenset({_S.DONE, _S.DECLINED, _S.FAILED})
RECEIVER_ENDS = frozenset({_R.DONE, _R.DECLINED, _R.FAILED})
RECEIVER_ABORTABLE = frozenset(ReceiverState) - RECEIVER_ENDS - {ReceiverState.AWAITING_RECEIPT_OK}
"""Where there is something to give up: not once everything is in its place."""


def next_sender_state(state: SenderState, on: SenderInput) -> SenderState:
    """The state after ``on``. Raises ``StateViolation`` where the table has no entry."""
    after = SENDER_TRANSITIONS.get((state, on))
    if after is None:
        raise StateViolation(f"{on.value} while {state.value}")
    return after


def next_receiver_state(state: ReceiverState, on: ReceiverInput) -> ReceiverState:
    """The state after ``on``. Raises ``StateViolation`` where the table has no entry."""
    after = RECEIVER_TRANSITIONS.get((state, on))
    if after is None:
        raise StateViolation(f"{on.value} while {state.value}")
    return after


def render_tables() -> str:
    """Both tables as they stand in docs/spec/transfer.md."""
    lines = ["| Sender | Input | To |", "|---|---|---|"]
    lines += [
        f"| {a.value} | {on.value} | {b.value} |" for (a, on), b in SENDER_TRANSITIONS.items()
    ]
    lines += ["", "| Receiver | Input | To |", "|---|---|---|"]
    for (before, what), after in RECEIVER_TRANSITIONS.items():
        lines.append(f"| {before.value} | {what.value} | {after.value} |")
    return "\n".join(lines) + "\n"
