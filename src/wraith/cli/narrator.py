"""Tells people and programs what a transfer does: words and a progress line, or JSON lines.

The JSON lines are the facts of ``aio/files/events.py``, told by a ``Teller``; the words for people
are chosen here, for both commands. It decides nothing.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Sequence

from wraith.aio.disk.store_worker import CompleteNote
from wraith.aio.files import reaching
from wraith.aio.files.events import (
    DoneEvent,
    EntryEvent,
    Event,
    FileFailedEvent,
    ProgressEvent,
    WaitingEvent,
)
from wraith.aio.files.telling import SILENT_S, Teller, done_earlier
from wraith.aio.transports.addresses import format_address
from wraith.cli.invitation import tell
from wraith.cli.output import Output, duration, printable, size
from wraith.cli.screen import RED, View
from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.connection.roads.rows import DEFAULT_ORDER
from wraith.errors import WraithError
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
from wraith.transfer.answers import Existing
from wraith.transfer.events import (
    Aborted,
    Accepted,
    Declined,
    Done,
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
from wraith.types import Address, Carrier, PeerKey, Road

RATE_BYTES_MIN = 64 * 1024
"""The rate of less than that says nothing."""
QUIET_S = 1.5
"""After so long without news nobody says how long the rest will take."""

TOPS_SHOWN = 10

_FAILED = {
    "source_changed": "changed while it was sent",
    "source_unreadable": "could not be read any more",
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
        self._teller = Teller(other, name_of=name_of)
        self._verbose = verbose
        self._dialled: tuple[str, ...] = ()
        self._dialled_over_udp: Road | None = None
        self._was_accepted = False
        self._udp_failure: RoadFailure | None = None
        #: Of the connection, until it is said why it is not over UDP.
        self._carrier: Carrier | None = None

    @property
    def placed(self) -> Placed | None:
        """The places of what was received, once it is there."""
        return self._teller.placed

    def tell(self, event: Event | EntryEvent) -> None:
        """One line of JSON, where they are wanted."""
        tell(self._output, event)

    # --- before anyone is there -----------------------------------------------------------------

    def dialling(
        self, roads: Sequence[Road], *, proxy: str = "", left_out: list[str] | None = None
    ) -> None:
        """The first words of the side that dials; a sender names what it left out.

        Args:
            proxy: what is to be said of proxies; empty for nothing.
        """
        texts = self._dialled = reaching.place_texts(roads)
        over_udp = (road for road in roads if road.carrier is Carrier.UDP)
        self._dialled_over_udp = next(over_udp, None)
        names = None if left_out is None else tuple(left_out)
        self.tell(WaitingEvent(None, texts, None, False, names))
        if proxy:
            self._output.say(proxy)
        self._output.say(f"dialling {', '.join(texts)} …")

    def no_route(self, addresses: tuple[Address, ...], *, waits: bool) -> WraithError | None:
        """This machine knows no way to any of ``addresses``: the error that ends it, or a sentence
        where somebody ``waits`` for a network."""
        texts = reaching.address_texts(addresses)
        self._output.event("no_route", addresses=list(texts), waiting=waits)
        if not waits:
            hint = "connect it to a network, or give --wait-for-network"
            return reaching.no_route(addresses, hint)
        self._output.say(f"no route to {', '.join(texts)}; waiting for a network")
        return None

    def no_address(self, *, waits: bool) -> WraithError | None:
        """This machine has no address that a code could name: as ``no_route``."""
        self._output.event("no_address", waiting=waits)
        if not waits:
            return reaching.no_address(
                "connect it to a network, or give --wait-for-network, or --listen HOST:PORT"
            )
        self._output.say("this machine has no address that anybody could reach; waiting for one")
        return None

    def explain(self, error: WraithError, timeout_s: float) -> WraithError:
        """Silence is all that a stranger gets from the other side, so this lists what it may
        mean."""
        return reaching.explained(error, self._dialled, timeout_s, self._other)

    # --- events ---------------------------------------------------------------------------------

    def show(self, event: NodeEvent) -> None:
        """One event of the transfer."""
        was_moving, before = self._teller.is_moving, self._teller.offered
        carrier, silent_s = self._teller.carrier, self._teller.silence_s
        told = self._teller.take(event)
        for fact in told:
            self.tell(fact)
        say = self._output.say
        match event:
            case Connected():
                self._on_connected(event)
            case RoadFailed():
                self._on_road_failed(event)
            case PathChanged(to) if carrier is not None and to.carrier is not carrier:
                self._on_moved(carrier, to.carrier, silent_s)
            case Dialling(attempt, again):
                if again and was_moving:
                    self._output.end_progress()
                    say(f"{self._other} is silent; dialling again")
                elif self._verbose:
                    say(f"dialling, attempt {attempt}")
            case StillTrying(seconds):
                say(f"no answer yet after {seconds:.0f} s; still trying")
                self._output.hint(reaching.reasons_of_silence(self._other))
            case Refused(address, number):
                self._on_refused(address, number)
            case TurnedAway(peer, busy):
                who = self._called(peer)
                why = "the code belongs to another one already" if busy else "not the one asked for"
                say(f"turned {who} away: {why}")
            case ClockSkewSeen(skew_s):
                say(_skew_words(skew_s))
            case PeerDeciding():
                if not self._was_accepted:  # else it goes on, and nobody is asked
                    say(f"{self._other} is deciding")
            case OfferReceived():
                self._on_offer(event, before)
            case Accepted(reused, _):
                self._was_accepted = True
                if reused:
                    say(f"going on after {size(reused)} that arrived earlier")
            case KeptDamaged(_, n_bytes):
                say(
                    f"{size(n_bytes)} that an earlier run left are not what was verified then; "
                    "they are fetched again"
                )
            case KeptVoid(why):
                say(
                    f"the disk failed under an earlier run ({printable(why)}): nothing that it "
                    "left is used, everything is fetched again"
                )
            case Aborted(by_peer=True, error=error):
                say(f"{self._other} gave up: {printable(str(error))}")
            case LinkLost(reason_text, until):
                self._on_interrupted(reason_text, until)
            case Declined(by_peer=True):
                self._on_declined(event)
            case _:
                pass
        for fact in told:
            match fact:
                case FileFailedEvent(path, reason):
                    say(f"{path} {_FAILED.get(reason, 'failed')}; the rest goes on")
                case ProgressEvent() if isinstance(event, Progress):
                    self.redraw()
                case _:
                    pass

    def _on_connected(self, event: Connected) -> None:
        security = event.security
        self._is_post_quantum = security.post_quantum
        who = "this machine" if event.is_this_machine else self._called(event.peer)
        strength = "post-quantum" if security.post_quantum else "NOT post-quantum"
        self._output.say(
            f"connected to {who}: {security.key_exchange} ({strength}), "
            f"suite {security.suite.name} ({security.aead})",
            *(() if security.post_quantum else (RED,)),
        )
        self._carrier = event.carrier
        if event.carrier is Carrier.UDP:
            self._udp_failure = None
        self._say_why_not_udp()

    def _say_why_not_udp(self) -> None:
        """Once for each connection, when both are known: that it is not over UDP, and why. The two
        ends compare what has arrived, so the reason may come a moment after the connection."""
        carrier, failure = self._carrier, self._udp_failure
        if carrier is None or carrier is Carrier.UDP or failure is None:
            return
        self._output.say(f"UDP gets no answer here, going by {carrier.name} ({failure})")
        self._carrier = self._udp_failure = None

    def _on_road_failed(self, event: RoadFailed) -> None:
        if event.road.carrier is Carrier.UDP:
            self._udp_failure = event.failure
            self._say_why_not_udp()
        if self._verbose:
            where = f"{event.road.carrier.name} to {printable(str(event.road))}"
            self._output.say(f"the road over {where} fails: {event.failure}")

    def _say_at_last(self) -> None:
        """A transfer may be over before the two ends have compared what has arrived. UDP was tried
        first then, and was silent: no more is known, and there is nothing to wait for."""
        road = self._dialled_over_udp
        if road is not None and self._carrier not in (None, Carrier.UDP):
            self.show(RoadFailed(road, RoadFailure(RoadReason.UDP_SILENT)))

    def _on_moved(self, before: Carrier, now: Carrier, silent_s: float) -> None:
        """The transfer goes on over another carrier."""
        self._carrier = None  # how it began is no news any more
        after = f"moved after {silent_s:.1f} s without losing a byte"
        if DEFAULT_ORDER.index(now) < DEFAULT_ORDER.index(before):
            self._output.say(f"the road over {now.name} is back, {after}")
        else:
            self._output.say(f"no answer over {before.name} any more, going by {now.name}: {after}")

    def _on_refused(self, address: Address, number: int) -> None:
        """An ICMP error. Anybody can forge one, so nothing ends. [TR-95]"""
        where = format_address(address)
        is_refused = number == errno.ECONNREFUSED
        what = "nobody waits at" if is_refused else "the network says that it cannot reach"
        self._output.say(f"{what} {where}, as far as anybody can tell; still trying")

    def _on_declined(self, event: Declined) -> None:
        who = self._called(event.peer)
        if event.reason is Reason.LIST_ONLY:
            self._output.say(f"{who} looked at the list and left")
        elif self._waits_after_refusal:
            why = f" ({reason_words(event.reason)})" if event.reason is not Reason.DECLINED else ""
            self._output.say(
                f"{who} refused the offer{why}; waiting for the next receiver, the code is still "
                "good; Ctrl-C ends it"
            )

    def _on_offer(self, event: OfferReceived, before: OfferReceived | None) -> None:
        self._what, self._n_files = display_path(event.offer.name), event.offer.n_files
        if before is not None and before.offer_id == event.offer_id:
            return  # the same again, after a new connection
        if before is not None:
            self._output.withdraw_prompt()
            self._output.say(f"the offer has CHANGED: it was {_summary(before)}")
        for line in offer_lines(event):
            self._output.say(line)

    def _on_interrupted(self, reason: str, until: float | None) -> None:
        left = None if until is None else max(0.0, until - time.monotonic())
        self._output.end_progress()
        waiting = "" if left is None else f" for up to {duration(left)}"
        self._output.say(f"{self._other} is gone ({printable(reason)}); waiting{waiting}")

    def _called(self, peer: PeerKey | None) -> str:
        if peer is None:
            return self._other
        name = self._name_of(peer)
        return f"{printable(name)} ({peer.short}…)" if name else f"{self._other} {peer.short}…"

    # --- progress -------------------------------------------------------------------------------

    def redraw(self) -> None:
        """The progress; also called once a second when nothing happens."""
        teller = self._teller
        if not teller.is_moving:
            return
        for fact in teller.tick():
            self.tell(fact)
        done, total = teller.progress.bytes_done, teller.progress.bytes_total
        silent = teller.silence_s
        if silent > SILENT_S:
            words = f"{self._other} is silent for {silent:.0f} s"
            self._output.progress(View(bytes_done=done, silent=words))
            return
        rate, carrier = teller.rate, teller.carrier
        left = (total - done) / rate if total is not None and rate > 0 else 0.0
        self._output.progress(
            View(
                name=self._what,
                bytes_done=done,
                bytes_total=total,
                n_files_done=teller.progress.n_files_done,
                n_files=self._n_files,
                rate=rate,
                seconds_left=left if left >= 1.0 and silent <= QUIET_S else None,
                post_quantum=self._is_post_quantum,
                over="" if carrier in (None, Carrier.UDP) else f"over {carrier.name}",
            )
        )

    def resized(self) -> None:
        """The terminal has another size."""
        self._output.redraw()

    def done(self, done: Done, file_ids: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        """The last words of a transfer that is complete."""
        self._say_at_last()
        *others, last = self._teller.done(done, file_ids)
        self._output.end_progress()
        for fact in (*others, last):
            self.tell(fact)
        assert isinstance(last, DoneEvent)
        seconds, silent_s = last.seconds, last.seconds_silent
        per_second = size(done.bytes_transferred / max(0.001, seconds - silent_s))
        rate = f" ({per_second}/s)" if done.bytes_transferred >= RATE_BYTES_MIN else ""
        kept = f", {size(done.bytes_reused)} there before this run" if done.bytes_reused else ""
        outage = f", {duration(silent_s)} of it silent" if silent_s >= 1.0 else ""
        offered = self._teller.offered
        is_text = self._is_text or (offered is not None and offered.offer.is_text)
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
        self.tell(done_earlier(note, tuple(printable(path) for path in note.paths)))
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
