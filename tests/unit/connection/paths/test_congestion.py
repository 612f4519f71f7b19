"""CUBIC, NewReno and HyStart++ by their formulas."""

from __future__ import annotations

import pytest

from wraith.config import EndpointConfig
from wraith.connection.paths.congestion import (
    CSS_ROUNDS,
    AckSample,
    Controller,
    Cubic,
    HyStart,
    NewReno,
    initial_window,
)
from wraith.connection.paths.controllers import make_controller
from wraith.errors import ConfigError

MSS = 1200


def ack(
    n_bytes: int,
    now: float,
    *,
    counter: int = 0,
    next_counter: int = 0,
    rtt: float = 0.05,
    sent_time: float | None = None,
    app_limited: bool = False,
) -> AckSample:
    return AckSample(
        n_bytes=n_bytes,
        sent_time=now - rtt if sent_time is None else sent_time,
        counter=counter,
        next_counter=next_counter,
        rtt=rtt,
        srtt=rtt,
        app_limited=app_limited,
        now=now,
    )


@pytest.mark.parametrize("name", ["cubic", "newreno"])
def test_slow_start_grows_by_what_is_acknowledged(name: str) -> None:
    controller = make_controller(name, MSS)
    start = controller.window
    assert start == initial_window(MSS) == 12_000
    controller.on_ack(ack(6_000, 1.0, counter=1, next_counter=10))
    assert controller.window == start + 6_000
    assert controller.in_slow_start


@pytest.mark.parametrize("name", ["cubic", "newreno"])
def test_an_application_limited_window_does_not_grow(name: str) -> None:
    controller = make_controller(name, MSS)
    start = controller.window
    controller.on_ack(ack(6_000, 1.0, app_limited=True))
    assert controller.window == start


@pytest.mark.spec("RC-8")
@pytest.mark.parametrize(("name", "beta"), [("cubic", 0.7), ("newreno", 0.5)])
def test_one_reduction_per_round_trip(name: str, beta: float) -> None:
    controller = make_controller(name, MSS)
    controller.on_ack(ack(100 * MSS, 1.0))
    before = controller.window
    controller.on_loss(MSS, 1.0, 1.1, 0)
    assert controller.window == int(before * beta)
    controller.on_loss(MSS, 1.05, 1.12, 0)  # sent before the reduction
    assert controller.window == int(before * beta)
    controller.on_loss(MSS, 1.11, 1.2, 0)
    assert controller.window == pytest.approx(before * beta * beta, abs=2)


def drive(controller: Controller, until: float, rtt: float, *, start: float = 0.0) -> float:
    """One acknowledgement of the whole window per round trip, after one loss at time 0."""
    now = start
    while now < until:
        now += rtt
        controller.on_ack(ack(controller.window, now, rtt=rtt))
    return controller.window / MSS


@pytest.mark.spec("RC-9")
def test_cubic_is_back_at_its_old_window_after_k_seconds() -> None:
    controller = Cubic(MSS)
    controller.on_ack(ack(1990 * MSS, 0.0, rtt=0.1))
    old = controller.window / MSS
    controller.on_loss(MSS, 0.0, 0.0, 0)
    k = (old * 0.3 / 0.4) ** (1 / 3)
    assert drive(controller, k, 0.1) == pytest.approx(old, rel=0.03)
    assert drive(controller, k + 8.0, 0.1, start=k) > 1.05 * old, "beyond K it probes for more"


@pytest.mark.spec("RC-9")
def test_cubic_is_the_default_and_newreno_can_be_chosen() -> None:
    assert EndpointConfig().congestion == "cubic"
    assert isinstance(make_controller(EndpointConfig().congestion, MSS), Cubic)
    assert isinstance(make_controller("newreno", MSS), NewReno)
    with pytest.raises(ConfigError):
        EndpointConfig(congestion="fast")


@pytest.mark.spec("RC-9")
def test_cubic_is_no_slower_than_reno_on_a_short_path() -> None:
    cubic, reno = Cubic(MSS), NewReno(MSS)
    for controller in (cubic, reno):
        controller.on_ack(ack(30 * MSS, 0.0, rtt=0.005))
        controller.on_loss(MSS, 0.0, 0.0, 0)
    sawtooth = 15 * 0.005  # in which Reno regains its old window
    assert drive(cubic, sawtooth, 0.005) >= 0.9 * drive(reno, sawtooth, 0.005)


def test_newreno_adds_one_datagram_per_window() -> None:
    controller = NewReno(MSS)
    controller.on_ack(ack(90 * MSS, 0.0))
    controller.on_loss(MSS, 0.0, 0.0, 0)
    before = controller.window
    controller.on_ack(ack(controller.window, 1.0))
    assert controller.window == before + MSS


@pytest.mark.spec("RC-10")
def test_hystart_ends_slow_start_when_the_round_trip_grows() -> None:
    hystart = HyStart()
    counter = 0
    rounds = 0
    while not hystart.done and rounds < 40:
        rounds += 1
        end = counter + 10
        for _ in range(10):
            counter += 1
            hystart.growth(
                ack(MSS, 1.0, counter=counter, next_counter=end + 1, rtt=0.05 + 0.008 * rounds)
            )
    assert hystart.done
    assert rounds <= 4 + CSS_ROUNDS


@pytest.mark.spec("RC-10")
def test_hystart_goes_back_when_the_rise_was_noise() -> None:
    hystart = HyStart()
    counter = 0
    for rtt in (0.05, 0.05, 0.07, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05):
        end = counter + 10
        for _ in range(10):
            counter += 1
            grown = hystart.growth(ack(MSS, 1.0, counter=counter, next_counter=end + 1, rtt=rtt))
    assert not hystart.done
    assert grown == MSS


@pytest.mark.spec("RC-9")
def test_a_loss_below_the_last_maximum_lowers_the_plateau() -> None:
    """Fast convergence (RFC 9438 §4.7): room for a flow that has just come."""
    controller = Cubic(MSS)
    controller.on_ack(ack(1990 * MSS, 0.0, rtt=0.1))
    controller.on_loss(MSS, 0.0, 0.0, 0)
    at_loss = controller.window / MSS
    controller.on_loss(MSS, 0.1, 0.1, 0)
    low = controller.window / MSS
    plateau = at_loss * (1 + 0.7) / 2
    k = ((plateau - low) / 0.4) ** (1 / 3)
    assert drive(controller, 0.1 + k, 0.1, start=0.1) == pytest.approx(plateau, rel=0.03)


@pytest.mark.spec("RC-12")
def test_time_in_which_the_application_was_the_limit_is_no_growth() -> None:
    """RFC 9438 §5.8: the curve stands still meanwhile."""
    windows = []
    for pause in (0.0, 60.0):
        controller = Cubic(MSS)
        controller.on_ack(ack(1990 * MSS, 0.0, rtt=0.1))
        controller.on_loss(MSS, 0.0, 0.0, 0)
        drive(controller, 2.0, 0.1)
        if pause:
            controller.on_ack(ack(MSS, 2.1, rtt=0.1, app_limited=True))
        windows.append(drive(controller, 4.0 + pause, 0.1, start=2.0 + pause))
    busy, idle = windows
    assert idle == pytest.approx(busy, rel=0.05)
