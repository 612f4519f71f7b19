"""Tells people and programs what a transfer does: words and a progress line, or JSON lines.

One place for both commands, so that an event has one name and one set of fields
(docs/reference/json-events.md). It decides nothing.
"""

from __future__ import annotations

import errno
import time
from collections import deque
from collections.abc import Callable, Sequence

from wraith.aio.disk.store_worker import CompleteNote
from wraith.aio.sockets.addresses import format_address
from wraith.cli.output import Output, duration, printable, size
from wraith.cli.screen import RED, View
from wraith.errors import ConnectFailed, HandshakeTimeout, WraithError
from wraith.node.events import (
    ClockSkewSeen,
    Connected,
    Dialling,
    LinkLost,
    NodeEvent,
    Refused,
    StillTrying,
    TurnedAway,
)
from wraith.transfer.answers import Existing
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
from wraith.transfer.listing import Entry, Kind
from wraith.transfer.marks import Marks
from wraith.transfer.messages import Offer, Reason
from wraith.transfer.path_rules import display_path, shown_path
from wraith.transfer.reasons import reason_words
from wraith.types import Address, PeerKey

RATE_WINDOW_S = 5.0
PROGRESS_S = 0.1
"""A fast transfer reports every few MiB, a hundred times a second: nobody reads that."""
RATE_BYTES_MIN = 64 * 1024
"""The rate of less than that says nothing."""
SILENT_S = 3.0
QUIET_S = 1.5
"""After so long without news nobody says how long the rest will take."""

TOPS_SHOWN = 10

_FAILED = {
    Reason.SOURCE_CHANGED: "changed while it was sent",
    Reason.SOURCE_UNREADABLE: "could not be read any more",
}


class Narrator:
    """See the module.

    Args:
        other: how the other side is called: ``the receiver`` or ``the sender``.
        name_of: the name that a person gave to a key, or nothing.
        waits_after_refusal: a receiver that refuses ends nothing here.
        is_text, what, n_files: whether what is sent is a text, what it is called and how many files
            it has; a receiver knows it from the offer.
    """

    def __init__(
        self,
        output: Output,
        *,
        other: str,
        name_of: Callable[[PeerKey], str],
        verbose: bool = False,
        waits_after_refusal: bool = False,
        is_text: bool = False,
        what: str = "",
        n_files: int = 0,
    ) -> None:
        self._what = what
        self._n_files = n_files
        self._is_post_quantum: bool | None = None
        self._is_text = is_text
        self._waits_after_refusal = waits_after_refusal
        self._output = output
        self._other = other
        self._name_of = name_of
        self._failed: dict[int, Reason] = {}
        self._verbose = verbose
        self._dialled: tuple[Address, ...] = ()
        self._samples: deque[tuple[float, int]] = deque()
        self._progress = Progress(0, None, 0)
        self._is_progress_told = True
        self._progress_told_at = 0.0
        self._is_moving = False
        self._heard_at = time.monotonic()
        self._started_at: float | None = None
        #: When the outage began that lasts now, and how long earlier ones lasted together.
        self._silent_since: float | None = None
        self._silent_s = 0.0
        self._offered: OfferReceived | None = None
        self._was_accepted = False
        self.placed: Placed | None = None

    # --- before anyone is there -----------------------------------------------------------------

    def dialling(
        self, addresses: tuple[Address, ...], *, left_out: list[str] | None = None
    ) -> None:
        """The first words of the side that dials; a sender names what it left out."""
        self._dialled = addresses
        texts = [format_address(address) for address in addresses]
        extra = {} if left_out is None else {"left_out": left_out}
        self._output.event("waiting", code=None, addresses=texts, port=None, resumed=False, **extra)
        self._output.say(f"dialling {', '.join(texts)} …")

    def no_route(self, addresses: tuple[Address, ...], *, waits: bool) -> WraithError | None:
        """This machine knows no way to any of ``addresses``: the error that ends it, or a sentence
        where somebody ``waits`` for a network."""
        texts = [format_address(address) for address in addresses]
        self._output.event("no_route", addresses=texts, waiting=waits)
        if not waits:
            return ConnectFailed(
                f"this machine has no route to {', '.join(texts)}",
                hint="connect it to a network, or give --wait-for-network",
            )
        self._output.say(f"no route to {', '.join(texts)}; waiting for a network")
        return None

    def no_address(self, *, waits: bool) -> WraithError | None:
        """This machine has no address that a code could name: as ``no_route``."""
        self._output.event("no_address", waiting=waits)
        if not waits:
            return ConnectFailed(
                "this machine has no address that anybody could reach",
                hint="connect it to a network, or give --wait-for-network, or --listen HOST:PORT",
            )
        self._output.say("this machine has no address that anybody could reach; waiting for one")
        return None

    def explain(self, error: WraithError, timeout_s: float) -> WraithError:
        """Silence is all that a stranger gets from the other side, so this lists what it may
        mean."""
        if not isinstance(error, HandshakeTimeout):
            return error
        where = ", ".join(format_address(address) for address in self._dialled)
        return HandshakeTimeout(
            f"nobody answered at {where} within {timeout_s:g} s", hint=self._reasons()
        )

    def _reasons(self) -> str:
        utc = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        return (
            f"the code may be old or used already, {self._other} may have gone, a firewall may "
            f"drop UDP on the way, or a clock may be wrong (here it is {utc} UTC); "
            "`wraith doctor --reach -` tries each address"
        )

    # --- events ---------------------------------------------------------------------------------

    def show(self, event: NodeEvent) -> None:
        """One event of the transfer."""
        if not isinstance(event, Dialling | StillTrying | Refused | LinkLost):  # our own
            self._on_heard()
        say, emit = self._output.say, self._output.event
        match event:
            case Connected():
                self._on_connected(event)
            case Dialling(attempt, again):
                if again and self._is_moving:
                    self._is_moving = False
                    self._output.end_progress()
                    self._on_silent(dialling=True)
                    say(f"{self._other} is silent; dialling again")
                elif self._verbose:
                    say(f"dialling, attempt {attempt}")
            case StillTrying(seconds):
                emit("still_trying", seconds=round(seconds, 1), hint=self._reasons())
                say(f"no answer yet after {seconds:.0f} s; still trying")
                self._output.hint(self._reasons())
            case Refused(address, number):
                self._on_refused(address, number)
            case TurnedAway(peer, busy):
                emit("turned_away", peer=_text(peer), busy=busy)
                who = self._called(peer)
                why = "the code belongs to another one already" if busy else "not the one asked for"
                say(f"turned {who} away: {why}")
            case ClockSkewSeen(skew_s):
                emit("clock_skew", skew_s=round(skew_s, 1))
                say(_skew_words(skew_s))
            case PeerDeciding():
                emit("deciding")
                if not self._was_accepted:  # else it goes on, and nobody is asked
                    say(f"{self._other} is deciding")
            case OfferReceived():
                self._on_offer(event)
            case Accepted(reused, total):
                self._on_accepted(reused, total)
            case Progress():
                self._on_progress(event)
            case FileFailed(entry, reason, b""):
                self._failed[entry] = reason
            case FileFailed(_, reason, path):
                self._tell_failed(path, reason)
            case KeptDamaged(n_chunks, n_bytes):
                emit("damaged", chunks=n_chunks, bytes=n_bytes)
                say(
                    f"{size(n_bytes)} that an earlier run left are not what was verified then; "
                    "they are fetched again"
                )
            case KeptVoid(why):
                emit("kept_void", reason=why)
                say(
                    f"the disk failed under an earlier run ({printable(why)}): nothing that it "
                    "left is used, everything is fetched again"
                )
            case Aborted(by_peer=True, reason=reason, error=error):
                emit("gave_up", reason=reason.name.lower(), message=str(error))
                say(f"{self._other} gave up: {printable(str(error))}")
            case LinkLost(reason_text, until):
                self._on_interrupted(reason_text, until)
            case Declined(by_peer=True):
                self._on_declined(event)
            case Placed():
                self._on_placed(event)
            case _:
                pass

    def _on_connected(self, event: Connected) -> None:
        security = event.security
        self._is_post_quantum = security.post_quantum
        name = self._name_of(event.peer) if event.peer is not None else ""
        self._output.event(
            "connected",
            post_quantum=security.post_quantum,
            key_exchange=security.key_exchange,
            suite=security.suite.name,
            aead=security.aead,
            peer=_text(event.peer),
            peer_name=name or None,
            this_machine=event.is_this_machine,
            address=format_address(event.address),
            again=event.again,
        )
        who = "this machine" if event.is_this_machine else self._called(event.peer)
        strength = "post-quantum" if security.post_quantum else "NOT post-quantum"
        self._output.say(
            f"connected to {who}: {security.key_exchange} ({strength}), "
            f"suite {security.suite.name} ({security.aead})",
            *(() if security.post_quantum else (RED,)),
        )

    def _on_refused(self, address: Address, number: int) -> None:
        """An ICMP error. Anybody can forge one, so nothing ends. [TR-95]"""
        where = format_address(address)
        is_refused = number == errno.ECONNREFUSED
        reason = "refused" if is_refused else "unreachable"
        self._output.event("unreachable", address=where, reason=reason)
        what = "nobody waits at" if is_refused else "the network says that it cannot reach"
        self._output.say(f"{what} {where}, as far as anybody can tell; still trying")

    def _on_declined(self, event: Declined) -> None:
        self._output.event("declined", peer=_text(event.peer), reason=event.reason.name.lower())
        who = self._called(event.peer)
        if event.reason is Reason.LIST_ONLY:
            self._output.say(f"{who} looked at the list and left")
        elif self._waits_after_refusal:
            why = f" ({reason_words(event.reason)})" if event.reason is not Reason.DECLINED else ""
            self._output.say(
                f"{who} refused the offer{why}; waiting for the next receiver, the code is still "
                "good; Ctrl-C ends it"
            )

    def _on_offer(self, event: OfferReceived) -> None:
        offer, survey = event.offer, event.survey
        self._what, self._n_files = display_path(offer.name), offer.n_files
        names = [display_path(top.path) for top in event.tops]
        self._output.event(
            "offer",
            kind=offer.kind.name.lower(),
            names=names,
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
            changed=self._offered is not None and self._offered.offer_id != event.offer_id,
        )
        before, self._offered = self._offered, event
        if before is not None and before.offer_id == event.offer_id:
            return  # the same again, after a new connection
        if before is not None:
            self._output.withdraw_prompt()
            self._output.say(f"the offer has CHANGED: it was {_summary(before)}")
        for line in offer_lines(event):
            self._output.say(line)

    def _on_accepted(self, reused: int, total: int | None) -> None:
        self._output.event("accepted", bytes_reused=reused, bytes_total=total)
        self._was_accepted = True
        if self._started_at is None:
            self._started_at = time.monotonic()
        if reused:
            self._output.say(f"going on after {size(reused)} that arrived earlier")
        self._samples.clear()
        self._is_moving = True

    def _on_progress(self, event: Progress) -> None:
        self._progress = event
        self._is_progress_told = False
        self._is_moving = True
        if self._heard_at - self._progress_told_at >= PROGRESS_S:
            self._tell_progress()
            self.redraw()

    def _tell_progress(self) -> None:
        """How far things are, if that was not told yet."""
        if self._is_progress_told:
            return
        self._is_progress_told = True
        self._progress_told_at = time.monotonic()
        progress = self._progress
        self._output.event(
            "progress",
            bytes_done=progress.bytes_done,
            bytes_total=progress.bytes_total,
            files_done=progress.n_files_done,
            rate=round(self._rate(progress.bytes_done)),
        )

    def _on_placed(self, event: Placed) -> None:
        self._tell_progress()
        self.placed = event
        # Until here a receiver knew the numbers only.
        reasons = event.failed_reasons or [reason for _, reason in sorted(self._failed.items())]
        for path, reason in zip(event.failed_paths, reasons, strict=False):
            self._tell_failed(path, reason)

    def _tell_failed(self, path: bytes, reason: Reason) -> None:
        name = display_path(path)
        why = _FAILED.get(reason, "failed")
        self._output.event("file_failed", path=name, reason=reason.name.lower())
        self._output.say(f"{name} {why}; the rest goes on")

    def _on_interrupted(self, reason: str, until: float | None) -> None:
        self._tell_progress()
        if self._silent_since is None:
            self._silent_since = time.monotonic()
        left = None if until is None else max(0.0, until - time.monotonic())
        self._is_moving = False
        self._output.end_progress()
        self._output.event(
            "interrupted", reason=reason, seconds_left=None if left is None else round(left, 1)
        )
        waiting = "" if left is None else f" for up to {duration(left)}"
        self._output.say(f"{self._other} is gone ({printable(reason)}); waiting{waiting}")

    def _on_silent(self, *, dialling: bool) -> None:
        """Nothing has come for a while, though something should."""
        if self._silent_since is None:
            self._silent_since = self._heard_at
            seconds = time.monotonic() - self._heard_at
            self._output.event("silent", seconds=round(seconds, 1), dialling=dialling)

    def _on_heard(self) -> None:
        """The other side is there."""
        now = self._heard_at = time.monotonic()
        if self._silent_since is None:
            return
        seconds, self._silent_since = now - self._silent_since, None
        if self._started_at is not None:
            self._silent_s += seconds
        self._samples.clear()
        self._output.event("heard_again", seconds=round(seconds, 1))

    def _called(self, peer: PeerKey | None) -> str:
        if peer is None:
            return self._other
        name = self._name_of(peer)
        return f"{printable(name)} ({peer.short}…)" if name else f"{self._other} {peer.short}…"

    # --- progress -------------------------------------------------------------------------------

    def _rate(self, bytes_done: int) -> float:
        """Bytes per second over the last seconds."""
        now = time.monotonic()
        samples = self._samples
        samples.append((now, bytes_done))
        while len(samples) > 2 and now - samples[0][0] > RATE_WINDOW_S:
            samples.popleft()
        elapsed = now - samples[0][0]
        return (bytes_done - samples[0][1]) / elapsed if elapsed > 0 else 0.0

    def redraw(self) -> None:
        """The progress; also called once a second when nothing happens."""
        if not self._is_moving:
            return
        self._tell_progress()
        done, total = self._progress.bytes_done, self._progress.bytes_total
        samples = self._samples
        silent = time.monotonic() - self._heard_at
        if silent > SILENT_S:
            self._on_silent(dialling=False)
            words = f"{self._other} is silent for {silent:.0f} s"
            self._output.progress(View(bytes_done=done, silent=words))
            return
        # Up to now, not to the last report: while nothing comes the rate falls.
        elapsed = time.monotonic() - samples[0][0] if samples else 0.0
        rate = (samples[-1][1] - samples[0][1]) / elapsed if elapsed > 0 else 0.0
        left = (total - done) / rate if total is not None and rate > 0 else 0.0
        self._output.progress(
            View(
                name=self._what,
                bytes_done=done,
                bytes_total=total,
                n_files_done=self._progress.n_files_done,
                n_files=self._n_files,
                rate=rate,
                seconds_left=left if left >= 1.0 and silent <= QUIET_S else None,
                post_quantum=self._is_post_quantum,
            )
        )

    def resized(self) -> None:
        """The terminal has another size."""
        self._output.redraw()

    def done(self, done: Done, file_ids: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        """The last words of a transfer that is complete."""
        self._tell_progress()
        self._output.end_progress()
        began = self._started_at if self._started_at is not None else time.monotonic()
        seconds = max(0.001, time.monotonic() - began)
        silent_s = min(self._silent_s, seconds)
        self._started_at, self._is_moving, self._silent_s = None, False, 0.0
        fields: dict[str, object] = {
            "bytes_total": done.bytes_total,
            "bytes_transferred": done.bytes_transferred,
            "bytes_reused": done.bytes_reused,
            "bytes_unread": done.bytes_unread,
            "seconds": round(seconds, 3),
            "seconds_silent": round(silent_s, 3),
            "files": done.n_files,
            "folders": done.n_folders,
            "links": done.n_links,
            "failed": done.n_failed,
            "file_ids": {display_path(path): digest.hex() for path, digest in file_ids},
        }
        placed = self.placed
        if placed is not None:
            fields["paths"] = list(placed.placed)
            if placed.text is not None:
                fields["text"] = placed.text.decode("utf-8", "replace")
        self._output.event("done", **fields)
        per_second = size(done.bytes_transferred / max(0.001, seconds - silent_s))
        rate = f" ({per_second}/s)" if done.bytes_transferred >= RATE_BYTES_MIN else ""
        kept = f", {size(done.bytes_reused)} there before this run" if done.bytes_reused else ""
        outage = f", {duration(silent_s)} of it silent" if silent_s >= 1.0 else ""
        is_text = self._is_text or (self._offered is not None and self._offered.offer.is_text)
        files = "a text" if is_text else _counted(done.n_files, done.n_folders, done.n_links)
        unread = f", {size(done.bytes_unread)} of it not read again" if done.bytes_unread else ""
        is_whole = not done.bytes_unread and not done.n_failed
        verified = ", every chunk verified" if is_whole and not is_text else ""
        self._output.say(
            f"done: {files}, {size(done.bytes_total)} in {duration(seconds)}{outage}{rate}"
            f"{kept}{unread}{verified}"
        )
        if done.n_failed:
            self._output.say(f"{done.n_failed} did not arrive; send again what is missing")
        if self._verbose:
            recorded = "  (as recorded)" if done.bytes_unread else ""
            for path, digest in file_ids:
                self._output.say(f"  {digest.hex()}  {display_path(path)}{recorded}")

    def complete_already(self, note: CompleteNote) -> None:
        """Nobody answers, and everything is here since an earlier run."""
        self._output.event(
            "done",
            bytes_total=note.bytes_total,
            bytes_transferred=0,
            bytes_reused=note.bytes_total,
            bytes_unread=note.bytes_total,
            seconds=0.0,
            seconds_silent=0.0,
            files=note.n_files,
            failed=note.n_failed,
            file_ids={},
            paths=[printable(path) for path in note.paths],
            earlier=True,
        )
        for path in note.paths:
            self._output.say(f"received {printable(path)}")
        self._output.say("was complete already: an earlier run has received it, and nobody answers")


def offer_lines(event: OfferReceived) -> list[str]:
    """Says all that a person has to know of an offer before they answer."""
    offer, survey = event.offer, event.survey
    if offer.is_text:
        return [f"offered: a text, {_total(offer)}"]
    into = "to standard output" if survey.place == "-" else f"into {printable(survey.place)}"
    lines = [f"offered: {_summary(event)}, {into}"]
    lines += _marked_lines(event.marks)
    lines += ["  " + entry_line(top, shown_path(top.path)) for top in event.tops[:TOPS_SHOWN]]
    if len(event.tops) > TOPS_SHOWN:
        lines.append(f"  and {len(event.tops) - TOPS_SHOWN} more")
    if survey.n_existing:
        lines.append(f"already there: {_first_of(survey.existing, survey.n_existing)}")
    elif survey.n_merges:
        shown = _first_of(survey.merges, survey.n_merges)
        lines.append(f"already there: {shown}, with none of the files that come")
    if survey.reused_bytes:
        lines.append(f"{size(survey.reused_bytes)} of it are here already")
    return lines


def _first_of(existing: Sequence[Existing], n: int) -> str:
    shown = [shown_path(met.path) + "/" * met.is_merge for met in existing[:TOPS_SHOWN]]
    more = n - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def _marked_lines(marks: Marks) -> list[str]:
    """Hidden names, programs and links, before all others."""
    lines: list[str] = []
    kinds = (("hidden", marks.hidden), ("executable", marks.executable), ("link", marks.links))
    for word, marked in kinds:
        lines += [f"  {word}: {shown_path(path)}" for path in marked.first]
        if marked.n > len(marked.first):
            lines.append(f"  {word}: and {marked.n - len(marked.first):,} more")
    return lines


def _summary(event: OfferReceived) -> str:
    counted = _counted(event.offer.n_files, event.n_folders, event.n_links)
    marks = event.marks
    kinds = ((marks.hidden.n, "hidden"), (marks.executable.n, "executable"))
    marked = ", ".join(f"{n} {word}" for n, word in kinds if n)
    return f"{counted}{f' ({marked})' if marked else ''}, {_total(event.offer)}"


def _total(offer: Offer) -> str:
    return "of unknown size" if offer.total_bytes is None else size(offer.total_bytes)


def entry_line(entry: Entry, name: str) -> str:
    """One entry of a listing for people."""
    match entry.kind:
        case Kind.FOLDER:
            return name + "/"
        case Kind.LINK:
            return f"{name} -> {shown_path(entry.target)}"
        case _:
            return f"{name}  {size(entry.size) if entry.cut.is_known else 'size unknown'}"


def _counted(n_files: int, n_folders: int, n_links: int) -> str:
    parts = [f"{n_files} file{'' if n_files == 1 else 's'}"]
    if n_folders:
        parts.append(f"{n_folders} folder{'' if n_folders == 1 else 's'}")
    if n_links:
        parts.append(f"{n_links} link{'' if n_links == 1 else 's'}")
    return ", ".join(parts)


def _skew_words(skew_s: float) -> str:
    way = "ahead" if skew_s > 0 else "behind"
    utc = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    return (
        f"someone with the code has a clock that is {duration(abs(skew_s))} {way} of this one "
        f"(here it is {utc} UTC); they cannot connect until one of the clocks is set right"
    )


def _text(peer: PeerKey | None) -> str | None:
    return str(peer) if peer is not None else None
