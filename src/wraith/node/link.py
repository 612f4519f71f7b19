"""One connection with the streams of one transfer on it.

Moves bytes between the connection's two streams and a transfer machine, both ways, as far as
windows and the machine's own limits allow. It decides nothing about peers or retries.

The sender of the transfer opens both streams: number 1 of its class is control, number 2 data,
whoever dialled.

Spec: docs/spec/transfer.md §10.
"""

from __future__ import annotations

from collections import deque

from wraith.connection.connection import Connection
from wraith.connection.data.stream_table import stream_number
from wraith.errors import LocalProtocolError, StateViolation
from wraith.transfer.receiver import Receiver
from wraith.transfer.sender import Sender
from wraith.types import PeerKey, StreamId

CONTROL_NUMBER = 1
DATA_NUMBER = 2
CONTROL_PRIORITY = 64
DATA_PRIORITY = 128
READ_CONTROL_BYTES = 256 * 1024
WRITE_BYTES_MIN = 64 * 1024
"""Below this much room nothing is written: small pieces cost as much as large ones."""

UNSENT_BYTES_MAX = 2 * 1024 * 1024
"""The link hands the connection at most so many bytes ahead of what it has sent. The connection
would take twice its window. But bytes that wait there for milliseconds occupy memory, and they have
left the processor's cache when they are sent."""

UNSENT_BYTES_LOW = UNSENT_BYTES_MAX // 2
"""With so much left it is given more, so that every run that is sent is a full one."""


class RateLimit:
    """A token bucket for payload: ``rate`` bytes per second, bursts of 0.1 s or 128 KiB."""

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._burst = max(rate / 10, 2.0 * WRITE_BYTES_MIN)
        self._tokens = self._burst
        self._at = now

    def budget(self, now: float) -> int:
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return int(self._tokens)

    def take(self, n_bytes: int) -> None:
        self._tokens -= n_bytes

    def ready_at(self) -> float:
        """When a useful amount may be sent again (a little more, so that rounding cannot make
        the moment come and bring nothing)."""
        want = 1.01 * WRITE_BYTES_MIN - self._tokens
        return self._at + max(0.0, want) / self._rate


class TransferLink:
    """See the module. ``machine`` may outlive the link (a receiver) or not (a sender)."""

    def __init__(
        self,
        connection: Connection,
        machine: Sender | Receiver,
        *,
        limit: RateLimit | None,
        now: float,
    ) -> None:
        self.connection = connection
        self.machine = machine
        self.peer: PeerKey | None = connection.peer
        #: When the last packet of the peer authenticated.
        self.silent_since = now
        #: It was asked for one since.
        self.has_asked = False
        self.is_suspect = False
        self.is_done = False
        self.closing_at: float | None = None
        self.blocked_until: float | None = None
        self._limit = limit
        self._n_heard = 0
        self._control: StreamId | None = None
        self._data: StreamId | None = None
        self._control_out: deque[bytes | memoryview] = deque()
        self._data_out: deque[bytes | memoryview] = deque()
        self._data_is_finished = False
        self._control_is_finished = False
        self._data_end_told = False
        if isinstance(machine, Sender):
            self._control = connection.open_stream(priority=CONTROL_PRIORITY, now=now)

    def on_stream_opened(self, sid: StreamId) -> None:
        """The peer opened a stream.

        Raises:
            StateViolation: not one that this transfer has.
        """
        number = stream_number(sid)
        if isinstance(self.machine, Sender):
            raise StateViolation("a receiver opens no streams")
        if number == CONTROL_NUMBER and self._control is None:
            self._control = sid
        elif number == DATA_NUMBER and self._data is None:
            self._data = sid
        else:
            raise StateViolation("a transfer has two streams")

    def is_flushed(self, sid: StreamId) -> bool:
        """``sid`` is the control stream and all of it, its end included, was acknowledged."""
        return sid == self._control

    @property
    def runs_dry(self) -> bool:
        """The data stream has little left to send, and there is more of it here."""
        machine, data = self.machine, self._data
        if data is None or not isinstance(machine, Sender):
            return False
        if not (self._data_out or machine.has_data):
            return False
        return self.connection.stream_unsent(data) <= UNSENT_BYTES_LOW

    def finish(self, now: float, grace_s: float) -> None:
        """Nothing more will be said: ends the control stream; the caller closes by then."""
        if self.closing_at is None:
            self.closing_at = now + grace_s

    def pump(self, now: float) -> None:
        """Moves whatever can be moved.

        Raises:
            RemoteProtocolError: the peer broke the transfer's protocol.
            LocalProtocolError: the connection is not open any more.
        """
        if (n_heard := self.connection.n_authenticated) != self._n_heard:
            self._n_heard, self.silent_since, self.has_asked = n_heard, now, False
        self._read(now)
        self._write_control(now)
        if isinstance(self.machine, Sender):
            self._write_data(self.machine, now)
        if self.closing_at is not None and not self._control_out:
            self._finish_control(now)

    def refill(self, now: float) -> None:
        """Gives the data stream more of what the machine has ready.

        Raises:
            LocalProtocolError: the connection is not open any more.
        """
        if isinstance(self.machine, Sender):
            self._write_data(self.machine, now)

    def _read(self, now: float) -> None:
        connection, machine = self.connection, self.machine
        control = self._control
        while control is not None and machine.wants_control:
            data = connection.stream_read(control, READ_CONTROL_BYTES, now)
            if not data:
                break
            if isinstance(machine, Sender):
                machine.receive_control(data)
            else:
                machine.receive_control(data, now)
        if isinstance(machine, Receiver) and self._data is not None:
            self._read_data(machine, self._data, now)

    def _read_data(self, machine: Receiver, sid: StreamId, now: float) -> None:
        connection = self.connection
        while (room := machine.data_room()) > 0 and connection.stream_readable(sid):
            for chunk in connection.stream_read_chunks(sid, room, now):
                machine.receive_data(chunk, now)
        if not self._data_end_told and connection.stream_is_finished(sid):
            self._data_end_told = True
            machine.receive_data_end(now)

    def _write_control(self, now: float) -> None:
        if self._control is None or self._control_is_finished:
            return
        while True:
            if not self._control_out:
                self._control_out.extend(self.machine.control_to_send())
                if not self._control_out:
                    return
            if not self._write(self._control, self._control_out, 1 << 30, now):
                return

    def _write_data(self, machine: Sender, now: float) -> None:
        self.blocked_until = None
        if not machine.has_started or self._data_is_finished:
            return
        if self._data is None:
            self._data = self.connection.open_stream(priority=DATA_PRIORITY, now=now)
        while True:
            unsent = self.connection.stream_unsent(self._data)
            room = min(self.connection.stream_room(self._data), UNSENT_BYTES_MAX - unsent)
            if self._limit is not None:
                room = min(room, self._limit.budget(now))
                if room < WRITE_BYTES_MIN:
                    self.blocked_until = self._limit.ready_at()
            if room < WRITE_BYTES_MIN:
                return
            if not self._data_out:
                self._data_out.extend(machine.data_to_send(room))
            if not self._data_out:
                break
            if not self._write(self._data, self._data_out, room, now):
                break
        if machine.data_is_finished and not self._data_out:
            self._data_is_finished = True
            self.connection.stream_finish(self._data, now)

    def _write(self, sid: StreamId, out: deque[bytes | memoryview], n_max: int, now: float) -> bool:
        """Writes up to ``n_max`` bytes; false when the connection took less than it was given."""
        n_max = min(n_max, sum(map(len, out)))
        taken = self.connection.stream_write_chunks(sid, out, n_max, now)
        if self._limit is not None and sid == self._data:
            self._limit.take(taken)
        left = taken
        while left:
            n_bytes = len(out[0])
            if n_bytes > left:
                out[0] = memoryview(out[0])[left:]
                break
            left -= n_bytes
            out.popleft()
        return taken == n_max

    def _finish_control(self, now: float) -> None:
        if self._control is None or self._control_is_finished:
            return
        self._control_is_finished = True
        try:
            self.connection.stream_finish(self._control, now)
        except LocalProtocolError:
            return
