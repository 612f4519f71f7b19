"""Unreliable messages: sent once, whole, in order of submission, or not at all.

Congestion-controlled and ack-eliciting, never flow-controlled, never fragmented (RFC 9221). Both
queues are bounded; what does not fit is dropped and counted.
Spec: docs/spec/connection.md [CN-28].
"""

from __future__ import annotations

from wraith.wire.frames import DatagramFrame, encode_frame

QUEUE_MESSAGES = 256
QUEUE_BYTES = 262_144
FLOW_S = 2.0
"""So long after a message others are expected."""
MORE_PACKETS_MAX = 63
"""Beside the first one: what one call seals."""
FRAME_OVERHEAD = 10  # frame header 4, flow 2, id 4


class DatagramQueue:
    """Outgoing messages, already encoded."""

    __slots__ = (
        "_frames",
        "_n_bytes",
        "_next_id",
        "flows_until",
        "n_dropped_in",
        "n_dropped_out",
        "n_unread",
    )

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._n_bytes = 0
        self._next_id = 0
        #: Whoever has sent messages lately counts as one who sends them, until then.
        self.flows_until = 0.0
        self.n_dropped_out = 0
        self.n_dropped_in = 0
        self.n_unread = 0

    def __bool__(self) -> bool:
        return bool(self._frames)

    def push(self, data: bytes, now: float) -> bool:
        """Queues one message; false when the queue is full (counted)."""
        self.flows_until = now + FLOW_S
        if len(self._frames) >= QUEUE_MESSAGES or self._n_bytes + len(data) > QUEUE_BYTES:
            self.n_dropped_out += 1
            return False
        frame = encode_frame(DatagramFrame(flow=0, id=self._next_id, data=data))
        self._next_id = (self._next_id + 1) & 0xFFFFFFFF
        self._frames.append(frame)
        self._n_bytes += len(data)
        return True

    def take(self, room: int, n_max: int) -> bytes:
        """As many whole frames as fit into ``room`` bytes, ``n_max`` at most, in order."""
        n = 0
        n_bytes = 0
        for frame in self._frames[:n_max]:
            if n_bytes + len(frame) > room:
                break
            n += 1
            n_bytes += len(frame)
        taken = b"".join(self._frames[:n])
        del self._frames[:n]
        self._n_bytes -= n_bytes - n * FRAME_OVERHEAD
        return taken

    def take_more(self, room: int, n_max: int, n_packets: int) -> list[bytes]:
        """What further packets with ``room`` bytes for frames would carry: ``take`` for each, at
        most ``n_packets`` and at most 63."""
        packets: list[bytes] = []
        while self._frames and len(packets) < min(n_packets, MORE_PACKETS_MAX):
            frames = self.take(room, n_max)
            if not frames:
                break
            packets.append(frames)
        return packets

    def drop_oversized(self, room: int) -> None:
        """The path has become smaller: what cannot fit any more is dropped."""
        kept = [frame for frame in self._frames if len(frame) <= room]
        self.n_dropped_out += len(self._frames) - len(kept)
        self._frames = kept
        self._n_bytes = sum(map(len, kept)) - FRAME_OVERHEAD * len(kept)

    def admit(self) -> bool:
        """Whether one more received message may wait for the application."""
        if self.n_unread >= QUEUE_MESSAGES:
            self.n_dropped_in += 1
            return False
        self.n_unread += 1
        return True
