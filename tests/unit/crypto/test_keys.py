"""X25519, Ed25519, IDENT, ML-KEM and the hybrid KEM."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from wraith.crypto.ed25519 import Identity, verify
from wraith.crypto.hybrid_kem import HybridCiphertext, HybridKem, HybridPublicKey, combine
from wraith.crypto.ident import IDENT_BYTES, check_ident, make_ident
from wraith.crypto.kdf import Label, derive_key
from wraith.crypto.mlkem import MlKem768, MlKem1024
from wraith.crypto.suite import SUITES
from wraith.crypto.x25519 import X25519Key
from wraith.errors import InvalidKey, InvalidSignature, LocalProtocolError
from wraith.testing.rng import HashKem, RaisingRng, SeededRng
from wraith.types import PeerKey, SuiteId

RNG = SeededRng("keys")
NOW = 1_800_000_000

#: u-coordinates of small order, in all the encodings that X25519 accepts (RFC 7748 §6.1 warns).
SMALL_ORDER = [
    bytes(32),
    (1).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    (2**255 - 20).to_bytes(32, "little"),
    (2**255 - 19).to_bytes(32, "little"),
    (2**255 - 18).to_bytes(32, "little"),
]


def test_x25519_agrees_on_both_sides_and_with_its_stored_secret() -> None:
    a, b = X25519Key.generate(RNG), X25519Key.generate(RNG)
    assert a.exchange(b.public) == b.exchange(a.public)
    assert X25519Key.from_secret(a.secret_bytes()).public == a.public


@pytest.mark.spec("CR-8")
@pytest.mark.parametrize("u", SMALL_ORDER, ids=lambda u: u.hex()[:8])
def test_a_key_of_small_order_is_refused(u: bytes) -> None:
    with pytest.raises(InvalidKey):
        X25519Key.generate(RNG).exchange(u)


@pytest.mark.spec("CR-8")
@pytest.mark.parametrize("n", [0, 31, 33])
def test_a_key_of_another_length_is_refused(n: int) -> None:
    with pytest.raises(InvalidKey):
        X25519Key.from_secret(bytes(n))
    with pytest.raises(InvalidKey):
        X25519Key.generate(RNG).exchange(bytes(n))


def test_a_wiped_key_refuses_work() -> None:
    key, identity = X25519Key.generate(RNG), Identity.generate(RNG)
    e1 = MlKem768().generate(RNG)
    for wipe in (key.wipe, identity.wipe, e1.wipe):
        wipe()
    uses: list[Callable[[], object]] = [
        lambda: key.exchange(bytes(range(32))),
        key.secret_bytes,
        lambda: identity.sign(b""),
        identity.seed_bytes,
        lambda: e1.decapsulate(bytes(1088)),
    ]
    for use in uses:
        with pytest.raises(LocalProtocolError):
            use()


def test_no_text_form_shows_a_secret() -> None:
    key, identity = X25519Key.generate(RNG), Identity.generate(RNG)
    assert key.secret_bytes().hex() not in repr(key)
    assert identity.seed_bytes().hex() not in repr(identity)


@pytest.mark.spec("CR-9")
def test_a_signature_verifies_for_its_message_and_key_only() -> None:
    identity, other = Identity.generate(RNG), Identity.generate(RNG)
    signature = identity.sign(b"message")
    verify(identity.public, signature, b"message")
    assert Identity.from_seed(identity.seed_bytes()).sign(b"message") == signature
    for key, sig, message in (
        (other.public, signature, b"message"),
        (identity.public, signature, b"massage"),
        (identity.public, signature[:-1], b"message"),
        (identity.public, signature[:-1] + b"\xff", b"message"),
        (PeerKey(b"\xff" * 32), signature, b"message"),
    ):
        with pytest.raises(InvalidSignature):
            verify(key, sig, message)


@pytest.mark.spec("CR-30")
def test_an_ident_names_its_key() -> None:
    identity = Identity.generate(RNG)
    ident = make_ident(identity, b"s" * 32, NOW)
    assert len(ident) == IDENT_BYTES == 104
    assert check_ident(ident, b"s" * 32, NOW, 60) == identity.public


@pytest.mark.spec("CR-30")
def test_an_ident_ends_when_it_says_give_or_take_the_skew() -> None:
    ident = make_ident(Identity.generate(RNG), b"s" * 32, NOW)
    check_ident(ident, b"s" * 32, NOW + 60, 60)
    with pytest.raises(InvalidSignature):
        check_ident(ident, b"s" * 32, NOW + 61, 60)


@pytest.mark.spec("HS-71")
@pytest.mark.parametrize("days", [401, 40_000])
def test_an_ident_that_would_live_for_more_than_400_days_is_refused(days: int) -> None:
    identity = Identity.generate(RNG)
    check_ident(make_ident(identity, b"s" * 32, NOW + 400 * 86_400), b"s" * 32, NOW, 60)
    with pytest.raises(InvalidSignature):
        check_ident(make_ident(identity, b"s" * 32, NOW + days * 86_400), b"s" * 32, NOW, 60)
    with pytest.raises(InvalidSignature):
        check_ident(make_ident(identity, b"s" * 32, (1 << 64) - 1), b"s" * 32, NOW, 60)


@pytest.mark.spec("CR-30")
def test_every_bit_of_an_ident_and_its_static_key_matters() -> None:
    ident = make_ident(Identity.generate(RNG), b"s" * 32, NOW)
    with pytest.raises(InvalidSignature):
        check_ident(ident, b"S" + b"s" * 31, NOW, 60)
    for at in range(IDENT_BYTES):
        forged = bytearray(ident)
        forged[at] ^= 1
        with pytest.raises(InvalidSignature):
            check_ident(forged, b"s" * 32, NOW, 60)
    for wrong in (b"", ident[:-1], ident + b"\0"):
        with pytest.raises(InvalidSignature):
            check_ident(wrong, b"s" * 32, NOW, 60)


@pytest.mark.spec("CR-13")
@pytest.mark.parametrize("kem", [MlKem768(), MlKem1024(), HashKem()], ids=lambda kem: kem.name)
def test_a_kem_keeps_its_contract(kem: MlKem768 | MlKem1024 | HashKem) -> None:
    key = kem.generate(RNG)
    assert len(key.encapsulation_key) == kem.encapsulation_key_bytes
    ss, ct = kem.encapsulate(key.encapsulation_key, RNG)
    assert (len(ss), len(ct)) == (32, kem.ciphertext_bytes)
    assert key.decapsulate(ct) == ss
    # Implicit rejection: another secret, never an error.
    tampered = bytes([ct[0] ^ 1]) + ct[1:]
    assert key.decapsulate(tampered) != ss
    assert key.decapsulate(tampered) == key.decapsulate(tampered)
    with pytest.raises(InvalidKey):
        key.decapsulate(ct[:-1])
    with pytest.raises(InvalidKey):
        kem.encapsulate(key.encapsulation_key[:-1], RNG)


@pytest.mark.spec("CR-13")
def test_an_unreduced_encapsulation_key_is_refused() -> None:
    key = MlKem768().generate(RNG).encapsulation_key
    with pytest.raises(InvalidKey):
        MlKem768().encapsulate(b"\xff\xff" + key[2:], RNG)


def test_ml_kem_keys_come_from_the_secret_door() -> None:
    rng = SeededRng("door")
    MlKem768().generate(rng)
    assert (rng.n_secret, rng.n_public) == (64, 0)
    with pytest.raises(AssertionError):
        MlKem768().generate(RaisingRng())
    with pytest.raises(InvalidKey):
        MlKem768().from_seed(bytes(63))


@pytest.mark.spec("CR-25")
def test_the_combiner_is_the_published_function() -> None:
    want = "616244bfc7fa349bc06157cece90b16fa414f541913e350bba07f6f7d235b1e8"
    assert combine(b"\x11" * 32, b"\x22" * 32).hex() == want
    assert combine(b"\x11" * 32, b"\x22" * 32) == derive_key(
        Label.HYBRID_KEM, b"\x11" * 32 + b"\x22" * 32
    )


@pytest.mark.spec("CR-26")
def test_a_bound_encapsulation_opens_with_the_same_info_only() -> None:
    hybrid = HybridKem(MlKem768())
    secret = hybrid.generate(RNG)
    key, ciphertext = hybrid.encapsulate_bound(secret.public, b"info", RNG)
    assert secret.decapsulate_bound(ciphertext, b"info") == key
    assert secret.decapsulate_bound(ciphertext, b"inf0") != key
    assert secret.decapsulate(ciphertext) != key


@pytest.mark.spec("CR-26")
def test_an_equivalent_share_does_not_give_the_bound_key() -> None:
    """X25519 ignores the top bit of a share, so a changed ciphertext has the same raw secret; only
    the bound form notices."""
    hybrid = HybridKem(MlKem768())
    secret = hybrid.generate(RNG)
    key, ciphertext = hybrid.encapsulate_bound(secret.public, b"", RNG)
    c_ct = ciphertext.c_ct[:-1] + bytes([ciphertext.c_ct[-1] ^ 0x80])
    twin = replace(ciphertext, c_ct=c_ct)
    assert secret.decapsulate(twin) == secret.decapsulate(ciphertext)
    assert secret.decapsulate_bound(twin, b"") != key


def test_a_hybrid_peer_with_an_unusable_half_is_refused() -> None:
    hybrid = HybridKem(MlKem768())
    good = hybrid.generate(RNG)
    for bad in (
        replace(good.public, c_pk=bytes(32)),
        replace(good.public, pq_pk=b"\xff" * 1184),
        HybridPublicKey(b"", b""),
    ):
        with pytest.raises(InvalidKey):
            hybrid.encapsulate(bad, RNG)
    with pytest.raises(InvalidKey):
        good.decapsulate(HybridCiphertext(bytes(32), bytes(1088)))
    with pytest.raises(ValueError):
        hybrid.encapsulate_bound(good.public, bytes(65_536), RNG)


@pytest.mark.spec("CR-7")
def test_the_suite_table_says_what_each_suite_is() -> None:
    assert set(SUITES) == {SuiteId.A, SuiteId.B, SuiteId.D}
    for suite_id, suite in SUITES.items():
        assert suite.id is suite_id
        assert suite.post_quantum == ("MLKEM768" in suite.noise_name) == ("hfs" in suite.noise_name)
        assert suite.post_quantum == ("ML-KEM" in suite.key_exchange)
        assert suite.post_quantum == (suite_id is not SuiteId.D)
        parts = suite.noise_name.split("_")[2:]
        assert suite.noise_resumption_name.split("_")[2:] == parts
    assert len(SUITES[SuiteId.A].noise_name) == 45
    assert SUITES[SuiteId.B].aead_name == "AES-256-GCM"
