"""Fresh keys under traffic, loss and hostility."""

from __future__ import annotations

import random

import pytest

from wraith.abc import Rng
from wraith.config import EndpointConfig
from wraith.connection import events as ev
from wraith.connection.control import ControlStream
from wraith.connection.state import SessionState
from wraith.crypto.mlkem import MlKem768
from wraith.errors import CloseCode
from wraith.testing.established import EstablishedPair
from wraith.testing.netem import LinkConfig
from wraith.testing.rng import HashKem
from wraith.types import SuiteId
from wraith.wire.control_records import Record
from wraith.wire.frames import Ping, encode_frame

DATA = random.Random(11).randbytes(300_000)
CLEAN = LinkConfig(latency_s=0.01)
LOSSY = LinkConfig(latency_s=0.02, jitter_s=0.02, loss=0.2, duplicate=0.1, reorder=0.1)


class DeafControl(ControlStream):
    def receive_data(self, offset: int, data: memoryview, fin: bool) -> list[Record]:
        del offset, data, fin
        return []


class DifferentKem(HashKem):
    """Encapsulates another secret than the other side will find: implicit rejection."""

    def encapsulate(self, encapsulation_key: bytes, rng: Rng, /) -> tuple[bytes, bytes]:
        _, ciphertext = super().encapsulate(encapsulation_key, rng)
        return bytes(32), ciphertext


def epochs(pair: EstablishedPair) -> tuple[int, int]:
    return pair.i.connection.security.epoch, pair.r.connection.security.epoch


def rekeyed(pair: EstablishedPair, epoch: int) -> bool:
    return epochs(pair) == (epoch, epoch)


@pytest.mark.spec("RK-1")
@pytest.mark.parametrize("asking", ["i", "r"])
@pytest.mark.parametrize("link", [CLEAN, LOSSY], ids=["clean", "lossy"])
def test_either_side_gets_fresh_keys_on_request(asking: str, link: LinkConfig) -> None:
    pair = EstablishedPair(link=link, seed=6)
    pair.run(seconds=5)
    side = pair.i if asking == "i" else pair.r
    side.connection.rekey(pair.now)
    assert pair.run(seconds=20, until=lambda: rekeyed(pair, 1))
    pair.run(seconds=15)
    assert pair.i.of(ev.Rekeyed) == pair.r.of(ev.Rekeyed) == [ev.Rekeyed(1)]
    assert pair.i.connection.state is pair.r.connection.state is SessionState.ESTABLISHED
    transfer = pair.send(DATA)
    assert pair.run(seconds=60, until=lambda: transfer.is_equal)


@pytest.mark.parametrize("suite", [SuiteId.A, SuiteId.B, SuiteId.D])
def test_every_suite_rekeys_with_the_real_key_exchange(suite: SuiteId) -> None:
    pair = EstablishedPair(suite=suite, kem=MlKem768())
    pair.run(seconds=1)
    pair.i.connection.rekey(pair.now)
    assert pair.run(seconds=5, until=lambda: rekeyed(pair, 1))


@pytest.mark.spec("RK-6")
@pytest.mark.parametrize("seed", range(6))
def test_no_byte_is_lost_over_many_rekeys_under_loss(seed: int) -> None:
    config = EndpointConfig(rekey_interval_s=1.0)
    pair = EstablishedPair(config=config, link=LOSSY, seed=seed)
    pair.run(seconds=5, until=lambda: pair.i.connection.confirmed)
    there, back = pair.send(DATA), pair.send(DATA, source=pair.r)
    n_live = 0
    for _ in range(600):
        pair.run(seconds=0.1)
        for side in (pair.i, pair.r):
            session = side.connection._shared.parts
            assert session is not None
            live = {session.keys.current, session.keys.newest, session.keys.old_receive} - {None}
            n_live = max(n_live, len(live))
        if there.is_equal and back.is_equal and epochs(pair)[0] >= 2:
            break
    assert there.is_equal and back.is_equal
    assert abs(epochs(pair)[0] - epochs(pair)[1]) <= 1 and epochs(pair)[0] >= 2
    assert n_live == 2


@pytest.mark.spec("RK-1")
def test_a_number_of_packets_makes_it_due() -> None:
    config = EndpointConfig(rekey_packets=1_000, datagram_bytes=1_200)
    pair = EstablishedPair(config=config)
    transfer = pair.send(bytes(4_000_000))
    assert pair.run(seconds=60, until=lambda: transfer.is_equal)
    assert epochs(pair)[0] >= 1


def test_without_traffic_nothing_is_rekeyed() -> None:
    config = EndpointConfig(rekey_interval_s=2.0, keepalive=False, idle_timeout_s=600)
    pair = EstablishedPair(config=config)
    pair.run(seconds=60)  # the handshake's own packets count as traffic of the first epoch
    before = epochs(pair)
    n_sent = pair.i.connection.stats().sent_packets
    pair.run(seconds=60)
    assert epochs(pair) == before <= (1, 1)
    assert pair.i.connection.stats().sent_packets == n_sent


def test_the_old_receive_keys_go_and_late_packets_of_the_old_epoch_are_dropped() -> None:
    pair = EstablishedPair()
    pair.run(seconds=1)
    kept: list[bytes] = []
    pair.net.b_to_a.taps.append(kept.append)
    pair.r.connection.ping(pair.now)
    pair.net.settle()
    pair.net.b_to_a.taps.clear()
    pair.i.connection.rekey(pair.now)
    pair.run(seconds=15)
    dropped = pair.i.connection.stats().dropped_packets
    pair.net.inject(kept[0], pair.r.address, pair.i.address)
    assert pair.i.connection.stats().dropped_packets == dropped + 1
    session = pair.i.connection._shared.parts
    assert session is not None and session.keys.old_receive is None


@pytest.mark.spec("RK-11")
def test_no_answer_closes_after_thirty_seconds_of_a_working_path() -> None:
    pair = EstablishedPair(config=EndpointConfig(idle_timeout_s=600))
    pair.run(seconds=1)
    session = pair.r.connection._shared.parts
    assert session is not None
    session.control = DeafControl()  # takes the message and never answers
    pair.i.connection.rekey(pair.now)
    pair.run(seconds=29)
    assert not pair.i.of(ev.Closed)
    pair.run(seconds=3)
    assert [e.code for e in pair.i.of(ev.Closed)] == [CloseCode.REKEY_FAILED]
    assert [e.code for e in pair.r.of(ev.Closed)] == [CloseCode.REKEY_FAILED]


@pytest.mark.spec("RK-11")
def test_different_roots_on_both_sides_end_in_a_close_that_the_peer_hears() -> None:
    pair = EstablishedPair(config=EndpointConfig(idle_timeout_s=600), kem_r=DifferentKem())
    pair.run(seconds=1)
    pair.i.connection.rekey(pair.now)
    for _ in range(40):
        pair.run(seconds=1)
        if not pair.r.of(ev.Closed):
            pair.r.connection.ping(pair.now)
    assert [e.code for e in pair.i.of(ev.Closed)] == [CloseCode.REKEY_FAILED]
    assert [e.code for e in pair.r.of(ev.Closed)] == [CloseCode.REKEY_FAILED]


@pytest.mark.spec("RK-10")
def test_near_the_end_of_the_numbers_only_control_is_sent_and_then_it_closes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("wraith.connection.rekey.DATA_STOP", 1_200)
    config = EndpointConfig(rekey_packets=1_000, datagram_bytes=1_200, idle_timeout_s=600)
    pair = EstablishedPair(config=config)
    pair.run(seconds=1)
    session = pair.r.connection._shared.parts
    assert session is not None
    session.control = DeafControl()
    transfer = pair.send(bytes(4_000_000))
    pair.run(seconds=20)
    sent = pair.i.connection.stats()
    assert 1_100 <= sent.sent_packets <= 1_250
    pair.i.connection.ping(pair.now)
    pair.run(seconds=1)
    assert pair.i.connection.stats().received_packets > sent.received_packets
    assert not transfer.is_equal and not pair.i.of(ev.Closed)
    pair.run(seconds=15)
    assert [e.code for e in pair.i.of(ev.Closed)] == [CloseCode.REKEY_FAILED]


@pytest.mark.spec("RK-5")
def test_the_driver_shows_the_new_epoch_at_once_and_again_until_it_is_answered() -> None:
    pair = EstablishedPair(config=EndpointConfig(idle_timeout_s=600))
    pair.run(seconds=1)
    pair.i.connection.rekey(pair.now)
    session = pair.i.connection._shared.parts
    assert session is not None
    assert pair.run(seconds=2, until=lambda: session.keys.send == 1)
    pair.net.a_to_b.config = LinkConfig(latency_s=0.01, loss=1.0)
    pair.net.a_to_b.clear()
    pair.run(seconds=3)
    assert pair.r.connection.security.epoch == 0
    pair.net.a_to_b.config = CLEAN
    assert pair.run(seconds=6, until=lambda: rekeyed(pair, 1))


@pytest.mark.spec("RK-6")
def test_no_rekey_begins_while_older_receive_keys_live() -> None:
    pair = EstablishedPair(
        config=EndpointConfig(idle_timeout_s=600), link=LinkConfig(latency_s=0.5)
    )
    pair.run(seconds=5)
    pair.i.connection.rekey(pair.now)
    assert pair.run(seconds=10, until=lambda: rekeyed(pair, 1))
    session = pair.i.connection._shared.parts
    assert session is not None
    pair.i.connection.rekey(pair.now)
    pair.run(seconds=2)
    assert session.keys.old_receive == 0 and not session.rekey.is_running
    assert pair.run(seconds=20, until=lambda: rekeyed(pair, 2))


@pytest.mark.spec("RK-8")
def test_what_was_unacknowledged_under_old_keys_is_sent_again_under_new_ones() -> None:
    pair = EstablishedPair(config=EndpointConfig(idle_timeout_s=600))
    pair.run(seconds=1)
    session = pair.i.connection._shared.parts
    assert session is not None
    window = session.paths.main.controller.window
    transfer = pair.send(b"x" * 500, finish=False)
    pair.net.a_to_b.taps.append(lambda d: None)
    pair.net.settle()
    pair.net.a_to_b.taps.clear()
    inbound = pair.i.connection._shared.inbound
    assert inbound is not None
    session.keys.old_receive = 0  # as if the switch had just been completed
    inbound.drop_old_epoch(pair.now)
    assert session.paths.main.bytes_in_flight == 0
    assert session.paths.main.controller.window == window
    assert transfer.sid in session.mux.scheduler


def test_a_blocked_application_does_not_stop_the_control_stream() -> None:
    config = EndpointConfig(rekey_interval_s=1.0, stream_window=16_384, conn_window=16_384)
    pair = EstablishedPair(config=config)
    pair.send(DATA, is_reading=False)
    for _ in range(80):
        pair.run(seconds=2)
        pair.i.connection.rekey(pair.now)
    assert epochs(pair)[0] >= 20
    assert not pair.i.of(ev.Closed)


@pytest.mark.spec("RK-10")
@pytest.mark.parametrize(("stop_at", "found"), [(1, 1_200), (1_000_000, 1_472)])
def test_no_path_mtu_is_searched_with_the_last_numbers_of_an_epoch(
    stop_at: int, found: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wraith.connection.rekey.DATA_STOP", stop_at)
    pair = EstablishedPair(config=EndpointConfig(idle_timeout_s=600))
    pair.run(seconds=5)
    assert pair.i.connection.stats().datagram_bytes == found


@pytest.mark.spec("CN-30")
def test_the_driver_understands_an_index_seven_above_its_new_one_at_once() -> None:
    pair = EstablishedPair(config=EndpointConfig(idle_timeout_s=600))
    pair.run(seconds=1)
    driver, other = pair.i.connection._shared.parts, pair.r.connection._shared.parts
    assert driver is not None and other is not None
    pair.i.connection.rekey(pair.now)
    assert pair.run(seconds=2, until=lambda: driver.keys.send == 1)
    mine = driver.paths.main
    assert (mine.index, mine.index_received) == (2, 0), "nothing of the new epoch has come"
    other.paths.main.index = 9
    before = pair.i.connection.stats()
    pair.forge(pair.r, encode_frame(Ping(token=1)))
    after = pair.i.connection.stats()
    assert after.received_packets == before.received_packets + 1
    assert after.dropped_packets == before.dropped_packets
