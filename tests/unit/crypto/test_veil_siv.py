"""SIV and the veil."""

from __future__ import annotations

import pytest

from wraith.crypto.elligator2 import HiddenKey
from wraith.crypto.kdf import keyed_hash
from wraith.crypto.siv import TAG_BYTES, siv_open, siv_seal
from wraith.crypto.veil import VeilKeys
from wraith.crypto.x25519 import X25519Key
from wraith.errors import DecryptError
from wraith.testing.rng import SeededRng
from wraith.types import Role

RNG = SeededRng("veil")
K1, K2 = RNG.secret_bytes(32), RNG.secret_bytes(32)


@pytest.mark.spec("CR-27")
@pytest.mark.parametrize("n", [0, 1, 64, 65, 1168])
def test_siv_round_trip_and_size(n: int) -> None:
    plain = RNG.public_bytes(n)
    sealed = siv_seal(K1, K2, plain)
    assert len(sealed) == TAG_BYTES + n
    assert siv_open(K1, K2, memoryview(sealed)) == plain


@pytest.mark.spec("CR-27")
def test_siv_is_deterministic_and_its_keys_have_their_order() -> None:
    assert siv_seal(K1, K2, b"p") == siv_seal(K1, K2, b"p")
    assert siv_seal(K1, K2, b"p") != siv_seal(K2, K1, b"p")
    with pytest.raises(DecryptError):
        siv_open(K2, K1, siv_seal(K1, K2, b"p"))


@pytest.mark.spec("CR-27")
@pytest.mark.parametrize("n", [0, 31])
def test_less_than_a_tag_is_refused(n: int) -> None:
    with pytest.raises(DecryptError):
        siv_open(K1, K2, bytes(n))


def both_ends(psk: bytes | None = None) -> tuple[VeilKeys, VeilKeys]:
    access, e = X25519Key.generate(RNG), HiddenKey.generate(RNG)
    return (
        VeilKeys.derive(e.exchange(access.public), e.representative, access.public, psk),
        VeilKeys.derive(access.exchange(e.public), e.representative, access.public, psk),
    )


@pytest.mark.spec("CR-29")
@pytest.mark.parametrize("sender", list(Role))
def test_each_direction_opens_at_the_other_end_only_as_what_it_is(sender: Role) -> None:
    client, server = both_ends()
    sealed = client.seal(sender, b"flight")
    assert server.open(sender, sealed) == b"flight"
    with pytest.raises(DecryptError):
        server.open(sender.other, sealed)


@pytest.mark.spec("CR-28")
def test_every_input_enters_the_veil_keys() -> None:
    inputs: list[bytes | None] = [b"d" * 32, b"r" * 32, b"a" * 32, b"p" * 32]

    def keys(parts: list[bytes | None]) -> bytes:
        dh, representative, access, psk = parts
        assert dh is not None and representative is not None and access is not None
        return VeilKeys.derive(dh, representative, access, psk).seal(Role.INITIATOR, b"")

    seen = {keys(inputs), keys([*inputs[:3], None])}
    for at in range(4):
        changed = list(inputs)
        changed[at] = b"x" * 32
        seen.add(keys(changed))
    assert len(seen) == 6


@pytest.mark.spec("CR-28")
def test_no_psk_means_the_zero_psk() -> None:
    parts = (b"d" * 32, b"r" * 32, b"a" * 32)
    one, two = VeilKeys.derive(*parts, None), VeilKeys.derive(*parts, bytes(32))
    assert one.mac_i == two.mac_i


@pytest.mark.spec("CR-28")
@pytest.mark.parametrize("psk", [b"", b"password", bytes(31), bytes(33)])
def test_a_psk_that_is_not_32_bytes_is_refused(psk: bytes) -> None:
    with pytest.raises(ValueError):
        VeilKeys.derive(bytes(32), bytes(32), bytes(32), psk)


def test_wiping_ends_the_keys() -> None:
    client, _ = both_ends()
    client.wipe()
    assert all(key.is_wiped for key in (client.mac_i, client.enc_i, client.mac_r, client.enc_r))


@pytest.mark.spec("RO-61")
def test_an_attempt_is_named_by_what_its_initiator_alone_signs_with() -> None:
    veil = VeilKeys.derive(bytes(32), bytes(32), bytes(32), None)
    assert veil.road_id == keyed_hash(veil.mac_i.reveal(), b"road")[:8]
    other = VeilKeys.derive(b"\1" + bytes(31), bytes(32), bytes(32), None)
    assert veil.road_id != other.road_id
