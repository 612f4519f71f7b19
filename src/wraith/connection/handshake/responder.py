"""The responder's stages: each says what it waits for, and its success returns the next.

::

    open_first_hello ── proof, prefix ──► ProvenHello
    AwaitingHello ── all of HELLO ──► answer() ──► AwaitingFinish ── FINISH ──► FinishedHandshake

Before ``open_first_hello`` succeeds nothing exists. ``AwaitingHello`` has done one X25519;
``AwaitingFinish`` has paid for ML-KEM. What may be spent when is ``admission.py``'s decision.

Spec: handshake.md [HS-3] to [HS-14] [HS-61].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from wraith.abc import Rng
from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.connection.handshake.flight import (
    PART_OVERHEAD,
    ResponseFlight,
    cut,
    seal_part,
    uniform,
)
from wraith.connection.handshake.handshake import HandshakeContext, prologue
from wraith.connection.handshake.negotiate import (
    accept_offer,
    by_id,
    has_roads,
    has_tickets,
    responder_choice,
)
from wraith.connection.handshake_result import HandshakeResult
from wraith.connection.tickets.store import NEW_AFTER_FULL, TicketTerms
from wraith.crypto.ident import check_ident, not_after_of
from wraith.crypto.noise import HandshakeState, for_suite
from wraith.crypto.session_keys import session_secret
from wraith.crypto.veil import VeilKeys
from wraith.errors import (
    CloseCode,
    CryptoError,
    DecryptError,
    LocalProtocolError,
    RemoteProtocolError,
)
from wraith.types import PeerKey, Role, SuiteId
from wraith.wire.extensions import Extension
from wraith.wire.handshake import (
    DATAGRAM_BYTES_MAX,
    FinishPayload,
    HelloPayload,
    HelloPrefix,
    Part,
    PartKind,
    Reassembler,
    ResponsePayload,
    TransportParams,
    decode_part,
)


class HelloRefused(Exception):
    """A complete hello that must not be answered. Never leaves this room."""


class SuiteMismatch(HelloRefused):
    """The hello uses another suite than this side would have chosen."""


@dataclass(frozen=True, slots=True)
class ProvenHello:
    """HELLO/0 after its proof: the sender holds the access key and the psk."""

    representative: bytes
    veil: VeilKeys = field(repr=False)
    prefix: HelloPrefix
    part: Part
    n_bytes: int

    @property
    def timestamp(self) -> int:
        return self.prefix.timestamp

    @property
    def road_id(self) -> bytes:
        return self.veil.road_id

    @property
    def version(self) -> int:
        return self.prefix.version

    @property
    def suite(self) -> int:
        return self.prefix.suite

    @property
    def cookie(self) -> bytes | None:
        return self.prefix.cookie

    @property
    def retry_of(self) -> bytes | None:
        return self.prefix.retry_of

    @property
    def ticket(self) -> tuple[bytes, bytes] | None:
        """The id (16 bytes) and the encrypted parameters of a ticket."""
        return self.prefix.ticket


def open_first_hello(key: AccessKey, datagram: bytes, e_public: bytes) -> ProvenHello:
    """HELLO/0 under one access key. [HS-4]

    Args:
        e_public: the decoded representative, the first 32 bytes of ``datagram``.
    Raises:
        CryptoError: not a hello for this key.
        RemoteProtocolError: it is one, and it is malformed.
    """
    representative = datagram[:32]
    dh = key.ak.exchange(e_public)
    veil = VeilKeys.derive(dh, representative, key.ak.public, key.psk)
    plain = veil.open(Role.INITIATOR, datagram[32:])
    part, prefix = HelloPrefix.decode_first(plain)
    return ProvenHello(representative, veil, prefix, part, len(datagram))


class AwaitingHello:
    """A proven HELLO/0 whose other parts are missing, or just complete."""

    __slots__ = (
        "hello",
        "first_bytes",
        "_context",
        "_key",
        "_suite",
        "_parts",
        "_body",
        "_is_done",
    )

    def __init__(
        self, context: HandshakeContext, key: AccessKey, hello: ProvenHello, suite: SuiteId
    ) -> None:
        self.hello = hello
        self._context = context
        self._key = key
        self._suite = suite
        self._is_done = False
        self._parts = Reassembler(PartKind.HELLO)
        self._parts.add(hello.part)

    @property
    def is_complete(self) -> bool:
        return self._parts.is_complete

    @property
    def body(self) -> bytes:
        """Of HELLO, once it is complete."""
        return self._parts.body()

    def receive(self, datagram: bytes) -> bool:
        """Whether ``datagram`` is a further part of this hello."""
        if self._is_done:
            return False
        try:
            self._parts.add(decode_part(self.hello.veil.open(Role.INITIATOR, datagram)))
        except (CryptoError, RemoteProtocolError):
            return False
        return True

    def answer(self, own_suites: Sequence[SuiteId], unix_now: float) -> AwaitingFinish:
        """Runs the responder's half of Noise and ML-KEM.

        Raises:
            SuiteMismatch: UNSUPPORTED is the answer. [HS-61]
            HelloRefused, CryptoError, RemoteProtocolError: silence is.
        """
        if self._is_done or not self.is_complete:
            raise LocalProtocolError("this hello cannot be answered")
        context, hello = self._context, self.hello
        noise = for_suite(
            self._suite,
            Role.RESPONDER,
            prologue(self._suite, self._key.ak.public, hello.retry_of),
            rng=context.rng,
            kem=context.kem,
            s=context.keys.static,
        )
        message = hello.representative + self._parts.body()
        payload = HelloPayload.decode(noise.read_message(message))
        if responder_choice(own_suites, payload.suites) != self._suite:
            raise SuiteMismatch
        extensions = accept_offer(self._suite, payload.extensions, tickets=context.config.tickets)
        own_params = context.transport_params()
        ident = context.keys.ident(unix_now)
        answer = ResponsePayload(
            ident=ident,
            extensions=extensions,
            time=int(unix_now),
            params=own_params,
        )
        body = noise.write_message(answer.encode())
        self._is_done = True
        return AwaitingFinish(
            context,
            hello.veil,
            noise,
            self._suite,
            body,
            own_params,
            self._key.ak.public,
            extensions=extensions,
            not_after=not_after_of(ident),
        )

    def wipe(self) -> None:
        if not self._is_done:
            self._is_done = True
            self.hello.veil.wipe()


class FinishOutcome(Enum):
    """The meaning of a datagram that opens under the veil of an answered attempt."""

    HELLO_AGAIN = "the initiator misses a part of RESPONSE"
    FINISHED = "FINISH is valid"
    MALFORMED = "FINISH authenticates, and its content is refused"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class FinishedHandshake:
    """The session; ``refusal`` is a close code where the identity does not suffice."""

    result: HandshakeResult
    refusal: int | None


class AwaitingFinish:
    """RESPONSE is made. It is sealed again, with other padding, when the initiator misses a part;
    its fragments stay the same, so that parts of different sealings fit together."""

    __slots__ = (
        "veil",
        "_access_key",
        "_context",
        "_extensions",
        "_flight",
        "_noise",
        "_not_after",
        "_suite",
        "_own_params",
        "_payload",
        "_is_done",
    )

    def __init__(
        self,
        context: HandshakeContext,
        veil: VeilKeys,
        noise: HandshakeState,
        suite: SuiteId,
        body: bytes,
        own_params: TransportParams,
        access_key: bytes,
        *,
        extensions: tuple[Extension, ...],
        not_after: int,
    ) -> None:
        self.veil = veil
        self._context = context
        self._noise = noise
        self._suite = suite
        self._own_params = own_params
        self._access_key = access_key
        self._extensions = extensions
        #: Of this side's own certificate.
        self._not_after = not_after
        self._payload: FinishPayload | None = None
        self._is_done = False
        self._flight = ResponseFlight(body, rng=context.rng, shaper=context.shaper)

    @property
    def n_repeats(self) -> int:
        """How often RESPONSE has been sealed again."""
        return self._flight.n_repeats

    def response(self, now: float) -> list[bytes]:
        """All parts of RESPONSE, sealed now. [HS-25]"""
        return self._flight.seal(self.veil, now)

    @staticmethod
    def kind_of(veil: VeilKeys, datagram: bytes) -> PartKind:
        """The kind of an initiator's datagram. Raises ``CryptoError`` if it is not one."""
        try:
            return decode_part(veil.open(Role.INITIATOR, datagram)).kind
        except RemoteProtocolError:
            raise DecryptError from None

    def receive(self, datagram: bytes) -> FinishOutcome | None:
        """``None``: not a datagram of this attempt."""
        if self._is_done:
            return None
        try:
            part = decode_part(self.veil.open(Role.INITIATOR, datagram))
        except (CryptoError, RemoteProtocolError):
            return None
        if part.kind is PartKind.HELLO:
            return FinishOutcome.HELLO_AGAIN if part.index else FinishOutcome.NOTHING
        if part.kind is not PartKind.FINISH or part.total != 1:
            return FinishOutcome.NOTHING
        try:
            payload_bytes = self._noise.read_message(part.fragment)
        except CryptoError:
            return FinishOutcome.NOTHING
        try:
            self._payload = FinishPayload.decode(payload_bytes)
        except RemoteProtocolError:
            return FinishOutcome.MALFORMED
        return FinishOutcome.FINISHED

    def take_result(self, unix_now: float, now: float) -> FinishedHandshake:
        """After FINISHED, once."""
        payload = self._payload
        if self._is_done or payload is None:
            raise LocalProtocolError("there is no result to take")
        peer, refusal = self._check_peer(payload.ident, unix_now)
        result = HandshakeResult(
            session_secret=session_secret(*self._noise.chaining_key_and_hash()),
            suite=self._suite,
            role=Role.RESPONDER,
            peer=peer,
            peer_params=payload.params,
            own_params=self._own_params,
            peer_hmk=payload.hmk,
            own_hmks=self._context.hmks.live,
            rtt_sample_s=self._flight.rtt_s(now),
            access_key=self._access_key,
            has_roads=has_roads(self._extensions),
            ticket_terms=None if peer is None else self._terms(payload, unix_now),
        )
        self._leave()
        return FinishedHandshake(result, refusal)

    def _terms(self, payload: FinishPayload, unix_now: float) -> TicketTerms | None:
        """What tickets of this session are bound to, where the peer keeps some. [HS-73]"""
        if payload.ident is None or not has_tickets(self._extensions):
            return None
        asked = payload.ticket_request
        return TicketTerms(
            full=int(unix_now),
            not_after=min(self._not_after, not_after_of(payload.ident)),
            extensions=by_id(self._extensions),
            n_first=NEW_AFTER_FULL if asked is None else asked,
        )

    def _check_peer(
        self, ident: bytes | None, unix_now: float
    ) -> tuple[PeerKey | None, int | None]:
        """Bad, expired, or missing where required: the session closes as not authorised. [HS-12]"""
        config = self._context.config
        if ident is None:
            refused = CloseCode.AUTHENTICATION_FAILED if config.require_client_identity else None
            return None, refused
        static_public = self._noise.rs
        assert static_public is not None
        try:
            return check_ident(ident, static_public, unix_now, config.max_clock_skew_s), None
        except CryptoError:
            return None, CloseCode.AUTHENTICATION_FAILED

    def _leave(self) -> None:
        self._is_done = True
        self._noise.wipe()
        self._flight.forget()
        self._payload = None

    def wipe(self) -> None:
        if not self._is_done:
            self._leave()
            self.veil.wipe()


def seal_reply(rng: Rng, veil: VeilKeys, kind: PartKind, body: bytes, hello_bytes: int) -> bytes:
    """COOKIE, UNSUPPORTED or RETRY_FULL: uniform between its minimum and the hello's size."""
    size = uniform(rng, PART_OVERHEAD + len(body), hello_bytes)
    (part,) = cut(kind, body, (DATAGRAM_BYTES_MAX,))
    return seal_part(rng, veil, Role.RESPONDER, part, size)
