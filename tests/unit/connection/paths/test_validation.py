from __future__ import annotations

import pytest

from wraith.connection.paths.congestion import NewReno
from wraith.connection.paths.validation import AnswerBudget, PathValidation
from wraith.testing.one_path import one_path
from wraith.types import Address, NetworkPath

NETWORK = NetworkPath(Address(b"\x7f\0\0\1", 1), Address(b"\x7f\0\0\1", 2))


@pytest.mark.spec("CN-33")
def test_an_unproven_address_gets_three_times_what_it_sent_and_three_tries() -> None:
    validation = PathValidation(NETWORK, one_path(NewReno(1_200)), b"8 bytes!")
    validation.bytes_received = 100
    assert validation.room == 300
    for n in range(3):
        assert validation.is_due
        validation.on_sent(100, float(n), 0.5)
        assert not validation.on_timer(n + 0.4)
        assert validation.on_timer(n + 0.5) is (n == 2)
    assert validation.room == 0


@pytest.mark.spec("CN-34")
def test_challenges_are_answered_ten_times_a_second() -> None:
    budget = AnswerBudget()
    assert sum(budget.take(1.0) for _ in range(50)) == 10
    assert sum(budget.take(2.0) for _ in range(50)) == 10


@pytest.mark.spec("CN-34")
def test_a_spent_budget_of_answers_refills_at_ten_a_second() -> None:
    budget = AnswerBudget()
    assert sum(budget.take(5.0) for _ in range(20)) == 10
    assert sum(budget.take(5.5) for _ in range(20)) == 5
    assert sum(budget.take(6.5) for _ in range(20)) == 10
