"""Whatever the network does, streams deliver the bytes that were written, once and in order."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wraith.config import EndpointConfig
from wraith.connection import events as ev
from wraith.connection.state import OPEN_STATES
from wraith.testing.established import EstablishedPair
from wraith.testing.netem import LinkConfig
from wraith.types import SuiteId

LINKS = st.builds(
    LinkConfig,
    latency_s=st.floats(0, 0.1),
    jitter_s=st.floats(0, 0.05),
    loss=st.floats(0, 0.3),
    duplicate=st.floats(0, 0.3),
    reorder=st.floats(0, 0.5),
    reorder_delay_s=st.floats(0, 0.1),
    rate_bps=st.sampled_from([None, 1e7, 1e8]),
    queue_bytes=st.sampled_from([None, 30_000]),
    mtu_bytes=st.sampled_from([65_535, 1_300]),
)


def drive(
    seed: int, link: LinkConfig, back: LinkConfig, sizes: list[int], rekey_s: float
) -> EstablishedPair:
    rnd = random.Random(seed)
    config = EndpointConfig(
        idle_timeout_s=600, rekey_interval_s=rekey_s, stream_window=65_536, conn_window=100_000
    )
    suite = rnd.choice([SuiteId.A, SuiteId.B])
    pair = EstablishedPair(config=config, link=link, back=back, seed=seed, suite=suite)
    # Even at 30 % loss both ways not every try of ten seconds fails.
    assert pair.run(seconds=9.9, until=lambda: pair.i.connection.confirmed), f"seed {seed}"
    transfers = [
        pair.send(
            rnd.randbytes(size),
            source=rnd.choice([pair.i, pair.r]),
            priority=rnd.randrange(256),
        )
        for size in sizes
    ]
    done = pair.run(seconds=900, until=lambda: all(t.is_equal for t in transfers))
    assert done, f"seed {seed}: {[(len(t.received), len(t.data)) for t in transfers]}"
    for side in (pair.i, pair.r):
        assert not side.of(ev.Closed)
    return pair


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(0, 2**32),
    LINKS,
    LINKS,
    st.lists(st.integers(0, 30_000), min_size=1, max_size=5),
    st.sampled_from([1.0, 5.0, 120.0]),
)
def test_streams_deliver_what_was_written(
    seed: int, link: LinkConfig, back: LinkConfig, sizes: list[int], rekey_s: float
) -> None:
    pair = drive(seed, link, back, sizes, rekey_s)
    assert {pair.i.connection.state, pair.r.connection.state} <= OPEN_STATES


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(0, 2**32),
    LINKS,
    LINKS,
    st.lists(st.integers(0, 300_000), min_size=1, max_size=8),
    st.sampled_from([1.0, 5.0, 120.0]),
)
def test_streams_deliver_what_was_written_at_length(
    seed: int, link: LinkConfig, back: LinkConfig, sizes: list[int], rekey_s: float
) -> None:
    pair = drive(seed, link, back, sizes, rekey_s)
    assert {pair.i.connection.state, pair.r.connection.state} <= OPEN_STATES


def test_the_same_seed_gives_the_same_datagrams() -> None:
    link = LinkConfig(latency_s=0.01, loss=0.1, jitter_s=0.01)
    totals = [drive(5, link, link, [20_000, 5], 1.0).net.a_to_b.bytes_sent for _ in range(2)]
    assert totals[0] == totals[1]
