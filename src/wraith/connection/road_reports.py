"""What the two ends of a session tell each other about roads.

::

    initiator ── ROAD_TRIED: first flights that had no answer ──▶ responder
              ◀── ROAD_SEEN: which of them have come ───────────
              ◀── ROADS: where the responder listens now ───────

So a road over UDP that is silent gets a better reason: the hellos did not arrive, or their answers
did not. All of it is resent until it is acknowledged, and is asked and answered before ``accept``.
Nothing here decides which road is used.

Spec: docs/spec/roads.md §6, §7 [RO-61 … RO-65].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from wraith.connection import events as ev
from wraith.connection.parts import ConnectionParts
from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.connection.roads.rows import DEFAULT_ORDER, best_of
from wraith.connection.shared import Shared
from wraith.connection.timers import Timer
from wraith.types import Road, Role
from wraith.wire.frame_types import FrameType
from wraith.wire.frames import encode_frame
from wraith.wire.road_frames import PLACES_MAX, TRIED_MAX, RoadFrame, Roads, RoadSeen, RoadTried

ANSWER_RTTS: Final = 3
ANSWER_S_MIN: Final = 0.25
"""So long is an answer waited for: the reason is told without it then."""
QUESTIONS_MAX: Final = 4


class SilentRoad(NamedTuple):
    """A road over UDP that has not answered.

    Attributes:
        ids: of the hellos that were sent there and should have been answered by now.
        late_ids: of those whose answers may be on their way.
        is_elsewhere: the same host has answered over a stream connection.
    """

    road: Road
    ids: tuple[bytes, ...]
    late_ids: tuple[bytes, ...]
    is_elsewhere: bool

    def failure(self, seen: frozenset[bytes] | None) -> RoadFailure:
        """Why; ``seen`` are the ids that have come, ``None`` if the peer has not said."""
        if seen is None or not self.ids:
            return RoadFailure(RoadReason.UDP_SILENT)
        if not seen.isdisjoint(self.ids):
            return RoadFailure(RoadReason.UDP_ONEWAY, len(seen.intersection(self.ids)))
        if self.is_elsewhere and seen.isdisjoint(self.late_ids):
            return RoadFailure(RoadReason.UDP_BLOCKED, len(self.ids) + len(self.late_ids))
        return RoadFailure(RoadReason.UDP_SILENT)


class RoadReports:
    """Of one session.

    Attributes:
        questions: responder: what the peer has asked, oldest first; whoever knows answers.
        named: initiator: where the peer listens now, until somebody takes it.
    """

    __slots__ = ("_asked", "_peer_seq", "_posted", "_shared", "_silent", "named", "questions")

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._silent: Sequence[SilentRoad] = ()
        #: The ids of the question under way.
        self._asked: tuple[bytes, ...] = ()
        self._posted: dict[FrameType, int] = {}
        self._peer_seq = -1
        self.questions: list[tuple[bytes, ...]] = []
        self.named: tuple[Road, ...] | None = None

    # -- the initiator

    def explain(self, silent: Sequence[SilentRoad], now: float) -> None:
        """Tells why these roads have failed: with what the peer knows of them, if it says so within
        ``ANSWER_RTTS`` round trips. [RO-63]"""
        ids = [id_ for one in silent for id_ in (*one.ids, *one.late_ids)]
        self._silent = silent
        if not ids or not self.ask(ids):
            self._tell(None)
            return
        parts = self._shared.parts
        assert parts is not None
        wait_s = max(ANSWER_RTTS * parts.paths.main.rtt.srtt, ANSWER_S_MIN)
        self._shared.timers.set(Timer.ROADS_ASKED, now + wait_s)

    def ask(self, ids: Sequence[bytes]) -> bool:
        """Asks which of the first flights with these names have come: of more than 16 the latest.
        ``RoadsSeen`` tells the answer. False: the peer does not know how to answer."""
        parts = self._shared.parts
        if parts is None or not parts.has_roads:
            return False
        self._asked = tuple(ids[-TRIED_MAX:])
        tried = RoadTried(self._asked)
        self._post_newest(parts, FrameType.ROAD_TRIED, encode_frame(tried))
        return True

    def on_timer(self) -> None:
        """The answer did not come in time."""
        self._tell(None)

    def _tell(self, seen: frozenset[bytes] | None) -> None:
        for one in self._silent:
            self._shared.events.append(ev.RoadFailed(one.road, one.failure(seen)))
        self._silent = ()

    def take_named(self) -> tuple[Road, ...] | None:
        """Where the peer has said that it listens now, once; ``None``: it has said nothing new."""
        named, self.named = self.named, None
        return named

    def _on_seen(self, frame: RoadSeen) -> None:
        if not self._asked or tuple(id_ for id_, _ in frame.seen) != self._asked:
            return
        self._asked = ()
        self._shared.timers.set(Timer.ROADS_ASKED, None)
        seen = frozenset(id_ for id_, is_seen in frame.seen if is_seen)
        self._tell(seen)
        self._shared.events.append(ev.RoadsSeen(seen))

    # -- the responder

    def answer(self, knows: Callable[[bytes], bool]) -> None:
        """Answers what was asked. A newer answer takes the place of one that is still under way:
        honest initiators ask once. [RO-62]"""
        parts = self._shared.parts
        while self.questions:
            ids = self.questions.pop(0)
            if parts is not None:
                frame = RoadSeen(tuple((id_, knows(id_)) for id_ in ids))
                self._post_newest(parts, FrameType.ROAD_SEEN, encode_frame(frame))

    def name(self, seq: int, roads: Sequence[Road]) -> None:
        """Tells where this side listens now: at most eight places, and no URLs."""
        parts = self._shared.parts
        if parts is None or not parts.has_roads or not self._shared.life.is_open:
            return
        tellable = [road for road in roads if road.address is not None and road.proxy is None]
        places = best_of(tellable, DEFAULT_ORDER, PLACES_MAX)
        self._post_newest(parts, FrameType.ROADS, encode_frame(Roads.of(seq, tuple(places))))

    def _post_newest(self, parts: ConnectionParts, kind: FrameType, frame: bytes) -> None:
        """In place of an older one, whose acknowledgement must not end this one."""
        before = self._posted.get(kind, 0)
        parts.mux.withdraw(kind, before)
        self._posted[kind] = before + 1
        parts.mux.post(kind, before + 1, frame)
        self._shared.woken()

    # -- frames

    def on_frame(self, frame: RoadFrame) -> None:
        """Takes what the peer says. What only the other side may say is passed over."""
        is_initiator = self._shared.role is Role.INITIATOR
        match frame:
            case RoadTried(ids) if not is_initiator:
                if len(self.questions) < QUESTIONS_MAX:
                    self.questions.append(ids)
            case RoadSeen() if is_initiator:
                self._on_seen(frame)
            case Roads(seq) if is_initiator and seq > self._peer_seq:
                self._peer_seq = seq
                self.named = frame.roads()
            case _:
                pass
