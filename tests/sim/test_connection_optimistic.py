"""A receiver that acknowledges what never arrived, and honest ones that are never taken for it."""

from __future__ import annotations

import pytest

from wraith.config import EndpointConfig
from wraith.connection import events as ev
from wraith.errors import CloseCode
from wraith.testing.established import EstablishedPair, Side
from wraith.testing.netem import LinkConfig
from wraith.wire.frames import Ack, encode_frame

MIB = 1 << 20
RTT_S = 0.02
DATA = bytes(64 * MIB)


def window_of(side: Side) -> int:
    return side.connection.stats().cwnd_bytes


def acknowledge_the_void(pair: EstablishedPair, *, every_s: float, seconds: float) -> int:
    """From now on nothing reaches the responder, and it acknowledges all that was sent, once in
    ``every_s``. Returns the largest window that this gave the initiator, four times its start and
    more if it got there."""
    pair.net.a_to_b.taps.append(lambda _: None)
    session = pair.i.connection._shared.parts
    assert session is not None
    start = largest = window_of(pair.i)
    end = pair.now + seconds
    while pair.now < end and largest <= 4 * start and not pair.i.of(ev.Closed):
        pair.run(seconds=every_s)
        epoch = session.keys.send
        last = session.keys.sealer.next_pn(epoch) - 1
        pair.forge(
            pair.r, encode_frame(Ack(epoch & 0xFF, last, 0, ((max(0, last - 65_000), last),)))
        )
        if not pair.i.of(ev.Closed):
            largest = max(largest, window_of(pair.i))
    return largest


def check_is_caught(seed: int, *, honest_bytes: int) -> None:
    """Closed before the window is four times what it was when the lying began."""
    pair = EstablishedPair(seed=seed, link=LinkConfig(latency_s=RTT_S / 2))
    pair.run(seconds=1, until=lambda: pair.i.connection.confirmed)
    transfer = pair.send(DATA)
    if honest_bytes:
        assert pair.run(until=lambda: len(transfer.received) >= honest_bytes)
    start = window_of(pair.i)
    every_s = RTT_S if seed % 2 else RTT_S / 20
    largest = acknowledge_the_void(pair, every_s=every_s, seconds=20)
    assert largest <= 4 * start, f"seed {seed}"
    assert [(e.code, e.by_peer) for e in pair.i.of(ev.Closed)] == [
        (CloseCode.PROTOCOL_ERROR, False)
    ]


@pytest.mark.spec("RC-25", "RC-26")
@pytest.mark.parametrize("honest_bytes", [0, 300_000, 3_000_000])
@pytest.mark.parametrize("seed", range(6))
def test_who_acknowledges_the_void_is_closed_before_the_window_is_four_times_its_start(
    seed: int, honest_bytes: int
) -> None:
    check_is_caught(seed, honest_bytes=honest_bytes)


@pytest.mark.slow
@pytest.mark.parametrize("hundred", range(10))
def test_a_thousand_liars_are_closed(hundred: int) -> None:
    for seed in range(100 * hundred, 100 * hundred + 100):
        check_is_caught(seed, honest_bytes=(0, 20_000, 300_000, 1_000_000)[seed % 4])


@pytest.mark.spec("RC-26")
def test_an_omitted_number_below_all_that_is_outstanding_closes_too() -> None:
    pair = EstablishedPair()
    transfer = pair.send(bytes(2 * MIB))
    assert pair.run(until=lambda: transfer.is_equal)
    pair.run(seconds=2)
    session = pair.i.connection._shared.parts
    assert session is not None and session.paths.main.n_eliciting == 0
    numbers = session.omitted._numbers[0]
    ranges = pair.r.connection._shared.parts.paths.main.acks._epochs[0].ranges  # type: ignore[union-attr]
    assert not any(pn in ranges for pn in numbers)
    pn = numbers[0]
    pair.forge(pair.r, encode_frame(Ack(0, pn - 1, 0, ((0, pn - 1),))))
    assert not pair.i.of(ev.Closed)
    pair.forge(pair.r, encode_frame(Ack(0, pn, 0, ((pn, pn),))))
    assert [e.code for e in pair.i.of(ev.Closed)] == [CloseCode.PROTOCOL_ERROR]


@pytest.mark.spec("RC-27")
def test_a_gap_is_no_loss_and_is_answered_once() -> None:
    pair = EstablishedPair(config=EndpointConfig(datagram_bytes=1_400))
    pair.run(seconds=1)
    before = pair.r.connection.stats().sent_packets
    for _ in range(30):  # one packet each, too few for a batch: an answer tells of a gap
        transfer = pair.send(bytes(100))
        assert pair.run(until=lambda t=transfer: t.is_equal)  # type: ignore[misc]
        pair.run(seconds=1)
    quiet = pair.r.connection.stats().sent_packets - before
    session = pair.i.connection._shared.parts
    assert session is not None
    session.keys.omit()
    gap_at = pair.now
    transfer = pair.send(bytes(100))
    assert pair.run(until=lambda: transfer.is_equal)
    acks = pair.r.connection._shared.parts.paths.main.acks  # type: ignore[union-attr]
    assert not acks.has_pending and pair.now < gap_at + 0.015, "a new gap is answered at once"
    before = pair.r.connection.stats().sent_packets
    for _ in range(30):
        transfer = pair.send(bytes(100))
        assert pair.run(until=lambda t=transfer: t.is_equal)  # type: ignore[misc]
        pair.run(seconds=1)
    assert pair.r.connection.stats().sent_packets - before <= quiet
    assert pair.i.connection.stats().lost_packets == 0


@pytest.mark.spec("RC-27")
def test_omitted_numbers_bring_no_rekey_nearer() -> None:
    pair = EstablishedPair(config=EndpointConfig(rekey_packets=1_000))
    session = pair.i.connection._shared.parts
    assert session is not None
    for _ in range(1_200):
        session.keys.omit()
    assert not session.rekey.is_pn_due()
    session.keys.highest_received = 1_000
    assert session.rekey.is_pn_due()


def check_honest(n_packets: int, seed: int) -> None:
    """``n_packets`` over a path that loses 5 % and shuffles; many omissions, no close."""
    link = LinkConfig(latency_s=0.002, jitter_s=0.001, loss=0.05)
    pair = EstablishedPair(
        config=EndpointConfig(datagram_bytes=1_200, rekey_interval_s=600), link=link, seed=seed
    )
    transfer = pair.send(bytes(n_packets * 1_150))
    session = pair.i.connection._shared.parts
    assert session is not None
    omitted: dict[int, int] = {}  # by epoch: the count begins anew with each

    def is_over() -> bool:
        omitted[session.keys.send] = session.keys.n_omitted
        return transfer.is_equal

    assert pair.run(seconds=1e6, until=is_over), f"seed {seed}"
    assert not pair.i.of(ev.Closed) and not pair.r.of(ev.Closed)
    assert sum(omitted.values()) >= n_packets // 4_200


def test_an_honest_receiver_on_a_bad_path_is_never_closed() -> None:
    check_honest(5_000, 1)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_a_million_packets_over_a_bad_path_never_close() -> None:
    check_honest(1_000_000, 2)
