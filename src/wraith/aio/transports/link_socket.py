"""What the links of all carriers have in common; a carrier adds how bytes come and go.

::

    open ── peer closes, error ──► closed (the host is told)
     ├── close() ──► closing: sends what it holds, says so, reads until the peer has closed too
     └── discard(), a wrong length ──► discarding: reads on, until the doorstep resets it

``send`` takes everything: what the kernel leaves is copied and follows when it has room. The
machine hands out no more than ``room_bytes``, so what is held is bounded, and a link that is full
stops nobody else. Room is announced once when half of it is free again, not for every write.

Spec: carriers.md [CA-21, CA-25].
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import sys
from abc import ABC, abstractmethod
from asyncio import AbstractEventLoop, TimerHandle
from typing import Final, Protocol

from wraith.aio.transports.base import (
    BROKEN,
    PEER_CLOSED,
    PENDING_BYTES_MAX,
    SHORT_BYTES_MAX,
    UNPROVEN,
    UNSENT_BYTES_MAX,
    LinkHost,
)
from wraith.aio.transports.tcp_info import TcpInfo
from wraith.connection.links.link import LinkState, Runs, StreamLink
from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.types import Buffer, NetworkPath, Transmit, TransportCharacteristics

#: A link has so long to end in good order: for what it holds, and for the peer's end.
LINGER_S: Final = 20.0

#: On for 0 s; Windows has shorter fields.
_LINGER_0: Final = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


class Lingering(Protocol):
    """A socket, or what asyncio gives for one."""

    def setsockopt(self, level: int, option: int, value: bytes, /) -> None: ...


class Sheltering(Protocol):
    """Who watches over links that nobody has vouched for: ``doorstep.Doorstep``."""

    def proven(self, link: LinkSocket, /) -> None: ...

    def discards(self, link: LinkSocket, /) -> None: ...

    def gone(self, link: LinkSocket, /) -> None: ...


class LinkSocket(ABC):
    """One link over some carrier; a ``base.StreamSocket``. Belongs to its loop.

    Args:
        link: its bytes; what ``frame`` gives is written, what arrives is put in.
        doorstep: watches over it while it is unproven and when it discards. Without one a link
            that has to discard is reset at once.

    Attributes:
        path, characteristics: as of ``base.StreamSocket``.
        n_received, n_sent: bytes on the wire so far; sent includes what is held.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        link: StreamLink,
        path: NetworkPath,
        characteristics: TransportCharacteristics,
        doorstep: Sheltering | None,
    ) -> None:
        self.path = path
        self.characteristics = characteristics
        self.n_received = self.n_sent = 0
        self._loop = loop
        self._link = link
        self._doorstep = doorstep
        self._host: LinkHost | None = None
        self._pending: list[Buffer] = []
        self._pending_bytes = 0
        self._pending_max, self._unsent_max = PENDING_BYTES_MAX, UNSENT_BYTES_MAX
        self._was_undecided = link.state is LinkState.UNDECIDED
        self._owes_room = False
        #: Packets were delivered in this turn.
        self._has_delivered = False
        #: ``close`` was called; ``_is_closed``: nothing is left of the connection.
        self._is_closing = self._is_closed = False
        #: What came does not open. The host may still choose that the peer sees the end.
        self._is_broken = False
        self._lingering: TimerHandle | None = None

    # --- what a carrier adds ----------------------------------------------------------------

    @abstractmethod
    def _begin_reading(self) -> None:
        """Reads from now on: each read goes to ``_arrived``, the end to ``_ended``."""

    @abstractmethod
    def _write(self, buffers: list[Buffer]) -> list[Buffer]:
        """Hands buffers to the kernel; returns what it left. Raises ``OSError``."""

    @abstractmethod
    def _call_when_writable(self) -> None:
        """``_writable`` is called once when the kernel has room again."""

    @abstractmethod
    def _end_writing(self) -> None:
        """Tells the peer that nothing more comes. Raises ``OSError``."""

    @abstractmethod
    def _release(self, *, reset: bool) -> None:
        """Lets go of the connection; ``reset``: so that the peer sees an error."""

    # --- the driver's side ------------------------------------------------------------------

    @property
    def room_bytes(self) -> int:
        """How many bytes of packets ``send`` may be handed before the next ``link_room``."""
        if self._is_closing or self._is_closed or self._link.state is not LinkState.OPEN:
            return 0
        if self._owes_room:
            return 0
        room = max(0, self._pending_max - self._held_bytes)
        return room if self._pending else room + self._kernel_room

    @property
    def _kernel_room(self) -> int:
        """How much the kernel would take now, as far as it tells."""
        return 0

    @property
    def _held_bytes(self) -> int:
        """What this process holds for a kernel that is full."""
        return self._pending_bytes

    @property
    def is_closed(self) -> bool:
        """Nothing is left of the connection."""
        return self._is_closed

    def start(self, host: LinkHost) -> None:
        """Begins to deliver."""
        self._host = host
        self._begin_reading()

    def send(self, transmit: Transmit) -> None:
        """Takes all of ``transmit``. Nothing of it leaves a link that is closed or discards."""
        if self._is_closing or self._is_closed:
            return
        self._send_buffers(self._frame(transmit))

    def _frame(self, transmit: Transmit) -> list[Buffer]:
        """The buffers that go on the wire. A carrier with frames of its own puts them around."""
        return self._link.frame(transmit.data, transmit.segment_bytes)

    def _send_buffers(self, buffers: list[Buffer]) -> None:
        self.n_sent += sum(map(len, buffers))
        left = buffers
        if not self._pending:
            try:
                left = self._write(buffers)
            except OSError as exc:
                self._loop.call_soon(self._failed, exc)
                return
        if left:
            if not self._pending:
                self._call_when_writable()
            # One copy: what the views lend is valid for this call only.
            self._pending.append(memoryview(b"".join(left)))
            self._pending_bytes += len(self._pending[-1])
        self._note_room()

    def _note_room(self) -> None:
        """Room is told of again when no more than half of what may be held is held."""
        self._owes_room = self._owes_room or self._held_bytes > self._pending_max // 2

    def keep_short(self, is_short: bool) -> None:
        """As ``base.StreamSocket.keep_short``."""
        if self._is_closed:
            return
        self._pending_max = SHORT_BYTES_MAX if is_short else PENDING_BYTES_MAX
        self._unsent_max = SHORT_BYTES_MAX if is_short else UNSENT_BYTES_MAX
        self._note_room()

    def discard(self) -> None:
        """As ``base.StreamSocket.discard``."""
        if self._is_closed or self._is_closing:
            return
        self._link.discard()
        self._host = None
        self._drop_pending()
        if self._doorstep is None:
            self.reset()
        else:
            self._begin_reading()
            self._doorstep.discards(self)

    def give_up(self) -> None:
        """Discards, and tells the host so: the doorstep's order."""
        host = self._host
        self.discard()
        if host is not None:
            host.link_closed(self, UNPROVEN)

    def close(self) -> None:
        """As ``base.StreamSocket.close``. One that discards ends when its time has come, unless
        ``link_closed`` has just said ``BROKEN``."""
        is_discarding = self._link.state is LinkState.DISCARDING
        if self._is_closing or self._is_closed or (is_discarding and not self._is_broken):
            return
        self._is_closing = True
        self._lingering = self._loop.call_later(LINGER_S, self._linger_ended)
        self._host = None
        self._link.discard()
        if not self._pending:
            self._say_the_end()

    def reset(self) -> None:
        """Ends the connection at once, so that the peer sees an error. Idempotent."""
        self._finish(reset=True)

    def silence(self) -> RoadFailure | None:
        """As ``base.StreamSocket.silence``: what the kernel says, where it says something."""
        info = None if self._is_closed else self._tcp_info()
        return None if info is None else info.failure

    def _tcp_info(self) -> TcpInfo | None:
        """Of a carrier that stands on TCP."""
        return None

    # --- the carrier's side -----------------------------------------------------------------

    def _arrived(self, runs: Runs, n: int) -> None:
        """``n`` bytes were read, which held ``runs``."""
        self.n_received += n
        if self._was_undecided and self._link.state is not LinkState.UNDECIDED:
            self._was_undecided = False
            if self._doorstep is not None and self._link.state is LinkState.OPEN:
                self._doorstep.proven(self)
        for data, segment_bytes in runs:
            if self._host is not None:
                self._has_delivered = True
                self._host.link_received(self, data, segment_bytes)
        if self._link.state is LinkState.DISCARDING and not self._is_closing:
            host = self._host
            self.discard()
            self._is_broken = True
            if host is not None:
                host.link_closed(self, BROKEN)

    def _turn_ended(self) -> None:
        """All that had come was looked at. A part of a packet alone is not worth a turn."""
        if self._host is not None and self._has_delivered:
            self._has_delivered = False
            self._host.link_turn(self)

    def _ended(self) -> None:
        """The peer has closed."""
        self._tell_and_finish(PEER_CLOSED)

    def _failed(self, exc: BaseException | None) -> None:
        """The connection broke."""
        self._tell_and_finish(str(self._failure_of(exc)))

    def _writable(self) -> None:
        """The kernel has room again."""
        if self._is_closed:
            return
        try:
            self._pending = self._write(self._pending)
        except OSError as exc:
            self._failed(exc)
            return
        self._pending_bytes = sum(map(len, self._pending))
        if self._pending:
            self._call_when_writable()
        elif self._is_closing:
            self._say_the_end()
        if self._owes_room and self._held_bytes <= self._pending_max // 2:
            self._owes_room = False
            if self._host is not None:
                self._host.link_room(self)

    def _failure_of(self, exc: BaseException | None) -> RoadFailure:
        number = exc.errno if isinstance(exc, OSError) else None
        if number == errno.ETIMEDOUT:
            return RoadFailure(RoadReason.FROZEN, self.n_received + self.n_sent)
        if number in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN):
            return RoadFailure(RoadReason.UNREACHABLE)
        if self.n_received == 0:
            return RoadFailure(RoadReason.RESET_AT_PREFACE)
        return RoadFailure(RoadReason.RESET_LATER, self.n_received + self.n_sent)

    # --- the end ----------------------------------------------------------------------------

    def _say_the_end(self) -> None:
        try:
            self._end_writing()
        except OSError:
            self._finish(reset=False)
            return
        # A connection that is closed with bytes unread is reset, and the peer loses what it has
        # not read yet: so this end reads on until the peer has closed too.
        self._begin_reading()

    def _linger_ended(self) -> None:
        """What the kernel has taken still goes out; what it has not is lost, and the peer is told
        by a reset."""
        self._finish(reset=bool(self._pending))

    def _tell_and_finish(self, reason: str) -> None:
        if self._is_closed:
            return
        host, self._host = self._host, None
        self._finish(reset=False)
        if host is not None:
            host.link_closed(self, reason)

    def _finish(self, *, reset: bool) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._host = None
        self._link.discard()
        self._drop_pending()
        if self._lingering is not None:
            self._lingering.cancel()
        self._release(reset=reset)
        if self._doorstep is not None:
            self._doorstep.gone(self)

    def _drop_pending(self) -> None:
        self._pending = []
        self._pending_bytes = 0
        self._owes_room = False


def reset_on_close(sock: Lingering) -> None:
    """Closing this socket sends RST instead of FIN."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
