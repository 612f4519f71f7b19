"""Decides what goes into the next run, and seals it.

One call makes one run of a few kernel bursts: acknowledgements and announcements lead, then the
bytes of one stream, cut by ``seal_run`` into equal datagrams straight into a pooled buffer. Nothing
is done per packet here. What was sent is remembered as one ``SentRun``.

This file decides how much may leave (window, pacer, limits before confirmation and before a rekey)
and in which form; what is worth sending is asked of the parts of the session.
Spec: docs/spec/connection.md [CN-40, CN-41].
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from wraith.connection.data.buffer_pool import BUFFER_BYTES, BufferPool
from wraith.connection.data.mux import Token
from wraith.connection.data.sent import SentRun
from wraith.connection.data.stream_table import OpenStream
from wraith.connection.keys import CLOSE_ONLY, DATA_STOP
from wraith.connection.parts import ConnectionParts
from wraith.connection.paths.open_path import Path
from wraith.connection.paths.shaper import Shaper
from wraith.types import NetworkPath, Transmit
from wraith.wire.frames import Close, MtuProbe, Pad, Ping, encode_frame
from wraith.wire.packet import PAYLOAD_BYTES_MIN

BURST_DATAGRAMS_MAX = 64
BURST_BYTES_MAX = 65_507
BURSTS_PER_RUN = BUFFER_BYTES // BURST_BYTES_MAX
"""Sixteen: as many as a buffer holds. What is done per run costs Python as much as a kernel burst
costs the kernel."""
WINDOW_RUNS = 8
"""A run of more than one burst is at most this part (1 / n) of the congestion window."""
DATA_FRAME_HEADER = 16
OTHER_FRAMES_MAX = 64
DATAGRAM_FRAMES_MAX = 128
"""Bounds on the frames beside DATA in one packet: half of what its receiver takes. [CN-62]"""
UNCONFIRMED_MAX = 10
PAD_HEADER = len(encode_frame(Pad(b"", eliciting=True)))
FORM_B_SILENCE_S = 5.0
PROBES_PER_PTO = 2
CID_TOKEN = -1
"""A token ``(CID_TOKEN, index)``: this packet was the first with that connection-id index."""
ACK_TOKEN = -2
"""A token ``(ACK_TOKEN, told)``: this packet acknowledged what ``AckState.on_told`` said."""


class Lead(NamedTuple):
    """What goes first in a run: encoded frames, the tokens that they stand for, whether they are
    ack-eliciting, and whether acknowledgements are among them."""

    frames: bytes
    tokens: list[Token]
    is_eliciting: bool
    has_acks: bool


class Content(NamedTuple):
    """Stream bytes of a run, contiguous from ``offset``; without ``stream`` those of stream 0."""

    stream: OpenStream | None
    offset: int
    length: int
    fin: bool
    data: list[bytes | memoryview]


PACKET_OVERHEAD_MAX = 64
"""More than a packet takes beside its frames in any format."""
NO_CONTENT = Content(None, 0, 0, False, [])


def bursts(buffer: memoryview, sizes: Sequence[int], network: NetworkPath) -> list[Transmit]:
    """Packets that lie back to back, as bursts that the kernel cuts: equal ones, the last possibly
    shorter."""
    found: list[Transmit] = []
    begin = at = segment = last = 0
    for size in sizes:
        if size > segment or last < segment or at + size - begin > BURST_BYTES_MAX:
            if at > begin:
                found.append(Transmit(buffer[begin:at], segment, network))
            begin, segment = at, size
        at += size
        last = size
    found.append(Transmit(buffer[begin:at], segment, network))
    return found


class PacketBuilder:
    """Makes the runs of one session."""

    __slots__ = (
        "_is_initiator",
        "_n_unconfirmed",
        "_parts",
        "_shaper",
        "load_bytes",
        "names_session",
        "oneshots",
    )

    def __init__(
        self, parts: ConnectionParts, *, is_initiator: bool, shaper: Shaper | None = None
    ) -> None:
        self._parts = parts
        self._shaper = shaper
        self._is_initiator = is_initiator
        self._n_unconfirmed = 0
        #: Encoded ack-eliciting frames that are sent once and never again (PING, PONG, PATH_*).
        self.oneshots: list[bytes] = []
        #: Bytes without meaning that are to be sent when nothing else waits.
        self.load_bytes = 0
        #: The next ack-eliciting datagram must find the session from any address.
        self.names_session = False

    # -- what may leave

    def _packets_left(self) -> int:
        """Before the responder has shown life only a few datagrams may leave. [CN-40]"""
        parts = self._parts
        if self._is_initiator and not parts.is_confirmed:
            return UNCONFIRMED_MAX - self._n_unconfirmed
        return CLOSE_ONLY - parts.keys.sealer.next_pn(parts.keys.send)

    def _has_work(self, path: Path) -> bool:
        """Something ack-eliciting waits, whether or not it may leave now."""
        parts = self._parts
        return bool(
            path.n_probes
            or self.oneshots
            or self.load_bytes
            or parts.mux.pending
            or parts.datagrams
            or parts.control.has_data()
            or len(parts.mux.scheduler)
        )

    @staticmethod
    def _allowed(path: Path, datagram_bytes: int, now: float, due: float | None) -> int:
        """How many datagrams window and pacer let go now, after a wait for ``due``, if any; sets
        ``pace_at``. A link has neither."""
        if path.is_window_full(datagram_bytes):
            return 0
        if path.traits.is_reliable:
            return path.room() // datagram_bytes
        room, pacer = path.room(), path.pacer
        budget = pacer.budget(now, due)
        # With a small window the peer would wait for a long run, and we for its answer.
        share = max(path.controller.window // WINDOW_RUNS, BURST_BYTES_MAX)
        run_bytes = min(share, BURSTS_PER_RUN * BURST_BYTES_MAX)
        quantum = min(pacer.burst // 2, run_bytes // 2, room)
        if budget < max(quantum, datagram_bytes):
            path.pace_at = pacer.next_time(now, max(quantum, datagram_bytes))
            return 0
        return min(room, budget, run_bytes) // datagram_bytes

    def _form(self, path: Path, now: float, *, is_probe: bool) -> int:
        """1 for form B, which names the session to a receiver that has lost the path. [CN-41]"""
        parts = self._parts
        if not parts.knows_hmk:
            return 0
        if is_probe or self.names_session or path.is_suspect:
            return 1
        quiet_since = parts.last_received + FORM_B_SILENCE_S
        return 1 if now >= quiet_since and parts.last_eliciting_sent < quiet_since else 0

    def _form_to(self, network: NetworkPath, now: float) -> int:
        """As ``_form``, for any address: where the session does not send otherwise it is named."""
        main = self._parts.paths.main
        if network == main.network:
            return self._form(main, now, is_probe=False)
        return 1 if self._parts.knows_hmk else 0

    # -- the next run

    def next_run(self, path: Path, now: float, pool: BufferPool) -> list[Transmit]:
        """The next run on ``path``: one burst, or several where messages of different sizes are
        sealed together. Empty when nothing may leave there now."""
        due, path.pace_at = path.pace_at, None
        left = self._packets_left()
        if left <= 0:
            return []
        datagram_bytes = path.mtu.current
        n_max = 0
        if self._has_work(path):
            if path.n_probes:
                n_max = path.n_probes
            else:
                n_max = self._allowed(path, datagram_bytes, now, due)
        if self._shaper is not None and (n_max or path.acks.is_due):
            shape = self._shaper.run(path.network, datagram_bytes, max(n_max, 1), now)
            if shape.at > now:
                path.pace_at = shape.at if path.pace_at is None else min(shape.at, path.pace_at)
                return []
            datagram_bytes = min(shape.datagram_bytes, datagram_bytes)
            n_max = min(shape.n_max, n_max)
        if n_max:
            transmits = self._data_run(path, now, pool, datagram_bytes, min(n_max, left))
            if transmits:
                return transmits
        if path.acks.is_due:
            return self.ack_run(path, now, pool, datagram_bytes)
        return []

    def ack_run(
        self, path: Path, now: float, pool: BufferPool, datagram_bytes: int
    ) -> list[Transmit]:
        """Acknowledgements of ``path`` alone: neither counted in flight nor paced. With many gaps
        one asks, once a round trip, to be acknowledged itself. [RC-23]"""
        self._parts.renew_index(path)
        acks = path.acks
        lead = b"".join([encode_frame(frame) for frame in acks.frames(now)])
        if not lead:
            acks.on_sent()
            return []
        form = self._form_to(path.network, now) if path.is_suspect else 0
        asks = acks.wants_answer and not path.is_window_full(datagram_bytes)
        if asks:
            lead += encode_frame(Ping(token=0))
        return self._seal(
            path, now, pool, Lead(lead, [], asks, True), form=form, datagram_bytes=datagram_bytes,
            n_max=1,
        )  # fmt: skip

    def _data_run(
        self, path: Path, now: float, pool: BufferPool, datagram_bytes: int, n_max: int
    ) -> list[Transmit]:
        parts = self._parts
        n_max = min(n_max, self._packets_to_gap(path, datagram_bytes, n_max))
        is_probe = path.n_probes > 0
        form = self._form(path, now, is_probe=is_probe)
        if form and not path.is_suspect:
            n_max = min(n_max, PROBES_PER_PTO)
        per_burst = min(BURST_DATAGRAMS_MAX, BURST_BYTES_MAX // datagram_bytes)
        n_max = min(n_max, BURSTS_PER_RUN * per_burst)
        if n_max > per_burst:
            n_max -= n_max % per_burst  # whole bursts
        is_stopped = parts.rekey.is_stopped(now)
        if not is_stopped:
            n_max = max(min(n_max, parts.rekey.data_packets_left()), 1)
        capacity = parts.keys.sealer.capacity(datagram_bytes)
        lead = self._lead(path, now, capacity, is_stopped)
        room = n_max * (capacity - DATA_FRAME_HEADER)
        content = self._content(room, is_stopped)
        if content is None:
            if not lead.is_eliciting:
                if not is_probe:
                    return []  # only blocked streams: acknowledgements wait for their own time
                frames = lead.frames + encode_frame(Ping(token=0))
                lead = lead._replace(frames=frames, is_eliciting=True)
            if parts.datagrams and n_max > 1 and not is_stopped:
                more = parts.datagrams.take_more(capacity, DATAGRAM_FRAMES_MAX, n_max - 1)
                if more:
                    return self._seal_messages(path, now, pool, lead, more, form=form)
            elif self.load_bytes and n_max > 1 and not is_stopped:
                more = [pad for _ in range(n_max - 1) if (pad := self._pad(capacity))]
                return self._seal_messages(path, now, pool, lead, more, form=form)
            content, n_max = NO_CONTENT, 1
        return self._seal(
            path, now, pool, lead, content, form=form, datagram_bytes=datagram_bytes, n_max=n_max
        )

    def _content(self, room: int, is_stopped: bool) -> Content | None:
        """The next stream bytes, at most ``room``; ``None`` if no stream may send."""
        parts = self._parts
        if parts.control.has_data():
            offset, length = parts.control.next_range(room)
            return Content(None, offset, length, False, parts.control.send.gather(offset, length))
        stream = None if is_stopped else parts.mux.pick()
        if stream is None:
            return None
        conn_room = max(parts.mux.table.conn_send.room, 0)
        offset, length, fin = stream.send.next_range(room, conn_room)
        data = stream.send.gather(offset, length) if length else []
        return Content(stream, offset, length, fin, data)

    def _packets_to_gap(self, path: Path, datagram_bytes: int, n_max: int) -> int:
        """How many of ``n_max`` packets may follow each other. Leaves a packet number out now and
        then, before the first: the peer cannot have received it. [RC-25]"""
        parts = self._parts
        n_sent, window = parts.n_datagrams_sent, path.controller.window  # of a link a constant
        left = parts.omitted.packets_left(n_sent, window, datagram_bytes)
        if left is None:
            return n_max
        if not left:
            epoch = parts.keys.send
            if parts.keys.sealer.next_pn(epoch) < DATA_STOP:
                parts.omitted.on_omitted(epoch, parts.keys.omit(), n_sent, window)
        return left or n_max

    def _lead(self, path: Path, now: float, capacity: int, is_stopped: bool) -> Lead:
        """Frames that go first. Nothing is taken from a queue that does not fit."""
        parts = self._parts
        acks = b""
        left = OTHER_FRAMES_MAX
        if path.acks.has_pending:
            encoded_acks = [encode_frame(frame) for frame in path.acks.frames(now)]
            left -= len(encoded_acks)
            acks = b"".join(encoded_acks)
        lead = b""
        tokens: list[Token] = []
        room = capacity - len(acks)
        while left and self.oneshots and len(lead) + len(self.oneshots[0]) <= room:
            lead += self.oneshots.pop(0)
            left -= 1
        if is_stopped:
            return Lead(acks + lead, tokens, bool(lead), bool(acks))
        pending = parts.mux.pending
        looked_at: list[Token] = []  # not a copy of all: a peer can make thousands of them wait
        for token in pending:
            encoded = parts.mux.frame_for(token)
            if encoded is not None:
                if not left or len(lead) + len(encoded) > room:
                    break
                tokens.append(token)
                lead += encoded
                left -= 1
            looked_at.append(token)
        for token in looked_at:
            del pending[token]
        if parts.datagrams:
            frames = parts.datagrams.take(room - len(lead), DATAGRAM_FRAMES_MAX)
            if not frames and not lead and acks:
                # A message of full size leaves no room for acknowledgements: they follow.
                frames = parts.datagrams.take(capacity, DATAGRAM_FRAMES_MAX)
                return Lead(frames, tokens, True, False)
            lead += frames
        if not lead:
            lead = self._pad(room)
        return Lead(acks + lead, tokens, bool(lead), bool(acks))

    def _pad(self, room: int) -> bytes:
        """A frame of at most ``room`` bytes without meaning, while any are to be sent."""
        n_bytes = min(self.load_bytes, room - PAD_HEADER)
        if n_bytes <= 0:
            return b""
        self.load_bytes -= n_bytes
        return encode_frame(Pad(bytes(n_bytes), eliciting=True))

    # -- sealing

    def _seal(
        self,
        path: Path,
        now: float,
        pool: BufferPool,
        lead: Lead,
        content: Content = NO_CONTENT,
        *,
        form: int,
        datagram_bytes: int,
        n_max: int,
    ) -> list[Transmit]:
        parts = self._parts
        sealer = parts.keys.sealer
        stream, offset, length, fin, data = content
        per_len = sealer.capacity(datagram_bytes) - DATA_FRAME_HEADER
        n_max = min(n_max, length // per_len + 2)  # beside the lead, and a short last one
        buffer = pool.take(n_max * datagram_bytes)
        assert buffer is not None  # the connection asks before it builds
        epoch = parts.keys.send
        first_pn = sealer.next_pn(epoch)
        sid = stream.sid if stream is not None else 0
        n_random = n_max * sealer.dummy_bytes
        n_bytes, n, taken, first_len = sealer.seal_run(
            epoch=epoch, cid_index=path.index, form=form, lead=lead.frames,
            sid=sid, offset=offset, data=data, fin=fin,
            datagram_bytes=datagram_bytes, n_max=n_max,
            random=parts.rng.public_bytes(n_random) if n_random else b"", out=buffer,
        )  # fmt: skip
        fin = fin and taken == length and (n > 1 or first_len == taken)
        eliciting = lead.is_eliciting or taken > 0 or fin
        tokens = self._tokens(path, lead, eliciting=eliciting)
        run = SentRun(
            path=path, epoch=epoch, first_pn=first_pn, n=n, time=now,
            datagram_bytes=datagram_bytes, last_bytes=n_bytes - (n - 1) * datagram_bytes,
            sid=sid, offset=offset, length=taken, first_len=first_len, per_len=per_len, fin=fin,
            lead=tokens, eliciting=eliciting, in_flight=eliciting,
        )  # fmt: skip
        parts.recovery.on_sent(run)
        if lead.has_acks:
            path.acks.on_sent()
        if stream is not None:
            parts.mux.on_sent(stream, offset, taken, fin, n_bytes)
        elif taken:
            parts.control.send.on_sent(offset, taken, False)
        if eliciting:
            self._on_eliciting(path, n, n_bytes, now)
        path.link_room -= n_bytes
        self._count(n, n_bytes)
        return [Transmit(buffer[:n_bytes], datagram_bytes if n > 1 else n_bytes, path.network)]

    def _seal_messages(
        self,
        path: Path,
        now: float,
        pool: BufferPool,
        lead: Lead,
        more: list[bytes],
        *,
        form: int,
    ) -> list[Transmit]:
        """``lead`` in a packet of its own, and messages in packets of any size behind it."""
        parts = self._parts
        sealer = parts.keys.sealer
        payloads = [lead.frames, *more]
        buffer = pool.take(sum(map(len, payloads)) + len(payloads) * PACKET_OVERHEAD_MAX)
        assert buffer is not None  # the connection asks before it builds
        epoch = parts.keys.send
        first_pn = sealer.next_pn(epoch)
        n_random = len(payloads) * sealer.dummy_bytes
        n_bytes, n = sealer.seal_frames(
            epoch=epoch, cid_index=path.index, form=form, payloads=payloads,
            random=parts.rng.public_bytes(n_random) if n_random else b"", out=buffer,
        )  # fmt: skip
        overhead = -sealer.capacity(0)
        sizes = [max(len(payload), PAYLOAD_BYTES_MIN) + overhead for payload in payloads]
        ends = tuple(accumulate(sizes))
        assert n == len(payloads) and ends[-1] == n_bytes
        run = SentRun(
            path=path, epoch=epoch, first_pn=first_pn, n=n, time=now, datagram_bytes=max(sizes),
            last_bytes=sizes[-1], ends=ends, lead=self._tokens(path, lead, eliciting=True),
            eliciting=True, in_flight=True,
        )  # fmt: skip
        parts.recovery.on_sent(run)
        if lead.has_acks:
            path.acks.on_sent()
        self._on_eliciting(path, n, n_bytes, now)
        path.link_room -= n_bytes
        self._count(n, n_bytes)
        return bursts(buffer, sizes, path.network)

    def _tokens(self, path: Path, lead: Lead, *, eliciting: bool) -> tuple[Token, ...]:
        """What the first datagram of a run stands for."""
        parts = self._parts
        tokens = lead.tokens
        if path.index > parts.cids.confirmed:
            tokens = [*tokens, (CID_TOKEN, path.index)]
        if lead.has_acks and eliciting:
            tokens = [*tokens, *((ACK_TOKEN, told) for told in path.acks.on_told())]
        return tuple(tokens)

    def _on_eliciting(self, path: Path, n: int, n_bytes: int, now: float) -> None:
        parts = self._parts
        path.pacer.on_sent(n_bytes, now)
        parts.last_eliciting_sent = now
        self.names_session = False
        parts.rekey.on_traffic()
        if path.n_probes:
            path.n_probes = max(path.n_probes - n, 0)
            parts.rekey.on_probe(now)

    def _count(self, n: int, n_bytes: int) -> None:
        self._parts.n_datagrams_sent += n
        self._parts.n_bytes_sent += n_bytes
        if not self._parts.is_confirmed:
            self._n_unconfirmed += n

    def single(
        self,
        network: NetworkPath,
        now: float,
        pool: BufferPool,
        frame: bytes,
        *,
        fill_to: int = 0,
        epoch: int | None = None,
    ) -> Transmit | None:
        """One datagram with ``frame`` alone, to any address, filled with zeros to ``fill_to``
        bytes. It is not followed up: path messages have their own timer and budget, and a CLOSE is
        never repeated but on demand."""
        parts = self._parts
        path = parts.paths.find(network)
        if path is not None:
            parts.renew_index(path)
        index = parts.paths.main.index if path is None else path.index
        form = self._form_to(network, now)
        sealed = self._seal_one(pool, frame, index, form, fill_to, epoch)
        if sealed is None:
            return None
        buffer, epoch, pn = sealed
        if path is not None:
            path.link_room -= len(buffer)
        parts.recovery.on_unfollowed(epoch, pn)
        return Transmit(buffer, len(buffer), network)

    def mtu_probe(self, path: Path, now: float, pool: BufferPool, size: int) -> Transmit | None:
        """A datagram of exactly ``size`` bytes; its loss is no congestion signal. [CN-36]"""
        form = self._form(path, now, is_probe=False)
        sealed = self._seal_one(pool, encode_frame(MtuProbe()), path.index, form, size, None)
        if sealed is None:
            return None
        buffer, epoch, pn = sealed
        n_bytes = len(buffer)
        run = SentRun(
            path=path, epoch=epoch, first_pn=pn, n=1, time=now, datagram_bytes=n_bytes,
            last_bytes=n_bytes, eliciting=True, in_flight=True, mtu_probe=True,
        )  # fmt: skip
        self._parts.recovery.on_sent(run)
        path.mtu.on_sent(size)
        path.pacer.on_sent(size, now)
        return Transmit(buffer, n_bytes, path.network)

    def _seal_one(
        self,
        pool: BufferPool,
        frame: bytes,
        index: int,
        form: int,
        fill_to: int,
        epoch: int | None,
    ) -> tuple[memoryview, int, int] | None:
        """Seals and counts one packet. Returns the datagram, its epoch and its number; ``None``
        without a buffer."""
        parts = self._parts
        datagram_bytes = max(fill_to, parts.paths.main.mtu.current)
        buffer = pool.take(datagram_bytes)
        if buffer is None:
            return None
        sealer = parts.keys.sealer
        epoch = parts.keys.send if epoch is None else epoch
        pn = sealer.next_pn(epoch)
        lead = frame
        if fill_to:
            lead += bytes(max(sealer.capacity(fill_to) - len(frame), 0))
        n_bytes, n, _, _ = sealer.seal_run(
            epoch=epoch, cid_index=index, form=form, lead=lead,
            datagram_bytes=datagram_bytes, n_max=1,
            random=parts.rng.public_bytes(sealer.dummy_bytes), out=buffer,
        )  # fmt: skip
        self._count(n, n_bytes)
        return buffer[:n_bytes], epoch, pn

    def close(
        self, now: float, pool: BufferPool, code: int, reason: str, epoch: int
    ) -> Transmit | None:
        frame = encode_frame(Close(code=code, reason=reason))
        return self.single(self._parts.paths.main.network, now, pool, frame, epoch=epoch)
