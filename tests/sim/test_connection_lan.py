"""A LAN: acknowledgements are not kept waiting for many round trips (findings F12)."""

from __future__ import annotations

import pytest

from wraith.config import EndpointConfig
from wraith.testing.established import EstablishedPair
from wraith.testing.netem import LinkConfig

LAN = LinkConfig(latency_s=0.0002, rate_bps=100e6, queue_bytes=256_000)
FIVE_PER_CENT = LinkConfig(latency_s=0.0002, rate_bps=100e6, queue_bytes=256_000, loss=0.05)
N_BYTES = 2 << 20


@pytest.mark.spec("RC-35")
def test_a_lone_packet_on_a_lan_is_acknowledged_within_few_milliseconds() -> None:
    pair = EstablishedPair(link=LAN)
    first = pair.send(bytes(100_000))
    assert pair.run(until=lambda: first.is_finished)
    pair.run(seconds=1)  # everything is acknowledged, both ends know the round trip
    start = pair.now
    connection = pair.i.connection
    sid = connection.open_stream(now=start)
    connection.stream_write(sid, b"one", now=start)
    pair.net.settle()
    assert connection.stats().bytes_in_flight > 0
    pair.run(seconds=1, until=lambda: connection.stats().bytes_in_flight == 0)
    assert pair.now - start < 0.004


def seconds_of(config_r: EndpointConfig | None, seed: int) -> float:
    """Virtual time of one transfer with five per cent of loss; ``config_r`` is the receiver's."""
    pair = EstablishedPair(
        config=EndpointConfig(datagram_bytes=1400), config_r=config_r, link=FIVE_PER_CENT, seed=seed
    )
    transfer = pair.send(bytes(N_BYTES))
    assert pair.run(seconds=60, until=lambda: transfer.is_finished)
    return pair.now


def test_small_windows_do_not_wait_for_acknowledgements() -> None:
    """With five per cent of loss the window is a few packets. The receiver's usual delay costs
    little more there than the shortest that can be configured, on both sides."""
    eager = EndpointConfig(datagram_bytes=1400, max_ack_delay_ms=1)
    usual = sum(seconds_of(None, seed) for seed in range(1, 9))
    shortest = sum(seconds_of(eager, seed) for seed in range(1, 9))
    assert usual <= 1.4 * shortest
