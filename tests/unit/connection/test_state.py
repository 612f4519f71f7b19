from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from wraith.connection.state import (
    TRANSITIONS,
    Input,
    LifeCycle,
    SessionState,
    render_table,
)
from wraith.errors import LocalProtocolError

SPEC = Path(__file__).parents[3] / "docs" / "spec" / "connection.md"


@pytest.mark.spec("CN-1")
@pytest.mark.parametrize(("state", "event"), list(product(SessionState, Input)))
def test_every_state_and_input_follows_the_table_or_changes_nothing(
    state: SessionState, event: Input
) -> None:
    life = LifeCycle(state)
    target = TRANSITIONS.get((state, event))
    if target is None:
        with pytest.raises(LocalProtocolError):
            life.apply(event)
        assert life.state is state
    else:
        assert life.apply(event) is target


def test_the_seven_states_of_the_protocol_are_there_and_reachable() -> None:
    assert {state.value for state in SessionState} == {
        "Closed", "Connecting", "Established", "Rekeying", "Migrating", "Resuming", "Draining",
    }  # fmt: skip
    reached = {SessionState.CLOSED}
    for _ in SessionState:
        reached |= {to for (state, _), to in TRANSITIONS.items() if state in reached}
    assert reached == set(SessionState)


def test_only_the_end_leaves_draining() -> None:
    assert [e for (s, e) in TRANSITIONS if s is SessionState.DRAINING] == [Input.DRAINED]


@pytest.mark.spec("CN-2")
@pytest.mark.parametrize(
    ("first", "second"), [(Input.REKEY, Input.PATH), (Input.PATH, Input.REKEY)]
)
def test_migrating_hides_a_pending_rekey_and_returns_to_it(first: Input, second: Input) -> None:
    life = LifeCycle(SessionState.ESTABLISHED)
    life.apply(first)
    assert life.apply(second) is SessionState.MIGRATING
    assert life.is_rekeying
    assert life.apply(Input.PATH_DONE) is SessionState.REKEYING
    assert life.apply(Input.REKEYED) is SessionState.ESTABLISHED


def test_migrating_returns_to_established_when_the_rekey_has_ended_meanwhile() -> None:
    life = LifeCycle(SessionState.ESTABLISHED)
    for event in (Input.REKEY, Input.PATH, Input.REKEYED):
        life.apply(event)
    assert life.apply(Input.PATH_DONE) is SessionState.ESTABLISHED


def test_the_table_in_the_specification_is_this_table() -> None:
    assert render_table() in SPEC.read_text(encoding="utf-8")
