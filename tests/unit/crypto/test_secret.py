"""``Secret`` does not show, copy or keep its material."""

from __future__ import annotations

import copy
import pickle

import pytest

from wraith.crypto.secret import Secret, revealed
from wraith.errors import LocalProtocolError

MATERIAL = b"0123456789abcdef0123456789abcdef"

pytestmark = pytest.mark.spec("CR-3")


def test_it_reveals_what_it_was_given_and_owns_a_copy() -> None:
    source = bytearray(MATERIAL)
    secret = Secret(source)
    source[:] = bytes(32)
    assert secret.reveal() == MATERIAL
    assert len(secret) == 32


def test_no_text_form_shows_the_material() -> None:
    secret = Secret(MATERIAL)
    for text in (repr(secret), str(secret), f"{secret}", f"{[secret]}"):
        assert "0123" not in text and MATERIAL.hex() not in text


def test_equal_material_is_equal_and_other_types_are_not() -> None:
    assert Secret(MATERIAL) == Secret(MATERIAL)
    assert Secret(MATERIAL) != Secret(bytes(32))
    assert Secret(MATERIAL) != MATERIAL
    assert Secret(b"a") != Secret(b"ab")


def test_wiping_clears_the_buffer_and_ends_the_secret() -> None:
    secret = Secret(MATERIAL)
    buffer = secret._bytes
    assert buffer is not None
    secret.wipe()
    assert bytes(buffer) == bytes(32)
    assert secret.is_wiped and len(secret) == 0
    assert secret != Secret(MATERIAL)
    secret.wipe()
    with pytest.raises(LocalProtocolError):
        secret.reveal()


@pytest.mark.parametrize("leak", [hash, pickle.dumps, copy.copy, copy.deepcopy])
def test_it_cannot_be_hashed_serialised_or_copied(leak: object) -> None:
    assert callable(leak)
    with pytest.raises(TypeError):
        leak(Secret(MATERIAL))


def test_derivations_take_both_forms() -> None:
    assert revealed(Secret(MATERIAL)) == revealed(MATERIAL) == MATERIAL
