"""The tickets of one session: R issues them on stream 0, I keeps them.

    R   accept ── 2 after a full handshake, 1 after a resumption ──► NEW_TICKET
        TICKET_REQUEST, at most 4, 16 in all ─────────────────────► NEW_TICKET
    I   NEW_TICKET ──► secret of the epoch that it names ──► the program's store

Exists only where both sides have agreed on RESUMPTION. Spec: handshake.md §9 [HS-73] [HS-74]
[HS-81].
"""

from __future__ import annotations

from typing import Protocol

from wraith.abc import WallClock
from wraith.connection.parts import ConnectionParts
from wraith.connection.tickets.desk import TicketDesk
from wraith.connection.tickets.store import (
    MemoryTickets,
    Ticket,
    TicketName,
    TicketTerms,
    expiry,
)
from wraith.crypto.session_keys import ticket_secret
from wraith.errors import RemoteProtocolError
from wraith.types import PeerKey, SuiteId
from wraith.wire.control_records import NewTicket, TicketRequest

PER_SESSION_MAX = 16
"""So many tickets R issues in a session, whatever I asks for."""
KEPT_MIN = 2
"""With fewer tickets I asks for more: one is used by every return."""


class Tickets(Protocol):
    """What a session does about tickets, after its handshake."""

    def begin(
        self, parts: ConnectionParts, terms: TicketTerms, suite: SuiteId, peer: PeerKey
    ) -> None:
        """The session has its keys."""
        ...

    def on_accept(self, now: float) -> None:
        """Responder: the peer may use the session."""
        ...

    def on_new_ticket(self, record: NewTicket) -> None:
        """Raises ``RemoteProtocolError``: not from this side."""
        ...

    def on_request(self, record: TicketRequest, now: float) -> None:
        """Raises ``RemoteProtocolError``: not from this side."""
        ...


class TicketIssuing:
    """The responder's part."""

    __slots__ = ("_desk", "_is_accepted", "_n_issued", "_n_wanted", "_parts", "_peer", "_suite",
                 "_terms")  # fmt: skip

    def __init__(self, desk: TicketDesk) -> None:
        self._desk = desk
        self._n_issued = self._n_wanted = 0
        self._is_accepted = False

    def begin(
        self, parts: ConnectionParts, terms: TicketTerms, suite: SuiteId, peer: PeerKey
    ) -> None:
        self._parts, self._terms, self._suite, self._peer = parts, terms, suite, peer
        self._n_wanted = terms.n_first

    def on_accept(self, now: float) -> None:
        self._is_accepted = True
        self._issue(now)

    def on_new_ticket(self, record: NewTicket) -> None:
        raise RemoteProtocolError("only the responder issues tickets")

    def on_request(self, record: TicketRequest, now: float) -> None:
        self._n_wanted = min(self._n_wanted + record.count, PER_SESSION_MAX - self._n_issued)
        if self._is_accepted:
            self._issue(now)

    def _issue(self, now: float) -> None:
        keys = self._parts.keys
        resumption = keys.resumption(keys.newest)
        while self._n_wanted > 0 and self._n_issued < PER_SESSION_MAX and resumption is not None:
            self._n_wanted -= 1
            self._n_issued += 1
            record = self._desk.issue(
                self._terms, self._suite, self._peer, resumption, keys.newest, now
            )
            if record is not None:
                self._parts.control.push(record)


class TicketKeeping:
    """The initiator's part.

    Args:
        store: the program's.
        own, access_key: 32 bytes each, the identity and the access key that were dialled with.
    """

    __slots__ = ("_access_key", "_clock", "_n_kept", "_name", "_own", "_parts", "_peer", "_store",
                 "_terms")  # fmt: skip

    def __init__(
        self, store: MemoryTickets, *, own: bytes, access_key: bytes, clock: WallClock
    ) -> None:
        self._store = store
        self._own = own
        self._access_key = access_key
        self._clock = clock
        self._n_kept = 0

    def begin(
        self, parts: ConnectionParts, terms: TicketTerms, suite: SuiteId, peer: PeerKey
    ) -> None:
        self._parts, self._terms, self._peer = parts, terms, peer
        self._name = TicketName(self._own, self._access_key, suite)
        missing = KEPT_MIN - terms.n_first - self._store.count(self._name)
        if missing > 0:
            parts.control.push(TicketRequest(missing))

    def on_accept(self, now: float) -> None:
        """Never: the initiator accepts by going on."""

    def on_new_ticket(self, record: NewTicket) -> None:
        resumption = self._parts.keys.resumption(record.epoch)
        unix_now = self._clock.unix_time()
        expires = min(record.expires, expiry(unix_now, self._terms.full, self._terms.not_after))
        if resumption is None or expires <= unix_now or self._n_kept >= PER_SESSION_MAX:
            return
        self._n_kept += 1
        ticket = Ticket(
            id=record.id,
            encrypted_params=record.encrypted_params,
            secret=ticket_secret(resumption, record.id),
            peer=self._peer,
            expires=expires,
            full=self._terms.full,
            not_after=self._terms.not_after,
        )
        self._store.add(self._name, ticket)

    def on_request(self, record: TicketRequest, now: float) -> None:
        raise RemoteProtocolError("only the initiator asks for tickets")
