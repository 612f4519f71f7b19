"""Every state against every input, and the tables in the documentation."""

from __future__ import annotations

from pathlib import Path

import pytest

from wraith.errors import StateViolation
from wraith.transfer.state import (
    RECEIVER_ENDS,
    RECEIVER_TRANSITIONS,
    SENDER_ENDS,
    SENDER_TRANSITIONS,
    ReceiverInput,
    ReceiverState,
    SenderInput,
    SenderState,
    next_receiver_state,
    next_sender_state,
    render_tables,
)

SPEC = Path(__file__).parents[3] / "docs" / "spec" / "transfer.md"


@pytest.mark.spec("TR-40")
@pytest.mark.parametrize("state", SenderState)
@pytest.mark.parametrize("on", SenderInput)
def test_sender_moves_as_declared_or_refuses(state: SenderState, on: SenderInput) -> None:
    if (state, on) in SENDER_TRANSITIONS:
        assert next_sender_state(state, on) is SENDER_TRANSITIONS[state, on]
        assert state not in SENDER_ENDS
    else:
        with pytest.raises(StateViolation):
            next_sender_state(state, on)


@pytest.mark.spec("TR-41")
@pytest.mark.parametrize("state", ReceiverState)
@pytest.mark.parametrize("on", ReceiverInput)
def test_receiver_moves_as_declared_or_refuses(state: ReceiverState, on: ReceiverInput) -> None:
    if (state, on) in RECEIVER_TRANSITIONS:
        assert next_receiver_state(state, on) is RECEIVER_TRANSITIONS[state, on]
        assert state not in RECEIVER_ENDS
    else:
        with pytest.raises(StateViolation):
            next_receiver_state(state, on)


@pytest.mark.spec("TR-41")
def test_nothing_is_placed_before_everything_is_verified() -> None:
    into = [k for k, v in RECEIVER_TRANSITIONS.items() if v is ReceiverState.COMPLETING]
    assert into == [(ReceiverState.RECEIVING, ReceiverInput.ALL_VERIFIED)]


@pytest.mark.spec("TR-40")
def test_a_sender_accepts_no_answer_before_the_whole_listing_left() -> None:
    with pytest.raises(StateViolation):
        next_sender_state(SenderState.OFFERING, SenderInput.ACCEPTED)


def test_the_specification_shows_these_tables() -> None:
    assert render_tables() in SPEC.read_text()
