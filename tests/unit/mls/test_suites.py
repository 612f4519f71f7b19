"""Suites: which there are, which are refused and why, what is a step down."""

from __future__ import annotations

import pytest

from wraith.crypto.secret import Secret
from wraith.errors import DecryptError, InvalidKey, InvalidSignature, UnsupportedSuite
from wraith.mls import DEFAULT_SUITE, MlsGroup, StrictPolicy, suite_by_id
from wraith.mls.hpke import XWing
from wraith.mls.suites import SUITES, CipherSuite
from wraith.testing.mls import OPENMLS_HYBRID, key_package
from wraith.testing.rng import SeededRng

every_suite = pytest.mark.parametrize("suite", SUITES.values(), ids=lambda one: hex(one.number))


@pytest.mark.spec("ML-3")
def test_the_seven_suites_and_the_hybrid_default() -> None:
    assert sorted(SUITES) == [1, 2, 3, 5, 7, 0xF001, 0xF002]
    assert DEFAULT_SUITE.number == 0xF001
    assert DEFAULT_SUITE.post_quantum and not SUITES[1].post_quantum


@pytest.mark.spec("ML-3")
@pytest.mark.parametrize(("number", "word"), [(4, "X448"), (6, "X448"), (8, "not known")])
def test_other_suites_are_refused_by_name(number: int, word: str) -> None:
    with pytest.raises(UnsupportedSuite, match=word) as caught:
        suite_by_id(number)
    assert caught.value.number == number


@pytest.mark.spec("ML-8")
def test_a_step_down_loses_the_hybrid_or_strength() -> None:
    hybrid, one, five, seven = SUITES[0xF001], SUITES[1], SUITES[5], SUITES[7]
    assert one.is_downgrade_from(hybrid) and five.is_downgrade_from(hybrid)
    assert one.is_downgrade_from(seven) and seven.is_downgrade_from(five)
    assert not hybrid.is_downgrade_from(one) and not SUITES[3].is_downgrade_from(one)


@pytest.mark.spec("ML-8")
def test_a_classical_group_needs_the_policy_that_allows_it() -> None:
    package = key_package("alice", SUITES[1])
    with pytest.raises(UnsupportedSuite, match="hybrid"):
        MlsGroup.create(b"room", package, SeededRng(1))
    group = MlsGroup.create(b"room", package, SeededRng(1), policy=StrictPolicy(require_pq=False))
    assert group.suite is SUITES[1]


@every_suite
def test_a_key_pair_comes_of_its_material_again(suite: CipherSuite) -> None:
    pair, again = suite.derive_key_pair(b"m" * 48), suite.derive_key_pair(b"m" * 48)
    assert (pair.public, pair.private) == (again.public, again.private)
    assert suite.hpke.kem.public_of(pair.private) == pair.public
    suite.hpke.kem.check_public(pair.public)


@every_suite
def test_sealing_binds_label_and_context(suite: CipherSuite) -> None:
    pair = suite.generate_key_pair(SeededRng(1))
    sealed = suite.encrypt_with_label(pair.public, b"label", b"context", b"plain")
    assert suite.decrypt_with_label(pair.private, b"label", b"context", *sealed) == b"plain"
    for label, context in ((b"lab", b"context"), (b"label", b"contex")):
        with pytest.raises(DecryptError):
            suite.decrypt_with_label(pair.private, label, context, *sealed)


@every_suite
def test_a_signature_is_of_one_label(suite: CipherSuite) -> None:
    signer = suite.generate_signer(SeededRng(2))
    signature = suite.sign_with_label(signer, b"label", b"content")
    suite.verify_with_label(signer.public, b"label", b"content", signature)
    assert suite.sign_with_label(signer, b"label", b"content") == signature
    for label, content in ((b"labe", b"content"), (b"label", b"conten")):
        with pytest.raises(InvalidSignature):
            suite.verify_with_label(signer.public, label, content, signature)
    for key in (b"", bytes(len(signer.public)), signer.public[:-1]):
        with pytest.raises(InvalidSignature):
            suite.verify_with_label(key, b"label", b"content", signature)


@every_suite
@pytest.mark.parametrize("size", [0, 31, 32, 65, 66, 96, 97, 1216, 2000])
def test_bytes_that_are_no_public_key_are_refused(suite: CipherSuite, size: int) -> None:
    # All zero is a point of small order on X25519, and no point at all elsewhere.
    with pytest.raises(InvalidKey):
        suite.hpke.kem.check_public(bytes(size))


@every_suite
def test_an_exported_secret_is_the_same_on_both_sides(suite: CipherSuite) -> None:
    pair = suite.generate_key_pair(SeededRng(3))
    kem_output, sent = suite.hpke.send_export(pair.public, b"label", 40, b"e" * 66)
    assert suite.hpke.receive_export(kem_output, pair.private, b"label", 40) == sent
    other = suite.generate_key_pair(SeededRng(4))
    assert suite.hpke.receive_export(kem_output, other.private, b"label", 40) != sent
    with pytest.raises(InvalidKey):
        suite.hpke.receive_export(kem_output[:-1], pair.private, b"label", 40)


@pytest.mark.spec("ML-5")
def test_the_derivation_of_older_peers_is_another_and_no_suite_of_ours_has_it() -> None:
    ours, theirs = XWing(), XWing(unlabelled=True)
    assert ours.derive_key_pair(b"m" * 32).public != theirs.derive_key_pair(b"m" * 32).public
    assert not set(OPENMLS_HYBRID) & set(SUITES)


def test_a_private_key_of_another_length_is_refused() -> None:
    for suite in SUITES.values():
        with pytest.raises(InvalidKey):
            suite.hpke.kem.public_of(Secret(bytes(100)))
        with pytest.raises(InvalidKey):
            suite.signer(bytes(100))
