"""The initiator's stages: each says what it waits for, and its success returns the next.

::

    AwaitingResponse ── HELLO/0 HELLO/1 sent ── RESPONSE complete ──► AwaitingConfirmation
         │ COOKIE, UNSUPPORTED, RETRY_FULL: the dial starts another attempt     │ FINISH again until
         └ anything else: not ours, nothing happens                             └ the first packet

A stage that has been left or wiped refuses everything. No stage sends anything or knows the time
of day beyond what it is told; ``dialing.py`` decides when.

Spec: handshake.md [HS-3] to [HS-14].
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from wraith.abc import Kem, KemSecret, Rng, WallClock
from wraith.config import EndpointConfig
from wraith.connection.data.flow import WindowBudget
from wraith.connection.handshake.endpoint_keys import EndpointKeys
from wraith.connection.handshake.flight import (
    REPRESENTATIVE_BYTES,
    cut,
    draw_sizes,
    redraw_size,
    seal_part,
)
from wraith.connection.handshake.header_masks import HeaderMaskKeys
from wraith.connection.handshake.negotiate import (
    SuitePolicy,
    by_id,
    check_accept,
    has_roads,
    has_tickets,
    make_offer,
)
from wraith.connection.handshake.node_record import NodeRecord
from wraith.connection.handshake_result import HandshakeResult
from wraith.connection.paths.shaper import Shaper
from wraith.connection.tickets.store import (
    NEW_AFTER_FULL,
    NEW_AFTER_RESUMPTION,
    Ticket,
    TicketTerms,
)
from wraith.crypto.elligator2 import HiddenKey
from wraith.crypto.ident import check_ident, not_after_of
from wraith.crypto.kdf import blake3
from wraith.crypto.noise import HandshakeState, for_suite
from wraith.crypto.session_keys import resume_psk, session_secret
from wraith.crypto.suite import SUITES
from wraith.crypto.veil import VeilKeys
from wraith.errors import (
    CryptoError,
    LocalProtocolError,
    NotAuthorised,
    PeerKeyMismatch,
    RemoteProtocolError,
)
from wraith.types import PeerKey, Role, SuiteId
from wraith.wire.handshake import (
    COOKIE_BYTES,
    DATAGRAM_BYTES_MAX,
    VERSION,
    FinishPayload,
    HelloPayload,
    HelloPrefix,
    PartKind,
    Reassembler,
    ResponsePayload,
    TransportParams,
    decode_part,
)
from wraith.wire.resumption import ResumeHello, ResumeResponse

MAGIC = b"WRAITHv2"


@dataclass(frozen=True, slots=True, eq=False)
class HandshakeContext:
    """The things that every handshake of one endpoint shares."""

    config: EndpointConfig
    keys: EndpointKeys
    rng: Rng
    kem: Kem
    clock: WallClock
    hmks: HeaderMaskKeys
    windows: WindowBudget
    shaper: Shaper | None = None

    def generate_kem(self, suite: SuiteId) -> KemSecret | None:
        """A KEM key pair where the suite has a KEM."""
        return self.kem.generate(self.rng) if SUITES[suite].post_quantum else None

    def jitter(self, share: float) -> float:
        """A factor uniform in ``1 ± share``."""
        draw = int.from_bytes(self.rng.public_bytes(4), "big") / 0xFFFFFFFF
        return 1 + share * (2 * draw - 1)

    def transport_params(self) -> TransportParams:
        """Makes the promises to a new peer; those made already bound them."""
        config = self.config
        stream_window, conn_window = self.windows.initial_windows(config)
        return TransportParams(
            idle_s=config.idle_timeout_s,
            max_udp=config.max_udp_bytes,
            max_ack_delay_ms=config.max_ack_delay_ms,
            stream_window=stream_window,
            conn_window=conn_window,
            max_streams=config.max_streams,
        )


@dataclass(frozen=True, slots=True)
class Proposal:
    """The wishes of one ``connect()``. A refusal makes another one, once."""

    access_key: bytes = field(repr=False)
    access_psk: bytes | None = field(repr=False)
    peer: PeerKey | None
    suite: SuiteId
    offered: tuple[SuiteId, ...]
    policy: SuitePolicy
    anonymous: bool = False
    is_visit: bool = False
    retry_of: bytes | None = None
    keeps_tickets: bool = False
    ticket: Ticket | None = field(default=None, repr=False)

    @classmethod
    def first(
        cls,
        record: NodeRecord,
        policy: SuitePolicy,
        *,
        anonymous: bool = False,
        is_visit: bool = False,
        keeps_tickets: bool = False,
    ) -> Proposal:
        """Raises ``PolicyRefused`` when no suite of the record is allowed. [HS-60]"""
        return cls(
            access_key=record.access_key,
            access_psk=record.access_psk,
            peer=record.peer,
            suite=policy.first_of(record.suites),
            offered=policy.allowed,
            policy=policy,
            anonymous=anonymous,
            is_visit=is_visit,
            # A ticket names who it is for: nobody can be anonymous with one.
            keeps_tickets=keeps_tickets and not anonymous and not is_visit,
        )

    def after_refusal(self, suite: SuiteId, body: bytes) -> Proposal:
        """The retry: another suite, and the refusal is part of the transcript. [HS-63]"""
        return replace(self.in_full(), suite=suite, retry_of=blake3(body))

    def resuming(self, ticket: Ticket) -> Proposal:
        """The same with a ticket of this suite."""
        return replace(self, ticket=ticket)

    def in_full(self) -> Proposal:
        """The same without a ticket: the policy is what it was. [HS-65]"""
        return replace(self, ticket=None)

    @property
    def prologue(self) -> bytes:
        return prologue(self.suite, self.access_key, self.retry_of)


def prologue(suite: SuiteId, ak_public: bytes, retry_of: bytes | None) -> bytes:
    """42 bytes, or 74 in a retry: both sides must agree on all of it. [HS-6]"""
    return MAGIC + bytes((VERSION, suite)) + ak_public + (retry_of or b"")


@dataclass(frozen=True, slots=True)
class PartialResponse:
    """A part of RESPONSE has come; another is missing."""


@dataclass(frozen=True, slots=True)
class ResponseReply:
    """RESPONSE is complete: call ``finish``."""


@dataclass(frozen=True, slots=True)
class CookieReply:
    cookie: bytes


@dataclass(frozen=True, slots=True)
class UnsupportedReply:
    body: bytes


@dataclass(frozen=True, slots=True)
class RetryFullReply:
    """The ticket is not taken: a full handshake, please."""


Reply = PartialResponse | ResponseReply | CookieReply | UnsupportedReply | RetryFullReply


class AwaitingResponse:
    """One attempt: a hello with its own ephemeral, waiting for what the responder says to it.

    Args:
        e1: the KEM key pair of this ``connect()`` (borrowed, never wiped here), if the suite has
            one.
        cookie: 32 bytes from an earlier COOKIE of this address.
    """

    __slots__ = (
        "datagrams",
        "failure_is_final",
        "road_id",
        "_context",
        "_proposal",
        "_hmks",
        "_noise",
        "_offer",
        "_own_params",
        "_veil",
        "_response",
        "_tail",
        "_is_done",
    )

    def __init__(
        self,
        context: HandshakeContext,
        proposal: Proposal,
        *,
        e1: KemSecret | None,
        cookie: bytes | None,
    ) -> None:
        self._context = context
        self._proposal = proposal
        #: Whether ``finish`` failed for a reason that another attempt cannot change.
        self.failure_is_final = False
        self._is_done = False
        self._response = Reassembler(PartKind.RESPONSE)
        e = HiddenKey.generate(context.rng)
        dh = e.exchange(proposal.access_key)
        self._veil = VeilKeys.derive(dh, e.representative, proposal.access_key, proposal.access_psk)
        #: What both ends call this attempt.
        self.road_id = self._veil.road_id
        self._noise: HandshakeState = for_suite(
            proposal.suite,
            Role.INITIATOR,
            proposal.prologue,
            rng=context.rng,
            kem=context.kem,
            s=context.keys.static,
            e=e,
            e1=e1,
            psk=None if proposal.ticket is None else resume_psk(proposal.ticket.secret),
        )
        self._offer = make_offer(proposal.suite, context.rng, tickets=proposal.keeps_tickets)
        hello = HelloPayload(
            versions=(VERSION,), suites=tuple(proposal.offered), extensions=self._offer
        )
        payload = hello.encode()
        if proposal.ticket is not None:
            self._own_params, self._hmks = self._promises(), context.hmks.live
            payload = ResumeHello(hello, hmk=self._hmks[0], params=self._own_params).encode()
        # The representative travels in front of HELLO/0, outside the veil.
        body = self._noise.write_message(payload)[32:]
        prefix = HelloPrefix(
            timestamp=int(context.clock.unix_time()),
            version=VERSION,
            suite=proposal.suite,
            cookie=cookie,
            ticket=self.ticket_on_wire,
            retry_of=proposal.retry_of,
        )
        #: HELLO/0, HELLO/1 …, ready to send, in order.
        self.datagrams: tuple[bytes, ...]
        self._tail: tuple[bytes, ...] = ()
        self.datagrams = self._seal_hello(e.representative, prefix, body)

    @property
    def ticket_on_wire(self) -> tuple[bytes, bytes] | None:
        """The id and the encrypted parameters of the ticket in this hello, if it has one."""
        ticket = self._proposal.ticket
        return None if ticket is None else (ticket.id, ticket.encrypted_params)

    def _promises(self) -> TransportParams:
        own_params = self._context.transport_params()
        if self._proposal.is_visit:
            return replace(own_params, stream_window=0, conn_window=0, max_streams=0)
        return own_params

    def _seal_hello(
        self, representative: bytes, prefix: HelloPrefix, body: bytes
    ) -> tuple[bytes, ...]:
        rng, veil = self._context.rng, self._veil
        extra = REPRESENTATIVE_BYTES + len(prefix.encode())
        sizes = draw_sizes(rng, len(body), extra, self._context.shaper)
        first, *tail = cut(PartKind.HELLO, body, sizes, prefix)
        self._tail = tuple(tail)
        head = seal_part(rng, veil, Role.INITIATOR, first, sizes[0] - REPRESENTATIVE_BYTES)
        rest = (
            seal_part(rng, veil, Role.INITIATOR, part, size)
            for part, size in zip(tail, sizes[1:], strict=True)
        )
        return representative + head, *rest

    def tail_again(self) -> list[bytes]:
        """HELLO/1 … with other padding: asks for RESPONSE again. Empty for a single-part hello."""
        if self._is_done:
            raise LocalProtocolError("this attempt is over")
        rng, shaper = self._context.rng, self._context.shaper
        return [
            seal_part(rng, self._veil, Role.INITIATOR, part, redraw_size(rng, len(part), shaper))
            for part in self._tail
        ]

    def receive(self, datagram: bytes) -> Reply | None:
        """What ``datagram`` says, or ``None``: not for this attempt, or nothing new. [HS-13]"""
        if self._is_done:
            return None
        try:
            part = decode_part(self._veil.open(Role.RESPONDER, datagram))
            match part.kind:
                case PartKind.COOKIE if len(part.fragment) == COOKIE_BYTES:
                    return CookieReply(part.fragment)
                case PartKind.UNSUPPORTED:
                    return UnsupportedReply(part.fragment)
                case PartKind.RETRY_FULL:
                    return RetryFullReply()
                case PartKind.RESPONSE:
                    self._response.add(part)
                case _:
                    return None
        except (CryptoError, RemoteProtocolError):
            return None
        return ResponseReply() if self._response.is_complete else PartialResponse()

    def finish(self, *, rtt_sample_s: float | None) -> AwaitingConfirmation:
        """Checks RESPONSE and makes FINISH.

        Raises:
            CryptoError: it does not authenticate; only this attempt is lost.
            PeerKeyMismatch, NotAuthorised, RemoteProtocolError: it does, and its content is
                refused; ``failure_is_final`` is set. Nothing was or will be sent.
        """
        if self._is_done or not self._response.is_complete:
            raise LocalProtocolError("there is no response to finish with")
        context, proposal = self._context, self._proposal
        payload_bytes = self._noise.read_message(self._response.body())
        if proposal.ticket is not None:
            return self._finish_resumed(proposal.ticket, payload_bytes, rtt_sample_s)
        self.failure_is_final = True
        payload = ResponsePayload.decode(payload_bytes)
        peer = self._check_peer(payload.ident)
        check_accept(proposal.suite, self._offer, payload.extensions)
        own_params = self._promises()
        hmks = context.hmks.live
        unix_now = context.clock.unix_time()
        ident = None if proposal.anonymous else context.keys.ident(unix_now)
        terms = None
        if ident is not None and has_tickets(payload.extensions):
            terms = TicketTerms(
                full=int(unix_now),
                not_after=min(not_after_of(payload.ident), not_after_of(ident)),
                extensions=by_id(payload.extensions),
                n_first=NEW_AFTER_FULL,
            )
        finish_payload = FinishPayload(ident=ident, hmk=hmks[0], params=own_params)
        body = self._noise.write_message(finish_payload.encode())
        secret = session_secret(*self._noise.chaining_key_and_hash())
        result = HandshakeResult(
            session_secret=secret,
            suite=proposal.suite,
            role=Role.INITIATOR,
            peer=peer,
            peer_params=payload.params,
            own_params=own_params,
            peer_hmk=None,
            own_hmks=hmks,
            rtt_sample_s=rtt_sample_s,
            has_roads=has_roads(payload.extensions),
            ticket_terms=terms,
        )
        veil = self._veil
        self._leave()
        return AwaitingConfirmation(context, veil, body, result)

    def _finish_resumed(
        self, ticket: Ticket, payload_bytes: bytes, rtt_sample_s: float | None
    ) -> AwaitingConfirmation:
        """RESPONSE was the last message: both sides have proved the secret of the ticket. [HS-78]

        Raises:
            RemoteProtocolError: its content is refused. A full handshake may follow.
        """
        context, proposal = self._context, self._proposal
        payload = ResumeResponse.decode(payload_bytes)
        check_accept(proposal.suite, self._offer, payload.extensions)
        result = HandshakeResult(
            session_secret=session_secret(*self._noise.chaining_key_and_hash()),
            suite=proposal.suite,
            role=Role.INITIATOR,
            peer=ticket.peer,
            peer_params=payload.params,
            own_params=self._own_params,
            peer_hmk=None,
            own_hmks=self._hmks,
            rtt_sample_s=rtt_sample_s,
            authenticated_by="ticket",
            has_roads=has_roads(payload.extensions),
            ticket_terms=TicketTerms(
                full=ticket.full,
                not_after=ticket.not_after,
                extensions=by_id(payload.extensions),
                n_first=NEW_AFTER_RESUMPTION,
            ),
        )
        veil = self._veil
        self._leave()
        return AwaitingConfirmation(context, veil, None, result)

    def _check_peer(self, ident: bytes) -> PeerKey:
        """The identity behind IDENT. [HS-12]"""
        context, pinned = self._context, self._proposal.peer
        static_public = self._noise.rs
        assert static_public is not None
        if pinned is not None and ident[:32] != pinned.raw:
            raise PeerKeyMismatch()
        try:
            return check_ident(
                ident,
                static_public,
                context.clock.unix_time(),
                context.config.max_clock_skew_s,
            )
        except CryptoError:
            raise NotAuthorised("the peer's certificate is not valid (any more)") from None

    def _leave(self) -> None:
        self._is_done = True
        self._noise.e1 = None  # borrowed: other attempts of this connect() share it
        self._noise.wipe()
        self._tail = ()
        self.datagrams = ()

    def wipe(self) -> None:
        """Ends this attempt; later calls are refused."""
        if not self._is_done:
            self._leave()
            self._veil.wipe()


class AwaitingConfirmation:
    """FINISH is made; it is sent again, with other padding, until a packet authenticates. A
    resumption has no FINISH: the first packet of the session stands for it."""

    __slots__ = ("_context", "_veil", "_part", "_result")

    def __init__(
        self,
        context: HandshakeContext,
        veil: VeilKeys,
        body: bytes | None,
        result: HandshakeResult,
    ) -> None:
        self._context = context
        self._veil = veil
        self._part: bytes | None = None
        if body is not None:
            (self._part,) = cut(PartKind.FINISH, body, (DATAGRAM_BYTES_MAX,))
        self._result: HandshakeResult | None = result

    def take_result(self) -> HandshakeResult:
        """The session, once."""
        result, self._result = self._result, None
        if result is None:
            raise LocalProtocolError("the result was taken already")
        return result

    @property
    def has_finish(self) -> bool:
        """There is a FINISH to send."""
        return self._part is not None

    def datagram(self) -> bytes:
        """FINISH in one datagram, never the same bytes twice. [HS-14]"""
        if self._part is None:
            raise LocalProtocolError("a resumption has no FINISH")
        rng = self._context.rng
        size = redraw_size(rng, len(self._part), self._context.shaper)
        return seal_part(rng, self._veil, Role.INITIATOR, self._part, size)

    def wipe(self) -> None:
        self._veil.wipe()
        if self._result is not None:
            self._result.session_secret.wipe()
            self._result = None
