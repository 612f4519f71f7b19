"""The initiator's tickets: what one is, and the store in memory that a program hands to its dials.

A ticket resumes the session of the identity that it was made for, with the node that made it, and
works once. Whoever takes it from the memory of this process resumes as its owner until it expires;
so it never touches a disk. Spec: handshake.md §9 [HS-73] [HS-74].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from wraith.crypto.ed25519 import Identity
from wraith.crypto.secret import Secret
from wraith.types import PeerKey, SuiteId
from wraith.wire.extensions import Extension

LIFETIME_S = 86_400
"""No ticket is used later than a day after it was issued."""
CHAIN_S = 7 * 86_400
"""So long after a full handshake its tickets, and those of the sessions that they resumed, end."""
PER_PEER_MAX = 8
PEERS_MAX = 1_024
NEW_AFTER_FULL = 2
NEW_AFTER_RESUMPTION = 1


def expiry(unix_now: float, full: int, not_after: int) -> int:
    """When a ticket that is issued now ends: Unix seconds. [HS-73]"""
    return min(int(unix_now) + LIFETIME_S, full + CHAIN_S, not_after)


@dataclass(frozen=True, slots=True)
class TicketTerms:
    """What the tickets of one session are bound to, as both of its sides know it.

    Attributes:
        full: Unix seconds of the full handshake that the chain began with.
        not_after: the earlier end of the two certificates that were shown then.
        extensions: what was agreed on, ascending by id.
        n_first: how many the responder issues unasked.
    """

    full: int
    not_after: int
    extensions: tuple[Extension, ...]
    n_first: int


class TicketName(NamedTuple):
    """Where a ticket fits: ``own`` (32 bytes) dials the access key (32 bytes) with this suite."""

    own: bytes
    access_key: bytes
    suite: SuiteId


@dataclass(frozen=True, slots=True, eq=False)
class Ticket:
    """One ticket at the initiator. Owned by the store, then by the dial that took it, which wipes
    it.

    Attributes:
        id: 16 bytes.
        encrypted_params: what only the responder reads.
        secret: 32 bytes; ``Secret`` shows none of them.
        peer: the responder's identity, proved by the full handshake of the chain.
        expires, full, not_after: Unix seconds, as the initiator reckons them itself.
    """

    id: bytes
    encrypted_params: bytes = field(repr=False)
    secret: Secret
    peer: PeerKey
    expires: int
    full: int
    not_after: int

    def wipe(self) -> None:
        self.secret.wipe()


class MemoryTickets:
    """Tickets of this process, for ``connect(tickets=...)``. Never written anywhere, and gone with
    the process; a forked child uses none. At most eight for each name and 1,024 names.

    One store may serve any number of dials and endpoints of one thread.
    """

    __slots__ = ("__weakref__", "_by_name", "identity")

    def __init__(self) -> None:
        self._by_name: dict[TicketName, list[Ticket]] = {}
        #: Who dials where the program names nobody: a ticket fits only the identity that it was
        #: made for. ``connect`` makes it when it is first needed.
        self.identity: Identity | None = None

    def __len__(self) -> int:
        return sum(map(len, self._by_name.values()))

    def __repr__(self) -> str:
        return f"MemoryTickets({len(self)} for {len(self._by_name)} peers)"

    def add(self, name: TicketName, ticket: Ticket) -> None:
        """Keeps ``ticket``; the oldest of its name makes room, and of the names the one that was
        not added to for longest."""
        of_name = self._by_name.pop(name, [])
        of_name.append(ticket)
        while len(of_name) > PER_PEER_MAX:
            of_name.pop(0).wipe()
        self._by_name[name] = of_name
        if len(self._by_name) > PEERS_MAX:
            for old in self._by_name.pop(next(iter(self._by_name))):
                old.wipe()

    def take(self, name: TicketName, unix_now: float) -> Ticket | None:
        """The newest ticket of this name that has not expired, which the store forgets: a ticket
        is used once, whatever comes of it. [HS-74]"""
        of_name = self._by_name.pop(name, [])
        fresh = [ticket for ticket in of_name if unix_now < ticket.expires]
        for ticket in of_name:
            if unix_now >= ticket.expires:
                ticket.wipe()
        taken = fresh.pop() if fresh else None
        if fresh:
            self._by_name[name] = fresh
        return taken

    def count(self, name: TicketName) -> int:
        """How many tickets of this name there are, expired ones too."""
        return len(self._by_name.get(name, ()))

    def wipe(self) -> None:
        """Forgets all tickets."""
        for of_name in self._by_name.values():
            for ticket in of_name:
                ticket.wipe()
        self._by_name.clear()

    def poison(self) -> None:
        """After a fork: the other process uses them. The identity may serve both."""
        self.wipe()
