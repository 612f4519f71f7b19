"""Tickets that are changed, replayed, late, stolen or used by two at once: none counts twice, and
none leads to another identity. Hellos are made by the product's own initiator."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace

import pytest

from wraith.config import Budgets, EndpointConfig
from wraith.connection.connection import Connection
from wraith.connection.events import PeerAuthenticated
from wraith.connection.handshake.handshake import (
    AwaitingResponse,
    Proposal,
    ResponseReply,
    RetryFullReply,
)
from wraith.connection.handshake.negotiate import SuitePolicy, accept_offer, by_id, make_offer
from wraith.connection.tickets.store import Ticket, TicketTerms
from wraith.crypto.secret import Secret
from wraith.crypto.session_keys import ticket_secret
from wraith.testing.endpoints import ADDRESS_B, EndpointHost, linked
from wraith.testing.rng import SeededRng
from wraith.types import Address, NetworkPath, PeerKey, Role, SuiteId

RESUMPTION = Secret(b"r" * 32)
WIDE = EndpointConfig(
    budgets=replace(
        Budgets.native(),
        preauth_rate=1e6,
        preauth_burst=100_000,
        prefix_rate=1e6,
        prefix_burst=100_000,
        hello_full_rate=1e6,
        hello_full_burst=100_000,
    )
)


@dataclass(slots=True)
class Owned:
    """A ticket, whose it is, and how often it has led to a session."""

    ticket: Ticket
    peer: PeerKey
    n_used: int = 0


class Attackers:
    """Many initiators, at any address, who know all tickets of one responder."""

    def __init__(self, seed: int) -> None:
        self.net = linked(config=WIDE)
        self.r: EndpointHost = self.net.r
        self.random = random.Random(seed)
        self.context = self.net.i.endpoint._context
        policy = SuitePolicy.of(WIDE, require_pq=True)
        self.proposal = Proposal.first(self.net.record(), policy, keeps_tickets=True)
        self.kem = self.context.generate_kem(SuiteId.A)
        offer = make_offer(SuiteId.A, SeededRng("offer"), tickets=True)
        self.extensions = by_id(accept_offer(SuiteId.A, offer, tickets=True))
        self.outcomes: Counter[str] = Counter()
        self.n_tickets = 0

    def issue(self, lifetime_s: int = 86_400) -> Owned:
        """A ticket as the responder issues it, for an owner of its own."""
        unix_now = int(self.r.calendar.unix_time())
        self.n_tickets += 1
        peer = PeerKey(self.n_tickets.to_bytes(32, "big"))
        terms = TicketTerms(unix_now, unix_now + lifetime_s, self.extensions, 0)
        record = self.r.endpoint._tickets.issue(terms, SuiteId.A, peer, RESUMPTION, 0, self.net.now)
        assert record is not None
        secret = ticket_secret(RESUMPTION, record.id)
        node = self.r.endpoint.keys.identity.public
        ticket = Ticket(record.id, record.encrypted_params, secret, node, record.expires, 0, 2**40)
        return Owned(ticket, peer)

    def path(self) -> NetworkPath:
        ip = self.random.randbytes(4)
        return NetworkPath(ADDRESS_B, Address(ip, self.random.randrange(1024, 65_536)))

    def say_hello(self, ticket: Ticket, path: NetworkPath) -> tuple[AwaitingResponse, str]:
        """Sends a hello with this ticket; says what came back."""
        stage = AwaitingResponse(
            self.context, self.proposal.resuming(ticket), e1=self.kem, cookie=None
        )
        return stage, self.deliver(stage, stage.datagrams, path)

    def deliver(
        self, stage: AwaitingResponse, datagrams: tuple[bytes, ...], path: NetworkPath
    ) -> str:
        self.net.clock.advance(self.net.now + 0.002)
        for datagram in datagrams:
            self.r.endpoint.receive_datagrams(datagram, len(datagram), path, self.net.now)
        said = "silence"
        for transmit in self.r.endpoint.datagrams_to_send(self.net.now):
            reply = stage.receive(bytes(transmit.data)) if transmit.path == path else None
            if isinstance(reply, RetryFullReply):
                said = "refused"
            elif isinstance(reply, ResponseReply):
                said = "answered"
        return said

    def go_on(self, stage: AwaitingResponse, path: NetworkPath) -> Connection:
        """The initiator's session, whose first packets reach the responder."""
        endpoint = self.net.i.endpoint
        connection = Connection(
            role=Role.INITIATOR, path=path, config=WIDE, rng=self.context.rng,
            kem=self.context.kem, tracer=endpoint._tracer, now=self.net.now, is_resuming=True,
        )  # fmt: skip
        connection.establish(stage.finish(rtt_sample_s=None).take_result(), self.net.now)
        for transmit in connection.datagrams_to_send(self.net.now):
            packet = bytes(transmit.data)
            self.r.endpoint.receive_datagrams(packet, len(packet), path, self.net.now)
        return connection

    def sessions(self) -> list[PeerKey | None]:
        """Whose sessions the responder has begun since the last call."""
        peers = []
        while (item := self.r.endpoint.next_event()) is not None:
            connection, event = item
            if isinstance(event, PeerAuthenticated):
                assert connection is not None
                assert connection.security.authenticated_by == "ticket"
                peers.append(event.peer)
                connection.refuse(self.net.now)
        self.r.endpoint.datagrams_to_send(self.net.now)
        self.r.endpoint.handle_timer(self.net.now)
        return peers

    def attack(self, n: int) -> None:
        """``n`` hellos with tickets; fails at once when one counts that must not."""
        fresh = [self.issue() for _ in range(max(n // 20, 10))]
        late = [self.issue(lifetime_s=1) for _ in range(20)]
        self.net.clock.advance(self.net.now + 2)
        used: list[Owned] = []
        recorded: list[tuple[AwaitingResponse, tuple[bytes, ...]]] = []
        for _ in range(n):
            kind = self.random.choice(
                ("changed", "late", "again", "stolen", "doubled", "recorded", "half")
            )
            owned = self.random.choice(fresh if fresh else used)
            if kind == "changed":
                said = self.say_hello(self.changed(owned.ticket), self.path())[1]
                assert said == "refused"
            elif kind == "late":
                said = self.say_hello(self.random.choice(late).ticket, self.path())[1]
                assert said == "refused"
            elif kind == "again" and used:
                said = self.say_hello(self.random.choice(used).ticket, self.path())[1]
                assert said == "refused"
            elif kind == "recorded" and recorded:
                stage, datagrams = self.random.choice(recorded)
                said = self.deliver(stage, datagrams, self.path())
                assert said == "silence"
            elif kind == "half":
                said = self.say_hello(owned.ticket, self.path())[1]  # and nothing follows
            else:
                said = self.use(owned, recorded, twice=kind == "doubled")
            for peer in self.sessions():
                assert peer == owned.peer
                owned.n_used += 1
                assert owned.n_used == 1
                used.append(owned)
                fresh.remove(owned)
            self.outcomes[f"{kind}: {said}"] += 1

    def use(
        self,
        owned: Owned,
        recorded: list[tuple[AwaitingResponse, tuple[bytes, ...]]],
        *,
        twice: bool,
    ) -> str:
        """Its owner, or a thief, or both at once, go all the way."""
        under_way = []
        said = ""
        for _ in range(2 if twice else 1):
            path = self.path()
            stage, said = self.say_hello(owned.ticket, path)
            recorded.append((stage, stage.datagrams))
            del recorded[:-50]
            if said == "answered":
                under_way.append((stage, path))
        assert len(under_way) <= 1, "a second place is refused while the first holds it"
        for stage, path in under_way:
            self.go_on(stage, path)
        return said

    def changed(self, ticket: Ticket) -> Ticket:
        whole = bytearray(ticket.id + ticket.encrypted_params)
        whole[self.random.randrange(len(whole))] ^= 1 << self.random.randrange(8)
        secret = Secret(ticket.secret.reveal())
        return replace(
            ticket, id=bytes(whole[:16]), encrypted_params=bytes(whole[16:]), secret=secret
        )


@pytest.mark.spec("HS-76", "HS-77")
def test_no_ticket_counts_twice() -> None:
    attackers = Attackers(1)
    attackers.attack(100)
    assert attackers.outcomes["stolen: answered"] + attackers.outcomes["doubled: refused"] > 5


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.spec("HS-76", "HS-77")
def test_no_ticket_of_a_hundred_thousand_counts_twice() -> None:
    attackers = Attackers(2)
    attackers.attack(100_000)
    outcomes = attackers.outcomes
    assert sum(outcomes.values()) == 100_000
    assert outcomes["stolen: answered"] > 1_000 and outcomes["doubled: refused"] > 1_000


@pytest.mark.spec("HS-78")
def test_a_responder_without_the_ticket_cannot_answer_for_it() -> None:
    """Whoever holds the access key alone, and sees the ticket in the hello, makes no RESPONSE that
    the initiator takes: it does not know the secret."""
    attackers = Attackers(3)
    owned = attackers.issue()
    wrong = replace(owned.ticket, secret=Secret(b"x" * 32))
    _, said = attackers.say_hello(wrong, attackers.path())
    assert said == "silence", "and the other way round: Noise fails at the responder"
    assert attackers.r.endpoint._tickets.n_held == 0
    assert attackers.sessions() == []
