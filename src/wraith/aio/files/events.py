"""Facts about a transfer, for programs: what ``async for event in sending`` gives.

They have the names, fields and meanings of docs/reference/json-events.md: ``--json`` prints
``fields_of`` each, and ``ConnectedEvent`` is the event ``connected``. There is no event ``error``:
the exception is raised instead.

Names and paths of a peer are text in which everything that could control a terminal is escaped.
Byte counts are content. More kinds and more fields, with defaults, may come in later versions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

from wraith.types import PeerKey

_PYTHON_ONLY: Final = {"json": False}
#: Left out of the JSON where it is ``None``: older versions do not have it.
_OPTIONAL: Final = {"optional": True}
_WORDS: Final = re.compile(r"(?<!^)(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class WaitingEvent:
    """The first one: it listens, or dials (``code``, ``port`` and ``carriers`` are ``None`` then).
    ``code`` is a secret and stands in no ``repr``; ``carriers`` is on what others find it, over
    QUIC at ``quic_port``."""

    code: str | None = field(repr=False)
    addresses: tuple[str, ...]
    port: int | None
    resumed: bool
    left_out: tuple[str, ...] | None = field(default=None, metadata=_OPTIONAL)
    carriers: tuple[str, ...] | None = field(default=None, metadata=_OPTIONAL)
    quic_port: int | None = field(default=None, metadata=_OPTIONAL)


@dataclass(frozen=True, slots=True)
class StillTryingEvent:
    """Nobody has answered for so long."""

    seconds: float
    hint: str


@dataclass(frozen=True, slots=True)
class UnreachableEvent:
    """A host or a router said that there is no way (``refused``, ``unreachable``); anybody can
    forge that, and dialling goes on."""

    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class ConnectedEvent:
    """A peer is there. Every value comes from the finished handshake; ``carrier`` is what it came
    over (``udp``, ``tcp``, ``ws``, ``quic``)."""

    post_quantum: bool
    key_exchange: str
    suite: str
    aead: str
    peer: PeerKey | None
    peer_name: str | None
    this_machine: bool
    address: str
    again: bool
    carrier: str


@dataclass(frozen=True, slots=True)
class RoadEvent:
    """What has become of one way to the peer: it has ``failed``, with the reason (a word of
    docs/reference/roads.md, perhaps with what was seen), or it is ``active``: all goes there now.
    """

    carrier: str
    address: str
    state: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class TurnedAwayEvent:
    """Somebody who holds the code was refused: ``busy`` with another receiver, or not asked for."""

    peer: PeerKey | None
    busy: bool


@dataclass(frozen=True, slots=True)
class ClockSkewEvent:
    """Somebody who holds the code has a clock that is off by ``skew_s``; nobody answered them."""

    skew_s: float


@dataclass(frozen=True, slots=True)
class EntryEvent:
    """One line of a listing: ``kind`` is ``file``, ``folder`` or ``link``."""

    kind: str
    path: str
    bytes: int | None


@dataclass(frozen=True, slots=True)
class OfferEvent:
    """At the receiver, before anything is accepted.

    Attributes:
        kind: ``files``, ``stream`` or ``text``.
        names: the names at the top; ``files``, ``folders``, ``links``: how many there are.
        hidden, executable: how many of them are, at any depth.
        bytes_total, bytes_here: in all, and already here from an earlier run.
        place: the folder that it would go to; ``existing``: names that exist there, in folders
            that exist there too as well. ``merges``: folders at the top that exist there.
        changed: another offer of the same run stood before this one.
        peer: who offers it.
        offer_id: 32 bytes; accepting it accepts this and nothing else.
    """

    kind: str
    names: tuple[str, ...]
    files: int
    folders: int
    links: int
    hidden: int
    executable: int
    bytes_total: int | None
    bytes_here: int
    place: str
    existing: int
    merges: int
    changed: bool
    peer: PeerKey | None = field(default=None, metadata=_PYTHON_ONLY)
    offer_id: bytes = field(default=b"", metadata=_PYTHON_ONLY)
    _entries: Callable[[], Iterator[EntryEvent]] = field(
        default=lambda: iter(()), repr=False, compare=False, metadata=_PYTHON_ONLY
    )

    def entries(self) -> Iterator[EntryEvent]:
        """Everything that is offered, in order; reads from a disk. It ends early when another
        offer has taken the place of this one."""
        return self._entries()


@dataclass(frozen=True, slots=True)
class DecidingEvent:
    """At the sender: the receiver has the whole list and has not answered yet."""


@dataclass(frozen=True, slots=True)
class DeclinedEvent:
    """At the sender: this receiver does not take it (``declined``, ``no_space``, ...)."""

    peer: PeerKey | None
    reason: str


@dataclass(frozen=True, slots=True)
class AcceptedEvent:
    """Data flows from now on; ``bytes_reused`` were verified earlier."""

    bytes_reused: int
    bytes_total: int | None


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """About ten times a second while something changes. ``bytes_done`` are verified and written at
    the receiver: a crash costs the last MiB of them at most. ``rate`` is in bytes per second."""

    bytes_done: int
    bytes_total: int | None
    files_done: int
    rate: int


@dataclass(frozen=True, slots=True)
class FileFailedEvent:
    """This file will not arrive; the rest goes on."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class DamagedEvent:
    """At the receiver: of what an earlier run left, so much is fetched again."""

    chunks: int
    bytes: int


@dataclass(frozen=True, slots=True)
class KeptVoidEvent:
    """At the receiver: the disk failed under an earlier run, so all of it is fetched again."""

    reason: str


@dataclass(frozen=True, slots=True)
class SilentEvent:
    """Nothing has come from the other side for some seconds, though something should."""

    seconds: float
    dialling: bool


@dataclass(frozen=True, slots=True)
class HeardAgainEvent:
    """The end of an outage."""

    seconds: float


@dataclass(frozen=True, slots=True)
class GaveUpEvent:
    """The other side ended its attempt; what is verified is kept there."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class InterruptedEvent:
    """The connection is gone; it goes on by itself for ``seconds_left`` (``None``: for ever)."""

    reason: str
    seconds_left: float | None


@dataclass(frozen=True, slots=True)
class RoadUse:
    """A carrier that was used: for so many seconds, in which so many bytes of content came."""

    carrier: str
    seconds: float
    bytes: int


@dataclass(frozen=True, slots=True)
class DoneEvent:
    """Everything is in its place, and the sender knows it.

    Attributes:
        bytes_total: what the receiver has now; of it, ``bytes_transferred`` crossed in this run,
            ``bytes_reused`` an earlier one had brought, and ``bytes_unread`` of those were not
            read again in this one.
        seconds, seconds_silent: since data began to flow, and without a sign of life.
        files, failed: how many arrived, and how many did not.
        file_ids: name -> 64 hex digits, of files sent by themselves; equal on both sides.
        folders, links: of the offer.
        paths: at a receiver: where things are.
        text: at the receiver of a text.
        earlier: an earlier run had completed it, and nobody answered this one.
        roads: the carriers that were used, in the order of first use.
    """

    bytes_total: int
    bytes_transferred: int
    bytes_reused: int
    bytes_unread: int
    seconds: float
    seconds_silent: float
    files: int
    failed: int
    file_ids: Mapping[str, str]
    folders: int | None = field(default=None, metadata=_OPTIONAL)
    links: int | None = field(default=None, metadata=_OPTIONAL)
    paths: tuple[str, ...] | None = field(default=None, metadata=_OPTIONAL)
    text: str | None = field(default=None, metadata=_OPTIONAL)
    earlier: bool | None = field(default=None, metadata=_OPTIONAL)
    roads: tuple[RoadUse, ...] = ()


Event = (
    WaitingEvent
    | StillTryingEvent
    | UnreachableEvent
    | ConnectedEvent
    | RoadEvent
    | TurnedAwayEvent
    | ClockSkewEvent
    | OfferEvent
    | DecidingEvent
    | DeclinedEvent
    | AcceptedEvent
    | ProgressEvent
    | FileFailedEvent
    | DamagedEvent
    | KeptVoidEvent
    | SilentEvent
    | HeardAgainEvent
    | GaveUpEvent
    | InterruptedEvent
    | DoneEvent
)


def name_of(event: Event | EntryEvent) -> str:
    """What ``--json`` calls it: ``still_trying`` for a ``StillTryingEvent``."""
    return _WORDS.sub("_", type(event).__name__.removesuffix("Event")).lower()


def fields_of(event: Event | EntryEvent) -> dict[str, Any]:
    """The fields of the JSON object, in order. Of a ``WaitingEvent`` that is the code too."""
    found: dict[str, Any] = {}
    for each in fields(event):
        value = getattr(event, each.name)
        is_missing = each.metadata.get("optional", False) and value is None
        if each.metadata.get("json", True) and not is_missing:
            found[each.name] = _plain(value)
    return found


def _plain(value: object) -> object:
    match value:
        case PeerKey():
            return str(value)
        case tuple():
            return [_plain(each) for each in value]
        case RoadUse():
            return asdict(value)
        case Mapping():
            return dict(value)
        case _:
            return value
