"""The initiator's store: bounded, newest first, never shown, wiped."""

from __future__ import annotations

import pytest

from wraith.connection.tickets.store import (
    CHAIN_S,
    LIFETIME_S,
    PEERS_MAX,
    MemoryTickets,
    Ticket,
    TicketName,
    expiry,
)
from wraith.crypto.secret import Secret
from wraith.types import PeerKey, SuiteId

NAME = TicketName(b"o" * 32, b"a" * 32, SuiteId.A)


def ticket(n: int, expires: int = 1_000) -> Ticket:
    secret = Secret(bytes([n % 256]) * 32)
    return Ticket(bytes([n % 256]) * 16, b"params", secret, PeerKey(b"p" * 32), expires, 0, 2_000)


@pytest.mark.spec("HS-74")
def test_the_newest_goes_first_and_each_goes_once() -> None:
    store = MemoryTickets()
    one, two = ticket(1), ticket(2)
    store.add(NAME, one)
    store.add(NAME, two)
    assert store.take(NAME, 0) is two and store.take(NAME, 0) is one
    assert store.take(NAME, 0) is None and len(store) == 0


@pytest.mark.spec("HS-74")
def test_eight_for_a_name_and_the_oldest_makes_room_wiped() -> None:
    store = MemoryTickets()
    tickets = [ticket(n) for n in range(9)]
    for each in tickets:
        store.add(NAME, each)
    assert len(store) == 8
    assert [each.secret.is_wiped for each in tickets] == [True] + [False] * 8


def test_of_too_many_names_the_one_that_got_nothing_for_longest_makes_room() -> None:
    store = MemoryTickets()
    first = ticket(0)
    names = [TicketName(n.to_bytes(32, "big"), b"", SuiteId.A) for n in range(PEERS_MAX + 1)]
    store.add(names[0], ticket(0))
    store.add(names[1], first)
    store.add(names[0], ticket(1))
    for name in names[2:]:
        store.add(name, ticket(2))
    assert store.count(names[0]) == 2 and store.count(names[1]) == 0 and first.secret.is_wiped


@pytest.mark.spec("HS-73")
def test_what_has_expired_is_wiped_and_not_taken() -> None:
    store = MemoryTickets()
    old, good = ticket(1, expires=10), ticket(2, expires=11)
    store.add(NAME, good)
    store.add(NAME, old)
    assert store.take(NAME, 10) is good and old.secret.is_wiped
    store.add(NAME, ticket(3, expires=10))
    assert store.take(NAME, 10) is None and len(store) == 0


@pytest.mark.spec("HS-73")
def test_the_earliest_of_three_ends_counts() -> None:
    assert expiry(100.9, 100, 10**9) == 100 + LIFETIME_S
    assert expiry(100, 100 + LIFETIME_S - CHAIN_S - 1, 10**9) == 100 + LIFETIME_S - 1
    assert expiry(100, 100, 150) == 150


def test_a_fork_uses_none() -> None:
    store = MemoryTickets()
    held = ticket(1)
    store.add(NAME, held)
    store.poison()
    assert held.secret.is_wiped and store.take(NAME, 0) is None
