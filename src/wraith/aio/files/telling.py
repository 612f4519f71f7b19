"""Turns what a node says of a transfer into the facts of ``aio/files/events.py``.

It counts what they need and a node does not know: the rate, how long the other side has been
silent, which offer came before, the names of files that failed. It decides nothing.

Behaviour: docs/reference/json-events.md.
"""

from __future__ import annotations

import errno
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from wraith.aio.disk.complete_notes import CompleteNote
from wraith.aio.files.events import (
    AcceptedEvent,
    ClockSkewEvent,
    ConnectedEvent,
    DamagedEvent,
    DecidingEvent,
    DeclinedEvent,
    DoneEvent,
    EntryEvent,
    Event,
    FileFailedEvent,
    GaveUpEvent,
    HeardAgainEvent,
    InterruptedEvent,
    KeptVoidEvent,
    OfferEvent,
    ProgressEvent,
    RoadEvent,
    SilentEvent,
    StillTryingEvent,
    TurnedAwayEvent,
    UnreachableEvent,
)
from wraith.aio.files.reaching import reasons_of_silence
from wraith.aio.files.road_uses import RoadUses
from wraith.aio.transports.addresses import format_address
from wraith.node.events import (
    ClockSkewSeen,
    Connected,
    Dialling,
    LinkLost,
    NodeEvent,
    PathChanged,
    Refused,
    RoadFailed,
    StillTrying,
    TurnedAway,
)
from wraith.transfer.events import (
    Aborted,
    Accepted,
    Declined,
    Done,
    FileFailed,
    KeptDamaged,
    KeptVoid,
    OfferReceived,
    PeerDeciding,
    Placed,
    Progress,
)
from wraith.transfer.listing import Entry
from wraith.transfer.messages import Reason
from wraith.transfer.path_rules import display_path
from wraith.types import Carrier, PeerKey

RATE_WINDOW_S: Final = 5.0
PROGRESS_S: Final = 0.1
"""A fast transfer reports every few MiB, a hundred times a second: nobody reads that."""
SILENT_S: Final = 3.0
ROADS_KEPT_MAX: Final = 64

FileIds = tuple[tuple[bytes, bytes], ...]


class Teller:
    """Tells one transfer. Call ``take`` with each of its events, and ``tick`` once a second.

    Args:
        other: how the other side is called: ``the receiver`` or ``the sender``.
        name_of: the name that a person gave to a key, or nothing.
        entries: the listing with this digest, at a receiver.
    Attributes:
        is_moving: data should be coming.
        progress: how far things are; ``offered``, ``placed``: what was offered last, and where it
            is at the end.
    """

    def __init__(
        self,
        other: str,
        *,
        name_of: Callable[[PeerKey], str] = lambda _: "",
        entries: Callable[[bytes], Iterator[Entry]] = lambda _: iter(()),
    ) -> None:
        self.is_moving = False
        self.progress = Progress(0, None, 0)
        self.offered: OfferReceived | None = None
        self.placed: Placed | None = None
        self._other = other
        self._name_of = name_of
        self._entries = entries
        self._peer: PeerKey | None = None
        self._failed: dict[int, Reason] = {}
        self._samples: deque[tuple[float, int]] = deque()
        self._is_progress_told = True
        self._progress_told_at = 0.0
        self._heard_at = time.monotonic()
        self._started_at: float | None = None
        #: When the outage began that lasts now, and how long earlier ones lasted together.
        self._silent_since: float | None = None
        self._silent_s = 0.0
        self._uses = RoadUses()
        #: The last word about each road: a dial that is repeated says the same again.
        self._roads: dict[tuple[Carrier, str], str | None] = {}

    @property
    def carrier(self) -> Carrier | None:
        """What is used now."""
        return self._uses.carrier

    def take(self, event: NodeEvent) -> list[Event]:
        """Says what ``event`` tells a program, oldest first; often nothing."""
        told: list[Event] = []
        if not isinstance(
            event, Dialling | StillTrying | Refused | LinkLost | RoadFailed
        ):  # our own
            told += self._heard()
        match event:
            case Connected():
                told.append(self._connected(event))
            case RoadFailed(road, failure):
                told += self._road(road.carrier, str(road), str(failure))
            case PathChanged(path):
                self._uses.use(path.carrier, time.monotonic(), self.progress.bytes_done)
                told += self._road(path.carrier, str(path.remote), None)
            case Dialling(again=True) if self.is_moving:
                self.is_moving = False
                told += self._silent(dialling=True)
            case StillTrying(seconds):
                told.append(StillTryingEvent(round(seconds, 1), reasons_of_silence(self._other)))
            case Refused(address, number):
                reason = "refused" if number == errno.ECONNREFUSED else "unreachable"
                told.append(UnreachableEvent(format_address(address), reason))
            case TurnedAway(peer, busy):
                told.append(TurnedAwayEvent(peer, busy))
            case ClockSkewSeen(skew_s):
                told.append(ClockSkewEvent(round(skew_s, 1)))
            case PeerDeciding():
                told.append(DecidingEvent())
            case OfferReceived():
                told.append(self._offer(event))
            case Accepted(reused, total):
                self._samples.clear()
                self.is_moving = True
                self._uses.begins_at(reused)
                if self._started_at is None:
                    self._started_at = time.monotonic()
                told.append(AcceptedEvent(reused, total))
            case Progress():
                told += self._on_progress(event)
            case FileFailed(entry, reason, b""):
                self._failed[entry] = reason
            case FileFailed(_, reason, path):
                told.append(_file_failed(path, reason))
            case KeptDamaged(n_chunks, n_bytes):
                told.append(DamagedEvent(n_chunks, n_bytes))
            case KeptVoid(why):
                told.append(KeptVoidEvent(why))
            case Aborted(by_peer=True, reason=reason, error=error):
                told.append(GaveUpEvent(reason.name.lower(), str(error)))
            case LinkLost(reason_text, until):
                told += self._interrupted(reason_text, until)
            case Declined(by_peer=True):
                told.append(DeclinedEvent(event.peer, event.reason.name.lower()))
            case Placed():
                told += self._on_placed(event)
            case _:
                pass
        return told

    def tick(self) -> list[Event]:
        """What time alone tells: the last progress, or that nothing comes any more."""
        if not self.is_moving:
            return []
        told = self._untold_progress()
        if self.silence_s > SILENT_S:
            told += self._silent(dialling=False)
        return told

    @property
    def silence_s(self) -> float:
        """How long ago the last sign of life was."""
        return time.monotonic() - self._heard_at

    @property
    def rate(self) -> float:
        """Bytes per second over the last seconds, up to now: while nothing comes it falls."""
        samples = self._samples
        elapsed = time.monotonic() - samples[0][0] if samples else 0.0
        return (samples[-1][1] - samples[0][1]) / elapsed if elapsed > 0 else 0.0

    def done(self, done: Done, file_ids: FileIds = ()) -> list[Event]:
        """The last facts of a transfer that is complete. ``DoneEvent`` is the last of them."""
        told = self._untold_progress()
        began = self._started_at if self._started_at is not None else time.monotonic()
        seconds = max(0.001, time.monotonic() - began)
        silent_s = min(self._silent_s, seconds)
        self._started_at, self.is_moving, self._silent_s = None, False, 0.0
        mark = done.bytes_reused + done.bytes_transferred
        roads = self._uses.finished(time.monotonic(), mark)
        placed = self.placed
        text = placed.text if placed is not None else None
        told.append(
            DoneEvent(
                bytes_total=done.bytes_total,
                bytes_transferred=done.bytes_transferred,
                bytes_reused=done.bytes_reused,
                bytes_unread=done.bytes_unread,
                seconds=round(seconds, 3),
                seconds_silent=round(silent_s, 3),
                files=done.n_files,
                folders=done.n_folders,
                links=done.n_links,
                failed=done.n_failed,
                file_ids={display_path(path): digest.hex() for path, digest in file_ids},
                paths=placed.placed if placed is not None else None,
                text=text.decode("utf-8", "replace") if text is not None else None,
                roads=roads,
            )
        )
        return told

    # --- inside ---------------------------------------------------------------------------------

    def _connected(self, event: Connected) -> ConnectedEvent:
        security = event.security
        self._peer = event.peer
        self._uses.use(event.carrier, time.monotonic(), self.progress.bytes_done)
        return ConnectedEvent(
            post_quantum=security.post_quantum,
            key_exchange=security.key_exchange,
            suite=security.suite.name,
            aead=security.aead,
            peer=event.peer,
            peer_name=(self._name_of(event.peer) or None) if event.peer is not None else None,
            this_machine=event.is_this_machine,
            address=str(event.address),
            again=event.again,
            carrier=event.carrier.name.lower(),
        )

    def _road(self, carrier: Carrier, where: str, reason: str | None) -> list[Event]:
        """What has become of a road: ``reason`` why it fails, or nothing if it is the one."""
        known = self._roads.get((carrier, where), "")
        if reason == known:
            return []
        if reason is None:
            self._roads = {place: why for place, why in self._roads.items() if why is not None}
        if len(self._roads) < ROADS_KEPT_MAX:
            self._roads[carrier, where] = reason
        state = "active" if reason is None else "failed"
        return [RoadEvent(carrier.name.lower(), where, state, reason)]

    def _offer(self, event: OfferReceived) -> OfferEvent:
        offer, survey, before = event.offer, event.survey, self.offered
        self.offered = event
        return OfferEvent(
            kind=offer.kind.name.lower(),
            names=tuple(display_path(top.path) for top in event.tops),
            files=offer.n_files,
            folders=event.n_folders,
            links=event.n_links,
            hidden=event.marks.hidden.n,
            executable=event.marks.executable.n,
            bytes_total=offer.total_bytes,
            bytes_here=survey.reused_bytes,
            place=survey.place,
            existing=survey.n_existing,
            merges=survey.n_merges,
            changed=before is not None and before.offer_id != event.offer_id,
            peer=self._peer,
            offer_id=event.offer_id,
            _entries=lambda: map(entry_event, self._entries(offer.listing_digest)),
        )

    def _on_progress(self, event: Progress) -> list[Event]:
        self.progress = event
        self._is_progress_told = False
        self.is_moving = True
        if self._heard_at - self._progress_told_at >= PROGRESS_S:
            return self._untold_progress()
        return []

    def _untold_progress(self) -> list[Event]:
        """How far things are, if that was not told yet."""
        if self._is_progress_told:
            return []
        self._is_progress_told = True
        now = self._progress_told_at = time.monotonic()
        progress, samples = self.progress, self._samples
        samples.append((now, progress.bytes_done))
        while len(samples) > 2 and now - samples[0][0] > RATE_WINDOW_S:
            samples.popleft()
        elapsed = now - samples[0][0]
        rate = (progress.bytes_done - samples[0][1]) / elapsed if elapsed > 0 else 0.0
        done, total = progress.bytes_done, progress.bytes_total
        return [ProgressEvent(done, total, progress.n_files_done, round(rate))]

    def _on_placed(self, event: Placed) -> Iterable[Event]:
        self.placed = event
        told = self._untold_progress()
        # Until here a receiver knew the numbers only.
        reasons = event.failed_reasons or [reason for _, reason in sorted(self._failed.items())]
        pairs = zip(event.failed_paths, reasons, strict=False)
        return [*told, *(_file_failed(path, reason) for path, reason in pairs)]

    def _interrupted(self, reason: str, until: float | None) -> Iterable[Event]:
        told = self._untold_progress()
        now = time.monotonic()
        if self._silent_since is None:
            self._silent_since = now
        self._uses.use(None, now, self.progress.bytes_done)
        self.is_moving = False
        left = None if until is None else round(max(0.0, until - now), 1)
        return [*told, InterruptedEvent(reason, left)]

    def _silent(self, *, dialling: bool) -> list[Event]:
        """Nothing has come for a while, though something should."""
        if self._silent_since is not None:
            return []
        self._silent_since = self._heard_at
        return [SilentEvent(round(self.silence_s, 1), dialling)]

    def _heard(self) -> list[Event]:
        """The other side is there."""
        now = self._heard_at = time.monotonic()
        if self._silent_since is None:
            return []
        seconds, self._silent_since = now - self._silent_since, None
        if self._started_at is not None:
            self._silent_s += seconds
        self._samples.clear()
        return [HeardAgainEvent(round(seconds, 1))]


def entry_event(entry: Entry) -> EntryEvent:
    """One line of a listing."""
    return EntryEvent(entry.kind.name.lower(), display_path(entry.path), entry.cut.size)


def done_earlier(note: CompleteNote, paths: tuple[str, ...]) -> DoneEvent:
    """Nobody answers, and everything is in ``paths`` since an earlier run."""
    return DoneEvent(
        bytes_total=note.bytes_total,
        bytes_transferred=0,
        bytes_reused=note.bytes_total,
        bytes_unread=note.bytes_total,
        seconds=0.0,
        seconds_silent=0.0,
        files=note.n_files,
        failed=note.n_failed,
        file_ids={},
        paths=paths,
        earlier=True,
    )


def _file_failed(path: bytes, reason: Reason) -> FileFailedEvent:
    return FileFailedEvent(display_path(path), reason.name.lower())
