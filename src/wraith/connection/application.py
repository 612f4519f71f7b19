"""What the application may ask of an established connection: streams, datagrams, keys, figures.

Thin commands over the parts of the session; every one raises ``LocalProtocolError`` when it is not
allowed now and changes nothing then. ``Connection`` supplies the session and its life cycle.
Spec: docs/spec/connection.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from wraith.connection.data.datagrams import FRAME_OVERHEAD
from wraith.connection.data.stream_table import DEFAULT_PRIORITY
from wraith.connection.parts import ConnectionParts
from wraith.errors import LocalProtocolError
from wraith.types import Buffer, StreamId


@dataclass(frozen=True, slots=True)
class ConnectionStats:
    """Facts of this moment: of the path in use, and of the connection since it began. Bytes are UDP
    payload."""

    rtt_s: float
    min_rtt_s: float
    cwnd_bytes: int
    bytes_in_flight: int
    datagram_bytes: int
    lost_packets: int
    sent_packets: int
    received_packets: int
    sent_bytes: int
    received_bytes: int
    retransmitted_bytes: int
    dropped_packets: int
    datagrams_dropped: int
    epoch: int


class ApplicationCommands:
    """The commands of the data phase. ``_parts`` is ``None`` before and after it.

    Every command that may have a consequence is told the time, whether it needs it or not: a
    caller need not know which of them do.
    """

    __slots__ = ("_n_dropped", "_parts", "_wake")

    _parts: ConnectionParts | None
    _n_dropped: int
    _is_authorised: bool
    _wake: Callable[[], None] | None

    # -- access

    def _open(self) -> ConnectionParts:
        """The session, if the application may use it now."""
        raise NotImplementedError

    def _require_session(self) -> ConnectionParts:
        if self._parts is None:
            raise LocalProtocolError("there is no session yet, or no longer")
        return self._parts

    def _reading(self) -> ConnectionParts:
        """The session for reading: what arrived before a close may be read while it drains."""
        parts = self._require_session()
        if not self._is_authorised:
            raise LocalProtocolError("the connection is not established")
        return parts

    def _command(self) -> ConnectionParts:
        """As ``_open``, for what may leave something to send."""
        parts = self._open()
        self._woken()
        return parts

    def _woken(self) -> None:
        if self._wake is not None:
            self._wake()

    # -- streams

    def open_stream(
        self, *, priority: int | None = None, expedited: bool = False, now: float
    ) -> StreamId:
        """Opens a bidirectional stream. ``priority`` 0 (most urgent) … 255, default 128, or 0 for
        an expedited stream. Raises ``LocalProtocolError`` when the peer allows no more now."""
        if priority is None:
            priority = 0 if expedited else DEFAULT_PRIORITY
        if not 0 <= priority <= 255:
            raise LocalProtocolError("a priority lies between 0 and 255")
        parts = self._command()
        if parts.is_going_away:
            raise LocalProtocolError("this connection is about to end: no new streams")
        return parts.mux.open(priority=priority, expedited=expedited)

    def can_open_stream(self, *, expedited: bool = False) -> bool:
        """Whether the peer allows one more stream now (event ``StreamsAvailable`` else)."""
        parts = self._open()
        return not parts.is_going_away and parts.mux.table.can_open(expedited=expedited)

    def stream_write(self, sid: StreamId, data: Buffer, *, fin: bool = False, now: float) -> int:
        """Takes as much of ``data`` as the send buffer has room for and returns how much.

        ``bytes`` are kept by reference, anything else is copied. ``fin`` ends the stream once all
        of ``data`` was taken. After a short count, ``StreamWritable`` tells of new room.
        """
        return self._command().mux.write(sid, data, fin)

    def stream_write_chunks(
        self, sid: StreamId, chunks: Iterable[Buffer], n_max: int, now: float
    ) -> int:
        """As ``stream_write`` for the first ``n_max`` bytes of several buffers, which have so many
        at least."""
        return self._command().mux.write_chunks(sid, chunks, n_max)

    def stream_room(self, sid: StreamId) -> int:
        """Bytes that ``stream_write`` would take now."""
        return self._open().mux.room(sid)

    def stream_unsent(self, sid: StreamId) -> int:
        """Bytes that were written and never sent; 0 for a stream or a connection that is over."""
        parts = self._parts
        return parts.mux.unsent(sid) if parts is not None else 0

    def stream_finish(self, sid: StreamId, now: float) -> None:
        """Ends the stream after what was written."""
        self._command().mux.write(sid, b"", True)

    def stream_read(self, sid: StreamId, n_max: int, now: float) -> bytes:
        """Up to ``n_max`` bytes in order; empty when nothing is there."""
        return b"".join(self.stream_read_chunks(sid, n_max, now))

    def stream_read_chunks(self, sid: StreamId, n_max: int, now: float) -> list[Buffer]:
        """As ``stream_read``, in the pieces that arrived, without joining them: the caller's."""
        parts = self._reading()
        self._woken()
        return parts.mux.read(sid, n_max, now, parts.paths.main.rtt.srtt)

    def stream_readable(self, sid: StreamId) -> int:
        """Bytes that can be read now."""
        return self._reading().mux.readable(sid)

    def stream_is_finished(self, sid: StreamId) -> bool:
        """Everything was read and nothing more will come; true for a stream that is gone."""
        return self._reading().mux.is_finished(sid)

    def stream_reset(self, sid: StreamId, code: int, now: float) -> None:
        """Gives up sending on the stream; what was not acknowledged may never arrive."""
        self._command().mux.reset(sid, code)

    def stream_stop(self, sid: StreamId, code: int, now: float) -> None:
        """Asks the peer to stop sending on the stream; what comes is thrown away."""
        parts = self._command()
        parts.mux.stop(sid, code, now, parts.paths.main.rtt.srtt)

    def set_priority(self, sid: StreamId, priority: int, now: float) -> None:
        """Changes the urgency of a stream on both sides: 0 … 255."""
        if not 0 <= priority <= 255:
            raise LocalProtocolError("a priority lies between 0 and 255")
        self._command().mux.set_priority(sid, priority)

    @property
    def max_datagram_bytes(self) -> int:
        """Largest message for ``send_datagram`` on the present path."""
        parts = self._open()
        return parts.keys.sealer.capacity(parts.paths.main.mtu.current) - FRAME_OVERHEAD

    def send_datagram(self, data: bytes, now: float) -> bool:
        """Queues one unreliable message; false when the queue is full and it was dropped.

        Raises:
            LocalProtocolError: larger than ``max_datagram_bytes``.
        """
        if len(data) > self.max_datagram_bytes:
            raise LocalProtocolError("this message is too large for one datagram")
        return self._command().datagrams.push(data)

    def rekey(self, now: float) -> None:
        """Asks for fresh keys; event ``Rekeyed`` follows. At most once per second."""
        self._command().rekey.request()

    def export_key(self, label: str, n: int) -> bytes:
        """``n`` bytes (1 … 65,535) that both ends derive for ``label``, unlike for any other."""
        return self._require_session().keys.export(label, n)

    def stats(self) -> ConnectionStats:
        parts = self._require_session()
        recovery, path = parts.recovery, parts.paths.main
        return ConnectionStats(
            rtt_s=path.rtt.srtt,
            min_rtt_s=path.rtt.min_rtt,
            cwnd_bytes=path.controller.window,
            bytes_in_flight=path.bytes_in_flight,
            datagram_bytes=path.mtu.current,
            lost_packets=recovery.lost_packets,
            sent_packets=parts.n_datagrams_sent,
            received_packets=parts.n_datagrams_received,
            sent_bytes=parts.n_bytes_sent,
            received_bytes=parts.n_bytes_received,
            retransmitted_bytes=parts.mux.n_retransmitted,
            dropped_packets=self._n_dropped,
            datagrams_dropped=parts.datagrams.n_dropped_in + parts.datagrams.n_dropped_out,
            epoch=parts.keys.current,
        )
