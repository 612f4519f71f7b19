"""The deadline heap against the obvious model: a dictionary that is scanned."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wraith.connection.deadlines import Deadline, DeadlineHeap

_moves = st.lists(
    st.tuples(st.integers(0, 5), st.one_of(st.none(), st.integers(0, 20))), max_size=60
)


@given(_moves, st.integers(0, 20))
def test_it_agrees_with_a_scan(moves: list[tuple[int, int | None]], now: int) -> None:
    heap, owners = DeadlineHeap(), [Deadline() for _ in range(6)]
    model: dict[int, float] = {}
    for i, at in moves:
        heap.set(owners[i], None if at is None else float(at))
        if at is None:
            model.pop(i, None)
        else:
            model[i] = float(at)
        assert heap.next_time() == min(model.values(), default=None)
    due = []
    while (owner := heap.pop_due(float(now))) is not None:
        assert owner.at is None
        due.append(owners.index(owner))
    assert sorted(due) == sorted(i for i, at in model.items() if at <= now)
    assert heap.next_time() == min((at for at in model.values() if at > now), default=None)


def test_pushing_a_deadline_back_costs_no_heap_item() -> None:
    heap, owner = DeadlineHeap(), Deadline()
    for i in range(1_000):
        heap.set(owner, float(i))
    assert len(heap) == 1
    assert heap.next_time() == 999.0
    assert len(heap) == 1


def test_equal_deadlines_come_in_the_order_they_were_set() -> None:
    heap, owners = DeadlineHeap(), [Deadline() for _ in range(4)]
    for owner in owners:
        heap.set(owner, 1.0)
    assert [heap.pop_due(1.0) for _ in range(4)] == owners
