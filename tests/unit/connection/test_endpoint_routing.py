"""Which connection a datagram belongs to: by 4-tuple, and by masked connection id at 14 offsets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.connection.connection import Connection
from wraith.connection.handshake.header_masks import ROTATION_S, HeaderMaskKeys
from wraith.connection.routing import (
    CID_OFFSETS,
    PATHS_PER_SESSION,
    SESSIONS_PER_PATH,
    Route,
    RoutingTable,
)
from wraith.crypto.kdf import keyed_hash
from wraith.testing.rng import SeededRng
from wraith.types import Address, Buffer, NetworkPath

LOCAL = Address(bytes((192, 0, 2, 1)), 443)
HMKS = (b"n" * 32, b"o" * 32)


@dataclass
class FakeConnection:
    """Only what a lookup asks for."""

    cid_offset: int = 0
    looks_right: bool = True

    def claims(self, datagram: Buffer) -> bool:
        del datagram
        return self.looks_right


def route(offset: int = 0, *, looks_right: bool = True) -> Route:
    made = Route()
    made.connection = cast(Connection, FakeConnection(offset, looks_right))
    return made


def path(i: int) -> NetworkPath:
    return NetworkPath(LOCAL, Address(bytes((10, 0, i >> 8, i & 255)), 1))


def form_b(cid: bytes, offset: int, hmk: bytes, n: int = 60, seed: int = 1) -> bytes:
    """A datagram that carries ``cid`` masked for the owner of ``hmk``."""
    datagram = bytearray(SeededRng(seed).public_bytes(n))
    mask = keyed_hash(hmk, bytes(datagram[-16:]))[:8]
    datagram[offset : offset + 8] = bytes(a ^ b for a, b in zip(cid, mask, strict=True))
    return bytes(datagram)


@pytest.mark.spec("HS-41")
@pytest.mark.parametrize("offset", range(CID_OFFSETS))
@pytest.mark.parametrize("hmk", HMKS)
def test_form_b_is_found_at_every_offset_under_both_keys(offset: int, hmk: bytes) -> None:
    table, wanted = RoutingTable(), route(offset)
    table.set_cids(wanted, (b"cid-0001", b"cid-0002"))
    assert table.find_by_cid(form_b(b"cid-0002", offset, hmk), HMKS) is wanted


@pytest.mark.spec("HS-41")
def test_an_id_at_another_offset_than_the_layout_says_is_no_hit() -> None:
    table, other = RoutingTable(), route(5)
    table.set_cids(other, (b"cid-0001",))
    for offset in range(CID_OFFSETS):
        found = table.find_by_cid(form_b(b"cid-0001", offset, HMKS[0]), HMKS)
        assert (found is other) is (offset == 5)


@pytest.mark.spec("HS-41")
def test_a_hit_whose_header_does_not_look_right_is_none() -> None:
    table, other = RoutingTable(), route(0, looks_right=False)
    table.set_cids(other, (b"cid-0001",))
    assert table.find_by_cid(form_b(b"cid-0001", 0, HMKS[0]), HMKS) is None


def test_under_a_key_that_is_not_ours_nothing_is_found() -> None:
    table, other = RoutingTable(), route(0)
    table.set_cids(other, (b"cid-0001",))
    assert table.find_by_cid(form_b(b"cid-0001", 0, b"x" * 32), HMKS) is None
    assert table.find_by_cid(b"short", HMKS) is None
    assert table.find_by_cid(form_b(b"cid-0001", 0, HMKS[0], n=32), HMKS) is None


@given(st.integers(0, 2**32))
def test_random_datagrams_find_nobody_among_many(seed: int) -> None:
    table = _crowd()
    assert table.find_by_cid(SeededRng(seed).public_bytes(900), HMKS) is None


def _crowd(_made: list[RoutingTable] = []) -> RoutingTable:  # noqa: B006  # one for all examples
    if not _made:
        table, rng = RoutingTable(), SeededRng("crowd")
        for n in range(2_000):
            table.set_cids(route(n % 14), tuple(rng.public_bytes(8) for _ in range(9)))
        _made.append(table)
    return _made[0]


@pytest.mark.spec("HS-41")
def test_a_colliding_id_stays_with_the_first_and_closes_nothing() -> None:
    table, first, second = RoutingTable(), route(), route()
    table.set_cids(first, (b"cid-0001",))
    table.set_cids(second, (b"cid-0001", b"cid-0002"))
    assert table.find_by_cid(form_b(b"cid-0001", 0, HMKS[0]), HMKS) is first
    assert table.find_by_cid(form_b(b"cid-0002", 0, HMKS[0]), HMKS) is second
    table.remove(second)
    assert table.find_by_cid(form_b(b"cid-0001", 0, HMKS[0]), HMKS) is first


def test_ids_that_left_the_window_are_forgotten() -> None:
    table, one = RoutingTable(), route()
    table.set_cids(one, (b"cid-0001", b"cid-0002"))
    table.set_cids(one, (b"cid-0002", b"cid-0003"))
    assert table.find_by_cid(form_b(b"cid-0001", 0, HMKS[0]), HMKS) is None
    assert table.n_cids == 2
    table.remove(one)
    assert table.n_cids == 0 and table.n_paths == 0


@pytest.mark.spec("HS-40")
def test_last_used_comes_first_and_the_fifth_pushes_one_out() -> None:
    table = RoutingTable()
    routes = [route() for _ in range(SESSIONS_PER_PATH + 1)]
    for one in routes:
        table.use_path(one, path(1))
    assert table.on_path(path(1)) == tuple(reversed(routes[1:]))
    assert routes[0].paths == []
    table.use_path(routes[2], path(1))
    assert table.on_path(path(1))[0] is routes[2]
    assert len(table.on_path(path(1))) == SESSIONS_PER_PATH


def test_a_connection_keeps_few_paths() -> None:
    table, one = RoutingTable(), route()
    for n in range(20):
        table.use_path(one, path(n))
    assert len(one.paths) == PATHS_PER_SESSION and table.n_paths == PATHS_PER_SESSION
    assert table.on_path(path(19)) == (one,)
    assert table.on_path(path(0)) == ()


@pytest.mark.spec("HS-42")
def test_mask_keys_turn_over_daily_and_the_last_one_stays_for_lookups() -> None:
    keys = HeaderMaskKeys(SeededRng(1), 0.0)
    first = keys.live[0]
    keys.on_timer(ROTATION_S - 1)
    assert keys.live == (first,)
    keys.on_timer(ROTATION_S)
    assert first in keys.live[1:] and keys.live[0] != first
    second = keys.live[0]
    keys.on_timer(2 * ROTATION_S)
    assert second in keys.live[1:] and first not in keys.live
