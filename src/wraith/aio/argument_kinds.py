"""A value of another kind that a program passes is one clear error, before anything is opened."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from wraith.crypto.ed25519 import Identity
from wraith.errors import ConfigError
from wraith.types import PeerKey

if TYPE_CHECKING:
    from wraith.connection.tickets.store import MemoryTickets


def check_identity(identity: Identity | None) -> None:
    """Returns if ``identity`` is one, or ``None``.

    Raises:
        ConfigError: it is not. The value may be a secret and is not shown.
    """
    if not isinstance(identity, Identity | None):
        kind = type(identity).__name__
        accepted = "a wraith.Identity (Identity.load_or_create, Identity.from_seed)"
        raise ConfigError("identity", f"a value of type {kind}", accepted)


def check_tickets(tickets: MemoryTickets | None) -> None:
    """Returns if ``tickets`` is a store of tickets, or ``None``.

    Raises:
        ConfigError: it is not. The value may hold secrets and is not shown.
    """
    if tickets is None:
        return
    from wraith.connection.tickets.store import MemoryTickets

    if not isinstance(tickets, MemoryTickets):
        kind = type(tickets).__name__
        raise ConfigError("tickets", f"a value of type {kind}", "a wraith.MemoryTickets")


def peer_keys(name: str, keys: object) -> frozenset[PeerKey]:
    """The keys in the argument ``name``. Whoever mistakes their text for them would lock everybody
    out.

    Raises:
        ConfigError: something else is among them, or they are no set at all.
    """
    if not isinstance(keys, Iterable) or isinstance(keys, str | bytes):
        raise ConfigError(name, keys, "a set of PeerKey")
    found: set[PeerKey] = set()
    for key in keys:
        if not isinstance(key, PeerKey):
            raise ConfigError(name, key, "PeerKeys; PeerKey.parse reads one from text")
        found.add(key)
    return frozenset(found)
