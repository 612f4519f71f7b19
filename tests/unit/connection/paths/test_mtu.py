from __future__ import annotations

import pytest

from wraith.connection.paths.mtu import MTU_RAISE_S, MtuSearch


def search_to(search: MtuSearch, path_mtu: int) -> int:
    now = 0.0
    for _ in range(100):
        size = search.due(now)
        if not size:
            break
        search.on_sent(size)
        if size <= path_mtu:
            search.on_acked(size, now)
        else:
            search.on_lost(size, now)
    return search.current


@pytest.mark.spec("CN-36")
@pytest.mark.parametrize("path_mtu", [1200, 1300, 1452, 1471, 1472, 1500, 4000, 8972])
def test_finds_the_path_mtu_within_a_step(path_mtu: int) -> None:
    found = search_to(MtuSearch(1200, 8972, overhead_bytes=28, pinned=False), path_mtu)
    assert path_mtu - 16 <= found <= path_mtu


def test_one_lost_probe_does_not_settle_it() -> None:
    search = MtuSearch(1200, 1472, overhead_bytes=28, pinned=False)
    search.on_sent(search.due(0.0))
    search.on_lost(1472, 0.0)
    assert search.due(0.0) == 1472


def test_the_search_waits_for_its_time_or_for_something_to_send() -> None:
    search = MtuSearch(1200, 1472, overhead_bytes=28, pinned=False, begins_at=5.0)
    assert search.due(4.9) == 0 and search.due(5.0) == 1472
    search.begin(0.0)
    assert search_to(search, 1472) == 1472
    search.on_black_hole(9.0)
    search.begin(9.0)
    assert search.due(9.0) == 0, "it begins once; what follows has its own times"


def test_a_pinned_size_is_never_searched_nor_left() -> None:
    search = MtuSearch(1400, 8972, overhead_bytes=28, pinned=True)
    assert search.due(0.0) == 0
    assert not search.on_black_hole(0.0) and search.current == 1400


def test_a_black_hole_goes_back_to_the_base_and_searches_later() -> None:
    search = MtuSearch(1200, 1472, overhead_bytes=28, pinned=False)
    search_to(search, 1472)
    assert search.on_black_hole(5.0) and search.current == 1200
    assert search.due(6.0) == 0 and search.due(700.0) > 1200
    search.restart(10.0)
    assert search.due(10.0) == 1472


@pytest.mark.spec("CN-36")
def test_large_datagrams_lost_four_times_in_a_row_are_a_black_hole() -> None:
    search = MtuSearch(1200, 1472, overhead_bytes=28, pinned=False)
    search_to(search, 1472)
    assert [search.on_large_lost(5.0) for _ in range(3)] == [False] * 3 and search.current == 1472
    assert search.on_large_lost(5.0) and search.current == 1200
    assert search.due(6.0) == 0 and search.due(700.0) > 1200
    assert not search.on_large_lost(700.0), "counted anew"


@pytest.mark.spec("CN-36")
def test_the_size_that_fell_into_a_black_hole_is_not_the_next_one_tried() -> None:
    search = MtuSearch(1_200, 1_472, overhead_bytes=28, pinned=False)
    assert search_to(search, 1_472) == 1_472
    assert search.on_black_hole(10.0)
    assert search.due(10.0 + MTU_RAISE_S - 1) == 0
    assert 1_200 < search.due(10.0 + MTU_RAISE_S) < 1_472
