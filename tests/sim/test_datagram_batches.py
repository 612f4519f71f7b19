"""Messages of any size that wait together are sealed in one call, and each is in one packet."""

from __future__ import annotations

from itertools import pairwise

import pytest

from wraith.connection import events as ev
from wraith.testing.established import EstablishedPair
from wraith.testing.netem import LinkConfig

SIZES = [900, 5, 700, 1_000, 1_000, 30, 1_100, 640, 800, 1_000, 950, 1]


def messages() -> list[bytes]:
    return [bytes([n]) * size for n, size in enumerate(SIZES)]


@pytest.mark.spec("WF-17")
def test_what_waits_together_leaves_in_one_run_whatever_its_sizes() -> None:
    pair = EstablishedPair(link=LinkConfig(latency_s=0.01), seed=3)
    pair.run(seconds=1)
    for message in messages():
        assert pair.i.connection.send_datagram(message, pair.now)
    parts = pair.i.connection._shared.parts
    assert parts is not None
    before = parts.recovery.sent_packets
    pair.net.settle()
    sent = parts.recovery.sent_packets - before
    assert 2 < sent < len(SIZES), "small ones share a packet, and no message is cut"
    runs = parts.recovery._epochs[parts.keys.send]
    (batch,) = [run for run in runs if run.ends is not None]
    assert batch.n >= sent - 1 and batch.ends is not None, "all that the window allowed"
    assert len({b - a for a, b in pairwise((0, *batch.ends))}) > 3
    in_flight = sum(run.slice_bytes(0, run.n - 1) for run in runs if run.pending)
    assert parts.paths.main.bytes_in_flight == in_flight
    pair.run(seconds=1)
    assert [e.data for e in pair.r.of(ev.DatagramReceived)] == messages()
    assert parts.paths.main.bytes_in_flight == 0


@pytest.mark.spec("WF-17")
def test_what_is_lost_of_a_batch_is_found_by_its_own_size() -> None:
    pair = EstablishedPair(link=LinkConfig(latency_s=0.01), seed=3)
    pair.run(seconds=1)
    n_sent = 0

    def drop_the_third(datagram: bytes) -> bytes | None:
        nonlocal n_sent
        n_sent += 1
        return None if n_sent == 3 else datagram

    pair.net.a_to_b.taps.append(drop_the_third)
    for message in messages():
        pair.i.connection.send_datagram(message, pair.now)
    pair.run(seconds=2)
    arrived = [e.data for e in pair.r.of(ev.DatagramReceived)]
    assert 0 < len(arrived) < len(SIZES) and arrived == [m for m in messages() if m in arrived]
    stats = pair.i.connection.stats()
    assert (stats.lost_packets, stats.bytes_in_flight) == (1, 0)
