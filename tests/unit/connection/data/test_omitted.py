"""When a packet number is left out, and what an acknowledgement of it does."""

from __future__ import annotations

import pytest

from wraith.connection.data.omitted import (
    REMEMBERED_MAX,
    SPACING_MIN_PACKETS,
    SPACING_SPAN_PACKETS,
    OmittedNumbers,
)
from wraith.errors import CloseCode, RemoteProtocolError
from wraith.testing.rng import SeededRng

WINDOW = 12_000
SPACING_MAX_PACKETS = SPACING_MIN_PACKETS + SPACING_SPAN_PACKETS - 1


def spacings(n: int, seed: int) -> list[int]:
    """Packets between the first ``n`` omissions of a session whose window never grows."""
    omitted = OmittedNumbers(SeededRng(f"{seed}"), WINDOW)
    found: list[int] = []
    last = sent = 0
    while len(found) < n:
        sent += 1
        if omitted.packets_left(sent, WINDOW, 1_200) == 0:
            found.append(sent - last)
            last = sent
            omitted.on_omitted(0, sent, sent, WINDOW)
    return found


@pytest.mark.spec("RC-25")
def test_the_spacing_is_512_to_4096_packets_drawn_anew_each_time() -> None:
    found = spacings(150, 1)
    assert SPACING_MIN_PACKETS <= min(found) < 700
    assert 3_900 < max(found) <= SPACING_MAX_PACKETS == 4_096
    assert len(set(found)) > 140
    assert found != spacings(150, 2)


@pytest.mark.spec("RC-25")
@pytest.mark.parametrize("seed", range(20))
def test_a_window_larger_by_half_gets_an_omission_within_a_quarter_of_it(seed: int) -> None:
    omitted = OmittedNumbers(SeededRng(f"{seed}"), WINDOW)
    grown = 3 * WINDOW // 2
    assert omitted.packets_left(100, grown - 1, 1_200) is None
    left = omitted.packets_left(100, grown, 1_200)
    assert left is not None and 0 <= left < grown // 4 // 1_200, "and the run is cut there"
    assert omitted.packets_left(100 + left, 2 * grown, 1_200) == 0
    omitted.on_omitted(0, 100 + left, 100 + left, 2 * grown)
    assert omitted.packets_left(101 + left, 2 * grown, 1_200) is None


@pytest.mark.spec("RC-25")
def test_growth_is_measured_from_the_smallest_window_since_the_last_omission() -> None:
    omitted = OmittedNumbers(SeededRng("s"), 100 * WINDOW)
    assert omitted.packets_left(1, WINDOW, 1_200) is None  # after losses
    assert omitted.packets_left(2, 2 * WINDOW, 1_200) is not None


def with_numbers(*numbers: int) -> OmittedNumbers:
    omitted = OmittedNumbers(SeededRng("s"), WINDOW)
    for pn in numbers:
        omitted.on_omitted(3, pn, pn, WINDOW)
    return omitted


@pytest.mark.spec("RC-26")
@pytest.mark.parametrize("covering", [(700, 700), (0, 700), (700, 900), (0, 5_000)])
def test_a_range_over_an_omitted_number_is_refused(covering: tuple[int, int]) -> None:
    omitted = with_numbers(700, 2_000)
    with pytest.raises(RemoteProtocolError) as caught:
        omitted.check(3, [(3_000, 3_100), covering])
    assert caught.value.close_code == CloseCode.PROTOCOL_ERROR


@pytest.mark.spec("RC-26")
def test_ranges_beside_it_and_those_of_other_epochs_are_not() -> None:
    omitted = with_numbers(700, 2_000)
    omitted.check(3, [(2_001, 3_000), (701, 1_999), (0, 699)])
    omitted.check(2, [(0, 3_000)])
    omitted.forget_epoch(3)
    omitted.check(3, [(0, 3_000)])


@pytest.mark.spec("RC-26")
def test_the_last_64_are_remembered() -> None:
    omitted = with_numbers(*range(0, 10 * (REMEMBERED_MAX + 1), 10))
    omitted.check(3, [(0, 9)])
    with pytest.raises(RemoteProtocolError):
        omitted.check(3, [(0, 10)])
    assert REMEMBERED_MAX == 64
