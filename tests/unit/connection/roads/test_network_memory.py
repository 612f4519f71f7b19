from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.connection.roads.network_memory import NETWORKS_MAX, REMEMBERED_S, NetworkMemory
from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.types import Carrier

SILENT = RoadFailure(RoadReason.UDP_SILENT)
NOW = 1_800_000_000


@pytest.mark.spec("RO-19")
def test_the_latest_news_of_a_carrier_counts() -> None:
    memory = NetworkMemory().noted("home", Carrier.UDP, SILENT, NOW)
    assert memory.known_to_fail("home", NOW + 1) == {Carrier.UDP}
    assert memory.known_to_fail("elsewhere", NOW + 1) == frozenset()
    memory = memory.noted("home", Carrier.UDP, None, NOW + 10)
    assert memory.known_to_fail("home", NOW + 10) == frozenset()
    memory = memory.noted("home", Carrier.UDP, SILENT, NOW + 20)
    assert memory.known_to_fail("home", NOW + 20) == {Carrier.UDP}


@pytest.mark.spec("RO-19")
def test_after_a_day_it_is_forgotten() -> None:
    memory = NetworkMemory().noted("home", Carrier.UDP, SILENT, NOW)
    assert memory.known_to_fail("home", NOW + REMEMBERED_S - 1) == {Carrier.UDP}
    assert memory.known_to_fail("home", NOW + REMEMBERED_S) == frozenset()
    later = memory.noted("office", Carrier.TCP, None, NOW + REMEMBERED_S)
    assert set(later.networks) == {"office"}


@pytest.mark.spec("RO-19")
def test_it_holds_64_networks_and_the_one_with_the_oldest_news_goes() -> None:
    memory = NetworkMemory()
    for i in range(NETWORKS_MAX):
        memory = memory.noted(str(i), Carrier.UDP, SILENT, NOW + i)
    memory = memory.noted("0", Carrier.TCP, None, NOW + 100)
    memory = memory.noted("new", Carrier.UDP, SILENT, NOW + 101)
    assert len(memory.networks) == NETWORKS_MAX
    assert "0" in memory.networks and "1" not in memory.networks


def test_what_settings_leave_out_is_no_news() -> None:
    memory = NetworkMemory()
    policy = RoadFailure(RoadReason.POLICY)
    assert memory.noted("home", Carrier.QUIC, policy, NOW).networks == {}


def test_a_value_is_not_changed_by_news() -> None:
    before = NetworkMemory().noted("home", Carrier.UDP, SILENT, NOW)
    before.noted("home", Carrier.UDP, None, NOW + 1)
    assert before.known_to_fail("home", NOW + 1) == {Carrier.UDP}


news = st.lists(
    st.tuples(
        st.sampled_from(["home", "office", "train"]),
        st.sampled_from([Carrier.UDP, Carrier.TCP, Carrier.WS, Carrier.QUIC]),
        st.one_of(st.none(), st.builds(RoadFailure, st.sampled_from(RoadReason))),
        st.integers(0, 1000),
    ),
    max_size=20,
)


@given(news)
def test_a_file_gives_back_what_was_written(
    items: list[tuple[str, Carrier, RoadFailure | None, int]],
) -> None:
    memory = NetworkMemory()
    for key, carrier, failure, seconds in items:
        memory = memory.noted(key, carrier, failure, NOW + seconds)
    text = json.dumps(memory.to_plain())
    assert NetworkMemory.from_plain(json.loads(text), NOW + 1000) == memory


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["udp", "tcp", "succeeded_at", "failed_at", "reason", "x"]), inner
        )
    ),
    max_leaves=20,
)


@given(json_values)
def test_any_file_is_read_and_what_makes_no_sense_is_left_out(plain: object) -> None:
    memory = NetworkMemory.from_plain(plain, NOW)
    assert NetworkMemory.from_plain(memory.to_plain(), NOW) == memory
    for key in memory.networks:
        memory.known_to_fail(key, NOW)


def test_a_time_in_the_future_is_no_news() -> None:
    plain = {"home": {"udp": {"failed_at": NOW + 10, "reason": "udp-silent"}}}
    assert NetworkMemory.from_plain(plain, NOW).known_to_fail("home", NOW) == frozenset()
    assert NetworkMemory.from_plain(plain, NOW + 10).known_to_fail("home", NOW + 10) == {
        Carrier.UDP
    }
