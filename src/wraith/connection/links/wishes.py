"""What an endpoint wishes for outside of itself: links that are opened and ended.

As with the disk, who drives the machine fulfils wishes and answers: an ``OpenRoad`` with
``link_opened`` or ``link_failed``; the others need no answer. Spec: docs/spec/carriers.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from wraith.connection.links.link import StreamLink
from wraith.types import NetworkPath, Road


@dataclass(frozen=True, slots=True)
class OpenRoad:
    """Opens a link to ``road``.

    Attributes:
        id: for the answer.
        link: the bytes of it; the preface leaves with the first packet, in one write.
        token: a WebSocket road: the last segment of the request's path.
    """

    id: int
    road: Road
    link: StreamLink = field(repr=False)
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class DropRoad:
    """The link of the wish ``id`` is of no use any more, whether or not it is open yet. No answer
    is expected."""

    id: int


@dataclass(frozen=True, slots=True)
class CloseLink:
    """Ends a link in good order; one that discards as well, if that was what ``link_closed`` told
    last."""

    path: NetworkPath


@dataclass(frozen=True, slots=True)
class DiscardLink:
    """Nothing more is sent on a link, and what arrives is thrown away: nobody is told why."""

    path: NetworkPath


@dataclass(frozen=True, slots=True)
class SettleLink:
    """Something has authenticated on an accepted link: a session answers for it."""

    path: NetworkPath


@dataclass(frozen=True, slots=True)
class ExplainSilence:
    """Nothing is heard on a link any more. What is known of why is told by ``link_silent``."""

    path: NetworkPath


@dataclass(frozen=True, slots=True)
class ShortenLink:
    """Urgent flows have come to the session of a link, which holds little while they are there; or
    they have gone. [CA-28]"""

    path: NetworkPath
    is_short: bool


@dataclass(frozen=True, slots=True)
class WatchNetwork:
    """Changes of this host's addresses and routes are to be told, or need not be told any more:
    ``network_changed`` of the endpoint."""

    is_on: bool


LinkWish = (
    OpenRoad
    | DropRoad
    | CloseLink
    | DiscardLink
    | SettleLink
    | ExplainSilence
    | ShortenLink
    | WatchNetwork
)
