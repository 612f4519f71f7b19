"""Whole connections over a link that loses one datagram in a hundred at random."""

from __future__ import annotations

import pytest

from wraith.config import EndpointConfig
from wraith.testing.established import EstablishedPair
from wraith.testing.netem import LinkConfig

LINK = LinkConfig(latency_s=0.025, rate_bps=40e6, queue_bytes=250_000, loss=0.01)
N_BYTES = 3 << 20


def seconds_of(congestion: str) -> float:
    """Virtual time of one transfer."""
    config = EndpointConfig(datagram_bytes=1_400, congestion=congestion)
    pair = EstablishedPair(config=config, link=LINK, seed=5)
    transfer, start = pair.send(bytes(N_BYTES)), pair.now
    assert pair.run(seconds=120, until=lambda: transfer.is_finished)
    return pair.now - start


@pytest.mark.spec("RC-9", "RC-50")
def test_bbr_moves_data_several_times_as_fast_as_cubic() -> None:
    bbr = seconds_of("bbr")
    assert bbr <= 2.5 * N_BYTES * 8 / 40e6
    assert seconds_of("cubic") >= 3 * bbr
