from __future__ import annotations

import pytest

from wraith.connection.handshake.endpoint_keys import EndpointKeys
from wraith.crypto.ed25519 import Identity
from wraith.crypto.x25519 import X25519Key
from wraith.testing.rng import SeededRng

DAY_S = 86_400
NOW = 1_800_000_000


def not_after(ident: bytes) -> int:
    return int.from_bytes(ident[32:40], "big")


@pytest.mark.spec("HS-70")
def test_the_certificate_of_a_static_key_of_this_process_lasts_a_day() -> None:
    keys = EndpointKeys.generate(SeededRng("keys"))
    first = keys.ident(NOW)
    assert not_after(first) == NOW + DAY_S
    assert keys.ident(NOW + DAY_S // 2) == first
    assert not_after(keys.ident(NOW + DAY_S // 2 + 1)) == NOW + 3 * DAY_S // 2 + 1


@pytest.mark.spec("HS-12")
def test_the_certificate_of_a_kept_static_key_lasts_a_year_and_is_renewed_a_month_before() -> None:
    rng = SeededRng("keys")
    keys = EndpointKeys(Identity.generate(rng), X25519Key.generate(rng), keeps_static=True)
    first = keys.ident(NOW)
    assert not_after(first) == NOW + 365 * DAY_S
    assert keys.ident(NOW + 335 * DAY_S) == first
    assert not_after(keys.ident(NOW + 335 * DAY_S + 1)) == NOW + 700 * DAY_S + 1
