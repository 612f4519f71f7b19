"""``wraith.receive``: takes what a code offers.

::

    done = await wraith.receive(code, "inbox", accept=True)

    async def accept(offer):
        return offer.bytes_total < 1 << 30 and not offer.executable

    done = await wraith.receive(code, "inbox", accept=accept)

Behaviour: docs/reference/api.md, "receive".
"""

from __future__ import annotations

import stat
from collections.abc import Awaitable, Callable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from inspect import isawaitable
from typing import Final, Literal, get_args

from wraith.aio.argument_kinds import peer_keys
from wraith.aio.disk.seam import OS_DISK
from wraith.aio.disk.store_worker import Choices, ExistsPolicy, FileTarget
from wraith.aio.files.answering import Answering
from wraith.aio.files.calls import STILL_TRYING_S, Call, StrPath, path_text
from wraith.aio.files.events import DoneEvent, Event, OfferEvent, WaitingEvent
from wraith.aio.files.following import check_route, ended, follow, previous_end
from wraith.aio.files.reaching import explained, place_texts, routed
from wraith.aio.files.taking import Taking, code_of_sender
from wraith.aio.files.telling import Teller, done_earlier
from wraith.aio.opening import check_loop
from wraith.aio.running import RunningNode
from wraith.aio.transports.local import LocalAddress
from wraith.config import EndpointConfig
from wraith.crypto.ed25519 import Identity
from wraith.errors import ConfigError, PeerKeyMismatch
from wraith.node.codes import record_of
from wraith.node.config import NodeConfig
from wraith.node.events import Finished, NodeEvent
from wraith.transfer.code import Code
from wraith.transfer.events import OfferReceived
from wraith.transfer.listing import Entry
from wraith.transfer.messages import Reason
from wraith.transfer.path_rules import display_path
from wraith.transfer.reasons import OfferTaken
from wraith.types import PeerKey, SuiteId

OTHER: Final = "the sender"
TAKEN_SHOWN: Final = 10
TAKEN_HINT: Final = "on_exists, or an Answer, says what becomes of names that exist"

OnExists = Literal["refuse", "overwrite", "rename", "skip"]


@dataclass(frozen=True, slots=True)
class Answer:
    """Accepts an offer and says what becomes of names that exist."""

    on_exists: OnExists

    def __post_init__(self) -> None:
        _policy(self.on_exists)


Accept = Literal[True] | Set[PeerKey] | Callable[[OfferEvent], Awaitable[bool | Answer]]
"""Who decides: everything is accepted, everything of these identities, or a coroutine function is
asked about each offer."""


async def receive(
    code: str,
    out: StrPath,
    *,
    accept: Accept,
    on_exists: OnExists = "refuse",
    verify: bool | None = None,
    wait_s: float | None = 600.0,
    connect_timeout_s: float = 30.0,
    on_event: Callable[[Event], None] | None = None,
    identity: Identity | None = None,
    require_pq: bool = True,
    suites: tuple[SuiteId, ...] | None = None,
    config: EndpointConfig | None = None,
    local: LocalAddress | None = None,
    carriers: Sequence[str] | None = None,
    proxy: str = "auto",
    at: RunningNode | None = None,
    state: StrPath | None = None,
) -> DoneEvent:
    """Receives into the folder ``out``, which must be there. Returns when everything is in its
    place.

    **Cancelled**, or killed, the same call goes on where it stopped, as long as the sender offers
    it: ``bytes_reused`` is then at least what the last progress told, less 1 MiB. A cancelled call
    returns after the sender was told and nothing is being written any more, seconds at most.

    Args:
        code: as the sender shows it.
        accept: ``True``; a set of ``PeerKey``, which the code's identity must be one of; or a
            coroutine function that is asked with an ``OfferEvent`` and returns whether it is
            accepted, or an ``Answer``. Its answer is for that offer alone: if another one comes in
            its place, the call is cancelled and the new one is asked about.
        on_exists: what becomes of names that exist: ``refuse`` takes nothing.
        verify: what an earlier run left is read again: first (``True``), while new data arrive
            (``None``), or not at all (``False``).
        wait_s: how long to go on after the sender vanished.
        connect_timeout_s: how long to try before anybody has answered.
        on_event: called on the loop with each event; what it raises ends the call.
        identity, require_pq, suites, config, local, proxy, at, state: as for ``send``. A sender's
            code belongs to the identity that accepted first.
        carriers: which may be used to go there; all that are installed when ``None``.

    Raises:
        CodeInvalid: the code is mistyped, of a newer version, or one to send to.
        PeerKeyMismatch: the code is of somebody whom ``accept`` does not name, or another node
            answered.
        OfferRefused: ``accept`` said no, or a name exists.
        HandshakeTimeout: nobody answered. ConnectFailed: this machine has no route.
        Busy, NoSpace, UnsafePath, HashMismatch, DiskFailed, ConnectionLost, ConfigError, ...: what
            they say. And what ``accept`` and ``on_event`` raise.
    """
    check_loop("wraith.receive(...)")
    policy = _policy(on_exists)
    asks = callable(accept)
    if accept is not True and not asks and not isinstance(accept, Set):
        raise ConfigError("accept", accept, "True, a set of PeerKey, or a coroutine function")
    folder = path_text("out", out)
    if not _is_folder(folder):
        raise ConfigError("out", folder, "a folder that is there")
    decoded = code_of_sender(code)
    if isinstance(accept, Set) and decoded.peer not in peer_keys("accept", accept):
        raise PeerKeyMismatch(
            f"this code is from {decoded.peer.short}…, which is not among those accepted"
        )
    call = Call.checked(
        identity=identity,
        require_pq=require_pq,
        suites=suites,
        config=config,
        local=local,
        carriers=carriers,
        proxy=proxy,
        dials=True,
        at=at,
        state=state,
    )
    node_config = NodeConfig(
        connect_timeout_s=connect_timeout_s,
        still_trying_s=STILL_TRYING_S,
        wait_s=wait_s,
        require_pq=require_pq,
    )
    taking = Taking(
        call.home, call.config, node_config, out=folder, code=decoded, choice=call.choice
    )
    roads = call.roads(record_of(decoded))
    receiving = _ReceiveCall(taking, call, decoded, policy, on_event)
    is_finished = True
    try:
        await previous_end(taking.place)
        target = taking.open_target(policy=policy, asks=asks, verify=verify)
        taking.target = target
        transfer = await taking.open(identity=call.identity, local=call.local, at=at)
        check_route(routed(roads))
        receiving.answer_by(accept if callable(accept) else None, target)
        transfer.start(taking.record)
        is_finished = False
        receiving.tell(WaitingEvent(None, place_texts(roads), None, False))
        outcome = await follow(transfer, receiving.teller, receiving.tell, receiving.act)
        is_finished = True
        return receiving.concluded(outcome, connect_timeout_s)
    finally:
        if receiving.answering is not None:
            receiving.answering.close()
        await ended(taking, finished=is_finished)


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(OS_DISK.stat(path).st_mode)
    except OSError:
        return False


def _policy(on_exists: object) -> ExistsPolicy:
    if on_exists not in get_args(OnExists):
        raise ConfigError("on_exists", on_exists, ", ".join(get_args(OnExists)))
    return ExistsPolicy(on_exists)


class _ReceiveCall:
    """One call."""

    def __init__(
        self,
        taking: Taking,
        call: Call,
        code: Code,
        policy: ExistsPolicy,
        on_event: Callable[[Event], None] | None,
    ) -> None:
        self.answering: Answering | None = None
        self._taking = taking
        self._code = code
        self._policy = policy
        self._on_event = on_event
        self._shown: dict[bytes, OfferEvent] = {}
        self._taken: OfferTaken | None = None
        self.teller = Teller(OTHER, name_of=call.name_of, entries=self._entries)

    def _entries(self, digest: bytes) -> Iterator[Entry]:
        target = self._taking.target
        return target.entries(digest) if target is not None else iter(())

    def answer_by(
        self, accept: Callable[[OfferEvent], Awaitable[bool | Answer]] | None, target: FileTarget
    ) -> None:
        """``accept`` is asked about each offer, or everything is taken."""
        transfer = self._taking.transfer
        assert transfer is not None

        async def ask(event: OfferReceived, changed: bool) -> Reason | None:
            assert accept is not None
            target.choices = Choices(self._policy)  # not what was chosen for another offer
            asked = accept(self._shown[event.offer_id])
            if not isawaitable(asked):
                raise TypeError("accept must be a coroutine function: async def")
            answer = await asked
            if not isinstance(answer, bool | Answer):
                raise TypeError(f"accept returned {answer!r}, which is no bool and no Answer")
            if answer is False:
                return Reason.DECLINED
            policy = _policy(answer.on_exists) if isinstance(answer, Answer) else self._policy
            is_there = event.survey.n_existing or event.survey.n_merges
            if is_there and policy is ExistsPolicy.REFUSE:
                self._taken = _taken(event)
                return Reason.NAME_EXISTS
            target.choices = Choices(policy)
            return None

        self.answering = Answering(transfer, None if accept is None else ask)

    def tell(self, event: Event) -> None:
        """A fact for the program."""
        if isinstance(event, OfferEvent):
            self._shown = {event.offer_id: event}
        if self._on_event is not None:
            self._on_event(event)

    def act(self, event: NodeEvent) -> None:
        """After its facts were told."""
        self._taking.on_event(event)
        if isinstance(event, OfferReceived) and self.answering is not None:
            self.answering.on_offer(event)

    def concluded(self, outcome: Finished, connect_timeout_s: float) -> DoneEvent:
        """How it ended. Raises why it failed."""
        if self.answering is not None and self.answering.failure is not None:
            raise self.answering.failure
        note = self._taking.completed_earlier(outcome)
        if note is not None:
            done = done_earlier(note, note.paths)
            self.tell(done)
            return done
        if outcome.error is not None:
            error = self._taken or outcome.error
            if isinstance(error, OfferTaken):
                error.hint = TAKEN_HINT  # that of the command speaks of its options
            raise explained(error, place_texts(self._code.roads), connect_timeout_s, OTHER)
        assert outcome.done is not None
        placed = self.teller.placed
        *others, last = self.teller.done(outcome.done, placed.file_ids if placed else ())
        assert isinstance(last, DoneEvent)
        if self._taking.real_paths:  # those of ``placed`` are for people
            last = replace(last, paths=self._taking.real_paths)
        for fact in (*others, last):
            self.tell(fact)
        return last


def _taken(event: OfferReceived) -> OfferTaken:
    survey = event.survey
    found, n = survey.existing, survey.n_existing
    if not n:
        found, n = survey.merges, survey.n_merges
    names = [display_path(met.path) for met in found[:TAKEN_SHOWN]]
    n_more = n - len(names)
    more = f" and {n_more} more" if n_more else ""
    return OfferTaken(f"already there: {', '.join(names)}{more}")
