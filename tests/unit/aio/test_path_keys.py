"""Which paths of WebSocket count at a node with several keys."""

from __future__ import annotations

import pytest

from wraith.aio.path_keys import PathKeys
from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.connection.links.ws_path import make_token
from wraith.testing.clock import VirtualCalendar, VirtualClock
from wraith.testing.rng import SeededRng

CALENDAR = VirtualCalendar(VirtualClock())


@pytest.fixture
def rng() -> SeededRng:
    return SeededRng("path keys")


def token_of(key: AccessKey, rng: SeededRng) -> str:
    return make_token(key.ak.public, key.psk, rng=rng, unix_now=CALENDAR.unix_time())


def test_each_key_lets_in_who_knows_it_once(rng: SeededRng) -> None:
    keys = PathKeys(CALENDAR)
    both = [AccessKey.generate(rng, with_psk=True) for _ in range(2)]
    for key in both:
        keys.add(key, used_before=False)
    for key in both:
        token = token_of(key, rng)
        assert keys.accepts(token) and not keys.accepts(token)
    assert not keys.accepts("") and not keys.accepts("A" * 32)


def test_a_key_that_is_gone_lets_nobody_in(rng: SeededRng) -> None:
    keys, key = PathKeys(CALENDAR), AccessKey.generate(rng, with_psk=True)
    keys.add(key, used_before=False)
    keys.remove(key.ak.public)
    keys.remove(key.ak.public)
    assert not keys.accepts(token_of(key, rng))


def test_a_key_with_a_past_refuses_what_it_may_have_seen(rng: SeededRng) -> None:
    keys, key = PathKeys(CALENDAR), AccessKey.generate(rng, with_psk=True)
    keys.add(key, used_before=True)
    assert not keys.accepts(token_of(key, rng))
