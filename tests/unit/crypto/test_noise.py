"""The Noise state machine beyond its vectors: order, failure, hidden ephemerals, the KEM."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from wraith.crypto.elligator2 import HiddenKey, decode
from wraith.crypto.hybrid_kem import combine
from wraith.crypto.noise import CipherState, HandshakeState, for_suite
from wraith.crypto.noise.patterns import PATTERNS, parse_protocol_name
from wraith.crypto.noise.symmetric import SymmetricState
from wraith.crypto.session_keys import session_secret
from wraith.crypto.suite import SUITES
from wraith.crypto.x25519 import X25519Key
from wraith.errors import CryptoError, DecryptError, InvalidKey, LocalProtocolError, NonceExhausted
from wraith.testing.rng import HashKem, RaisingRng, SeededRng
from wraith.types import Role, SuiteId

RNG = SeededRng("noise")
S_I, S_R = X25519Key.generate(RNG), X25519Key.generate(RNG)
XX = "Noise_XX_25519_ChaChaPoly_BLAKE2s"


def pair(suite: SuiteId = SuiteId.A, psk: bytes | None = None) -> list[HandshakeState]:
    return [
        for_suite(suite, role, b"prologue", rng=RNG, kem=HashKem(), s=s, psk=psk)
        for role, s in ((Role.INITIATOR, S_I), (Role.RESPONDER, S_R))
    ]


def plain_xx(prologue: bytes = b"") -> list[HandshakeState]:
    return [
        HandshakeState(XX, role, prologue, rng=RNG, s=s)
        for role, s in ((Role.INITIATOR, S_I), (Role.RESPONDER, S_R))
    ]


def finish(alice: HandshakeState, bob: HandshakeState) -> None:
    while not alice.is_finished:
        writer, reader = (alice, bob) if alice.my_turn else (bob, alice)
        reader.read_message(writer.write_message(b"payload"))


@pytest.mark.spec("CR-15")
def test_all_38_base_patterns_are_there() -> None:
    assert len(PATTERNS) == 3 + 12 + 23


@pytest.mark.spec("CR-15")
def test_the_suites_patterns_read_as_specified() -> None:
    xxhfs = parse_protocol_name(SUITES[SuiteId.A].noise_name).pattern
    assert [tokens for _, tokens in xxhfs.messages] == [
        ("e", "e1"),
        ("e", "ee", "ekem1", "s", "es"),
        ("s", "se"),
    ]
    resumption = parse_protocol_name(SUITES[SuiteId.A].noise_resumption_name).pattern
    assert [tokens for _, tokens in resumption.messages] == [
        ("psk", "e", "e1"),
        ("e", "ee", "ekem1"),
    ]
    assert resumption.has_psk and not xxhfs.has_psk


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Noise_ZZ_25519_ChaChaPoly_BLAKE2s",
        "Noise_XX_25519_ChaChaPoly",
        "Noise_XXpsk9_25519_ChaChaPoly_BLAKE2s",
        "Noise_XXabc_25519_ChaChaPoly_BLAKE2s",
        "Noise_XXhfs_25519_ChaChaPoly_BLAKE2s",
        "Noise_XX_25519+MLKEM768_ChaChaPoly_BLAKE2s",
        "Noise_IKfallback_25519_ChaChaPoly_BLAKE2s",
        "Noise_XX_448_ChaChaPoly_BLAKE2s",
        "Noise_XX_25519_DES_BLAKE2s",
        "Noise_XX_25519_ChaChaPoly_MD5",
    ],
)
def test_an_unknown_protocol_is_refused(name: str) -> None:
    with pytest.raises(ValueError):
        HandshakeState(name, Role.INITIATOR, b"")


@pytest.mark.spec("CR-16")
def test_a_long_name_is_hashed_into_h() -> None:
    name = SUITES[SuiteId.A].noise_name
    h = SymmetricState(name, "ChaChaPoly", "BLAKE2s").h
    assert h.hex() == "d911f1314f91568576c6a488215e0dd7cb960126e79b805eb3f6ba53d2ba888a"


@pytest.mark.spec("CR-16")
def test_a_cipher_state_ends_before_its_counter_repeats() -> None:
    cipher = CipherState("ChaChaPoly", bytes(32))
    cipher.n = 2**64 - 2
    cipher.encrypt(b"", b"")
    with pytest.raises(NonceExhausted):
        cipher.encrypt(b"", b"")


@pytest.mark.spec("CR-16")
def test_a_failed_decryption_does_not_move_the_counter() -> None:
    sender, receiver = CipherState("AESGCM", bytes(32)), CipherState("AESGCM", bytes(32))
    sealed = sender.encrypt(b"", b"x")
    with pytest.raises(DecryptError):
        receiver.decrypt(b"", bytes(17))
    assert receiver.decrypt(b"", sealed) == b"x"


@pytest.mark.spec("CR-19", "CR-21")
@pytest.mark.parametrize("suite", list(SUITES))
@pytest.mark.parametrize("psk", [None, b"k" * 32], ids=["full", "resumption"])
def test_both_sides_reach_one_session_secret(suite: SuiteId, psk: bytes | None) -> None:
    alice, bob = pair(suite, psk)
    finish(alice, bob)
    secrets = [session_secret(*side.chaining_key_and_hash()) for side in (alice, bob)]
    assert secrets[0] == secrets[1]
    assert alice.handshake_hash == bob.handshake_hash
    if psk is None:
        assert (alice.rs, bob.rs) == (S_R.public, S_I.public)


@pytest.mark.spec("CR-18")
@pytest.mark.parametrize(
    ("suite", "sizes"),
    [(SuiteId.A, (32 + 1184, 32 + 1104 + 48 + 16, 64)), (SuiteId.D, (32, 32 + 48 + 16, 64))],
)
def test_message_sizes(suite: SuiteId, sizes: tuple[int, ...]) -> None:
    alice, bob = pair(suite)
    one = alice.write_message()
    bob.read_message(one)
    two = bob.write_message()
    alice.read_message(two)
    assert (len(one), len(two), len(alice.write_message())) == sizes


@pytest.mark.spec("CR-18")
def test_the_wire_carries_the_representative_and_the_transcript_the_point() -> None:
    e = HiddenKey.generate(RNG)
    alice = for_suite(SuiteId.D, Role.INITIATOR, b"", rng=RaisingRng(), kem=HashKem(), s=S_I, e=e)
    message = alice.write_message()
    assert message[:32] == e.representative
    # Another representative of the same point (other padding) leaves both transcripts equal.
    bob = for_suite(SuiteId.D, Role.RESPONDER, b"", rng=RNG, kem=HashKem(), s=S_R)
    twin = message[:31] + bytes([message[31] ^ 0x80])
    bob.read_message(twin)
    assert bob.re == decode(message[:32]) == e.public
    assert alice.handshake_hash == bob.handshake_hash


@pytest.mark.spec("CR-18")
def test_a_hidden_handshake_refuses_an_ordinary_ephemeral() -> None:
    state = HandshakeState(XX, Role.INITIATOR, b"", s=S_I, e=X25519Key.generate(RNG), hidden=True)
    with pytest.raises(LocalProtocolError):
        state.write_message()


@pytest.mark.spec("CR-19")
def test_the_kem_secret_is_mixed_combined_with_the_classical_one() -> None:
    """With and without the combiner the first bytes agree; what follows ekem1 does not."""
    calls: list[tuple[bytes, bytes]] = []

    def spy(c_ss: bytes, pq_ss: bytes) -> bytes:
        calls.append((c_ss, pq_ss))
        return combine(c_ss, pq_ss)

    name = SUITES[SuiteId.A].noise_name
    e_i, e_r = HiddenKey.generate(RNG), HiddenKey.generate(RNG)
    kem = HashKem()
    for combiner in (spy, None):
        alice = HandshakeState(
            name,
            Role.INITIATOR,
            b"",
            rng=RNG,
            s=S_I,
            e=e_i,
            kem=kem,
            hidden=True,
            combiner=combiner,
        )
        bob = HandshakeState(
            name, Role.RESPONDER, b"", rng=RNG, s=S_R, e=e_r, kem=kem, hidden=True, combiner=combine
        )
        bob.read_message(alice.write_message())
        message = bob.write_message()
        if combiner is None:
            with pytest.raises(DecryptError):
                alice.read_message(message)
        else:
            alice.read_message(message)
    assert len(calls) == 1
    assert calls[0][0] == e_i.exchange(e_r.public)


@pytest.mark.spec("CR-17")
def test_a_refused_message_leaves_the_state_as_it_was() -> None:
    alice, bob = pair()
    bob.read_message(alice.write_message(b"one"))
    good = bob.write_message(b"two")
    for at in range(0, len(good), 7):
        forged = bytearray(good)
        forged[at] ^= 0x10
        before = alice.handshake_hash
        with pytest.raises(CryptoError):
            alice.read_message(bytes(forged))
        assert alice.handshake_hash == before
        assert (alice.rs, alice.re) == (None, None)
    for cut in (0, 31, 32, 33, 1135, 1136, 1199, len(good) - 1):
        with pytest.raises(CryptoError):
            alice.read_message(good[:cut])
    assert alice.read_message(good) == b"two"
    bob.read_message(alice.write_message())
    assert alice.chaining_key_and_hash() == bob.chaining_key_and_hash()


@pytest.mark.spec("CR-17")
def test_a_write_that_fails_leaves_the_state_as_it_was() -> None:
    alice, bob = pair()
    message = alice.write_message()
    bob.read_message(message)
    before = bob.handshake_hash
    good_key, bob.re1 = bob.re1, b"short"
    with pytest.raises(InvalidKey):
        bob.write_message()
    assert bob.handshake_hash == before and bob.e is None
    bob.re1 = good_key
    alice.read_message(bob.write_message())


@pytest.mark.spec("CR-20")
def test_messages_out_of_turn_are_refused() -> None:
    alice, bob = plain_xx()
    with pytest.raises(LocalProtocolError):
        alice.read_message(bytes(32))
    with pytest.raises(LocalProtocolError):
        bob.write_message()
    first = alice.write_message()
    with pytest.raises(LocalProtocolError):
        alice.write_message()
    bob.read_message(first)
    with pytest.raises(LocalProtocolError):
        bob.read_message(first)
    alice.read_message(bob.write_message())
    bob.read_message(alice.write_message())
    late: list[Callable[[], bytes]] = [alice.write_message, lambda: bob.read_message(b"")]
    for call in late:
        with pytest.raises(LocalProtocolError):
            call()


@pytest.mark.spec("CR-20", "CR-21")
def test_nothing_is_split_or_derived_before_the_end() -> None:
    alice, _ = plain_xx()
    for call in (alice.split, alice.chaining_key_and_hash):
        with pytest.raises(LocalProtocolError):
            call()


def test_a_reflected_message_is_refused() -> None:
    alice, bob = plain_xx()
    first = alice.write_message()
    bob.read_message(first)
    bob.write_message()
    with pytest.raises(CryptoError):
        alice.read_message(first)


def test_other_prologues_fail_at_the_first_ciphertext() -> None:
    alice, bob = plain_xx(b"a")[0], plain_xx(b"b")[1]
    bob.read_message(alice.write_message())
    with pytest.raises(DecryptError):
        alice.read_message(bob.write_message())


def test_a_peer_key_of_small_order_is_refused() -> None:
    _, bob = plain_xx()
    bob.read_message(bytes(32))
    with pytest.raises(InvalidKey):
        bob.write_message()


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("Noise_XX_25519_ChaChaPoly_BLAKE2s", {}),
        ("Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s", {"rng": RNG}),
        ("Noise_NNhfs_25519+MLKEM768_ChaChaPoly_BLAKE2s", {"rng": RNG}),
        ("Noise_NNhfs_25519+448_ChaChaPoly_BLAKE2s", {"rng": RNG}),
        ("Noise_X_25519_ChaChaPoly_BLAKE2s", {"rng": RNG, "rs": S_R.public}),
    ],
)
def test_a_missing_key_is_the_callers_defect(name: str, kwargs: dict[str, object]) -> None:
    state = HandshakeState(name, Role.INITIATOR, b"", **kwargs)  # type: ignore[arg-type]
    with pytest.raises(LocalProtocolError):
        state.write_message()


def test_a_missing_pre_message_key_is_refused_at_once() -> None:
    with pytest.raises(LocalProtocolError):
        HandshakeState("Noise_NK_25519_ChaChaPoly_BLAKE2s", Role.INITIATOR, b"", rng=RNG)


def test_a_psk_has_32_bytes() -> None:
    with pytest.raises(ValueError):
        HandshakeState("Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s", Role.INITIATOR, b"", psks=[b"k"])


def test_a_message_beyond_the_limit_is_refused_on_both_sides() -> None:
    alice, bob = plain_xx()
    with pytest.raises(LocalProtocolError):
        alice.write_message(bytes(65_535))
    with pytest.raises(DecryptError):
        bob.read_message(bytes(65_536))
    bob.read_message(alice.write_message())


def test_the_reserved_suite_is_refused() -> None:
    with pytest.raises(LocalProtocolError):
        for_suite(SuiteId.C, Role.INITIATOR, b"", rng=RNG, kem=HashKem())


def test_a_wiped_state_does_nothing_more() -> None:
    alice, bob = pair()
    finish(alice, bob)
    e = alice.e
    assert isinstance(e, HiddenKey)
    alice.wipe()
    for call in (alice.write_message, alice.split, alice.chaining_key_and_hash):
        with pytest.raises(LocalProtocolError):
            call()
    with pytest.raises(LocalProtocolError):
        e.exchange(S_R.public)
    # The static key belongs to the caller and stays.
    assert S_I.exchange(S_R.public)
