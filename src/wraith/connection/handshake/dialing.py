"""One ``connect()``: which hello goes on which road when, until the responder has confirmed.

::

    roads       a race (roads/race.py) says which is tried when
    UDP         attempt 0 at once, then ≈ 1, 3, 7 s     (each with a fresh e; at most 3 answerable)
                HELLO/1 again when half a RESPONSE is missing
    a link      one hello as soon as it is open; a link repeats and loses nothing
    winner      FINISH, again at PTO until confirmed   (all other attempts stop before FINISH)

Everything ends 10 s after ``connect()``. What failed on the way is remembered, so that the final
error says more than "nobody answered" where more is known.

Spec: handshake.md [HS-50] [HS-51] [HS-52] [HS-53] [HS-54].
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum

from wraith.abc import KemSecret
from wraith.connection.connection import Connection
from wraith.connection.deadlines import Deadline
from wraith.connection.handshake.handshake import (
    AwaitingConfirmation,
    AwaitingResponse,
    CookieReply,
    HandshakeContext,
    PartialResponse,
    Proposal,
    ResponseReply,
    RetryFullReply,
    UnsupportedReply,
)
from wraith.connection.handshake.negotiate import suite_after_refusal
from wraith.connection.road_reports import SilentRoad
from wraith.connection.roads.race import Race
from wraith.connection.roads.reasons import RoadFailure
from wraith.errors import HandshakeTimeout, WraithError
from wraith.types import Address, Carrier, NetworkPath, Road

ATTEMPT_DELAYS_S = (1.0, 2.0, 4.0)
ATTEMPT_JITTER = 0.25
ANSWERABLE_MAX = 3
TICKET_ATTEMPTS = 2
"""Those after it, from about 3 s on, are full handshakes beside it."""
HELLO_TAIL_MAX = 3
MISSING_PART_S_MIN = 0.05
FINISH_RESENDS_MAX = 6
FINISH_PTO_S_MIN = 0.1
"""A floor under the FINISH timer: on a path of a millisecond six doublings would otherwise be over
before a busy responder has come round to the first one."""

Outbox = deque[tuple[bytes, NetworkPath]]


class DialOutcome(Enum):
    IGNORED = "no attempt of this connect opens it"
    TAKEN = "it belonged here; nothing to do"
    ESTABLISHED = "the connection has its keys"
    FAILED = "the connect is over; see error"


class _Attempt:
    """One hello under way."""

    __slots__ = ("stage", "sent_at", "tail_at", "n_tails", "tail_delay_s", "had_cookie")

    def __init__(self, stage: AwaitingResponse, sent_at: float, *, had_cookie: bool) -> None:
        self.stage = stage
        self.sent_at = sent_at
        self.tail_at: float | None = None
        self.n_tails = 0
        self.tail_delay_s = 0.0
        self.had_cookie = had_cookie


class _Target:
    """One road and the attempts made there."""

    __slots__ = (
        "attempts", "cookie", "id", "is_aside", "n_attempts", "next_at", "path", "road",
        "was_sent_back",
    )  # fmt: skip

    def __init__(self, road: Road, path: NetworkPath | None) -> None:
        self.road = road
        #: The number of the latest attempt in the race.
        self.id = -1
        #: Others have taken its place in the race.
        self.is_aside = False
        #: Where hellos go; ``None`` until a link is open.
        self.path = path
        self.next_at: float | None = None
        self.n_attempts = 0
        self.cookie: bytes | None = None
        #: A ticket was refused here.
        self.was_sent_back = False
        self.attempts: list[_Attempt] = []


class Dial(Deadline):
    """The initiator's side of a connection until it is confirmed; dropped afterwards."""

    __slots__ = (
        "connection",
        "error",
        "links",
        "local",
        "remotes",
        "roads",
        "roads_dropped",
        "roads_wanted",
        "winner",
        "_context",
        "_proposal",
        "_race",
        "_targets",
        "_outbox",
        "_kem_secret",
        "_retried",
        "_ends_at",
        "_finish",
        "_finish_path",
        "_finish_at",
        "_finish_delay_s",
        "_n_finishes",
    )

    def __init__(
        self,
        context: HandshakeContext,
        roads: Sequence[Road],
        proposal: Proposal,
        connection: Connection,
        outbox: Outbox,
        *,
        local: Address,
        known_to_fail: frozenset[Carrier] = frozenset(),
        now: float,
    ) -> None:
        super().__init__()
        self.connection = connection
        self.error: WraithError | None = None
        #: Links to be opened: the number of the attempt, and where to. Taken by the endpoint.
        self.roads_wanted: deque[tuple[int, Road]] = deque()
        #: Attempts at links that are no longer of use.
        self.roads_dropped: deque[int] = deque()
        #: The links that are open, by their number.
        self.links: dict[int, NetworkPath] = {}
        #: The road on which a valid RESPONSE has come.
        self.winner: Road | None = None
        self._context = context
        self.local = local
        self.roads = tuple(roads)
        self._proposal = proposal
        self._outbox = outbox
        self._retried = False
        self._ends_at = now + context.config.handshake_timeout_s
        self._finish: AwaitingConfirmation | None = None
        self._finish_path: NetworkPath | None = None
        self._finish_at: float | None = None
        self._finish_delay_s = 0.0
        self._n_finishes = 0
        # One KEM key pair for all attempts: it is never seen outside the veil, so reusing it is
        # no fingerprint, and generating it is the dearest part of a hello.
        self._kem_secret: KemSecret | None = context.generate_kem(proposal.suite)
        self._race = Race(roads, known_to_fail=known_to_fail, now=now)
        self._targets: dict[Road, _Target] = {}
        #: The addresses that answers may come from over UDP.
        self.remotes: tuple[Address, ...] = tuple(
            road.address
            for road in dict.fromkeys(roads)
            if road.carrier is Carrier.UDP and road.address is not None
        )
        self.on_timer(now)

    @property
    def flights(self) -> tuple[tuple[Road, bytes], ...]:
        """The road and the name of every hello that may still be answered."""
        return tuple(
            (target.road, attempt.stage.road_id)
            for target in self._targets.values()
            for attempt in target.attempts
        )

    def next_time(self) -> float:
        """When ``on_timer`` is due."""
        times = [self._ends_at]
        if self._finish is not None:
            if self._finish_at is not None:
                times.append(self._finish_at)
        else:
            if (due := self._race.next_time()) is not None:
                times.append(due)
            for target in self._targets.values():
                if target.next_at is not None:
                    times.append(target.next_at)
                times += [a.tail_at for a in target.attempts if a.tail_at is not None]
        return min(times)

    def on_timer(self, now: float) -> DialOutcome:
        """Sends what is due. FAILED when the time is over."""
        if now >= self._ends_at:
            return self._fail(self.error if self.error is not None else HandshakeTimeout())
        if self._finish is not None:
            if self._finish_at is not None and self._finish_at <= now:
                self._resend_finish(now)
            return DialOutcome.TAKEN
        self._run_race(now)
        for target in self._targets.values():
            if target.next_at is not None and target.next_at <= now:
                self._start_attempt(target, now)
            for attempt in target.attempts:
                if attempt.tail_at is not None and attempt.tail_at <= now:
                    self._resend_tail(target, attempt, now)
        return DialOutcome.TAKEN

    def receive(self, datagram: bytes, path: NetworkPath, now: float) -> DialOutcome:
        """Tries ``datagram`` under every attempt made to its source."""
        for target in self._targets.values():
            known = target.path
            if known is None or known.link != path.link or known.remote != path.remote:
                continue
            for attempt in reversed(target.attempts):
                reply = attempt.stage.receive(datagram)
                if reply is None:
                    continue
                if self._finish is not None:
                    return DialOutcome.TAKEN
                match reply:
                    case PartialResponse():
                        self._await_missing_part(target, attempt, now)
                        return DialOutcome.TAKEN
                    case CookieReply():
                        self._restart_with_cookie(target, attempt, reply.cookie, now)
                        return DialOutcome.TAKEN
                    case UnsupportedReply():
                        return self._retry_with_other_suite(reply, now)
                    case RetryFullReply():
                        self._restart_in_full(target, attempt, now)
                        return DialOutcome.TAKEN
                    case ResponseReply():
                        return self._finish_with(target, attempt, path, now)
        return DialOutcome.IGNORED

    # -- links -----------------------------------------------------------------------------------

    def _run_race(self, now: float) -> None:
        due = self._race.on_timer(now)
        for target in self._targets.values():
            if target.id in due.set_aside:  # it sends nothing more, and an answer still counts
                target.next_at = None
                target.is_aside = True
                for set_aside in target.attempts:
                    set_aside.tail_at = None
        for attempt in due.start:
            road = attempt.road
            target = self._targets.setdefault(road, _Target(road, None))
            target.id = attempt.id
            target.is_aside = False
            if road.carrier is Carrier.UDP:
                assert road.address is not None
                target.path = NetworkPath(self.local, road.address)
                target.next_at = now
            else:
                self.roads_wanted.append((attempt.id, road))

    def on_link_opened(self, id_: int, path: NetworkPath, now: float) -> bool:
        """The link of this attempt is open: one hello goes there. False: it is not of use."""
        target = self._target_of(id_)
        if target is None or target.is_aside or self._finish is not None:
            return False
        target.path = path
        self.links[path.link] = path
        self._send_hello(target, now)
        return True

    def on_link_failed(self, id_: int, failure: RoadFailure, now: float) -> DialOutcome:
        """The attempt failed, before or after its link was open."""
        target = self._target_of(id_)
        if target is None or self._finish is not None:
            return DialOutcome.TAKEN
        if target.path is not None:
            self.links.pop(target.path.link, None)
            target.path = None
        for attempt in target.attempts:
            attempt.stage.wipe()
        target.attempts.clear()
        self.connection.tell_road(target.road, failure)
        self._race.on_failed(id_, failure, now)
        if self._race.is_hopeless:
            return self._fail(self.error if self.error is not None else HandshakeTimeout())
        return self.on_timer(now)

    def on_link_closed(self, path: NetworkPath, failure: RoadFailure, now: float) -> DialOutcome:
        """As ``on_link_failed``, for a link that was open."""
        for target in self._targets.values():
            if target.path == path:
                return self.on_link_failed(target.id, failure, now)
        return DialOutcome.TAKEN

    def _target_of(self, id_: int) -> _Target | None:
        return next((one for one in self._targets.values() if one.id == id_), None)

    def _drop_links(self, winner: _Target) -> None:
        """What is being opened, or is open without an answer, is of no use any more."""
        for target in self._targets.values():
            if target is winner or target.road.carrier is Carrier.UDP:
                continue
            if target.path is None:
                self.roads_dropped.append(target.id)
        self.roads_wanted.clear()

    def spare_links(self) -> list[NetworkPath]:
        """Links that were open when another road won; each is named once."""
        if self._finish_path is None:
            return []
        spare = [path for path in self.links.values() if path != self._finish_path]
        for path in spare:
            del self.links[path.link]
        return spare

    def wipe(self) -> None:
        """Erases what only the handshake needed."""
        self._drop_attempts()
        if self._kem_secret is not None:
            self._kem_secret.wipe()
            self._kem_secret = None
        if self._finish is not None:
            self._finish.wipe()
        if self._proposal.ticket is not None:
            self._proposal.ticket.wipe()

    # -- hellos ----------------------------------------------------------------------------------

    def _start_attempt(self, target: _Target, now: float) -> None:
        n = target.n_attempts
        target.n_attempts += 1
        if n >= TICKET_ATTEMPTS:
            self._drop_ticket()
        if n < len(ATTEMPT_DELAYS_S):
            target.next_at = now + ATTEMPT_DELAYS_S[n] * self._context.jitter(ATTEMPT_JITTER)
        else:
            target.next_at = None
        self._send_hello(target, now)

    def _send_hello(self, target: _Target, now: float) -> None:
        assert target.path is not None
        stage = AwaitingResponse(
            self._context, self._proposal, e1=self._kem_secret, cookie=target.cookie
        )
        attempt = _Attempt(stage, now, had_cookie=target.cookie is not None)
        target.attempts.append(attempt)
        if len(target.attempts) > ANSWERABLE_MAX:
            target.attempts.pop(0).stage.wipe()
        for datagram in stage.datagrams:
            self._outbox.append((datagram, target.path))

    def _await_missing_part(self, target: _Target, attempt: _Attempt, now: float) -> None:
        if target.road.carrier is not Carrier.UDP:
            return
        if attempt.tail_at is None and attempt.n_tails == 0:
            attempt.tail_delay_s = max(2 * (now - attempt.sent_at), MISSING_PART_S_MIN)
            attempt.tail_at = now + attempt.tail_delay_s

    def _resend_tail(self, target: _Target, attempt: _Attempt, now: float) -> None:
        attempt.n_tails += 1
        attempt.tail_delay_s *= 2
        more = attempt.n_tails < HELLO_TAIL_MAX
        attempt.tail_at = now + attempt.tail_delay_s if more else None
        assert target.path is not None
        for datagram in attempt.stage.tail_again():
            self._outbox.append((datagram, target.path))

    def _restart_with_cookie(
        self, target: _Target, attempt: _Attempt, cookie: bytes, now: float
    ) -> None:
        target.cookie = cookie
        target.attempts.remove(attempt)
        attempt.stage.wipe()
        # Once per attempt: a hello that carried a cookie and gets another one waits for its timer,
        # so a responder cannot make this side send faster than it answers.
        if not attempt.had_cookie:
            self._send_hello(target, now)

    def _restart_in_full(self, target: _Target, attempt: _Attempt, now: float) -> None:
        """RETRY_FULL: a fresh XX hello at once, the first time on each road; then by the timer.
        [HS-65]"""
        target.attempts.remove(attempt)
        had_ticket = attempt.stage.ticket_on_wire is not None
        attempt.stage.wipe()
        self._drop_ticket()
        # Each hello with a ticket may be sent back once: no responder makes this side send faster.
        if had_ticket and not target.was_sent_back:
            target.was_sent_back = True
            self._send_hello(target, now)

    def _drop_ticket(self) -> None:
        """From now on this dial makes full handshakes. An answer to a ticket that is under way
        still counts."""
        ticket = self._proposal.ticket
        if ticket is not None:
            self._proposal = self._proposal.in_full()
            ticket.wipe()
            self.connection.resume_refused()

    def _retry_with_other_suite(self, reply: UnsupportedReply, now: float) -> DialOutcome:
        if self._retried:
            return DialOutcome.TAKEN
        self._retried = True
        try:
            suite = suite_after_refusal(self._proposal.policy, reply.body)
        except WraithError as refused:
            return self._fail(refused)
        self._drop_ticket()
        self._proposal = self._proposal.after_refusal(suite, reply.body)
        self._drop_attempts()
        if self._kem_secret is None:
            self._kem_secret = self._context.generate_kem(suite)
        for target in self._targets.values():
            if target.path is not None:
                self._send_hello(target, now)
        return DialOutcome.TAKEN

    # -- the winner ------------------------------------------------------------------------------

    def _finish_with(
        self, target: _Target, attempt: _Attempt, path: NetworkPath, now: float
    ) -> DialOutcome:
        rtt_s = now - attempt.sent_at if attempt.n_tails == 0 else None
        try:
            finish = attempt.stage.finish(rtt_sample_s=rtt_s)
        except WraithError as error:
            if attempt.stage.ticket_on_wire is not None:
                self._restart_in_full(target, attempt, now)  # a ticket never fails a dial [HS-65]
                return DialOutcome.TAKEN
            self.error = error
            target.attempts.remove(attempt)
            attempt.stage.wipe()
            if attempt.stage.failure_is_final or not self._is_trying():
                return self._fail(error)
            return DialOutcome.TAKEN
        target.attempts.remove(attempt)
        if self._kem_secret is not None:
            self._kem_secret.wipe()
            self._kem_secret = None
        if self._proposal.ticket is not None:
            self._proposal.ticket.wipe()
        self._finish = finish
        self._finish_path = path
        rtt_s = max(now - attempt.sent_at, 0.0)
        self._finish_delay_s = max(3 * rtt_s, FINISH_PTO_S_MIN)
        if finish.has_finish:
            is_udp = target.road.carrier is Carrier.UDP
            self._finish_at = now + self._finish_delay_s if is_udp else None
            self._outbox.append((finish.datagram(), path))
        self.winner = self._race.on_won(target.id)
        self._drop_links(target)
        silent = self._silent_roads(target, rtt_s, now)
        self._drop_attempts()
        self.connection.path = path
        self.connection.establish(finish.take_result(), now)
        self.connection.road_reports.explain(silent, now)
        return DialOutcome.ESTABLISHED

    def _resend_finish(self, now: float) -> None:
        assert self._finish is not None and self._finish_path is not None
        self._n_finishes += 1
        self._finish_delay_s *= 2
        more = self._n_finishes < FINISH_RESENDS_MAX
        self._finish_at = now + self._finish_delay_s if more else None
        self._outbox.append((self._finish.datagram(), self._finish_path))

    def _is_trying(self) -> bool:
        if self._race.next_time() is not None or self.roads_wanted:
            return True
        targets = self._targets.values()
        return any(t.attempts or t.next_at is not None or t.path is None for t in targets)

    def _silent_roads(self, winner: _Target, rtt_s: float, now: float) -> list[SilentRoad]:
        """Roads over UDP that were tried before the winner and have not answered. What left within
        the last two round trips may still be answered, and is no evidence of one-way traffic."""
        silent: list[SilentRoad] = []
        for target in self._targets.values():
            is_udp = target.road.carrier is Carrier.UDP
            if not is_udp or target.id >= winner.id or not target.n_attempts:
                continue
            ids: list[bytes] = []
            late_ids: list[bytes] = []
            for attempt in target.attempts:
                is_late = attempt.sent_at + 2 * rtt_s > now
                (late_ids if is_late else ids).append(attempt.stage.road_id)
            is_elsewhere = _is_same_host(target.road, winner.road)
            silent.append(SilentRoad(target.road, tuple(ids), tuple(late_ids), is_elsewhere))
        return silent

    def _drop_attempts(self) -> None:
        for target in self._targets.values():
            for attempt in target.attempts:
                attempt.stage.wipe()
            target.attempts.clear()

    def _fail(self, error: WraithError) -> DialOutcome:
        self.error = error
        self.wipe()
        return DialOutcome.FAILED


def _is_same_host(silent: Road, winner: Road) -> bool:
    """Whether ``winner`` is a stream connection to the host of ``silent``, and to no proxy."""
    if winner.carrier is Carrier.UDP or winner.proxy is not None:
        return False
    ours, theirs = silent.address, winner.address
    return ours is not None and theirs is not None and ours.ip == theirs.ip
