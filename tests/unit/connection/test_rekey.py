from __future__ import annotations

from dataclasses import replace

import pytest

from wraith.connection.keys import CLOSE_ONLY, DATA_STOP, PN_BOUND
from wraith.connection.rekey import (
    AwaitingRekeyResponse,
    RekeyFailed,
    begin,
    old_epoch_ttl_s,
    respond,
)
from wraith.crypto.hybrid_kem import combine
from wraith.crypto.mlkem import MlKem768
from wraith.crypto.secret import Secret
from wraith.crypto.session_keys import next_root, rekey_transcript
from wraith.errors import CloseCode
from wraith.testing.rng import HashKem, SeededRng
from wraith.wire.control_records import RekeyInit, RekeyResp

ROOT = b"\x33" * 32


def started(kem: MlKem768 | HashKem | None) -> tuple[RekeyInit, AwaitingRekeyResponse]:
    return begin(Secret(ROOT), 5, kem=kem, rng=SeededRng("driver"))


@pytest.mark.spec("RK-2")
@pytest.mark.parametrize("kem", [MlKem768(), None], ids=["hybrid", "classical"])
def test_both_sides_derive_the_same_root_over_messages_of_the_stated_sizes(
    kem: MlKem768 | None,
) -> None:
    init, stage = started(kem)
    resp, root = respond(Secret(ROOT), init, kem=kem, rng=SeededRng("responder"))
    assert stage.finish(resp) == root
    assert root != Secret(ROOT)
    assert len(init.message()) == 1 + 4 + 1 + 32 + (1_184 if kem else 0)
    assert len(resp.message()) == 1 + 4 + 1 + 32 + (1_088 if kem else 0)
    assert init.epoch == resp.epoch == 5


@pytest.mark.spec("RK-3")
def test_the_root_is_derived_as_specified() -> None:
    kem, rng = HashKem(), SeededRng("driver")
    init, stage = begin(Secret(ROOT), 5, kem=kem, rng=rng)
    resp, root = respond(Secret(ROOT), init, kem=kem, rng=SeededRng("responder"))
    from wraith.crypto.x25519 import X25519Key

    again = SeededRng("driver")
    x = X25519Key.generate(again)
    secret = kem.generate(again)
    s = combine(x.exchange(resp.x), secret.decapsulate(resp.ct))
    assert root == next_root(ROOT, s, rekey_transcript(init.message(), resp.message()), 5)
    assert stage.finish(resp) == root


@pytest.mark.spec("RK-3")
def test_flags_are_not_interpreted_but_bound() -> None:
    init, stage = started(HashKem())
    resp, root = respond(
        Secret(ROOT), replace(init, flags=9), kem=HashKem(), rng=SeededRng("responder")
    )
    assert stage.finish(resp) != root


@pytest.mark.spec("RK-4")
@pytest.mark.parametrize(
    "broken",
    [
        lambda init: replace(init, x=bytes(32)),
        lambda init: replace(init, ek=b""),
        lambda init: replace(init, ek=init.ek[:-1]),
        lambda init: replace(init, ek=b"\xff" * 1_184),
    ],
    ids=["zero share", "no key", "short key", "key not reduced"],
)
def test_a_malformed_message_fails_the_rekey(broken: object) -> None:
    init, _ = started(MlKem768())
    assert callable(broken)
    with pytest.raises(RekeyFailed) as caught:
        respond(Secret(ROOT), broken(init), kem=MlKem768(), rng=SeededRng(1))
    assert caught.value.close_code == CloseCode.REKEY_FAILED


@pytest.mark.spec("RK-4")
@pytest.mark.parametrize(
    "resp",
    [RekeyResp(5, bytes(32), bytes(1_088)), RekeyResp(5, b"\x09" + bytes(31), b"short")],
    ids=["zero share", "short ciphertext"],
)
def test_a_malformed_answer_fails_the_rekey_and_the_secrets_are_gone(resp: RekeyResp) -> None:
    _, stage = started(MlKem768())
    with pytest.raises(RekeyFailed):
        stage.finish(resp)
    with pytest.raises(AssertionError):
        stage.finish(resp)


def test_a_classical_suite_takes_no_kem_material() -> None:
    init, stage = started(None)
    with pytest.raises(RekeyFailed):
        respond(Secret(ROOT), replace(init, ek=b"x"), kem=None, rng=SeededRng(1))
    with pytest.raises(RekeyFailed):
        stage.finish(RekeyResp(5, b"\x09" + bytes(31), b"x"))


@pytest.mark.spec("RK-7")
@pytest.mark.parametrize(("pto_s", "ttl_s"), [(0.01, 1.0), (1.0, 3.0), (9.0, 10.0)])
def test_old_receive_keys_live_three_ptos_within_bounds(pto_s: float, ttl_s: float) -> None:
    assert old_epoch_ttl_s(pto_s) == ttl_s


def test_the_bounds_of_an_epoch() -> None:
    assert (DATA_STOP, CLOSE_ONLY, PN_BOUND) == (1_966_080, 2_097_088, 2_097_152)
