"""The first 88 bytes of a link: who can open them, what they say, and what they look like."""

from __future__ import annotations

import pytest

from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.connection.handshake.replay_cache import ReplayCache
from wraith.connection.links.preface import (
    PREFACE_BYTES,
    LinkKeys,
    decode_ephemeral,
    make_preface,
    open_preface,
)
from wraith.crypto.elligator2 import HiddenKey
from wraith.crypto.kdf import Label, derive_key, keyed_hash
from wraith.crypto.siv import siv_seal
from wraith.crypto.x25519 import X25519Key
from wraith.errors import InvalidKey
from wraith.testing.rng import FixedRng, SeededRng
from wraith.types import Carrier

NOW = 1_800_000_000.9
STREAM_CARRIERS = [Carrier.TCP, Carrier.WS, Carrier.QUIC, Carrier.MEMORY]


def access_key(name: str = "key", *, with_psk: bool = False) -> AccessKey:
    return AccessKey.generate(SeededRng(name), with_psk=with_psk)


def preface_for(
    key: AccessKey, carrier: Carrier = Carrier.TCP, seed: str = "dialler"
) -> tuple[bytes, LinkKeys]:
    return make_preface(key.ak.public, key.psk, carrier, rng=SeededRng(seed), unix_now=NOW)


@pytest.mark.spec("CA-2", "CA-3")
@pytest.mark.parametrize("carrier", STREAM_CARRIERS)
@pytest.mark.parametrize("with_psk", [False, True])
def test_both_ends_get_the_same_keys_crosswise(carrier: Carrier, with_psk: bool) -> None:
    key = access_key(with_psk=with_psk)
    preface, dialler = preface_for(key, carrier)
    assert len(preface) == PREFACE_BYTES == 88
    opened = open_preface(key, preface, carrier)
    assert opened is not None
    assert opened.timestamp == int(NOW)
    assert opened.e_public == decode_ephemeral(preface)
    assert opened.keys.key_in == dialler.key_out
    assert opened.keys.key_out == dialler.key_in
    assert dialler.key_in != dialler.key_out


@pytest.mark.spec("CA-7")
def test_both_ends_name_the_preface_alike_and_each_differently() -> None:
    key = access_key()
    names = set()
    for seed in "abc":
        preface, dialler = preface_for(key, seed=seed)
        opened = open_preface(key, preface, Carrier.TCP)
        assert opened is not None and opened.keys.road_id == dialler.road_id
        assert len(dialler.road_id) == 8 and dialler.road_id not in preface
        names.add(dialler.road_id)
    assert len(names) == 3


@pytest.mark.spec("CA-2", "CA-3", "CA-7")
def test_the_bytes_are_those_of_the_specification() -> None:
    key = access_key(with_psk=True)
    preface, keys = preface_for(key, Carrier.WS)
    psk = key.psk
    assert psk is not None
    dh = key.ak.exchange(decode_ephemeral(preface))
    material = dh + preface[:32] + key.ak.public + psk
    derived = derive_key(Label.CARRIER, material, 128)
    note = b"\0" + int(NOW).to_bytes(8, "big") + b"\x02\x02" + bytes(13)
    assert preface[32:] == siv_seal(derived[:32], derived[32:64], note)
    assert keys.key_out.reveal() == derived[64:96]
    assert keys.key_in.reveal() == derived[96:]
    assert keys.road_id == keyed_hash(derived[:32], b"road")[:8]


@pytest.mark.spec("CA-5")
def test_any_wrong_bit_opens_nothing() -> None:
    key = access_key()
    preface, _ = preface_for(key)
    for bit in range(8 * PREFACE_BYTES):
        wrong = bytearray(preface)
        wrong[bit // 8] ^= 1 << bit % 8
        assert open_preface(key, wrong, Carrier.TCP) is None, bit


@pytest.mark.spec("CA-5")
def test_another_key_psk_carrier_or_size_opens_nothing() -> None:
    key = access_key()
    preface, _ = preface_for(key)
    assert open_preface(access_key("other"), preface, Carrier.TCP) is None
    with_psk = AccessKey(key.ak, psk=bytes(range(32)))
    assert open_preface(with_psk, preface, Carrier.TCP) is None
    for carrier in STREAM_CARRIERS[1:]:
        assert open_preface(key, preface, carrier) is None
    for n in (0, 1, 32, 87):
        assert open_preface(key, preface[:n], Carrier.TCP) is None
    assert open_preface(key, preface + b"\0", Carrier.TCP) is None


def sealed_note(key: AccessKey, note: bytes) -> bytes:
    """A preface whose maker holds the access key and writes what he likes."""
    e = HiddenKey.from_seed(bytes(range(32)))
    material = e.exchange(key.ak.public) + e.representative + key.ak.public + bytes(32)
    derived = derive_key(Label.CARRIER, material, 128)
    return e.representative + siv_seal(derived[:32], derived[32:64], note)


def wrong_notes() -> list[bytes]:
    right = b"\0" + bytes(8) + b"\x02\x01" + bytes(13)
    return [
        b"\x01" + right[1:],
        right[:9] + b"\x01\x01" + right[11:],
        right[:9] + b"\x02\x00" + right[11:],
        right[:-1] + b"\x01",
        right[:11] + b"\x01" + right[12:],
    ]


@pytest.mark.spec("CA-5")
@pytest.mark.parametrize("note", wrong_notes())
def test_a_note_of_another_kind_opens_nothing_though_it_authenticates(note: bytes) -> None:
    key = access_key()
    right = sealed_note(key, b"\0" + bytes(8) + b"\x02\x01" + bytes(13))
    assert open_preface(key, right, Carrier.TCP) is not None
    assert open_preface(key, sealed_note(key, note), Carrier.TCP) is None


def test_an_ephemeral_of_small_order_opens_nothing() -> None:
    assert decode_ephemeral(bytes(88)) == bytes(32), "the zero point"
    assert open_preface(access_key(), bytes(88), Carrier.TCP) is None


def test_what_cannot_be_dialled_is_refused() -> None:
    with pytest.raises(ValueError):
        preface_for(access_key(), Carrier.UDP)
    with pytest.raises(InvalidKey):
        make_preface(bytes(32), None, Carrier.TCP, rng=SeededRng("x"), unix_now=NOW)
    with pytest.raises(ValueError):
        make_preface(bytes([9] * 32), b"short", Carrier.TCP, rng=SeededRng("x"), unix_now=NOW)


#: Seeds of ephemerals that begin with 16 03, with 17 03, and with four printable characters.
TELLING = (65_831, 33_244, 82)


@pytest.mark.spec("CA-4")
@pytest.mark.parametrize("number", TELLING)
def test_an_ephemeral_that_looks_like_tls_or_text_is_drawn_again(number: int) -> None:
    key = access_key()
    telling, good = number.to_bytes(32, "big"), bytes([7] * 32)
    head = HiddenKey.from_seed(telling).representative[:4]
    assert head[:2] in (b"\x16\x03", b"\x17\x03") or head.decode("ascii").isprintable()
    rng = FixedRng(telling, good)
    preface, _ = make_preface(key.ak.public, None, Carrier.TCP, rng=rng, unix_now=NOW)
    assert preface.startswith(HiddenKey.from_seed(good).representative)


@pytest.mark.spec("CA-6")
def test_a_preface_and_a_hello_of_one_ephemeral_have_two_replay_entries() -> None:
    ak = X25519Key.from_secret(bytes(range(32)))
    cache = ReplayCache(ak, max_clock_skew_s=120, entries_max=8, now=0, unix_now=NOW, complete=True)
    e_public = bytes([5] * 32)
    key = cache.carrier_key_of(e_public)
    expected = keyed_hash(derive_key(Label.REPLAY, ak.secret_bytes()), b"carrier" + e_public)
    assert key == expected[:16] != cache.key_of(e_public)


def test_the_keys_show_nothing_and_are_wiped() -> None:
    _, keys = preface_for(access_key())
    shown = repr(keys)
    for secret in (keys.key_out.reveal(), keys.key_in.reveal(), keys.road_id):
        assert secret.hex() not in shown and repr(secret) not in shown
    keys.wipe()
    keys.wipe()
    assert keys.key_in.is_wiped and keys.key_out.is_wiped
