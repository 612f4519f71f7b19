"""The responder's front door: who gets an answer, at what price, and what is kept meanwhile.

::

    receive_known   half-open attempts of this 4-tuple: HELLO/1, FINISH → else early queue, 250 ms
                    handshakes completed on it in the last 10 s: duplicate FINISH
    receive_hello   600…1200 bytes → token per access key → replay cache → X25519 → veil → clock
                    → replay cache (insert) → version, suite, RETRY_OF → ticket → cookie
                    → half-open entry, which reserves the ticket
                    → complete → HELLO_FULL → ML-KEM → RESPONSE

Every failure up to the veil costs the sender the same and shows nothing: no answer, no state, no
log line, only a counter. The order of the steps is the order of their cost.

Spec: handshake.md [HS-20] to [HS-35] [HS-76] [HS-77].
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeVar

from wraith.abc import Tracer
from wraith.connection.connection import Connection
from wraith.connection.deadlines import Deadline, DeadlineHeap
from wraith.connection.endpoint_events import ClockSkew, EndpointEvent
from wraith.connection.handshake.budget import PreAuth
from wraith.connection.handshake.cookies import CookieJar
from wraith.connection.handshake.doors import AccessDoor, Doors
from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.connection.handshake.half_open import (
    COMPLETED_S,
    HELLO_LIFETIME_S,
    RESPONSE_LIFETIME_S,
    EarlyQueue,
    EarlyQueues,
    HalfOpen,
    HalfOpenTable,
    Strays,
)
from wraith.connection.handshake.handshake import HandshakeContext
from wraith.connection.handshake.negotiate import responder_suites, unsupported_body
from wraith.connection.handshake.replay_cache import encode_record
from wraith.connection.handshake.responder import (
    AwaitingFinish,
    AwaitingHello,
    FinishOutcome,
    HelloRefused,
    ProvenHello,
    SuiteMismatch,
    open_first_hello,
    seal_reply,
)
from wraith.connection.handshake.resuming import (
    AwaitingFirstPacket,
    TicketRefused,
    answer_resumption,
)
from wraith.connection.handshake_result import HandshakeResult
from wraith.connection.tickets.desk import TicketDesk
from wraith.crypto.elligator2 import decode
from wraith.crypto.kdf import blake3
from wraith.crypto.secret import Secret
from wraith.crypto.veil import VeilKeys
from wraith.errors import CryptoError, LocalProtocolError, RemoteProtocolError
from wraith.types import NetworkPath, SuiteId
from wraith.wire.handshake import DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MIN, VERSION, PartKind
from wraith.wire.resumption import TicketContent

REPEATS_MAX = 3
COMPLETED_MAX = 4_096
SKEW_EVENT_S = 10.0


class Proven(Protocol):
    """Something that only a holder of the access key can have made, and when."""

    @property
    def timestamp(self) -> int: ...

    @property
    def road_id(self) -> bytes: ...


ProvenT = TypeVar("ProvenT", bound=Proven)


class HelloAnswer(NamedTuple):
    """A datagram for somebody who has proved the access key with this public half."""

    datagram: bytes
    path: NetworkPath
    key: bytes


class LateFinish(Deadline):
    """A handshake that completed within the last 10 s: its FINISH may still arrive again."""

    __slots__ = ("path", "veil", "connection")

    def __init__(self, path: NetworkPath, veil: VeilKeys, connection: Connection) -> None:
        super().__init__()
        self.path = path
        self.veil = veil
        self.connection = connection


@dataclass(frozen=True, slots=True)
class CompletedHandshake:
    """FINISH was valid, or a ticket has been used.

    Attributes:
        refusal: the close code where the identity does not suffice.
        first_packet: of a resumption: what its initiator has sent under the keys of the session.
    """

    result: HandshakeResult
    veil: VeilKeys = field(repr=False)
    refusal: int | None = None
    first_packet: bytes | None = field(default=None, repr=False)


class Admission:
    """All of the responder's state before a connection exists. Owned by one endpoint."""

    def __init__(
        self,
        *,
        context: HandshakeContext,
        deadlines: DeadlineHeap,
        events: deque[EndpointEvent],
        tracer: Tracer,
        tickets: TicketDesk,
        listening: bool,
        now: float,
    ) -> None:
        config = context.config
        self._tickets = tickets
        self._context = context
        self._config = config
        self._deadlines = deadlines
        self._events = events
        self._tracer = tracer
        self._is_listening = listening
        self._suites = responder_suites(config)
        self._refusal_body = unsupported_body(self._suites)
        self._pre_auth = PreAuth(config.budgets, now)
        self._half_open = HalfOpenTable(config.budgets)
        self._strays = Strays()
        self._early = EarlyQueues(config.budgets)
        self._completed: OrderedDict[NetworkPath, list[LateFinish]] = OrderedDict()
        self._n_completed = 0
        self._cookies = CookieJar(Secret(context.rng.secret_bytes(32)))
        self._doors = Doors(config, context.clock)
        self.outbox: deque[HelloAnswer] = deque()
        self.counters: Counter[str] = Counter()
        for key in context.keys.access:
            self.add_key(key, now)

    # -- keys and records ------------------------------------------------------------------------

    @property
    def keys(self) -> tuple[AccessKey, ...]:
        return self._doors.keys

    def add_key(self, key: AccessKey, now: float) -> None:
        self._doors.add(key, now)

    def remove_key(self, ak_public: bytes, now: float) -> None:
        self._doors.remove(ak_public, now)

    def load_records(self, ak_public: bytes, records: Sequence[bytes], now: float) -> None:
        self._doors.load(ak_public, records, now)

    @property
    def has_records(self) -> bool:
        return self._doors.has_records

    def take_records(self) -> list[tuple[bytes, list[bytes]]]:
        return self._doors.take_records()

    def end_attempts(self, ak_public: bytes) -> None:
        """Ends every half-open attempt of this key and forgets what its peers were to be told."""
        for entry in self._half_open:
            if entry.key == ak_public:
                self.count("attempt_ended")
                self._drop(entry)
        kept = [answer for answer in self.outbox if answer.key != ak_public]
        self.outbox.clear()
        self.outbox.extend(kept)

    def stop(self) -> None:
        self._is_listening = False

    def count(self, why: str) -> None:
        """Something was dropped. Never with an address: strangers are not logged."""
        self.counters[why] += 1
        self._tracer.record("dropped", why=why)

    def knows(self, path: NetworkPath) -> bool:
        """Whether a handshake with ``path`` has begun or has just completed."""
        return path in self._completed or self._half_open.is_on(path)

    @property
    def is_listening(self) -> bool:
        """Somebody who proves a key is answered."""
        return self._is_listening and bool(self._doors)

    # -- links -----------------------------------------------------------------------------------

    def prove_link(
        self,
        path: NetworkPath,
        e_public: bytes,
        open_with: Callable[[AccessKey], ProvenT | None],
        now: float,
    ) -> ProvenT | None:
        """Whether a preface with the ephemeral ``e_public`` was made for one of the keys, lately
        and for the first time; ``open_with`` tries one key. It costs a stranger what a hello costs
        him. [CA-6]"""
        if not self.is_listening or self._pre_auth.was_refused(path.remote, now):
            self.count("budget")
            return None
        for door in self._doors:
            if not self._pre_auth.take(path.remote, now):
                self.count("budget")
                return None
            entry_key = door.replays.carrier_key_of(e_public)
            if door.replays.contains(entry_key, now):
                self.count("replay")
                return None
            proven = open_with(door.key)
            if proven is not None:
                is_new = self._remember(door, entry_key, proven, now)
                return proven if is_new else None
        self.count("unproven")
        return None

    # -- step 3: datagrams of a 4-tuple that is known --------------------------------------------

    def receive_known(
        self, datagram: bytes, path: NetworkPath, now: float
    ) -> CompletedHandshake | bool | None:
        """Tries half-open and just completed handshakes of ``path``.

        Returns:
            A completed handshake, ``True`` when the datagram was used or queued, ``None`` when it
            has to go on to the hello path.
        """
        awaits_finish = False
        for entry in self._half_open.on_path(path):
            stage = entry.stage
            if isinstance(stage, AwaitingHello):
                if self._receive_rest(entry, stage, datagram, now):
                    return True
            else:
                awaits_finish |= isinstance(stage, AwaitingFinish)
                outcome = stage.receive(datagram)
                if outcome is not None:
                    return self._on_finish_stage(entry, stage, outcome, datagram, now)
        for done in self._completed.get(path, ()):
            try:
                kind = AwaitingFinish.kind_of(done.veil, datagram)
            except CryptoError:
                continue
            if kind is PartKind.FINISH and not done.connection.is_drained:
                # One packet says "I have it": HANDSHAKE_CONFIRM is resent by itself. [HS-29]
                with suppress(LocalProtocolError):
                    done.connection.ping(now)
            return True
        if awaits_finish:
            self._queue_early(path, datagram, now)
            return True
        return None

    def _receive_rest(
        self, entry: HalfOpen, stage: AwaitingHello, datagram: bytes, now: float
    ) -> bool:
        opened = stage.receive(datagram)
        if opened:
            entry.bytes_received += len(datagram)
            if stage.is_complete:
                self._answer(entry, stage, now)
        return opened

    def _on_finish_stage(
        self,
        entry: HalfOpen,
        stage: AwaitingFinish | AwaitingFirstPacket,
        outcome: FinishOutcome,
        datagram: bytes,
        now: float,
    ) -> CompletedHandshake | bool:
        entry.bytes_received += len(datagram)
        if outcome is FinishOutcome.HELLO_AGAIN:
            # The initiator misses a part: all of them, sealed anew. [HS-24] [HS-25]
            if stage.n_repeats < REPEATS_MAX:
                self._send_response(entry, stage, now)
            return True
        if outcome is FinishOutcome.NOTHING:
            return True
        if outcome is FinishOutcome.MALFORMED:
            self.count("finish_malformed")
            self._drop(entry)
            return True
        if entry.ticket is not None:
            id_, content = entry.ticket
            entry.ticket = None
            if not self._tickets.consume(id_, content.expires):
                self.count("ticket_used")
                self._drop(entry)
                return True
        finished = stage.take_result(self._context.clock.unix_time(), now)
        for sibling in self._half_open.siblings(entry):
            self._drop(sibling)
        self._half_open.remove(entry)
        self._deadlines.set(entry, None)
        self._pre_auth.on_completed(entry.path.remote, now)
        first = datagram if isinstance(stage, AwaitingFirstPacket) else None
        return CompletedHandshake(finished.result, stage.veil, finished.refusal, first)

    def on_accepted(self, done: CompletedHandshake, connection: Connection, now: float) -> None:
        """The connection of ``done`` exists: remember it for duplicates of its FINISH."""
        while self._n_completed >= COMPLETED_MAX:
            self.on_expired(next(iter(self._completed.values()))[0])
        completed = LateFinish(connection.path, done.veil, connection)
        self._completed.setdefault(connection.path, []).append(completed)
        self._n_completed += 1
        self._deadlines.set(completed, now + COMPLETED_S)

    def has_seen(self, road_id: bytes, ak_public: bytes | None) -> bool:
        """Whether a first flight of this name has come and proved this key, lately. [RO-62]"""
        door = None if ak_public is None else self._doors.find(ak_public)
        return door is not None and door.has_seen(road_id)

    def on_expired(self, owner: HalfOpen | LateFinish) -> None:
        """An entry's time is over."""
        if isinstance(owner, HalfOpen):
            self.count("half_open_expired")
            self._drop(owner)
            return
        remembered = self._completed.get(owner.path, [])
        if owner in remembered:
            remembered.remove(owner)
            self._n_completed -= 1
            if not remembered:
                del self._completed[owner.path]
        owner.veil.wipe()
        self._deadlines.set(owner, None)

    # -- early data ------------------------------------------------------------------------------

    def _queue_early(self, path: NetworkPath, datagram: bytes, now: float) -> None:
        queue = self._early.put(path, datagram, now)
        if queue is None:
            self.count("early_dropped")
        elif queue.at is None:
            self._deadlines.set(queue, EarlyQueues.next_time(queue))

    def take_early(self, path: NetworkPath) -> list[bytes]:
        """What was queued for ``path`` before its FINISH."""
        queue, datagrams = self._early.take_all(path)
        if queue is not None:
            self._deadlines.set(queue, None)
        return datagrams

    def on_early_expired(self, queue: EarlyQueue, now: float) -> None:
        """What no FINISH came for in 250 ms goes on to the hello path: it may be the initiator's
        next attempt, whose first part has just made an entry that the second one belongs to."""
        due = self._early.take_due(queue, now)
        self._deadlines.set(queue, EarlyQueues.next_time(queue))
        for datagram in due:
            stages = [(e, e.stage) for e in self._half_open.on_path(queue.path)]
            if not any(
                isinstance(stage, AwaitingHello) and self._receive_rest(entry, stage, datagram, now)
                for entry, stage in stages
            ):
                self.receive_hello(datagram, queue.path, now)

    # -- step 4: the hello path ------------------------------------------------------------------

    def receive_hello(self, datagram: bytes, path: NetworkPath, now: float) -> None:
        """A datagram that belongs to nobody. Anything unproven ends here in silence. [HS-20]"""
        if not self._is_listening or not self._doors:
            return
        if not DATAGRAM_BYTES_MIN <= len(datagram) <= DATAGRAM_BYTES_MAX:
            return
        is_paid = path.link > 0  # by the preface of the link
        if not is_paid and self._pre_auth.was_refused(path.remote, now):
            self.count("budget")
            return
        e_public: bytes | None = None
        for door in self._doors:
            if not is_paid and not self._pre_auth.take(path.remote, now):
                self.count("budget")
                return
            if e_public is None:
                e_public = decode(datagram[:32])
            entry_key = door.replays.key_of(e_public)
            if door.replays.contains(entry_key, now):
                self.count("replay")
                return
            try:
                hello = open_first_hello(door.key, datagram, e_public)
            except CryptoError:
                continue
            except RemoteProtocolError:
                self.count("hello_malformed")
                return
            self._on_proven(door, hello, entry_key, path, now)
            return
        self.count("unproven")
        self._strays.keep(path, datagram, now)

    def _on_proven(
        self,
        door: AccessDoor,
        hello: ProvenHello,
        entry_key: bytes,
        path: NetworkPath,
        now: float,
    ) -> None:
        if not self._remember(door, entry_key, hello, now):
            return
        if hello.version != VERSION or hello.suite not in self._suites:
            self.count("unsupported")
            self._reply(door, PartKind.UNSUPPORTED, self._refusal_body, hello, path)
            return
        if hello.retry_of is not None and hello.retry_of != blake3(self._refusal_body):
            self.count("retry_mismatch")
            return
        ak_public = door.key.ak.public
        unix_now = self._context.clock.unix_time()
        ticket = self._open_ticket(hello)
        if hello.ticket is not None and ticket is None:
            self._refuse_ticket(door, hello, path)
            return
        has_cookie = hello.cookie is not None and self._cookies.check(
            hello.cookie, path.remote, ak_public, unix_now
        )
        is_validated = has_cookie or path.link > 0  # a link is proof of where its peer is
        if has_cookie:
            self._pre_auth.on_validated(path.remote, now)
        if door.hello_full.update(now, len(self._half_open)) and not is_validated:
            self.count("cookie_sent")
            cookie = self._cookies.make(path.remote, ak_public, unix_now)
            self._reply(door, PartKind.COOKIE, cookie, hello, path)
            return
        if ticket is not None and not self._tickets.reserve(ticket[0], path):
            self._refuse_ticket(door, hello, path)
            return
        self._begin(door, hello, path, now, is_validated=is_validated, ticket=ticket)

    def _open_ticket(self, hello: ProvenHello) -> tuple[bytes, TicketContent] | None:
        """The id and the content of the hello's ticket, if it may be used. [HS-76]"""
        if hello.ticket is None or not self._config.tickets:
            return None
        content = self._tickets.open(hello.ticket, hello.suite)
        return None if content is None else (hello.ticket[0], content)

    def _refuse_ticket(self, door: AccessDoor, hello: ProvenHello, path: NetworkPath) -> None:
        """A full handshake, please: it says nothing of what is wrong with the ticket. [HS-65]"""
        self.count("ticket_refused")
        self._reply(door, PartKind.RETRY_FULL, b"", hello, path)

    def _remember(self, door: AccessDoor, entry_key: bytes, proven: Proven, now: float) -> bool:
        """Whether what was proven is of this time and came for the first time; from now on it has
        come."""
        timestamp = proven.timestamp
        skew_s = timestamp - self._context.clock.unix_time()
        if abs(skew_s) > self._config.max_clock_skew_s:
            self.count("clock_skew")
            self._tell_skew(door, skew_s, now)
            return False
        if not door.replays.accepts(timestamp):
            self.count("replay_incomplete")
            return False
        # Before anything is sent: what cannot be remembered is not answered. [HS-31]
        if not door.replays.insert(entry_key, timestamp, now):
            self.count("replay_full")
            return False
        if door.key.persistent:
            door.records.append(encode_record(entry_key, timestamp))
        door.note_seen(proven.road_id)
        return True

    def _begin(
        self,
        door: AccessDoor,
        hello: ProvenHello,
        path: NetworkPath,
        now: float,
        *,
        is_validated: bool,
        ticket: tuple[bytes, TicketContent] | None,
    ) -> None:
        stage = AwaitingHello(self._context, door.key, hello, SuiteId(hello.suite))
        key = door.key.ak.public
        entry = HalfOpen(path, stage, key=key, is_validated=is_validated, ticket=ticket)
        entry.bytes_received = hello.n_bytes
        for dropped in self._half_open.insert(entry):
            self.count("half_open_replaced")
            self._let_go(dropped)
        self._deadlines.set(entry, now + HELLO_LIFETIME_S)
        stray = self._strays.take(path, now)
        if stage.is_complete:
            self._answer(entry, stage, now)
        elif stray is not None:
            self._receive_rest(entry, stage, stray, now)

    def _answer(self, entry: HalfOpen, stage: AwaitingHello, now: float) -> None:
        """A complete, proven hello: ML-KEM and RESPONSE, if the budget allows. [HS-22]"""
        door = self._doors.find(entry.key)
        if door is None:  # removed, and many others since
            self._drop(entry)
            return
        if not door.hello_full.take(now, len(self._half_open)):
            self.count("hello_full")
            self._drop(entry)
            return
        newer = [e for e in self._half_open.siblings(entry) if e.serial > entry.serial]
        if any(not isinstance(other.stage, AwaitingHello) for other in newer):
            self._drop(entry)
            return
        try:
            answered = self._run_noise(entry, stage)
        except TicketRefused:
            self._refuse_ticket(door, stage.hello, entry.path)
            self._drop(entry)
            return
        except SuiteMismatch:
            self.count("unsupported")
            self._reply(door, PartKind.UNSUPPORTED, self._refusal_body, stage.hello, entry.path)
            self._drop(entry)
            return
        except (HelloRefused, CryptoError, RemoteProtocolError):
            self.count("hello_invalid")
            self._drop(entry)
            return
        entry.stage = answered
        self._send_response(entry, answered, now)

    def _run_noise(
        self, entry: HalfOpen, stage: AwaitingHello
    ) -> AwaitingFinish | AwaitingFirstPacket:
        unix_now = self._context.clock.unix_time()
        if entry.ticket is None:
            return stage.answer(self._suites, unix_now)
        _, content = entry.ticket
        return answer_resumption(
            self._context, entry.key, stage.hello, content, stage.body, unix_now
        )

    def _send_response(
        self, entry: HalfOpen, stage: AwaitingFinish | AwaitingFirstPacket, now: float
    ) -> None:
        datagrams = stage.response(now)
        n_bytes = sum(map(len, datagrams))
        if not entry.may_send(n_bytes):
            self.count("amplification")
            return
        entry.bytes_sent += n_bytes
        self.outbox.extend(HelloAnswer(datagram, entry.path, entry.key) for datagram in datagrams)
        self._deadlines.set(entry, now + RESPONSE_LIFETIME_S)

    def _reply(
        self,
        door: AccessDoor,
        kind: PartKind,
        body: bytes,
        hello: ProvenHello,
        path: NetworkPath,
    ) -> None:
        """One datagram, never larger than the hello that it answers. [HS-24]"""
        datagram = seal_reply(self._context.rng, hello.veil, kind, body, hello.n_bytes)
        self.outbox.append(HelloAnswer(datagram, path, door.key.ak.public))

    def _tell_skew(self, door: AccessDoor, skew_s: float, now: float) -> None:
        """At most one event in ten seconds for each key: old recordings look the same, and whoever
        has one must not be able to fill a screen."""
        if door.skew_told_at is None or now - door.skew_told_at >= SKEW_EVENT_S:
            door.skew_told_at = now
            self._events.append(ClockSkew(skew_s, door.key.ak.public))

    def _drop(self, entry: HalfOpen) -> None:
        self._half_open.remove(entry)
        self._let_go(entry)

    def _let_go(self, entry: HalfOpen) -> None:
        """What an entry that is in no table any more holds: keys, its ticket, its deadline."""
        entry.stage.wipe()
        self._deadlines.set(entry, None)
        if entry.ticket is not None:
            self._tickets.release(entry.ticket[0])
            entry.ticket = None

    @property
    def n_half_open(self) -> int:
        return len(self._half_open)

    @property
    def cookie_mode(self) -> bool:
        """Whether the peers of any key are asked for a cookie first."""
        return any(door.hello_full.cookie_mode for door in self._doors)

    @property
    def n_remembered(self) -> int:
        """Entries of every table together: bounded whatever strangers send."""
        return (
            len(self._half_open)
            + len(self._strays)
            + len(self._early)
            + self._n_completed
            + self._pre_auth.n_entries
            + self._doors.n_entries
        )
