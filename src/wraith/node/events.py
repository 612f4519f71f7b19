"""Events of the service of a transfer, beyond those of the transfer itself. ``RoadFailed`` and
``PathChanged`` are the connection's own: of a dial, and of the connection in use.

Spec: docs/spec/transfer.md §10.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from wraith.connection.events import PathChanged as PathChanged
from wraith.connection.events import RoadFailed as RoadFailed
from wraith.errors import WraithError
from wraith.transfer.events import Done, TransferEvent
from wraith.types import Address, Carrier, PeerKey, SecurityInfo


class NodeCloseCode(IntEnum):
    """Application codes of a CLOSE between nodes."""

    BUSY = 0x1001
    REPLACED = 0x1002
    SPENT = 0x1003
    BROKEN = 0x1004
    ANEW = 0x1005


@dataclass(frozen=True, slots=True)
class Dialling:
    """Attempt number ``attempt`` begins; ``again``: there was a connection before."""

    attempt: int
    again: bool


@dataclass(frozen=True, slots=True)
class StillTrying:
    """Nobody has answered for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Refused:
    """While nobody has answered, the host at ``address`` said that nobody waits there, or a router
    that it cannot be reached (``errno``). Told by the shell: ICMP, which anybody can forge.
    Dialling goes on."""

    address: Address
    errno: int


@dataclass(frozen=True, slots=True)
class Connected:
    """A peer is there, authenticated both ways. Every value is from the finished handshake."""

    peer: PeerKey | None
    security: SecurityInfo
    is_this_machine: bool
    address: Address
    again: bool
    carrier: Carrier = Carrier.UDP


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """Someone holding the code was refused: ``busy`` with another receiver, else not the peer
    that was asked for."""

    peer: PeerKey | None
    busy: bool


@dataclass(frozen=True, slots=True)
class ClockSkewSeen:
    """Someone holding the code has a clock that is off by ``skew_s``; they were not answered."""

    skew_s: float


@dataclass(frozen=True, slots=True)
class Bound:
    """The first offer was accepted: until it is complete the code is this receiver's."""

    peer: PeerKey


@dataclass(frozen=True, slots=True)
class LinkLost:
    """No connection any more; it goes on trying or waiting until ``until`` (monotonic;
    ``None``: without limit)."""

    reason: str
    until: float | None


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event. ``done`` is set after a complete transfer, ``error`` after a failed one."""

    done: Done | None
    error: WraithError | None


NodeEvent = (
    Dialling
    | StillTrying
    | Refused
    | Connected
    | TurnedAway
    | ClockSkewSeen
    | Bound
    | LinkLost
    | RoadFailed
    | PathChanged
    | Finished
    | TransferEvent
)
