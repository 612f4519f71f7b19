"""Hidden keys."""

from __future__ import annotations

import pytest

from wraith.crypto.elligator2 import DirtyPublicKey, HiddenKey, decode, encode
from wraith.crypto.x25519 import X25519Key
from wraith.errors import InvalidKey, LocalProtocolError
from wraith.testing.rng import SeededRng

RNG = SeededRng("elligator")


@pytest.mark.spec("CR-11")
def test_the_public_key_is_what_the_representative_decodes_to() -> None:
    keys = [HiddenKey.generate(RNG) for _ in range(20)]
    assert all(key.public == decode(key.representative) for key in keys)
    # For a dirty key that is seldom what one would compute from the secret.
    recomputed = [X25519Key.from_secret(key.secret_bytes()).public for key in keys]
    assert sum(a == key.public for a, key in zip(recomputed, keys, strict=True)) < 10


@pytest.mark.spec("CR-11")
def test_an_exchange_with_a_dirty_key_agrees() -> None:
    for _ in range(10):
        hidden, plain = HiddenKey.generate(RNG), X25519Key.generate(RNG)
        assert plain.exchange(hidden.public) == hidden.exchange(plain.public)


@pytest.mark.spec("CR-12")
@pytest.mark.parametrize("key", [bytes(32), bytearray(32), X25519Key.generate(RNG)])
def test_only_a_dirty_key_can_be_encoded(key: object) -> None:
    with pytest.raises(TypeError):
        encode(key, 0)  # type: ignore[arg-type]  # the point of the test


@pytest.mark.spec("CR-10")
def test_the_tweak_sets_sign_and_padding() -> None:
    key = next(k for k in (HiddenKey.generate(RNG) for _ in range(9)))
    forms = {encode(key.dirty_public, tweak) for tweak in (0x00, 0x01, 0x40, 0x80, 0xC0, 0xC1)}
    assert None not in forms and len(forms) == 6
    assert {decode(form) for form in forms if form is not None} == {key.public}


@pytest.mark.spec("CR-10")
def test_a_point_without_representative_gives_none() -> None:
    # From Kleshni's vectors.
    u = bytes.fromhex("e6f66fdf6e230c603c5e6e59a254ea1476a13eb9511b9549846781e12e52230a")
    assert {encode(DirtyPublicKey(u), tweak) for tweak in (0, 1, 0xC1)} == {None}


def test_a_short_representative_is_refused() -> None:
    with pytest.raises(InvalidKey):
        decode(bytes(31))


def test_a_small_order_peer_is_refused_and_a_wiped_key_too() -> None:
    key = HiddenKey.generate(RNG)
    with pytest.raises(InvalidKey):
        key.exchange(bytes(32))
    key.wipe()
    with pytest.raises(LocalProtocolError):
        key.exchange(X25519Key.generate(RNG).public)


@pytest.mark.spec("CR-12")
def test_generated_keys_draw_secret_randomness_only() -> None:
    rng = SeededRng("door")
    HiddenKey.generate(rng)
    assert (rng.n_secret, rng.n_public) == (32, 0)
