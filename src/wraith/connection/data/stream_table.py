"""All streams of one connection: who may open which, their limits, their shared window.

Applies the rules on stream ids (order of opening, limits per class, closed ids) and on final sizes
and windows to what arrives, and raises on a breach. It does not encode, send or schedule: what
must be told to the peer is the connection's business.

Spec: docs/spec/connection.md [CN-11 to CN-24].
"""

from __future__ import annotations

from wraith.config import EndpointConfig
from wraith.connection.data.flow import ReceiveWindow, SendWindow
from wraith.connection.data.streams import ReceiveHalf, SendHalf
from wraith.errors import CloseCode, LimitExceeded, LocalProtocolError, RemoteProtocolError
from wraith.types import Role, StreamId
from wraith.wire.frames import QosMode

CLASS_SHIFT = 30
_NUMBER_MASK = (1 << CLASS_SHIFT) - 1
DEFAULT_PRIORITY = 128
URGENT_PRIORITY = 32
"""Streams of a priority below this are urgent."""
OPEN_PER_PLACE_MAX = 8
"""So many streams of the peer's are open at once for each of ``max_streams`` that may wait."""


class OpenStream:
    """One open stream: two halves and what is known about it."""

    __slots__ = (
        "is_told_finished",
        "priority",
        "qos",
        "qos_parameter",
        "receive",
        "send",
        "sid",
        "stop_code",
        "wants_readable",
        "wants_writable",
        "window",
    )

    def __init__(
        self, sid: StreamId, send_limit: int, window: ReceiveWindow, priority: int
    ) -> None:
        self.sid = sid
        self.send = SendHalf(send_limit)
        self.receive = ReceiveHalf()
        self.window = window
        self.priority = priority
        self.qos = QosMode.RELIABLE
        self.qos_parameter = 0
        self.stop_code = 0
        self.wants_readable = True
        self.wants_writable = False
        self.is_told_finished = False


def stream_class(sid: int) -> int:
    """The class of a stream, 0 to 3: it says who opened it, and whether it is expedited."""
    return sid >> CLASS_SHIFT


def stream_number(sid: int) -> int:
    """The number of a stream in its class, from 1; 0 is no stream."""
    return sid & _NUMBER_MASK


class StreamTable:
    """Streams by id, with the limits of both sides.

    Args:
        role: this side's; decides which classes it opens (initiator 0 and 2, responder 1 and 3).
        send_window, conn_send_window, max_streams: what the peer's parameters allow.
        own_window: the stream window that this side announced.
        conn_window: this side's receive window over all streams.
    """

    __slots__ = (
        "_config",
        "_highest",
        "_max_local_by_class",
        "_max_remote",
        "_n_closed_remote",
        "_n_taken",
        "_own_classes",
        "_own_window",
        "_received",
        "_send_window",
        "conn_send",
        "conn_window",
        "n_urgent",
        "streams",
    )

    def __init__(
        self,
        role: Role,
        config: EndpointConfig,
        *,
        send_window: int,
        conn_send_window: int,
        max_streams: int,
        own_window: int,
        own_max_streams: int,
        conn_window: ReceiveWindow,
    ) -> None:
        self._config = config
        self._own_classes = (0, 2) if role is Role.INITIATOR else (1, 3)
        self._highest = [0, 0, 0, 0]  # highest number opened, per class
        self._max_local_by_class = [max_streams] * 4
        self._max_remote = [own_max_streams] * 4
        self._n_closed_remote = [0, 0, 0, 0]
        self._n_taken: list[int] | None = None  # per class, once the owner takes streams one by one
        self._send_window = send_window
        self._own_window = own_window
        self.conn_send = SendWindow(conn_send_window)
        self.conn_window = conn_window
        self.streams: dict[int, OpenStream] = {}
        #: Of the open ones.
        self.n_urgent = 0
        self._received = 0  # sum of the highest offsets of all streams

    # -- opening

    def open_local(self, *, priority: int, expedited: bool) -> OpenStream:
        """Opens the next stream of this side.

        Raises:
            LocalProtocolError: the peer allows no more streams now.
        """
        number_class = self._own_classes[1 if expedited else 0]
        number = self._highest[number_class] + 1
        if number > self._max_local_by_class[number_class]:
            raise LocalProtocolError("the peer allows no more streams now")
        self._highest[number_class] = number
        return self._create(StreamId(number_class << CLASS_SHIFT | number), priority)

    def is_own(self, sid: int) -> bool:
        """This side opens the class of ``sid``."""
        return stream_class(sid) in self._own_classes

    def was_opened(self, sid: int) -> bool:
        """The id was open once, or is."""
        number = sid & _NUMBER_MASK
        return 0 < number <= self._highest[stream_class(sid)]

    def can_open(self, *, expedited: bool = False) -> bool:
        number_class = self._own_classes[1 if expedited else 0]
        return self._highest[number_class] < self._max_local_by_class[number_class]

    def _create(self, sid: StreamId, priority: int) -> OpenStream:
        window = ReceiveWindow(self._own_window, self._config.stream_window_max)
        stream = OpenStream(sid, self._send_window, window, priority)
        self.streams[sid] = stream
        self.n_urgent += priority < URGENT_PRIORITY
        return stream

    def set_priority(self, stream: OpenStream, priority: int) -> None:
        """Of an open stream."""
        self.n_urgent += (priority < URGENT_PRIORITY) - (stream.priority < URGENT_PRIORITY)
        stream.priority = priority

    def open_remote(self, sid: StreamId) -> list[OpenStream]:
        """Opens a stream of the peer's that a frame of it names, and all lower ones of its class;
        returns them, the named one last. None when it was opened before.

        Raises:
            RemoteProtocolError: no such id may be used by the peer. [CN-11, CN-12, CN-14]
        """
        number_class = stream_class(sid)
        number = sid & _NUMBER_MASK
        if number == 0:
            raise RemoteProtocolError("stream number 0", close_code=CloseCode.INVALID_STREAM_ID)
        highest = self._highest[number_class]
        if number <= highest:
            return []
        if number_class in self._own_classes:
            raise RemoteProtocolError(
                "a stream that was never opened", close_code=CloseCode.INVALID_STREAM_ID
            )
        if number > self._max_remote[number_class]:
            raise LimitExceeded("too many streams", close_code=CloseCode.STREAM_LIMIT_EXCEEDED)
        self._highest[number_class] = number
        priority = 0 if number_class >= 2 else DEFAULT_PRIORITY
        if number == highest + 1:
            return [self._create(sid, priority)]
        first = sid - number + highest + 1
        return [self._create(StreamId(each), priority) for each in range(first, sid + 1)]

    def remove(self, stream: OpenStream) -> bool:
        """Forgets a stream both of whose directions are over; false when that was done."""
        if self.streams.pop(stream.sid, None) is None:
            return False
        self.n_urgent -= stream.priority < URGENT_PRIORITY
        number_class = stream_class(stream.sid)
        if number_class not in self._own_classes:
            self._n_closed_remote[number_class] += 1
        return True

    def last_remote(self) -> list[int]:
        """Per class that the peer opens: the highest id that it has opened (number 0: none)."""
        return [
            number_class << CLASS_SHIFT | self._highest[number_class]
            for number_class in range(4)
            if number_class not in self._own_classes
        ]

    # -- limits on streams

    def on_max_streams(self, number_class: int, limit: int) -> bool:
        """The peer's MAX_STREAMS; true when more may be opened now. [CN-13]"""
        if number_class not in self._own_classes:
            raise RemoteProtocolError("MAX_STREAMS for a class that the peer opens")
        if limit <= self._max_local_by_class[number_class]:
            return False
        self._max_local_by_class[number_class] = limit
        return True

    def count_taken(self) -> None:
        """From now on a place of the peer's is free again when its stream was taken, and no longer
        when it has ended. [CN-83]"""
        self._n_taken = [0, 0, 0, 0]

    def take(self, sid: int) -> None:
        """The application has taken this stream of the peer's."""
        if self._n_taken is not None:
            self._n_taken[stream_class(sid)] += 1

    def raise_max_remote(self, number_class: int) -> bool:
        """Lets the peer open as many as have closed, or were taken; true when it must be told. Told
        in steps of a half, so that streams in a row do not cost a frame each."""
        places = self._config.max_streams
        ended = self._n_closed_remote[number_class]
        target, step = ended + places, max(places // 2, 1)
        if self._n_taken is not None:
            target = min(self._n_taken[number_class] + places, ended + OPEN_PER_PLACE_MAX * places)
            if self._highest[number_class] == self._max_remote[number_class]:
                step = 1  # who may open none waits for every single place
        if target - self._max_remote[number_class] < step:
            return False
        self._max_remote[number_class] = target
        return True

    def max_remote(self, number_class: int) -> int:
        return self._max_remote[number_class]

    # -- flow control

    def receive_data(self, stream: OpenStream, offset: int, data: memoryview, fin: bool) -> None:
        """Takes stream bytes of the peer. [CN-20]

        Raises:
            RemoteProtocolError: beyond a window, or against the final-size rules.
        """
        if offset + len(data) > stream.window.limit:
            raise LimitExceeded("beyond the stream window", close_code=CloseCode.WINDOW_EXCEEDED)
        half = stream.receive
        before = half.read_to
        rise = half.receive(offset, data, fin)
        if rise:
            self._count_received(rise)
        freed = half.read_to - before  # a stopped stream is consumed as it comes
        if freed:
            self.consume(stream, freed)

    def receive_end(self, stream: OpenStream, final: int) -> None:
        """STREAM_CLOSE: the end without bytes."""
        if final > stream.window.limit:
            raise LimitExceeded("beyond the stream window", close_code=CloseCode.WINDOW_EXCEEDED)
        half = stream.receive
        half.set_final_size(final)
        rise = final - half.highest
        if rise > 0:
            half.highest = final
            self._count_received(rise)

    def receive_reset(self, stream: OpenStream, code: int, final: int) -> int:
        """RESET: bytes up to ``final`` count as received and as consumed. Returns how many of them
        are consumed now."""
        if final > stream.window.limit:
            raise LimitExceeded("beyond the stream window", close_code=CloseCode.WINDOW_EXCEEDED)
        half = stream.receive
        before = half.read_to
        rise = half.reset(code, final)
        if rise:
            self._count_received(rise)
        if final > before:
            self.consume(stream, final - before)
        return final - before

    def _count_received(self, n_bytes: int) -> None:
        self._received += n_bytes
        if self._received > self.conn_window.limit:
            raise LimitExceeded(
                "beyond the connection window", close_code=CloseCode.WINDOW_EXCEEDED
            )

    def consume(self, stream: OpenStream, n_bytes: int) -> None:
        """The application has read (or thrown away) ``n_bytes`` of ``stream``."""
        stream.window.consumed += n_bytes
        self.conn_window.consumed += n_bytes
