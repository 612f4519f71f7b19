"""What is done with roads after the win, step by step."""

from __future__ import annotations

import pytest

from wraith.connection.roads.keeper import (
    LINKS_MAX,
    OPEN_MAX,
    PLACES_MAX,
    START_STEP_S,
    TRY_S,
    TRY_S_MIN,
    TRYING_MAX,
    TRYING_PER_CARRIER_MAX,
    RoadKeeper,
)
from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.connection.roads.steps import Activate, CloseRoad, Probe, StandBy, StartRoad, Step
from wraith.connection.roads.ways import PROVEN_S, WAIT_S_MAX, RoadState
from wraith.types import Address, Carrier, Road

RESET = RoadFailure(RoadReason.RESET_LATER, 18_231)
REFUSED = RoadFailure(RoadReason.REFUSED)


def at(i: int, port: int = 4433) -> Address:
    return Address(bytes((192, 0, 2, i)), port)


UDP = Road(Carrier.UDP, at(1))
UDP_ELSEWHERE = Road(Carrier.UDP, at(2))
QUIC = Road(Carrier.QUIC, at(1))
TCP = Road(Carrier.TCP, at(1))
TCP_ELSEWHERE = Road(Carrier.TCP, at(2))
WS = Road(Carrier.WS, url="wss://example.com/x")


def steps(keeper: RoadKeeper) -> list[Step]:
    done: list[Step] = []
    while (step := keeper.next_step()) is not None:
        done.append(step)
    return done


def run(keeper: RoadKeeper, until: float) -> list[tuple[float, Step]]:
    """Turns the timer up to ``until``; the steps and their times."""
    done: list[tuple[float, Step]] = []
    while (due := keeper.next_time()) is not None and due <= until:
        keeper.on_timer(due)
        done += [(due, step) for step in steps(keeper)]
    return done


def starts(done: list[tuple[float, Step]]) -> list[tuple[float, Road]]:
    return [(time, step.road) for time, step in done if isinstance(step, StartRoad)]


def started(done: list[tuple[float, Step]], road: Road) -> int:
    """The id of the latest way that was started along ``road``."""
    return [step.id for _, step in done if isinstance(step, StartRoad) and step.road == road][-1]


def state(keeper: RoadKeeper, road: Road) -> RoadState:
    return next(status.state for status in keeper.statuses() if status.road == road)


@pytest.mark.spec("RO-1")
def test_a_road_goes_through_its_states() -> None:
    keeper = RoadKeeper([UDP, TCP], TCP, now=0.0)
    seen = [state(keeper, UDP)]
    way = started(run(keeper, 0.0), UDP)
    seen.append(state(keeper, UDP))
    keeper.on_answer(way, 0.1)
    seen.append(state(keeper, UDP))
    run(keeper, 1.1)
    keeper.on_answer(way, 1.2)
    seen.append(state(keeper, UDP))
    keeper.on_suspect(way, 5.0)
    seen.append(state(keeper, UDP))
    run(keeper, 5.0)
    keeper.on_answer(0, 5.1)  # TCP stands by
    steps(keeper)
    keeper.on_recovered(way, 5.2)
    seen.append(state(keeper, UDP))
    keeper.on_failed(way, REFUSED, 5.3)
    seen.append(state(keeper, UDP))
    assert seen == [
        RoadState.UNTRIED,
        RoadState.TRYING,
        RoadState.OPEN,
        RoadState.ACTIVE,
        RoadState.SUSPECT,
        RoadState.STANDBY,
        RoadState.FAILED,
    ]
    failed = keeper.statuses()[0]
    assert failed.failure == REFUSED and failed.retry_at == pytest.approx(7.1)


@pytest.mark.spec("RO-40")
def test_better_roads_are_tried_once_for_two_seconds_and_then_every_half_minute() -> None:
    keeper = RoadKeeper([UDP, TCP, WS], TCP, now=10.0)
    done = run(keeper, 10.0)
    assert starts(done) == [(10.0, UDP)]
    assert run(keeper, 39.9) == [(12.0, CloseRoad(started(done, UDP)))]
    assert state(keeper, UDP) is RoadState.FAILED
    assert starts(run(keeper, 40.0)) == [(40.0, UDP)]


@pytest.mark.spec("RO-40")
def test_when_the_best_road_has_won_nothing_is_tried() -> None:
    keeper = RoadKeeper([UDP, UDP_ELSEWHERE, TCP, WS], UDP, now=0.0)
    assert keeper.next_time() is None and steps(keeper) == []
    assert [status.state for status in keeper.statuses()] == [
        RoadState.ACTIVE,
        RoadState.UNTRIED,
        RoadState.UNTRIED,
        RoadState.UNTRIED,
    ]


@pytest.mark.spec("RO-32")
def test_a_suspect_path_is_probed_and_all_others_start_a_quarter_second_apart() -> None:
    keeper = RoadKeeper([UDP, QUIC, TCP, WS], UDP, now=0.0)
    keeper.on_suspect(0, 5.0)
    done = run(keeper, 5.9)
    assert (5.0, Probe(0, False)) in done
    assert starts(done) == [
        (5.0, QUIC),
        (5.0 + START_STEP_S, TCP),
        (5.0 + 2 * START_STEP_S, WS),
    ]
    assert state(keeper, UDP) is RoadState.SUSPECT
    assert [time for time, step in run(keeper, 40.0) if step == Probe(0, False)] == [
        6.0,
        7.0,
        9.0,
        13.0,
        20.0,
        35.0,
    ]


@pytest.mark.spec("RO-32")
def test_without_an_active_road_the_first_answer_is_enough() -> None:
    keeper = RoadKeeper([UDP, TCP, WS], UDP, now=0.0)
    keeper.on_suspect(0, 5.0)
    done = run(keeper, 5.3)
    tcp, ws = started(done, TCP), started(done, WS)
    keeper.on_answer(ws, 5.35)
    assert Activate(ws) in steps(keeper)
    assert state(keeper, WS) is RoadState.ACTIVE
    # TCP is better than WS, so its try goes on, and it is gone back to by the rule.
    keeper.on_answer(tcp, 5.4)
    assert steps(keeper) == [] and state(keeper, TCP) is RoadState.OPEN
    assert (6.4, Probe(tcp, True)) in run(keeper, 6.5)


@pytest.mark.spec("RO-32")
def test_roads_that_are_no_better_than_the_one_taken_are_given_up() -> None:
    keeper = RoadKeeper([UDP, TCP, TCP_ELSEWHERE, WS], UDP, now=0.0)
    keeper.on_suspect(0, 5.0)
    done = run(keeper, 5.9)
    keeper.on_answer(started(done, TCP), 6.0)
    taken = steps(keeper)
    assert taken[0] == Activate(started(done, TCP))
    assert {CloseRoad(started(done, road)) for road in (TCP_ELSEWHERE, WS)} <= set(taken)


@pytest.mark.spec("RO-32")
def test_a_closed_link_is_left_and_its_road_is_tried_last() -> None:
    keeper = RoadKeeper([TCP, WS], TCP, now=0.0)
    keeper.on_failed(0, RESET, 5.0)
    assert starts(run(keeper, 5.3)) == [(5.0, WS), (5.25, TCP)]
    status = keeper.statuses()[0]
    assert status.failure == RESET and status.state is RoadState.TRYING


@pytest.mark.spec("RO-32")
def test_the_only_road_is_dialled_again_at_once_when_its_link_is_closed() -> None:
    keeper = RoadKeeper([TCP], TCP, now=0.0)
    keeper.on_failed(0, RESET, 5.0)
    assert starts(run(keeper, 5.0)) == [(5.0, TCP)]


@pytest.mark.spec("RO-33")
def test_a_link_that_hangs_is_dialled_anew_and_closed_when_the_new_one_answers() -> None:
    keeper = RoadKeeper([TCP], TCP, now=0.0)
    keeper.on_suspect(0, 5.0)
    done = run(keeper, 5.0)
    assert (5.0, Probe(0, False)) in done and starts(done) == [(5.0, TCP)]
    keeper.on_answer(started(done, TCP), 5.1)
    assert steps(keeper) == [CloseRoad(0), Activate(started(done, TCP))]


def test_in_a_row_the_host_that_was_reached_last_comes_first() -> None:
    keeper = RoadKeeper([UDP_ELSEWHERE, TCP, TCP_ELSEWHERE], UDP_ELSEWHERE, now=0.0)
    keeper.on_suspect(0, 5.0)
    assert starts(run(keeper, 5.3)) == [(5.0, TCP_ELSEWHERE), (5.25, TCP)]


@pytest.mark.spec("RO-67")
def test_what_is_known_of_a_silence_is_the_reason_of_the_road() -> None:
    frozen = RoadFailure(RoadReason.FROZEN, 16_384)
    keeper = RoadKeeper([TCP], TCP, now=0.0)
    keeper.on_explained(0, frozen)
    keeper.on_explained(7, frozen)
    assert keeper.statuses()[0].failure is None, "it is not silent"
    keeper.on_suspect(0, 5.0)
    keeper.on_explained(0, frozen)
    (status,) = keeper.statuses()
    assert (status.state, status.failure) == (RoadState.SUSPECT, frozen)


@pytest.mark.spec("RO-33")
def test_a_suspect_path_that_answers_first_is_used_again() -> None:
    keeper = RoadKeeper([UDP, TCP], UDP, now=0.0)
    keeper.on_suspect(0, 5.0)
    done = run(keeper, 5.0)
    keeper.on_recovered(0, 5.2)
    assert steps(keeper) == [Activate(0), CloseRoad(started(done, TCP))]
    assert keeper.next_time() is None


@pytest.mark.spec("RO-41")
def test_a_return_takes_two_challenges_a_second_apart_the_second_under_load() -> None:
    keeper = RoadKeeper([UDP, TCP], TCP, now=0.0)
    way = started(run(keeper, 0.0), UDP)
    keeper.on_answer(way, 0.05)
    assert steps(keeper) == [] and state(keeper, UDP) is RoadState.OPEN
    keeper.on_answer(way, 0.5)  # an answer to the first challenge, twice
    assert steps(keeper) == []
    assert run(keeper, 1.1) == [(1.05, Probe(way, True))]
    keeper.on_answer(way, 1.1)
    assert steps(keeper) == [Activate(way), StandBy(0)]
    assert state(keeper, UDP) is RoadState.ACTIVE and state(keeper, TCP) is RoadState.STANDBY


@pytest.mark.spec("RO-41")
@pytest.mark.parametrize(
    ("better", "active", "reason"),
    [(UDP, TCP, RoadReason.MTU_HOLE), (TCP, WS, RoadReason.FROZEN)],
)
def test_a_road_that_fails_only_under_load_is_not_gone_back_to(
    better: Road, active: Road, reason: RoadReason
) -> None:
    keeper = RoadKeeper([better, active], active, now=0.0)
    way = started(run(keeper, 0.0), better)
    keeper.on_answer(way, 0.05)
    done = run(keeper, 1.05 + TRY_S)
    assert (1.05 + TRY_S, CloseRoad(way)) in done
    assert keeper.statuses()[0].failure == RoadFailure(reason)
    assert state(keeper, active) is RoadState.ACTIVE


@pytest.mark.spec("RO-42")
def test_better_roads_are_tried_again_ever_more_rarely_after_a_switch() -> None:
    keeper = RoadKeeper([UDP, TCP], UDP, now=0.0)
    keeper.on_failed(0, RoadFailure(RoadReason.UNREACHABLE), 100.0)
    done = run(keeper, 100.0)
    keeper.on_answer(started(done, TCP), 100.0)
    steps(keeper)
    for way in [step.id for _, step in done if isinstance(step, StartRoad) and step.road == UDP]:
        keeper.on_failed(way, REFUSED, 100.0)
    tried: list[float] = []
    while len(tried) < 9:
        due = keeper.next_time()
        assert due is not None
        keeper.on_timer(due)
        for step in steps(keeper):
            if isinstance(step, StartRoad):
                assert step.road == UDP
                tried.append(due - 100.0)
                keeper.on_failed(step.id, REFUSED, due)
    assert tried == [1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 90.0, 120.0]


def returned(keeper: RoadKeeper) -> tuple[int, float]:
    """Lets UDP answer until it has been gone back to: the way, and when."""
    while True:
        due = keeper.next_time()
        assert due is not None
        keeper.on_timer(due)
        for step in steps(keeper):
            if isinstance(step, StartRoad) and step.road != UDP:
                keeper.on_failed(step.id, REFUSED, due)
            elif isinstance(step, StartRoad | Probe):
                keeper.on_answer(step.id, due)
        for taken in steps(keeper):
            if isinstance(taken, Activate):
                return taken.id, due


def fall_back(keeper: RoadKeeper, way: int, now: float) -> None:
    """``way``, along UDP, fails, and TCP answers: by the link that stands by, or by a new one."""
    keeper.on_failed(way, RESET, now)
    for _, step in run(keeper, now):
        if isinstance(step, Probe) or (isinstance(step, StartRoad) and step.road == TCP):
            keeper.on_answer(step.id, now)
    assert any(isinstance(step, Activate) for step in steps(keeper))
    assert state(keeper, TCP) is RoadState.ACTIVE


@pytest.mark.spec("RO-43")
def test_a_road_that_fails_soon_after_each_return_is_gone_back_to_ever_later() -> None:
    keeper = RoadKeeper([UDP, TCP], TCP, now=0.0)
    waits: list[float] = []
    now = 0.0
    for _ in range(11):
        way, taken_at = returned(keeper)
        waits.append(taken_at - now)
        now = taken_at + 1.0
        fall_back(keeper, way, now)
    assert waits[0] == pytest.approx(1.0)  # at the confirmation it is tried at once
    assert waits[1:9] == pytest.approx([3.0, 5.0, 9.0, 17.0, 33.0, 65.0, 129.0, 257.0])
    assert waits[9:] == pytest.approx([WAIT_S_MAX + 1.0] * 2)


@pytest.mark.spec("RO-43")
def test_a_return_that_has_lasted_a_minute_is_forgiven() -> None:
    keeper = RoadKeeper([UDP, TCP], TCP, now=0.0)
    now = 0.0
    waits: list[float] = []
    for lasts in (1.0, PROVEN_S, 1.0):
        way, taken_at = returned(keeper)
        waits.append(taken_at - now)
        now = taken_at + lasts
        run(keeper, now - 0.001)
        fall_back(keeper, way, now)
    _, taken_at = returned(keeper)
    waits.append(taken_at - now)
    assert waits == pytest.approx([1.0, 3.0, 2.0, 3.0])


@pytest.mark.spec("RO-1", "RO-43")
def test_a_road_that_the_session_began_on_is_gone_back_to_without_delay() -> None:
    keeper = RoadKeeper([UDP, TCP], UDP, now=0.0)
    keeper.on_suspect(0, 5.0)
    keeper.on_answer(started(run(keeper, 5.0), TCP), 5.1)
    steps(keeper)
    assert run(keeper, 6.2) == [(6.1, Probe(0, False))]
    keeper.on_answer(0, 6.2)
    assert state(keeper, UDP) is RoadState.OPEN
    assert (7.2, Probe(0, True)) in run(keeper, 7.2)
    keeper.on_answer(0, 7.3)
    assert Activate(0) in steps(keeper)


@pytest.mark.spec("RO-43")
def test_early_answers_of_a_road_that_has_to_wait_do_not_count() -> None:
    keeper = RoadKeeper([UDP, TCP], TCP, now=0.0)
    way, taken_at = returned(keeper)
    now = taken_at + 1.0
    keeper.on_failed(way, RESET, now)
    again = started(run(keeper, now), UDP)
    keeper.on_answer(0, now)  # TCP stands by, and is first
    assert Activate(0) in steps(keeper)
    keeper.on_answer(again, now + 0.1)
    assert steps(keeper) == [StandBy(again)]
    assert run(keeper, now + 2.0) == [(now + 2.0, Probe(again, False))]


@pytest.mark.spec("RO-44")
def test_when_the_network_changes_the_active_path_is_asked_and_better_ones_start_at_once() -> None:
    keeper = RoadKeeper([UDP, TCP], TCP, now=0.0)
    run(keeper, 20.0)
    keeper.network_changed(20.0)
    assert steps(keeper) == [Probe(0, False)]
    assert starts(run(keeper, 20.0)) == [(20.0, UDP)]


@pytest.mark.spec("RO-44")
def test_a_try_from_before_the_network_changed_is_begun_anew() -> None:
    keeper = RoadKeeper([TCP, WS], TCP, now=0.0)
    keeper.on_failed(0, RESET, 5.0)
    before = [step.id for _, step in run(keeper, 5.3) if isinstance(step, StartRoad)]
    keeper.network_changed(6.0)
    assert steps(keeper) == [CloseRoad(id_) for id_ in before]
    assert len(starts(run(keeper, 6.3))) == 2


@pytest.mark.spec("RO-44")
def test_after_a_change_of_the_network_the_next_return_waits_for_nothing() -> None:
    keeper = RoadKeeper([UDP, TCP], TCP, now=0.0)
    way, first_at = returned(keeper)
    fall_back(keeper, way, first_at + 1.0)
    keeper.network_changed(first_at + 1.0)
    way, second_at = returned(keeper)
    assert second_at == pytest.approx(first_at + 2.0)
    fall_back(keeper, way, second_at + 1.0)  # and if it fails once more, it waits after all
    _, third_at = returned(keeper)
    assert third_at == pytest.approx(second_at + 1.0 + 4.0 + 1.0)


@pytest.mark.spec("RO-44")
def test_a_change_of_the_network_while_nothing_is_active_excuses_what_had_to_wait() -> None:
    keeper = RoadKeeper([UDP, TCP], TCP, now=0.0)
    way, taken_at = returned(keeper)
    now = taken_at + 1.0
    keeper.on_failed(way, RESET, now)
    run(keeper, now)
    keeper.network_changed(now)
    steps(keeper)
    again = started(run(keeper, now), UDP)
    keeper.on_answer(0, now)
    steps(keeper)
    keeper.on_answer(again, now + 0.1)
    assert state(keeper, UDP) is RoadState.OPEN
    assert (now + 1.1, Probe(again, True)) in run(keeper, now + 1.2)


@pytest.mark.spec("RO-45")
def test_a_program_that_moves_a_session_moves_it_when_the_road_answers() -> None:
    keeper = RoadKeeper([UDP, TCP, WS], UDP, now=0.0)
    keeper.migrate(WS, 5.0)
    done = run(keeper, 5.0)
    assert starts(done) == [(5.0, WS)] and state(keeper, UDP) is RoadState.ACTIVE
    keeper.on_answer(started(done, WS), 5.2)
    assert steps(keeper) == [Activate(started(done, WS)), StandBy(0)]
    # It stays there: nothing better is tried, and the old path is closed when a minute is over.
    assert run(keeper, 200.0) == [(5.2 + PROVEN_S, CloseRoad(0))]
    keeper.migrate(UDP, 200.0)
    done = run(keeper, 200.0)
    assert starts(done) == [(200.0, UDP)]


@pytest.mark.spec("RO-45")
def test_a_move_that_gets_no_answer_is_given_up() -> None:
    keeper = RoadKeeper([UDP, TCP], UDP, now=0.0)
    keeper.migrate(TCP, 5.0)
    done = run(keeper, 60.0)
    assert starts(done) == [(5.0, TCP)]
    assert state(keeper, UDP) is RoadState.ACTIVE and state(keeper, TCP) is RoadState.FAILED
    assert keeper.next_time() is None


@pytest.mark.spec("RO-45")
def test_a_move_to_anywhere_is_given_up_after_eight_seconds() -> None:
    keeper = RoadKeeper([UDP, TCP, WS], UDP, now=0.0)
    keeper.migrate(None, 5.0)
    for time, road in starts(run(keeper, 60.0)):
        assert time < 5.0 + TRY_S and road != UDP
    assert keeper.next_time() is None


@pytest.mark.spec("RO-45")
def test_a_move_to_any_other_road_takes_the_first_that_answers() -> None:
    keeper = RoadKeeper([UDP, TCP, WS], UDP, now=0.0)
    keeper.migrate(None, 5.0)
    done = run(keeper, 5.3)
    assert [road for _, road in starts(done)] == [TCP, WS]
    keeper.on_answer(started(done, WS), 5.4)
    assert steps(keeper) == [
        Activate(started(done, WS)),
        StandBy(0),
        CloseRoad(started(done, TCP)),
    ]


@pytest.mark.spec("RO-45")
def test_a_road_that_a_program_chose_is_left_when_it_fails() -> None:
    keeper = RoadKeeper([UDP, TCP], UDP, now=0.0)
    keeper.migrate(TCP, 5.0)
    way = started(run(keeper, 5.0), TCP)
    keeper.on_answer(way, 5.1)
    steps(keeper)
    keeper.on_failed(way, RESET, 6.0)
    assert run(keeper, 6.0)[0] == (6.0, Probe(0, False))  # UDP stands by: it need not be started
    keeper.on_answer(0, 6.1)
    assert Activate(0) in steps(keeper)


def test_a_move_to_a_road_that_is_not_known_is_refused() -> None:
    keeper = RoadKeeper([UDP], UDP, now=0.0)
    with pytest.raises(ValueError, match="no such road"):
        keeper.migrate(TCP, 1.0)


@pytest.mark.spec("RO-46")
def test_what_stands_by_is_closed_when_the_road_taken_has_proved_itself() -> None:
    keeper = RoadKeeper([UDP, TCP], TCP, now=0.0)
    _, taken_at = returned(keeper)
    assert run(keeper, 200.0) == [(taken_at + PROVEN_S, CloseRoad(0))]
    assert state(keeper, TCP) is RoadState.CLOSED and state(keeper, UDP) is RoadState.ACTIVE


@pytest.mark.spec("RO-34")
def test_tries_are_limited_and_one_that_others_wait_for_is_given_up_after_two_seconds() -> None:
    tcp = [Road(Carrier.TCP, at(i)) for i in range(1, 5)]
    keeper = RoadKeeper([UDP, *tcp], UDP, now=0.0)
    keeper.on_failed(0, REFUSED, 0.0)
    done = run(keeper, 3.0)
    assert [time for time, road in starts(done) if road.carrier is Carrier.TCP] == [
        0.0,
        0.25,
        0.0 + TRY_S_MIN,
        0.25 + TRY_S_MIN,
    ]
    assert (TRY_S_MIN, CloseRoad(started(done, tcp[0]))) in done
    assert TRYING_PER_CARRIER_MAX == 2 and TRYING_MAX == 4


@pytest.mark.spec("RO-34")
def test_a_fifth_link_closes_the_one_that_stands_by() -> None:
    quic = [Road(Carrier.QUIC, at(i)) for i in range(1, 3)]
    keeper = RoadKeeper([*quic, TCP, WS], WS, now=0.0)
    keeper.migrate(TCP, 0.0)
    done = run(keeper, 1.9)
    keeper.on_answer(started(done, TCP), 1.9)
    assert Activate(started(done, TCP)) in steps(keeper)
    keeper.on_failed(started(done, TCP), RESET, 5.0)
    done = run(keeper, 8.0)
    alive = {0}
    for _, step in done:
        if isinstance(step, StartRoad):
            alive.add(step.id)
        elif isinstance(step, CloseRoad):
            alive.discard(step.id)
        assert len(alive) <= LINKS_MAX


def test_a_road_that_policy_leaves_out_is_not_tried_again() -> None:
    keeper = RoadKeeper([QUIC, TCP], TCP, now=0.0)
    way = started(run(keeper, 0.0), QUIC)
    keeper.on_failed(way, RoadFailure(RoadReason.POLICY), 0.0)
    assert keeper.next_time() is None


def test_a_road_for_which_this_side_had_no_room_is_tried_at_its_next_time() -> None:
    keeper = RoadKeeper([UDP, TCP], TCP, now=0.0)
    keeper.on_failed(started(run(keeper, 0.0), UDP), None, 0.0)
    assert keeper.statuses()[0] == (UDP, RoadState.UNTRIED, None, 30.0)
    assert starts(run(keeper, 30.0)) == [(30.0, UDP)]


@pytest.mark.spec("RO-35")
def test_roads_that_the_peer_names_later_are_tried_if_they_are_better() -> None:
    keeper = RoadKeeper([TCP], TCP, now=0.0)
    assert keeper.next_time() is None
    keeper.set_roads([TCP, UDP, WS], 7.0)
    assert starts(run(keeper, 7.0)) == [(7.0, UDP)]
    keeper.set_roads([WS], 8.0)
    assert {status.road for status in keeper.statuses()} == {TCP, UDP, WS}  # those in use stay


@pytest.mark.spec("RO-35")
def test_a_peer_cannot_make_the_list_grow() -> None:
    keeper = RoadKeeper([TCP], TCP, now=0.0)
    for i in range(50):
        keeper.set_roads([Road(Carrier.UDP, at(i, port)) for port in range(1, 40)], float(i))
        run(keeper, float(i))
        assert len(keeper.statuses()) <= PLACES_MAX


def test_reports_about_a_way_that_is_gone_say_nothing() -> None:
    keeper = RoadKeeper([UDP, TCP], UDP, now=0.0)
    keeper.on_answer(77, 1.0)
    keeper.on_failed(77, RESET, 1.0)
    keeper.on_suspect(77, 1.0)
    keeper.on_recovered(77, 1.0)
    keeper.on_opened(77)
    assert steps(keeper) == [] and state(keeper, UDP) is RoadState.ACTIVE


@pytest.mark.parametrize(
    ("road", "opened", "reason"),
    [
        (UDP, False, RoadReason.UDP_SILENT),
        (TCP, False, RoadReason.SYN_TIMEOUT),
        (TCP, True, RoadReason.ACCEPTED_SILENT),
    ],
)
def test_silence_is_named_by_how_far_the_try_came(
    road: Road, opened: bool, reason: RoadReason
) -> None:
    keeper = RoadKeeper([road, WS], WS, now=0.0)
    way = started(run(keeper, 0.0), road)
    if opened:
        keeper.on_opened(way)
    run(keeper, TRY_S + 1)
    status = keeper.statuses()[0]
    assert status.failure == RoadFailure(reason) and status.retry_at == pytest.approx(30.0)


def test_the_number_of_open_paths_is_bounded() -> None:
    udp = [Road(Carrier.UDP, at(i)) for i in range(1, 8)]
    keeper = RoadKeeper(udp, udp[0], now=0.0)
    alive = {0}
    for i, road in enumerate(udp[1:], start=1):
        keeper.migrate(road, float(i))
        for _, step in run(keeper, float(i)):
            if isinstance(step, StartRoad):
                alive.add(step.id)
                keeper.on_answer(step.id, float(i))
        alive -= {step.id for step in steps(keeper) if isinstance(step, CloseRoad)}
        assert len(alive) <= OPEN_MAX
