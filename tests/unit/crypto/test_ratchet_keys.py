"""The ratchet's arrows and the session's key schedule."""

from __future__ import annotations

import pytest
from blake3 import blake3

from wraith.crypto import ratchet
from wraith.crypto.aead import Aead
from wraith.crypto.secret import Secret
from wraith.crypto.session_keys import SessionKeys, cid, next_root, rekey_transcript, session_secret
from wraith.types import Role

ROOT = b"\x33" * 32


@pytest.mark.spec("CR-31")
def test_the_arrows_reach_the_keys_that_the_shortcut_gives() -> None:
    chain = ratchet.first_chain(ROOT, 0, Role.INITIATOR)
    pn = 0
    for block in range(3):
        position = ratchet.block_key(chain, block)
        for _ in range(ratchet.BLOCK):
            if pn % 51 == 0:
                want = ratchet.message_key_at(ROOT, 0, Role.INITIATOR, pn)
                assert ratchet.message_key(position, pn) == want
            position = ratchet.step(position)
            pn += 1
        chain = ratchet.next_chain(chain)


@pytest.mark.spec("CR-31")
def test_directions_epochs_and_numbers_have_keys_of_their_own() -> None:
    keys = {
        ratchet.message_key_at(ROOT, epoch, role, pn)
        for epoch in (0, 1, 4)
        for role in Role
        for pn in (0, 1, 255, 256)
    }
    assert len(keys) == 24


@pytest.mark.spec("CR-31")
@pytest.mark.parametrize("pn", [-1, 2**21])
def test_a_packet_number_beyond_the_bound_has_no_key(pn: int) -> None:
    with pytest.raises(ValueError):
        ratchet.message_key_at(ROOT, 0, Role.INITIATOR, pn)


@pytest.mark.spec("CR-32")
def test_the_nonce_is_the_iv_with_the_number_at_its_end() -> None:
    iv = ratchet.iv(ROOT, 0, Role.INITIATOR)
    long = ratchet.packet_nonce(Aead.XCHACHA20_POLY1305, iv, 1000)
    assert long.hex() == "2e0eacecd344d3bce581b8b1cb6cfcd533fa22dc4ec1f6b6"
    short = ratchet.packet_nonce(Aead.AES_256_GCM, iv, 1000)
    assert len(short) == 12 and short[:8] == iv[:8]
    assert bytes(a ^ b for a, b in zip(short, iv, strict=False)) == (1000).to_bytes(12, "big")


@pytest.mark.spec("CR-22")
def test_every_session_value_is_different() -> None:
    keys = SessionKeys.derive(Secret(b"\x42" * 32))
    secrets = [value.reveal() for value in keys_of(keys)]
    assert len({*secrets, keys.session_id}) == 9
    assert len(keys.session_id) == 16 and all(len(value) == 32 for value in secrets)


def keys_of(keys: SessionKeys) -> list[Secret]:
    return [
        keys.hp_i2r,
        keys.hp_r2i,
        keys.cid_i,
        keys.cid_r,
        keys.exporter,
        keys.resumption0,
        keys.root0,
        keys.format_seed,
    ]


@pytest.mark.spec("CR-22", "CR-23")
def test_header_keys_go_by_sender_and_cid_keys_by_receiver() -> None:
    keys = SessionKeys.derive(b"\x42" * 32)
    assert keys.header_key(Role.INITIATOR) is keys.hp_i2r
    assert keys.header_key(Role.RESPONDER) is keys.hp_r2i
    assert keys.cid_key(Role.INITIATOR) is keys.cid_i
    assert keys.cid_key(Role.RESPONDER) is keys.cid_r
    assert keys.hp_i2r.reveal().hex().startswith("2c95ee0abb346c3d")
    assert cid(keys.cid_r, 1).hex() == "667b0711c9fddfaa"


@pytest.mark.spec("CR-24")
def test_exports_are_bound_to_label_and_session() -> None:
    one, two = SessionKeys.derive(b"\x42" * 32), SessionKeys.derive(b"\x43" * 32)
    values = [one.export("a", 32), one.export("b", 32), two.export("a", 32), one.export("", 32)]
    assert len(set(values)) == 4
    assert one.export("a", 100)[:32] == values[0]
    for label, n in (("a", 0), ("a", 65_536), ("x" * 65_536, 32)):
        with pytest.raises(ValueError):
            one.export(label, n)


@pytest.mark.spec("CR-24")
def test_exports_are_bound_to_a_context_and_an_empty_one_is_none() -> None:
    keys = SessionKeys.derive(b"\x42" * 32)
    assert keys.export("a", 32, b"") == keys.export("a", 32)
    message = b"\0\1a" + b"\0\3who"
    assert keys.export("a", 32, b"who") == blake3(message, key=keys.exporter.reveal()).digest()
    pairs = [("a", b""), ("a", b"b"), ("ab", b""), ("a", b"\0\1b"), ("", b"ab")]
    assert len({keys.export(label, 32, context) for label, context in pairs}) == len(pairs)
    with pytest.raises(ValueError):
        keys.export("a", 32, bytes(65_536))


def test_wiping_ends_every_secret() -> None:
    keys = SessionKeys.derive(b"\x42" * 32)
    keys.wipe()
    assert all(value.is_wiped for value in keys_of(keys))


@pytest.mark.spec("CR-21")
def test_the_session_secret_takes_chaining_key_and_hash_in_this_order() -> None:
    assert session_secret(b"c" * 32, b"h" * 32) != session_secret(b"h" * 32, b"c" * 32)


@pytest.mark.spec("CR-22")
def test_every_input_enters_the_next_root() -> None:
    th = rekey_transcript(b"init", bytearray(b"resp"))
    base = next_root(ROOT, b"s" * 32, th, 1)
    assert base == next_root(Secret(ROOT), b"s" * 32, th, 1)
    for other in (
        next_root(b"\x34" * 32, b"s" * 32, th, 1),
        next_root(ROOT, b"t" * 32, th, 1),
        next_root(ROOT, b"s" * 32, rekey_transcript(b"init", b"rest"), 1),
        next_root(ROOT, b"s" * 32, th, 2),
    ):
        assert other != base
