"""The responder's stages of a resumption: NNhfs+psk0 in place of XXhfs, and no FINISH.

::

    AwaitingHello ── all of HELLO ──► answer_resumption() ──► AwaitingFirstPacket
    AwaitingFirstPacket ── a packet of the session opens ──► FinishedHandshake

RESPONSE is the last message of the handshake. Until a packet of the initiator has opened under its
keys nothing shows that the initiator is there and not a recording, so there is no session yet.

Spec: handshake.md §9 [HS-78] [HS-79].
"""

from __future__ import annotations

from wraith.connection.handshake.flight import ResponseFlight
from wraith.connection.handshake.handshake import HandshakeContext, prologue
from wraith.connection.handshake.negotiate import (
    accept_offer,
    by_id,
    has_roads,
    responder_choice,
    responder_suites,
)
from wraith.connection.handshake.responder import (
    FinishedHandshake,
    FinishOutcome,
    HelloRefused,
    ProvenHello,
)
from wraith.connection.handshake_result import HandshakeResult
from wraith.connection.keys import trial_opener
from wraith.connection.tickets.store import NEW_AFTER_RESUMPTION, TicketTerms
from wraith.crypto.noise import for_suite
from wraith.crypto.session_keys import resume_psk, session_secret
from wraith.crypto.veil import VeilKeys
from wraith.errors import CryptoError, LocalProtocolError, RemoteProtocolError
from wraith.types import Role
from wraith.wire.handshake import PartKind, decode_part
from wraith.wire.resumption import ResumeHello, ResumeResponse, TicketContent


class TicketRefused(HelloRefused):
    """The ticket is good, and what it was issued for is not what this side would agree on now."""


def answer_resumption(
    context: HandshakeContext,
    ak_public: bytes,
    hello: ProvenHello,
    ticket: TicketContent,
    body: bytes,
    unix_now: float,
) -> AwaitingFirstPacket:
    """Runs the responder's half of Noise and ML-KEM with the secret of the ticket.

    Raises:
        TicketRefused: RETRY_FULL is the answer. [HS-76]
        CryptoError, RemoteProtocolError: silence is.
    """
    suite = ticket.suite
    noise = for_suite(
        suite,
        Role.RESPONDER,
        prologue(suite, ak_public, hello.retry_of),
        rng=context.rng,
        kem=context.kem,
        psk=resume_psk(ticket.secret),
    )
    payload = ResumeHello.decode(noise.read_message(hello.representative + body))
    own_suites = responder_suites(context.config)
    if responder_choice(own_suites, payload.hello.suites) != suite:
        raise TicketRefused
    extensions = accept_offer(suite, payload.hello.extensions, tickets=context.config.tickets)
    if by_id(extensions) != ticket.extensions:
        raise TicketRefused
    own_params = context.transport_params()
    answer = ResumeResponse(extensions=extensions, params=own_params, time=int(unix_now))
    answer_body = noise.write_message(answer.encode())
    asked = payload.ticket_request
    secret = session_secret(*noise.chaining_key_and_hash())
    noise.wipe()
    result = HandshakeResult(
        session_secret=secret,
        suite=suite,
        role=Role.RESPONDER,
        peer=ticket.peer,
        peer_params=payload.params,
        own_params=own_params,
        peer_hmk=payload.hmk,
        own_hmks=context.hmks.live,
        authenticated_by="ticket",
        has_roads=has_roads(extensions),
        access_key=ak_public,
        ticket_terms=TicketTerms(
            full=ticket.full,
            not_after=ticket.not_after,
            extensions=ticket.extensions,
            n_first=NEW_AFTER_RESUMPTION if asked is None else asked,
        ),
    )
    return AwaitingFirstPacket(context, hello.veil, answer_body, result)


class AwaitingFirstPacket:
    """RESPONSE is made, and the keys of the session with it. Stands where ``AwaitingFinish`` does
    in a full handshake."""

    __slots__ = ("veil", "_flight", "_opener", "_result")

    def __init__(
        self, context: HandshakeContext, veil: VeilKeys, body: bytes, result: HandshakeResult
    ) -> None:
        self.veil = veil
        self._result: HandshakeResult | None = result
        # Only asks whether a packet is the initiator's: what it has opened, the session opens anew.
        self._opener = trial_opener(result)
        self._flight = ResponseFlight(body, rng=context.rng, shaper=context.shaper)

    @property
    def n_repeats(self) -> int:
        """How often RESPONSE has been sealed again."""
        return self._flight.n_repeats

    def response(self, now: float) -> list[bytes]:
        """All parts of RESPONSE, sealed now. [HS-25]"""
        return self._flight.seal(self.veil, now)

    def receive(self, datagram: bytes) -> FinishOutcome | None:
        """``None``: not a datagram of this attempt."""
        if self._result is None:
            return None
        try:
            part = decode_part(self.veil.open(Role.INITIATOR, datagram))
        except (CryptoError, RemoteProtocolError):
            return FinishOutcome.FINISHED if self._opens(datagram) else None
        is_tail = part.kind is PartKind.HELLO and part.index > 0
        return FinishOutcome.HELLO_AGAIN if is_tail else FinishOutcome.NOTHING

    def _opens(self, datagram: bytes) -> bool:
        if not self._opener.claims(datagram):
            return False
        out = bytearray(len(datagram))
        return self._opener.open_run(datagram, len(datagram), out, 0.0).highest is not None

    def take_result(self, unix_now: float, now: float) -> FinishedHandshake:
        """After FINISHED, once."""
        result = self._result
        if result is None:
            raise LocalProtocolError("there is no result to take")
        rtt_s = self._flight.rtt_s(now)
        if rtt_s is not None:
            result = result.measured(rtt_s)
        self._leave()
        return FinishedHandshake(result, None)

    def _leave(self) -> None:
        self._result = None
        self._opener.close()
        self._flight.forget()

    def wipe(self) -> None:
        if self._result is not None:
            self._result.session_secret.wipe()
            self._leave()
            self.veil.wipe()
