"""Request paths of WebSocket links: made by whoever has the code, accepted once."""

from __future__ import annotations

import base64

import pytest

from wraith.connection.links.ws_path import ENTRIES_MAX, TOKEN_CHARS, PathTokens, make_token
from wraith.crypto.kdf import keyed_hash
from wraith.testing.rng import SeededRng

ACCESS_KEY = bytes(range(32))
PSK = bytes(range(32, 64))
NOW = 1_800_000_000.0
MINUTE = 60.0


def tokens(*, psk: bytes | None = PSK, now: float = NOW, used_before: bool = False) -> PathTokens:
    return PathTokens(ACCESS_KEY, psk, unix_now=now, used_before=used_before)


def token(
    seed: object = 0, *, key: bytes = ACCESS_KEY, psk: bytes | None = PSK, now: float = NOW
) -> str:
    return make_token(key, psk, rng=SeededRng(str(seed)), unix_now=now)


@pytest.mark.spec("CA-60")
@pytest.mark.parametrize("psk", [PSK, None])
def test_a_token_is_what_the_page_says(psk: bytes | None) -> None:
    from blake3 import blake3

    made = token("layout", psk=psk)
    r = SeededRng("layout").public_bytes(8)
    key = blake3(ACCESS_KEY + (psk or bytes(32)), derive_key_context="wraith-v2 ws path").digest()
    tag = keyed_hash(key, r + int(NOW // 60).to_bytes(8, "big"))[:16]
    assert made == base64.urlsafe_b64encode(r + tag).decode()
    assert len(made) == TOKEN_CHARS


@pytest.mark.spec("CA-60")
def test_making_one_draws_no_secret_randomness() -> None:
    rng = SeededRng("public")
    make_token(ACCESS_KEY, PSK, rng=rng, unix_now=NOW)
    assert (rng.n_public, rng.n_secret) == (8, 0)


@pytest.mark.spec("CA-61")
@pytest.mark.parametrize("minutes", [-2, -1, 0, 1, 2])
def test_clocks_may_be_two_minutes_apart(minutes: int) -> None:
    assert tokens().accepts(token(now=NOW + minutes * MINUTE), NOW)


@pytest.mark.spec("CA-61")
@pytest.mark.parametrize("minutes", [-3, 3])
def test_three_minutes_are_too_many(minutes: int) -> None:
    assert not tokens().accepts(token(now=NOW + minutes * MINUTE), NOW)


@pytest.mark.spec("CA-61")
def test_another_key_or_psk_opens_nothing() -> None:
    listener = tokens()
    assert not listener.accepts(token(key=bytes(32)), NOW)
    assert not listener.accepts(token(psk=bytes(reversed(PSK))), NOW)
    assert not listener.accepts(token(psk=None), NOW)


@pytest.mark.spec("CA-61")
def test_every_changed_character_is_refused() -> None:
    listener, good = tokens(), token()
    for at in range(TOKEN_CHARS):
        other = "A" if good[at] != "A" else "B"
        assert not listener.accepts(good[:at] + other + good[at + 1 :], NOW)
    assert listener.accepts(good, NOW)


@pytest.mark.spec("CA-61")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "A",
        "A" * 31,
        "A" * 33,
        "é" * 32,
        "A" * 31 + "=",
        "A" * 31 + "\n",
        "A" * 31 + "+",
        "\0" * 32,
    ],
)
def test_other_text_is_refused_without_an_error(text: str) -> None:
    assert not tokens().accepts(text, NOW)


@pytest.mark.spec("CA-62")
def test_each_counts_once_as_long_as_it_is_valid() -> None:
    listener, first = tokens(), token(now=NOW + 2 * MINUTE)
    assert listener.accepts(first, NOW)
    for later in range(6):
        assert not listener.accepts(first, NOW + later * MINUTE)


@pytest.mark.spec("CA-62")
def test_the_same_r_in_another_minute_is_no_new_token() -> None:
    listener = tokens()
    assert listener.accepts(token("r"), NOW)
    assert not listener.accepts(token("r", now=NOW + MINUTE), NOW)


@pytest.mark.spec("CA-62")
def test_a_refused_token_uses_nothing_up() -> None:
    listener, early = tokens(), token(now=NOW + 3 * MINUTE)
    assert not listener.accepts(early, NOW)
    assert listener.accepts(early, NOW + MINUTE)


@pytest.mark.spec("CA-62")
def test_what_is_remembered_is_bounded_and_a_full_memory_refuses() -> None:
    listener = tokens()
    for i in range(ENTRIES_MAX):
        assert listener.accepts(token(i), NOW)
    assert listener.n_entries == ENTRIES_MAX
    late = token("late", now=NOW + MINUTE)
    assert not listener.accepts(late, NOW + MINUTE)
    assert listener.accepts(late, NOW + 3 * MINUTE)
    assert listener.n_entries == 1


@pytest.mark.spec("CA-62")
def test_a_clock_that_is_set_back_makes_no_used_token_valid_again() -> None:
    listener, first = tokens(), token()
    assert listener.accepts(first, NOW)
    assert not listener.accepts(token("other"), NOW + 10 * MINUTE)
    assert not listener.accepts(first, NOW)


@pytest.mark.spec("CA-63")
def test_a_key_with_a_past_refuses_what_may_have_been_used_before() -> None:
    restarted = tokens(used_before=True)
    for minutes in range(3):
        at = NOW + minutes * MINUTE
        assert not restarted.accepts(token(f"now {minutes}", now=at), at)
        assert not restarted.accepts(token(f"ahead {minutes}", now=NOW + 2 * MINUTE), at)
    after = NOW + 3 * MINUTE
    assert restarted.accepts(token("after", now=after), after)


@pytest.mark.spec("CA-63")
def test_a_key_of_this_process_has_no_past() -> None:
    assert tokens().accepts(token(), NOW)


def test_a_clock_at_its_beginning_is_no_error() -> None:
    assert tokens(now=0).accepts(token(now=0), 0)
