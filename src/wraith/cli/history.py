"""``wraith history``: what was sent and received here, and the recorder that keeps it."""

from __future__ import annotations

import time
from collections.abc import Callable

import click

from wraith.aio.clock import SystemClock
from wraith.aio.disk.history_file import HistoryEntry, HistoryFile
from wraith.aio.disk.home_folder import HomeFolder
from wraith.cli.helping import Helped
from wraith.cli.output import Output, printable, size
from wraith.node.events import Connected, NodeEvent
from wraith.transfer.events import Done, OfferReceived, Placed
from wraith.transfer.messages import Offer
from wraith.transfer.path_rules import display_path
from wraith.types import PeerKey

FileIds = tuple[tuple[bytes, bytes], ...]
A_TEXT = "a text"
_NAME_MAX = 256


@click.group("history", cls=Helped, invoke_without_command=True)
@click.option("--json", "json_events", is_flag=True, help="One JSON object per transfer on stdout.")
@click.pass_context
def history(ctx: click.Context, json_events: bool) -> None:
    """List what was sent and received here, the newest last.

    The last 1,000 transfers of 90 days are kept: when, what, how much, with whom, and a digest.
    `--no-history` of send and receive keeps one out of it.
    """
    if ctx.invoked_subcommand is not None:
        return
    output = Output(json_events=json_events, quiet=False)
    home = HomeFolder.default()
    names = {str(entry.key): entry.name for entry in home.peers()}
    entries = HistoryFile(home).entries(SystemClock().unix_time())
    for entry in entries:
        output.event(
            "history",
            at=entry.at,
            direction=entry.direction,
            what=entry.what,
            files=entry.n_files,
            bytes=entry.n_bytes,
            failed=entry.n_failed,
            peer=entry.peer or None,
            peer_name=names.get(entry.peer) or None,
            digest=entry.digest or None,
            digest_of=entry.digest_of or None,
        )
        output.result(_line(entry, names.get(entry.peer, "")))
    if not entries:
        output.say("nothing is noted: no transfer was completed, or none was to be noted")


@history.command("clear")
def clear() -> None:
    """Forget all of it."""
    HistoryFile(HomeFolder.default()).clear()
    Output(json_events=False, quiet=False).say("the history is empty")


def _line(entry: HistoryEntry, name: str) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(entry.at))
    whom = printable(name) or (f"{entry.peer[:12]}…" if entry.peer else "-")
    way = "to" if entry.direction == "sent" else "from"
    failed = f", {entry.n_failed} failed" if entry.n_failed else ""
    digest = f"  {entry.digest_of} {entry.digest[:16]}…" if entry.digest else ""
    return (
        f"{when} UTC  {entry.direction:8}  {printable(entry.what)}, {size(entry.n_bytes)}{failed}"
        f"  {way} {whom}{digest}"
    )


class Recorder:
    """Notes each transfer that completes while a command runs.

    Args:
        home: where.
        offer: what is sent; ``None`` where one receives.
        file_ids: the ids of the files that were sent, asked for when they have arrived.
    """

    def __init__(
        self,
        home: HomeFolder,
        offer: Offer | None = None,
        file_ids: Callable[[], FileIds] = tuple,
    ) -> None:
        self._file = HistoryFile(home)
        self._is_sender = offer is not None
        self._offer = offer
        self._file_ids = file_ids
        self._peer: PeerKey | None = None
        self._placed: FileIds = ()

    def on_event(self, event: NodeEvent) -> None:
        """Takes an event of the transfer; at a ``Done`` writes."""
        match event:
            case Connected(peer):
                self._peer = peer
            case OfferReceived(offer):
                self._offer = offer
            case Placed():
                self._placed = event.file_ids
            case Done():
                self._note(event)
            case _:
                pass

    def _note(self, done: Done) -> None:
        offer = self._offer
        if offer is None:
            return
        digest, digest_of = self._digest(offer)
        self._file.append(
            HistoryEntry(
                at=SystemClock().unix_time(),
                direction="sent" if self._is_sender else "received",
                what=A_TEXT if offer.is_text else display_path(offer.name)[:_NAME_MAX],
                n_files=done.n_files,
                n_bytes=done.bytes_total,
                n_failed=done.n_failed,
                peer=str(self._peer) if self._peer is not None else "",
                digest=digest.hex(),
                digest_of=digest_of,
            )
        )

    def _digest(self, offer: Offer) -> tuple[bytes, str]:
        """The digest that both sides can compare later, and the kind of thing that it is of: `file`
        or `listing`. Both are empty for a text and where the size is unknown."""
        if offer.is_text:
            return b"", ""
        ids = self._file_ids() if self._is_sender else self._placed
        if offer.n_entries == 1 and ids:
            return ids[0][1], "file"
        if offer.total_bytes is None:
            return b"", ""
        return offer.listing_digest, "listing"


__all__ = ["Recorder", "history"]
