"""The seeded link itself: what it promises, it must do, or every simulation lies."""

from __future__ import annotations

import pytest

from wraith.testing.netem import Link, LinkConfig


def fates(seed: int, config: LinkConfig) -> list[tuple[float, bytes]]:
    link = Link(config, seed)
    for i in range(2000):
        link.send(i.to_bytes(4, "big") * 25, i * 0.001)
    arrivals = []
    while (at := link.next_time()) is not None:
        arrivals += [(at, d) for d in link.due(at)]
    return arrivals


NOISY = LinkConfig(latency_s=0.05, jitter_s=0.002, loss=0.2, duplicate=0.05, reorder=0.1)


def test_the_same_seed_gives_the_same_fates() -> None:
    assert fates(7, NOISY) == fates(7, NOISY)
    assert fates(7, NOISY) != fates(8, NOISY)


def test_loss_and_duplication_have_their_probabilities() -> None:
    arrivals = fates(3, NOISY)
    distinct = {d for _, d in arrivals}
    assert len(distinct) / 2000 == pytest.approx(0.8, abs=0.03)
    assert len(arrivals) / len(distinct) == pytest.approx(1.05, abs=0.02)


def test_reordering_happens_and_latency_is_a_floor() -> None:
    arrivals = fates(3, NOISY)
    order = [int.from_bytes(d[:4], "big") for _, d in arrivals]
    assert order != sorted(order)
    assert all(at >= int.from_bytes(d[:4], "big") * 0.001 + 0.05 for at, d in arrivals)


def test_a_rate_serialises_and_its_queue_drops_the_tail() -> None:
    link = Link(LinkConfig(rate_bps=8_000_000, queue_bytes=10_000), 1)
    for _ in range(30):
        link.send(bytes(1000), 0.0)
    assert link.n_queue_drops == 20
    times = []
    while (at := link.next_time()) is not None:
        times += [at for _ in link.due(at)]
    assert times == pytest.approx([0.001 * (i + 1) for i in range(10)])


def test_what_is_longer_than_the_mtu_vanishes() -> None:
    link = Link(LinkConfig(mtu_bytes=1200), 1)
    link.send(bytes(1201), 0.0)
    link.send(bytes(1200), 0.0)
    assert [len(d) for d in link.due(1.0)] == [1200]


def test_a_tap_may_replace_or_lose_a_datagram() -> None:
    link = Link(LinkConfig(), 1)
    link.taps.append(lambda d: None if d == b"lose" else d.upper())
    link.send(b"lose", 0.0)
    link.send(b"keep", 0.0)
    assert link.due(0.0) == [b"KEEP"]


def test_late_datagrams_are_late_by_the_time_asked_for() -> None:
    config = LinkConfig(latency_s=0.05, reorder=0.1, reorder_min_s=0.002, reorder_delay_s=0.022)
    delays = [at - int.from_bytes(d[:4], "big") * 0.001 for at, d in fates(3, config)]
    late = [delay - 0.05 for delay in delays if delay > 0.0505]
    assert len(late) / 2000 == pytest.approx(0.1, abs=0.03)
    assert min(late) >= 0.002 and max(late) <= 0.022 and max(late) - min(late) > 0.015


def test_delays_with_the_order_kept_hold_up_what_follows() -> None:
    free = LinkConfig(latency_s=0.05, jitter_s=0.02)
    kept = LinkConfig(latency_s=0.05, jitter_s=0.02, keeps_order=True)
    arrivals = fates(3, kept)
    order = [int.from_bytes(d[:4], "big") for _, d in arrivals]
    assert order == sorted(order)
    alone = {d: at for at, d in fates(3, free)}
    assert all(at >= alone[d] for at, d in arrivals), "the same delays, or more"


def test_ticks_gather_what_arrives() -> None:
    link = Link(LinkConfig(latency_s=0.01, rate_bps=80e6, tick_s=0.001), 1)
    for n in range(25):
        link.send(bytes([n]) * 1_000, 0.0)
    gathered = []
    while (at := link.next_time()) is not None:
        gathered.append((round(at, 6), [datagram[0] for datagram in link.due(at)]))
    assert [n for _, group in gathered for n in group] == list(range(25))
    assert [at for at, _ in gathered] == [0.011, 0.012, 0.013]
