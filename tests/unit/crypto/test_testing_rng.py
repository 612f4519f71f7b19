"""The seeded providers that simulations and vectors rest on."""

from __future__ import annotations

import pytest

from wraith.errors import InvalidKey, LocalProtocolError
from wraith.testing.rng import FixedRng, HashKem, RaisingRng, SeededRng


def test_a_seed_repeats_and_doors_and_seeds_differ() -> None:
    one, two, other = SeededRng(7), SeededRng(7), SeededRng(8)
    assert one.secret_bytes(40) == two.secret_bytes(15) + two.secret_bytes(25)
    assert one.public_bytes(32) == two.public_bytes(32)
    fresh = SeededRng(7)
    assert len({fresh.secret_bytes(32), fresh.public_bytes(32), other.secret_bytes(32)}) == 3
    assert (one.n_secret, one.n_public) == (40, 32)


def test_the_raising_and_the_fixed_source_refuse() -> None:
    for draw in (RaisingRng().public_bytes, RaisingRng().secret_bytes, FixedRng().public_bytes):
        with pytest.raises(AssertionError):
            draw(1)
    fixed = FixedRng(b"ab", b"c")
    assert fixed.secret_bytes(2) == b"ab"
    with pytest.raises(AssertionError):
        fixed.secret_bytes(2)


def test_hash_kem_says_that_it_is_insecure_and_is_deterministic() -> None:
    assert HashKem.insecure is True
    keys = [HashKem().generate(SeededRng(1)) for _ in range(2)]
    results = [HashKem().encapsulate(keys[0].encapsulation_key, SeededRng(2)) for _ in range(2)]
    assert results[0] == results[1]
    assert keys[1].decapsulate(results[0][1]) == results[0][0]
    keys[1].wipe()
    with pytest.raises(LocalProtocolError):
        keys[1].decapsulate(results[0][1])
    with pytest.raises(InvalidKey):
        HashKem().encapsulate(b"", SeededRng(2))
