"""Reordering is not loss: packets that overtake each other, 20 Mbit/s, 40 ms, a seeded link."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from wraith.config import EndpointConfig
from wraith.testing.established import EstablishedPair, Side
from wraith.testing.netem import LinkConfig
from wraith.types import StreamId

BLOCK = bytes(256 * 1024)
CLEAN = LinkConfig(latency_s=0.02, rate_bps=20e6, queue_bytes=100_000)
CASES = {
    "1-in-200-late": replace(CLEAN, reorder=0.005, reorder_min_s=0.002, reorder_delay_s=0.022),
    "1-in-20-late": replace(CLEAN, reorder=0.05, reorder_min_s=0.002, reorder_delay_s=0.022),
    "jitter-5-ms": replace(CLEAN, jitter_s=0.005),
    "jitter-20-ms": replace(CLEAN, jitter_s=0.02),
}
SEEDS = range(1, 6)
SECONDS = 3.0


@dataclass
class EndlessStream:
    """Written as room comes, read as it arrives."""

    source: Side
    target: Side
    sid: StreamId
    n_received: int = 0

    def step(self, side: Side, now: float) -> bool:
        connection = side.connection
        if side is self.source:
            if connection.stream_room(self.sid) < len(BLOCK):
                return False
            connection.stream_write(self.sid, BLOCK, now=now)
            return True
        pieces = connection.stream_read_chunks(self.sid, 1 << 22, now) if self.is_open(side) else []
        self.n_received += sum(map(len, pieces))
        return bool(pieces)

    def is_open(self, side: Side) -> bool:
        return side.connection.stream_readable(self.sid) > 0


def sent_for(link: LinkConfig, seed: int, congestion: str = "cubic") -> tuple[int, EstablishedPair]:
    """Stream bytes that arrive in the first seconds of a connection, both directions like
    ``link``."""
    config = EndpointConfig(datagram_bytes=1400, congestion=congestion)
    pair = EstablishedPair(config=config, link=link, seed=seed)
    stream = EndlessStream(pair.i, pair.r, pair.i.connection.open_stream(now=pair.now))
    pair.i.transfers.append(stream)  # type: ignore[arg-type]
    pair.r.transfers.append(stream)  # type: ignore[arg-type]
    pair.run(seconds=SECONDS)
    return stream.n_received, pair


@pytest.mark.spec("RC-31")
@pytest.mark.parametrize("case", CASES)
def test_reordering_costs_at_most_a_seventh_of_the_rate_with_the_same_delays_in_order(
    case: str,
) -> None:
    link = CASES[case]
    for seed in SEEDS:
        n_bytes, _ = sent_for(link, seed)
        in_order, _ = sent_for(replace(link, keeps_order=True), seed)
        assert n_bytes >= 0.85 * in_order, f"seed {seed}: {n_bytes / in_order:.2f}"


@pytest.mark.spec("RC-33")
def test_newreno_stands_reordering_as_well() -> None:
    link = CASES["1-in-20-late"]
    n_bytes, _ = sent_for(link, 1, "newreno")
    in_order, _ = sent_for(replace(link, keeps_order=True), 1, "newreno")
    assert n_bytes >= 0.85 * in_order


@pytest.mark.spec("RC-30")
def test_late_packets_are_not_counted_as_lost() -> None:
    """Without a queue to overflow nothing is lost here, so nothing stays counted as lost but what
    waits to prove late at the end."""
    link = replace(CASES["1-in-20-late"], rate_bps=None, queue_bytes=None)
    config = EndpointConfig(datagram_bytes=1400)
    pair = EstablishedPair(config=config, link=link)
    transfer = pair.send(bytes(8 << 20))
    assert pair.run(seconds=60, until=lambda: transfer.is_finished)
    pair.run(seconds=1)
    stats = pair.i.connection.stats()
    assert pair.net.a_to_b.n_lost == 0
    assert stats.lost_packets == 0
    assert stats.retransmitted_bytes < 0.03 * (8 << 20)


@pytest.mark.spec("RC-31")
@pytest.mark.parametrize("loss", [0.001, 0.01, 0.05])
def test_loss_alone_changes_neither_the_bounds_nor_any_reduction(loss: float) -> None:
    """What is lost never comes, so where nothing is reordered all goes on as before."""
    n_lost = 0
    for seed in SEEDS:
        pair = EstablishedPair(
            config=EndpointConfig(datagram_bytes=1400),
            link=replace(CLEAN, loss=loss),
            back=CLEAN,
            seed=seed,
        )
        transfer = pair.send(bytes(2 << 20))
        assert pair.run(seconds=600, until=lambda: transfer.is_finished)  # noqa: B023
        session = pair.i.connection._shared.parts
        assert session is not None
        n_lost += pair.net.a_to_b.n_lost
        assert not session.paths.main.reordering.is_raised, f"seed {seed}"
    assert n_lost


@pytest.mark.spec("RC-33")
def test_loss_beside_reordering_is_still_answered() -> None:
    """One per cent of loss with jitter: the rate stays within what loss alone allows."""
    lossy = replace(CASES["jitter-5-ms"], loss=0.01)
    for seed in SEEDS:
        n_bytes, pair = sent_for(lossy, seed)
        in_order, _ = sent_for(replace(lossy, keeps_order=True), seed)
        assert n_bytes <= 1.6 * in_order
        lost = pair.net.a_to_b.n_lost + pair.net.a_to_b.n_queue_drops
        assert pair.i.connection.stats().lost_packets >= 0.6 * lost - 5
