"""Laws of the constructions: combiner, Elligator, SIV, Noise."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wraith.crypto.elligator2 import HiddenKey, decode, encode
from wraith.crypto.hybrid_kem import HybridCiphertext, HybridPublicKey, bind, combine
from wraith.crypto.kdf import Label, derive_key
from wraith.crypto.noise import HandshakeState, for_suite
from wraith.crypto.session_keys import session_secret
from wraith.crypto.siv import siv_open, siv_seal
from wraith.crypto.x25519 import X25519Key
from wraith.errors import CryptoError, DecryptError, LocalProtocolError
from wraith.testing.rng import HashKem, SeededRng
from wraith.types import Role, SuiteId

key32 = st.binary(min_size=32, max_size=32)
RNG = SeededRng("crypto properties")
S_I, S_R = X25519Key.generate(RNG), X25519Key.generate(RNG)


def flipped(data: bytes, bit: int) -> bytes:
    out = bytearray(data)
    out[bit // 8] ^= 1 << bit % 8
    return bytes(out)


# -- combiner ------------------------------------------------------------------------------------


@pytest.mark.spec("CR-25")
@given(key32, key32, key32, key32)
def test_the_combiner_is_deterministic_and_injective(
    a: bytes, b: bytes, c: bytes, d: bytes
) -> None:
    assert combine(a, b) == combine(a, b)
    assert (combine(a, b) == combine(c, d)) == ((a, b) == (c, d))
    assert (combine(a, b) == combine(b, a)) == (a == b)


@pytest.mark.spec("CR-26")
@given(
    st.tuples(key32, key32, key32, st.binary(max_size=40), st.binary(max_size=40)),
    st.binary(max_size=40),
    st.data(),
)
def test_a_bound_secret_changes_with_any_bit_of_its_inputs(
    parts: tuple[bytes, bytes, bytes, bytes, bytes], info: bytes, data: st.DataObject
) -> None:
    inputs = [*parts, info]

    def bound(values: list[bytes]) -> bytes:
        combined, c_pk, c_ct, pq_pk, pq_ct, context = values
        return bind(combined, HybridPublicKey(c_pk, pq_pk), HybridCiphertext(c_ct, pq_ct), context)

    which = data.draw(st.sampled_from([i for i, value in enumerate(inputs) if value]))
    changed = list(inputs)
    changed[which] = flipped(inputs[which], data.draw(st.integers(0, 8 * len(inputs[which]) - 1)))
    assert bound(changed) != bound(inputs)


# -- Elligator 2 ---------------------------------------------------------------------------------


@pytest.mark.spec("CR-10")
@given(key32)
def test_every_string_decodes_and_its_padding_does_not_count(text: bytes) -> None:
    u = decode(text)
    assert len(u) == 32
    for top in (0x40, 0x80, 0xC0):
        assert decode(text[:31] + bytes([text[31] ^ top])) == u


@pytest.mark.spec("CR-10")
@given(key32, st.integers(0, 255))
def test_decoding_inverts_encoding(seed: bytes, tweak: int) -> None:
    key = HiddenKey.from_seed(seed)
    representative = encode(key.dirty_public, tweak)
    assert representative is not None
    assert decode(representative) == key.public
    assert representative[31] >> 6 == tweak >> 6


P = 2**255 - 19
D = -121665 * pow(121666, P - 2, P) % P
L = 2**252 + 27742317777372353535851937790883648493


def cofactor_class(u: bytes, scalar_l: int = L) -> tuple[int, int]:
    """``L * point`` in projective x-only form: its value tells the low-order component apart, up to
    sign. Plain integers: this is a test of the library, so it shares nothing with it."""
    x1 = int.from_bytes(u, "little") % P
    x2, z2, x3, z3 = 1, 0, x1, 1
    for t in reversed(range(253)):
        bit = scalar_l >> t & 1
        if bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % P, b * b % P, d * a % P, c * b % P
        e = (aa - bb) % P
        x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
        if bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
    if z2 == 0:
        return (1, 0)
    return (x2 * pow(z2, P - 2, P) % P, 1)


@pytest.mark.spec("CR-12")
def test_public_points_are_spread_over_all_cofactor_classes() -> None:
    """Clean keys would all give the neutral element. x-only arithmetic cannot tell a class from its
    negative, so eight classes show as five: 1, 1, 2, 2, 2 parts of eight."""
    n = 800
    counts = Counter(cofactor_class(HiddenKey.generate(RNG).public) for _ in range(n))
    assert len(counts) == 5
    observed = sorted(counts.values())
    expected = [n / 8, n / 8, n / 4, n / 4, n / 4]
    chi2 = sum((o - e) ** 2 / e for o, e in zip(observed, expected, strict=True))
    assert chi2 < 18.5  # 4 degrees of freedom, p = 0.001
    # And the test can tell: an ordinary key lies in the neutral class, always.
    assert cofactor_class(S_I.public) == (1, 0)


@pytest.mark.spec("CR-12")
def test_every_bit_of_a_representative_is_balanced() -> None:
    n = 4_096
    ones = [0] * 256
    for _ in range(n):
        value = int.from_bytes(HiddenKey.generate(RNG).representative, "little")
        for bit in range(256):
            ones[bit] += value >> bit & 1
    bound = 5 * math.sqrt(n) / 2
    assert all(abs(count - n / 2) < bound for count in ones)


@pytest.mark.spec("CR-11")
@given(key32, key32)
def test_hidden_keys_agree_with_each_other(a: bytes, b: bytes) -> None:
    one, two = HiddenKey.from_seed(a), HiddenKey.from_seed(b)
    assert one.exchange(two.public) == two.exchange(one.public)


# -- SIV -----------------------------------------------------------------------------------------


@pytest.mark.spec("CR-27")
@given(key32, key32, st.binary(max_size=300), st.data())
def test_siv_opens_what_was_sealed_and_nothing_else(
    k_mac: bytes, k_enc: bytes, plain: bytes, data: st.DataObject
) -> None:
    sealed = siv_seal(k_mac, k_enc, plain)
    assert siv_open(k_mac, k_enc, sealed) == plain
    assert siv_seal(k_mac, k_enc, plain) == sealed

    bit = data.draw(st.integers(0, 8 * len(sealed) - 1), label="bit")
    cut = data.draw(st.integers(0, len(sealed) - 1), label="cut")
    for forged in (flipped(sealed, bit), sealed[:cut], sealed + b"\0", sealed[1:]):
        with pytest.raises(DecryptError):
            siv_open(k_mac, k_enc, forged)


@pytest.mark.spec("CR-27")
@given(key32, key32, st.binary(min_size=16, max_size=64), st.binary(min_size=1, max_size=8))
def test_another_padding_gives_an_unrelated_output(
    k_mac: bytes, k_enc: bytes, plain: bytes, padding: bytes
) -> None:
    one, two = siv_seal(k_mac, k_enc, plain), siv_seal(k_mac, k_enc, plain + padding)
    # Not one aligned 8-byte block in common, although the plaintexts share their beginning.
    blocks = [{data[i : i + 8] for i in range(0, len(data) - 7, 4)} for data in (one, two)]
    assert not blocks[0] & blocks[1]


@pytest.mark.spec("CR-27")
@given(key32, key32, st.binary(max_size=64))
def test_keys_of_two_masters_never_open_one_ciphertext(
    one: bytes, two: bytes, plain: bytes
) -> None:
    def keys(master: bytes) -> tuple[bytes, bytes]:
        both = derive_key(Label.TICKET_KEYS, master, 64)
        return both[:32], both[32:]

    sealed = siv_seal(*keys(one), plain)
    if one == two:
        assert siv_open(*keys(two), sealed) == plain
        return
    with pytest.raises(DecryptError):
        siv_open(*keys(two), sealed)


# -- Noise ---------------------------------------------------------------------------------------

suites = st.sampled_from([SuiteId.A, SuiteId.B, SuiteId.D])


def side(
    role: Role, suite: SuiteId, prologue: bytes, seed: str, psk: bytes | None = None
) -> HandshakeState:
    s = S_I if role is Role.INITIATOR else S_R
    rng = SeededRng(f"{seed} {role.value}")
    return for_suite(suite, role, prologue, rng=rng, kem=HashKem(), s=s, psk=psk)


@pytest.mark.spec("CR-21")
@given(suites, st.lists(st.binary(max_size=200), min_size=3, max_size=3), st.booleans())
@settings(max_examples=30)
def test_any_payloads_arrive_and_both_sides_derive_the_same(
    suite: SuiteId, payloads: list[bytes], resumed: bool
) -> None:
    psk = b"p" * 32 if resumed else None
    alice = side(Role.INITIATOR, suite, b"p", "payloads", psk)
    bob = side(Role.RESPONDER, suite, b"p", "payloads", psk)
    for payload in payloads[: 2 if resumed else 3]:
        writer, reader = (alice, bob) if alice.my_turn else (bob, alice)
        assert reader.read_message(writer.write_message(payload)) == payload
    assert alice.is_finished and bob.is_finished
    assert session_secret(*alice.chaining_key_and_hash()) == session_secret(
        *bob.chaining_key_and_hash()
    )


@pytest.mark.spec("CR-17", "CR-18")
@given(suites, st.integers(0, 2), st.data())
@settings(max_examples=60)
def test_a_changed_bit_anywhere_fails_by_message_3(
    suite: SuiteId, which: int, data: st.DataObject
) -> None:
    """A bit of a hello's ephemeral or KEM key fails when the answer is read, any later one at once.
    The two padding bits of a representative are outside the transcript: the veil covers them."""
    alice, bob = (
        side(Role.INITIATOR, suite, b"p", "bits"),
        side(Role.RESPONDER, suite, b"p", "bits"),
    )
    with pytest.raises(CryptoError):
        for index in range(3):
            writer, reader = (alice, bob) if index % 2 == 0 else (bob, alice)
            message = writer.write_message(b"payload")
            if index == which:
                bits = [b for b in range(8 * len(message)) if index == 2 or b not in (254, 255)]
                message = flipped(message, data.draw(st.sampled_from(bits)))
            reader.read_message(message)


@given(suites, suites, st.sampled_from([b"p", b"q"]), st.sampled_from([None, b"k" * 32]))
@settings(max_examples=30)
def test_other_suites_prologues_or_psks_never_agree(
    suite: SuiteId, other: SuiteId, prologue: bytes, psk: bytes | None
) -> None:
    alice = side(Role.INITIATOR, suite, b"p", "agree")
    bob = side(Role.RESPONDER, other, prologue, "agree", psk)
    same = (suite, b"p", None) == (other, prologue, psk)
    agreed = False
    try:
        for _ in range(3):
            writer, reader = (alice, bob) if alice.my_turn else (bob, alice)
            reader.read_message(writer.write_message())
        agreed = alice.chaining_key_and_hash() == bob.chaining_key_and_hash()
    except (CryptoError, LocalProtocolError):
        pass
    assert agreed == same


@pytest.mark.spec("CR-20")
@given(suites, st.lists(st.sampled_from(["write", "reflect", "replay", "junk"]), max_size=6))
@settings(max_examples=40)
def test_reflection_replay_and_disorder_are_refused_and_harmless(
    suite: SuiteId, attacks: list[str]
) -> None:
    alice, bob = (
        side(Role.INITIATOR, suite, b"p", "order"),
        side(Role.RESPONDER, suite, b"p", "order"),
    )
    sent: list[bytes] = [bytes(32)]
    plan = list(attacks)
    while not (alice.is_finished and bob.is_finished):
        writer, reader = (alice, bob) if alice.my_turn else (bob, alice)
        message = writer.write_message(b"x")
        # Before the true message arrives, try the planned attack on both ends. A bare ephemeral in
        # the first message authenticates nothing, so the responder is spared until it has answered.
        if plan and len(sent) > 1:
            attack = plan.pop(0)
            bad = {"reflect": sent[-1], "replay": sent[0], "junk": b"\xa5" * len(message)}
            for end in (reader, writer):
                with pytest.raises((CryptoError, LocalProtocolError)):
                    if attack == "write":
                        reader.write_message()
                    else:
                        end.read_message(bad[attack])
        assert reader.read_message(message) == b"x"
        sent.append(message)
    assert alice.chaining_key_and_hash() == bob.chaining_key_and_hash()
