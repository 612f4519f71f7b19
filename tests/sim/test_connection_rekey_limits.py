"""How often keys may be changed, what a suspect path stops, and when roots count as different."""

from __future__ import annotations

import pytest

from wraith.config import EndpointConfig
from wraith.connection import events as ev
from wraith.connection.parts import ConnectionParts
from wraith.connection.rekey import MIN_SPACING_S, PATIENCE_S, RekeyFailed, respond
from wraith.crypto.secret import Secret
from wraith.crypto.x25519 import X25519Key
from wraith.errors import LocalProtocolError
from wraith.testing.established import EstablishedPair, Side
from wraith.testing.netem import LinkConfig
from wraith.testing.rng import HashKem, SeededRng

CLEAN = LinkConfig(latency_s=0.01)
PATIENT = EndpointConfig(idle_timeout_s=600)


def session_of(side: Side) -> ConnectionParts:
    session = side.connection._shared.parts
    assert session is not None
    return session


def rekeyed(pair: EstablishedPair, epoch: int) -> bool:
    return pair.i.connection.security.epoch == pair.r.connection.security.epoch == epoch


@pytest.mark.spec("RK-1")
def test_on_demand_keys_are_changed_at_most_once_a_second() -> None:
    pair = EstablishedPair(config=PATIENT)
    pair.run(seconds=5)
    control = session_of(pair.i).rekey
    pair.i.connection.rekey(pair.now)
    begun_at = pair.now
    assert pair.run(seconds=0.5, until=lambda: rekeyed(pair, 1))
    # As at the end of the numbers, where the old keys go after 3 PTO.
    assert session_of(pair.i).keys.drop_old_receive() == 0
    control.request()
    assert not control.should_begin(begun_at + MIN_SPACING_S - 0.001)
    assert control.should_begin(begun_at + MIN_SPACING_S)


@pytest.mark.spec("RK-11")
def test_a_dead_path_after_the_switch_does_not_count_as_different_roots() -> None:
    pair = EstablishedPair(config=PATIENT)
    pair.run(seconds=1)
    pair.i.connection.rekey(pair.now)
    assert pair.run(seconds=2, until=lambda: session_of(pair.i).keys.send == 1)
    dead = LinkConfig(latency_s=0.01, loss=1.0)
    for link in (pair.net.a_to_b, pair.net.b_to_a):
        link.config = dead
        link.clear()
    pair.i.connection.ping(pair.now)
    pair.run(seconds=25)
    assert pair.r.connection.security.epoch == 0, "nothing of the new epoch has arrived"
    assert not pair.i.of(ev.Closed), "no packet of the old epoch was heard"
    for link in (pair.net.a_to_b, pair.net.b_to_a):
        link.config = CLEAN
    pair.i.connection.ping(pair.now)
    assert pair.run(seconds=30, until=lambda: rekeyed(pair, 1))


@pytest.mark.spec("RK-11")
def test_the_patience_after_a_data_stop_does_not_run_while_the_path_is_suspect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair = EstablishedPair(config=PATIENT)
    pair.run(seconds=1)
    control = session_of(pair.i).rekey
    monkeypatch.setattr("wraith.connection.rekey.DATA_STOP", 0)
    now = pair.now
    assert control.is_stopped(now)
    control.suspend(now + 1)
    control.check(now + 1 + PATIENCE_S)
    control.resume(now + 101)
    control.check(now + 100 + PATIENCE_S - 0.01)
    with pytest.raises(RekeyFailed, match="fresh keys"):
        control.check(now + 100 + PATIENCE_S)


@pytest.mark.spec("RK-1")
def test_the_responder_gets_fresh_keys_as_often_as_it_asks() -> None:
    pair = EstablishedPair(config=PATIENT)
    pair.run(seconds=5)
    epochs = []
    for _ in range(3):
        pair.r.connection.rekey(pair.now)
        pair.run(seconds=20)
        epochs.append(pair.r.connection.security.epoch)
    assert epochs == [1, 2, 3]


@pytest.mark.spec("RK-3")
def test_the_share_of_the_answering_side_is_erased_before_the_answer_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from wraith.connection import rekey

    made: list[X25519Key] = []
    generate = X25519Key.generate

    def remembered(rng: SeededRng) -> X25519Key:
        key = generate(rng)
        made.append(key)
        return key

    init, _ = rekey.begin(Secret(bytes(32)), 1, kem=HashKem(), rng=SeededRng("driver"))
    with monkeypatch.context() as patched:
        patched.setattr(X25519Key, "generate", staticmethod(remembered))
        respond(Secret(bytes(32)), init, kem=HashKem(), rng=SeededRng("responder"))
    assert len(made) == 1
    with pytest.raises(LocalProtocolError, match="wiped"):
        made[0].exchange(X25519Key.generate(SeededRng("peer")).public)
