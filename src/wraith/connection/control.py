"""Stream 0: the reliable channel of the protocol itself.

Carries records (HANDSHAKE_CONFIRM, REKEY, GOAWAY and their kin), goes before all other streams, is
outside flow control and bounded by its own 64 KiB in both directions. It is read as soon as it is
in order, whatever the application does. Spec: docs/spec/connection.md [CN-15, CN-16].
"""

from __future__ import annotations

from wraith.connection.data.streams import ReceiveHalf, SendHalf
from wraith.errors import CloseCode, LimitExceeded, RemoteProtocolError
from wraith.wire.control_records import Record, RecordParser, encode_record

CONTROL_WINDOW = 65_536
_UNLIMITED = 1 << 62


class ControlStream:
    """Both halves of stream 0."""

    __slots__ = ("_parser", "receive", "send")

    def __init__(self) -> None:
        self.send = SendHalf(_UNLIMITED)
        self.receive = ReceiveHalf()
        self._parser = RecordParser()

    def push(self, record: Record) -> bytes:
        """Queues a record; returns its encoding (header included)."""
        encoded = encode_record(record)
        self.send.write(encoded, len(encoded))
        return encoded

    def has_data(self) -> bool:
        half = self.send
        return half.has_lost or (
            half.next_offset < half.written and half.next_offset - half.acked_to < CONTROL_WINDOW
        )

    def next_range(self, n_max: int) -> tuple[int, int]:
        """``(offset, length)`` of what goes next; at most 64 KiB are unacknowledged."""
        half = self.send
        room = half.acked_to + CONTROL_WINDOW - half.next_offset
        offset, length, _ = half.next_range(n_max, max(room, 0))
        return offset, length

    def receive_data(self, offset: int, data: memoryview, fin: bool) -> list[Record]:
        """Takes bytes of stream 0; returns the records that are complete now.

        Raises:
            RemoteProtocolError: more than 64 KiB ahead, an end, or a record that may not be here.
        """
        if fin:
            raise RemoteProtocolError(
                "the control stream has no end", close_code=CloseCode.INVALID_STREAM_ID
            )
        half = self.receive
        if offset + len(data) > half.read_to + CONTROL_WINDOW:
            raise LimitExceeded(
                "too far ahead on the control stream", close_code=CloseCode.FLOW_CONTROL_ERROR
            )
        half.receive(offset, data, False)
        records: list[Record] = []
        for chunk in half.read_chunks(half.readable):
            records.extend(self._parser.feed(chunk))
        return records
