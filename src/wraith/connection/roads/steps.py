"""What a keeper of roads wants done, in the order in which it is to be done.

Spec: docs/spec/roads.md §5.
"""

from __future__ import annotations

from typing import NamedTuple

from wraith.types import Road


class StartRoad(NamedTuple):
    """Join ``road``: dial a link, or take UDP to that address, and send PATH_CHALLENGE there."""

    id: int
    road: Road


class Probe(NamedTuple):
    """Send PATH_CHALLENGE on it. ``is_loaded``: on UDP padded to the path's packet size; on a link
    after 32 KiB of PAD have been acknowledged there. [RO-41]"""

    id: int
    is_loaded: bool


class Activate(NamedTuple):
    """Data go there from now on."""

    id: int


class StandBy(NamedTuple):
    """It stays open, and carries no data."""

    id: int


class CloseRoad(NamedTuple):
    """Close it, or forget it. Its id is not used any more."""

    id: int


Step = StartRoad | Probe | Activate | StandBy | CloseRoad
