"""Runs of packets, sealed and opened in pure Python: the reference of the native part.

One call takes a whole run: a burst that one kernel call sends, or what one kernel call received.
Inside, a packet costs a fixed handful of C calls (ratchet 2, mask 1, AEAD 2, copies) and everything
else is bound to locals before the loop; that is why the two loops are long and hold what elsewhere
would be small functions. What is rare (a new block, a gap, a late packet) lives in ``_ratchet``.

What must not be here: I/O, clocks, randomness (all are arguments), decisions about what to send.
A bad packet is a count, never an exception; a wrong argument is ``ValueError`` before anything
changes.

Not thread-safe: one session's loop owns its sealer and its opener.

Spec: wire-format §3-§6, ratchet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Final, NamedTuple, Protocol

import monocypher
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from wraith.errors import NonceExhausted
from wraith.hotpath._ratchet import (
    AEAD_AES_GCM,
    AEAD_XCHACHA,
    MESSAGE_KEY,
    NEXT_STEP,
    ReceiveChain,
    SendChain,
    keyed,
)
from wraith.types import Buffer
from wraith.wire.format import WireFormatSpec
from wraith.wire.packet import (
    CID_BYTES,
    CID_INDICES_MAX,
    DATAGRAM_BYTES_MAX,
    FORM_A,
    FORM_B,
    HDR_BYTES,
    PAYLOAD_BYTES_MIN,
    PN_BOUND,
    RESERVED_BITS,
    TAG_BYTES,
)

#: flags, packet number
_HDR: Final = Struct(">BI")
_CID: Final = Struct(">Q")
#: The mask's bytes in the order of their use: flags, packet number, CID (form A).
_MASK: Final = Struct(">BIQ")
#: Associated data before the dummies.
_AAD: Final = Struct(">QBI")
#: type, flags, length, sid, offset
_DATA: Final = Struct(">BBHIQ")

_MASK_BYTES: Final = HDR_BYTES + CID_BYTES
_DATA_HEADER: Final = 16
_DATA_BODY_MIN: Final = 12
#: Beside the lead, a datagram takes stream bytes only if so many bytes of frames fit.
_LEAD_ROOM_MIN: Final = 64

_END, _DATA_TYPE, _ACK, _CLOSE, _PAD = 0x00, 0x01, 0x02, 0x07, 0x08
_FIN = _ELICIT = 0x01

Run = tuple[int, int, int, int, bool]
Other = tuple[int, int, bytes]
Received = tuple[int, int, int, bool]


class _PacketCipher(Protocol):
    def encrypt(self, nonce: Buffer, data: Buffer, aad: Buffer, /) -> bytes: ...
    def encrypt_into(self, nonce: Buffer, data: Buffer, aad: Buffer, buf: Buffer, /) -> int: ...
    def decrypt(self, nonce: Buffer, data: Buffer, aad: Buffer, /) -> bytes: ...


class OpenResult(NamedTuple):
    """What one ``open_run`` found.

    Attributes:
        stream_bytes: bytes written to ``out``.
        runs: ``(sid, stream offset, at in out, length, fin)`` of DATA frames, contiguous ones
        merged
            across packets, in the order of arrival.
        others: ``(epoch, pn, frames)``: the encoded frames of a packet that are not DATA, in order.
            What could not be read as a frame stands at its end, for the decoder to refuse.
        received: ``(epoch, first pn, last pn, any ack-eliciting)``, merged, ascending.
        n_eliciting: packets that ask for an acknowledgement.
        unclaimed: positions of the datagrams that are not this session's (their HDR does not fit).
        highest: highest ``(epoch, pn)`` authenticated in this call.
        cid_index: highest CID index authenticated in this call, -1 if none.
        authenticated_bytes: bytes of the datagrams that authenticated.
        dropped: datagrams that looked like this session's and failed: CID, epoch, replay, AEAD.
        form_b: whether an authenticated one had its CID masked with the endpoint's key.
    """

    stream_bytes: int
    runs: list[Run]
    others: list[Other]
    received: list[Received]
    n_eliciting: int
    unclaimed: list[int]
    highest: tuple[int, int] | None
    cid_index: int
    authenticated_bytes: int
    dropped: int
    form_b: bool


def _check_keys(aead: int, direction: int, hp_key: bytes, cid_key: bytes) -> None:
    if aead not in (AEAD_XCHACHA, AEAD_AES_GCM):
        raise ValueError("aead is 1 (XChaCha20-Poly1305) or 2 (AES-256-GCM)")
    if direction not in (0, 1):
        raise ValueError("direction is 0 (initiator to responder) or 1")
    if len(hp_key) != 32 or len(cid_key) != 32:
        raise ValueError("a key has 32 bytes")


def _new_cipher(aead: int) -> Callable[[bytes], _PacketCipher]:
    return AESGCM if aead == AEAD_AES_GCM else ChaCha20Poly1305


def _cid(cid_key: bytes, index: int) -> int:
    if not 0 <= index < 1 << 32:
        raise ValueError("a CID index is a u32")
    return int.from_bytes(keyed(cid_key, index.to_bytes(4, "big"))[:CID_BYTES], "big")


class _Plan(NamedTuple):
    """How one run is cut, decided before anything changes."""

    n: int
    #: Stream bytes of the first datagram; the others carry ``per_packet``, the last one the rest.
    first: int
    taken: int
    #: The last datagram ends the stream's bytes (and may be short); else every datagram is full.
    complete: bool
    #: Datagram 0 carries the lead and no stream bytes, although others do.
    lead_alone: bool


class Sealer:
    """Seals what one session sends in one direction. Keeps the send chain of every live epoch.

    Args:
        aead: 1 XChaCha20-Poly1305, 2 AES-256-GCM.
        direction: 0 if the handshake's initiator sends, 1 if its responder does.
        fmt: ``WireFormatSpec.pack()``, 8 bytes.
        hp_key: header-mask key of this direction, 32 bytes.
        cid_key: key of the CIDs that are written, the peer's, 32 bytes.

    Raises ``ValueError`` for a wrong argument.
    """

    __slots__ = (
        "dummy_bytes",
        "_aead",
        "_direction",
        "_format",
        "_hp",
        "_cid_key",
        "_hmk",
        "_epochs",
    )

    def __init__(
        self, aead: int, direction: int, fmt: bytes, hp_key: bytes, cid_key: bytes
    ) -> None:
        _check_keys(aead, direction, hp_key, cid_key)
        self._aead = aead
        self._direction = direction
        self._format = WireFormatSpec.unpack(fmt)
        self._hp = blake3(key=hp_key)
        self._cid_key = cid_key
        self._hmk: bytes | None = None
        self._epochs: dict[int, SendChain] = {}
        #: Random bytes that one datagram takes from ``seal_run``'s ``random``.
        self.dummy_bytes = self._format.d1 + self._format.d2

    def add_epoch(self, epoch: int, root: bytes) -> None:
        """Begin to be able to send in ``epoch``; ``root`` has 32 bytes and is not kept."""
        if epoch in self._epochs:
            raise ValueError(f"epoch {epoch} is there already")
        self._epochs[epoch] = SendChain(self._aead, self._direction, epoch, root)

    def drop_epoch(self, epoch: int) -> None:
        """Forget the chain of ``epoch``; one that is not there is no error."""
        if chain := self._epochs.pop(epoch, None):
            chain.wipe()

    def set_hmk(self, hmk: bytes | None) -> None:
        """The peer endpoint's header-mask key for form B, 32 bytes; ``None`` while it is not
        known."""
        if hmk is not None and len(hmk) != 32:
            raise ValueError("a header-mask key has 32 bytes")
        self._hmk = hmk

    def next_pn(self, epoch: int) -> int:
        """The packet number that comes next in ``epoch``."""
        return self._chain(epoch).next_pn

    def capacity(self, datagram_bytes: int) -> int:
        """Bytes of frames that fit into a datagram of ``datagram_bytes``."""
        return datagram_bytes - self._format.fixed_overhead

    def close(self) -> None:
        """Forget every key. The object is of no use afterwards."""
        for epoch in list(self._epochs):
            self.drop_epoch(epoch)
        self._cid_key = bytes(32)
        self._hp = blake3(key=bytes(32))
        self._hmk = None

    def seal_run(
        self,
        epoch: int,
        cid_index: int,
        form: int,
        lead: Buffer,
        sid: int,
        offset: int,
        data: Sequence[Buffer],
        fin: bool,
        datagram_bytes: int,
        n_max: int,
        random: bytes,
        out: bytearray | memoryview,
        at: int = 0,
    ) -> tuple[int, int, int, int]:
        """Cut a run into packets and seal them back to back into ``out`` from ``at``. [WF-12]

        ``lead`` (encoded frames) goes whole into the first datagram. ``data`` are segments of one
        stream, contiguous from ``offset``; every datagram takes one DATA frame of it, the lead's
        too if 64 bytes of frames fit beside the lead. Every datagram has ``datagram_bytes`` but the
        last one, which may be shorter if it carries the last byte of ``data``; a payload is filled
        with zero bytes. FIN stands on the frame with the last byte (an empty frame if there is
        none). Packet numbers follow each other from ``next_pn``. The run ends early at ``n_max``
        datagrams or when ``out`` is full, and then has full datagrams only; if not even one
        datagram fits, nothing happens and all results are 0.

        Args:
            form: 0 masks the CID with the session's key, 1 with the peer endpoint's (``set_hmk``).
            random: one draw of at least ``dummy_bytes`` per datagram.

        Returns:
            ``(bytes written, datagrams, stream bytes taken, stream bytes of the first datagram)``.

        Raises:
            NonceExhausted: the epoch has not so many packet numbers left; nothing has changed.
            ValueError: a wrong argument, or a lead that does not fit; nothing has changed.
        """
        chain = self._chain(epoch)
        if form == FORM_A:
            hmk = None
        elif form != FORM_B or (hmk := self._hmk) is None:
            raise ValueError("form is 0 (A), or 1 (B) once the peer's header-mask key is known")
        segments = [memoryview(segment) for segment in data]
        total = sum(map(len, segments))
        room = self.capacity(datagram_bytes)
        view = memoryview(out)
        plan = self._plan(len(lead), total, fin, datagram_bytes, n_max, len(view) - at)
        n = plan.n
        if not 0 <= sid < 1 << 32 or not 0 <= offset < (1 << 64) - total:
            raise ValueError("sid is a u32, and offset plus length a u64")
        dummy_bytes = self.dummy_bytes
        if not 0 <= at <= len(view) or n_max < 1 or len(random) < n * dummy_bytes:
            raise ValueError("at is outside out, n_max is 0, or random is too short for this run")
        if chain.next_pn + n > PN_BOUND:
            raise NonceExhausted
        if n == 0:
            return 0, 0, 0, 0
        begin = at
        d1 = self._format.d1
        per_packet = room - _DATA_HEADER
        cid_offset, hdr_offset = self._format.cid_offset, self._format.hdr_offset
        dummy1_offset = self._format.dummy1_offset
        hp = self._hp
        mask_with, digest, sample_reset = hp.update, hp.digest, hp.reset
        unmask, pack_cid, pack_hdr = _MASK.unpack, _CID.pack_into, _HDR.pack_into
        hchacha = monocypher.chacha20_h if self._aead == AEAD_XCHACHA else None
        new_cipher = _new_cipher(self._aead)
        base, prefix, flags = chain.nonce_base, chain.nonce_prefix, chain.flags
        cid = _cid(self._cid_key, cid_index)
        aad_head = _AAD.pack(cid, flags, 0)[:-4]

        source = segments[0] if segments else memoryview(b"")
        next_segment, source_at, source_left = 1, 0, len(source)
        left, stream_at = plan.taken, offset
        with_data = total > 0 or fin
        size_laid_out, payload_at, tag_at, dummy2_at, adjacent = -1, 0, 0, 0, False
        pn, step = chain.next_pn, chain.step
        # The numbers are spent whatever happens below: sealing one twice would repeat its nonce.
        chain.next_pn = pn + n
        for i in range(n):
            # Frames: the lead, then as much of the stream as this datagram is to carry.
            if i == 0:
                want = plan.first
                frames = bytes(lead)
                framed = with_data and not plan.lead_alone
            else:
                want = per_packet if per_packet < left else left
                frames = b""
                framed = True
            if framed:
                left -= want
                last = fin and plan.complete and left == 0
                frames += _DATA.pack(_DATA_TYPE, last, want + _DATA_BODY_MIN, sid, stream_at)
                stream_at += want
                while want > source_left:
                    frames += source[source_at:]
                    want -= source_left
                    source = segments[next_segment]
                    next_segment, source_at, source_left = next_segment + 1, 0, len(source)
                frames += source[source_at : source_at + want]
                source_at += want
                source_left -= want
            size = len(frames)
            if i + 1 < n or not plan.complete:
                if size < room:
                    frames += bytes(room - size)
                    size = room
            elif size < PAYLOAD_BYTES_MIN:
                frames += bytes(PAYLOAD_BYTES_MIN - size)
                size = PAYLOAD_BYTES_MIN
            if size != size_laid_out:
                back = self._format.back_offsets(size)
                payload_at, tag_at, dummy2_at = back.payload, back.tag, back.dummy2
                adjacent = tag_at == payload_at + size
                size_laid_out = size
                datagram_bytes = size + self._format.fixed_overhead

            # Ratchet: this packet's key, then the step after it; both old ones are forgotten.
            if not pn & 0xFF:
                step = chain.begin_block(pn >> 8)
            pn_bytes = pn.to_bytes(4, "big")
            key = blake3(MESSAGE_KEY + pn_bytes, key=step).digest()
            step = blake3(NEXT_STEP, key=step).digest()

            # AEAD, straight into its place where tag follows payload.
            aad = aad_head + pn_bytes
            if dummy_bytes:
                dummies = random[i * dummy_bytes : (i + 1) * dummy_bytes]
                aad += dummies
                view[at + dummy1_offset : at + dummy1_offset + d1] = dummies[:d1]
                if dummy_bytes > d1:
                    view[at + dummy2_at : at + dummy2_at + dummy_bytes - d1] = dummies[d1:]
            if hchacha is not None:
                key = hchacha(key, prefix)
            nonce = (base ^ pn).to_bytes(12, "big")
            where = at + payload_at
            if adjacent:
                new_cipher(key).encrypt_into(
                    nonce, frames, aad, view[where : where + size + TAG_BYTES]
                )
            else:
                sealed = new_cipher(key).encrypt(nonce, frames, aad)
                view[where : where + size] = sealed[:size]
                view[at + tag_at : at + tag_at + TAG_BYTES] = sealed[size:]

            # Mask: a keyed hash of the last 16 bytes as sent. ``reset`` keeps the hasher's key and
            # costs a third of keying a new one.
            end = at + datagram_bytes
            sample_reset()
            mask_with(view[end - 16 : end])
            mask_flags, mask_pn, mask_cid = unmask(digest(_MASK_BYTES))
            if hmk is not None:
                (mask_cid,) = _CID.unpack(keyed(hmk, bytes(view[end - 16 : end]))[:CID_BYTES])
            pack_hdr(view, at + hdr_offset, flags ^ mask_flags, pn ^ mask_pn)
            pack_cid(view, at + cid_offset, cid ^ mask_cid)
            at = end
            pn += 1
        chain.step = step
        return at - begin, n, plan.taken, plan.first

    def _plan(
        self, n_lead: int, total: int, fin: bool, datagram_bytes: int, n_max: int, n_out: int
    ) -> _Plan:
        """Cut ``total`` stream bytes beside a lead of ``n_lead`` into datagrams: arithmetic
        only."""
        room = self.capacity(datagram_bytes)
        per_packet = room - _DATA_HEADER
        if per_packet < 1 or datagram_bytes > DATAGRAM_BYTES_MAX:
            raise ValueError(f"datagrams of {datagram_bytes} bytes cannot be sealed")
        if n_lead > room:
            raise ValueError(f"a lead of {n_lead} bytes does not fit into {room}")
        with_data = total > 0 or fin
        if not with_data:
            if not n_lead:
                raise ValueError("there is nothing to seal")
            last, n, first, lead_alone = n_lead, 1, 0, False
        else:
            lead_alone = n_lead > 0 and room - n_lead < _LEAD_ROOM_MIN
            first = 0 if lead_alone else min(total, room - n_lead - _DATA_HEADER)
            rest = total - first
            n = 1 + -(-rest // per_packet)
            if lead_alone and n == 1:
                n = 2
            last = _DATA_HEADER + (rest - (n - 2) * per_packet if n > 1 else n_lead + total)
        size = (n - 1) * datagram_bytes + self._format.fixed_overhead + max(last, PAYLOAD_BYTES_MIN)
        if n <= n_max and size <= n_out:
            return _Plan(n, first, total, True, lead_alone)
        n = max(0, min(n, n_max, n_out // datagram_bytes))
        return _Plan(n, first, min(total, first + (n - 1) * per_packet), False, lead_alone)

    def _chain(self, epoch: int) -> SendChain:
        chain = self._epochs.get(epoch)
        if chain is None:
            raise ValueError(f"epoch {epoch} is not live")
        return chain


class Opener:
    """Opens what one session receives in one direction. Keeps chain and window of every live epoch.

    Args:
        aead, fmt: as for ``Sealer``.
        direction: of the packets that are received: 0 if the handshake's initiator sent them.
        hp_key: header-mask key of that direction, 32 bytes.
        cid_key: key of the CIDs of this side, 32 bytes.
        window: replay window in packets, a power of two, 256 to 65,536.

    Attributes:
        cid_offset: where the CID lies in a datagram, 0 to 13.
        fixed_overhead: bytes of a datagram that are not payload.

    Raises ``ValueError`` for a wrong argument.
    """

    __slots__ = (
        "cid_offset",
        "fixed_overhead",
        "_aead",
        "_direction",
        "_format",
        "_hp",
        "_cid_key",
        "_window",
        "_hmks",
        "_cids",
        "_by_phase",
    )

    def __init__(
        self, aead: int, direction: int, fmt: bytes, hp_key: bytes, cid_key: bytes, window: int
    ) -> None:
        _check_keys(aead, direction, hp_key, cid_key)
        if not 256 <= window <= 65_536 or window & (window - 1):
            raise ValueError("the window is a power of two from 256 to 65536")
        self._aead = aead
        self._direction = direction
        self._format = WireFormatSpec.unpack(fmt)
        self._hp = blake3(key=hp_key)
        self._cid_key = cid_key
        self._window = window
        self._hmks: tuple[bytes, ...] = ()
        #: CID as an integer -> its index.
        self._cids: dict[int, int] = {}
        #: The live epochs by ``epoch mod 4``, which is all that a packet says of its epoch.
        self._by_phase: list[ReceiveChain | None] = [None] * 4
        self.cid_offset = self._format.cid_offset
        self.fixed_overhead = self._format.fixed_overhead

    def add_epoch(self, epoch: int, root: bytes) -> None:
        """Begin to accept packets of ``epoch``; ``root`` has 32 bytes and is not kept."""
        if self._by_phase[epoch & 3] is not None:
            raise ValueError(f"an epoch like {epoch} mod 4 is live")
        self._by_phase[epoch & 3] = ReceiveChain(
            self._aead, self._direction, epoch, root, self._window
        )

    def drop_epoch(self, epoch: int) -> None:
        """Forget keys and window of ``epoch``; one that is not there is no error."""
        chain = self._by_phase[epoch & 3]
        if chain is not None and chain.epoch == epoch:
            chain.wipe()
            self._by_phase[epoch & 3] = None

    def set_hmk(self, hmks: Sequence[bytes]) -> None:
        """This endpoint's header-mask keys that the peer may use for form B: two at most, 32
        bytes."""
        if len(hmks) > 2 or any(len(hmk) != 32 for hmk in hmks):
            raise ValueError("there are at most two header-mask keys of 32 bytes")
        self._hmks = tuple(hmks)

    def set_cids(self, low: int, high: int) -> None:
        """Accept the CIDs of the indices ``low`` to ``high``, both included, 16 at most."""
        if not 0 <= low <= high or high - low >= CID_INDICES_MAX:
            raise ValueError("CID indices are ascending and at most 16")
        self._cids = {_cid(self._cid_key, index): index for index in range(high, low - 1, -1)}

    def claims(self, datagram: Buffer) -> bool:
        """Whether its unmasked HDR looks like this session's: reserved bits zero, pn in range.
        [WF-3]

        A foreign datagram does with probability 2^-17. Proves nothing and costs one hash.
        """
        return self._claimed_hdr(datagram) is not None

    def fits(self, datagram: Buffer) -> bool:
        """``claims``, and its CID, in form A or B, is one that is accepted now. [WF-9]"""
        unmasked = self._claimed_hdr(datagram)
        if unmasked is None:
            return False
        (cid_wire,) = _CID.unpack_from(datagram, self.cid_offset)
        if cid_wire ^ unmasked[2] in self._cids:
            return True
        return self._form_b(cid_wire, bytes(datagram[-16:])) is not None

    def expire(self, now: float, ttl_s: float) -> None:
        """Erase keys of packets that were overtaken ``ttl_s`` or longer ago; they count as seen."""
        for chain in self._by_phase:
            if chain is not None:
                chain.expire(now, ttl_s)

    def state_digest(self) -> bytes:
        """A hash of all state that packets can change, look-ahead cache excluded. For tests."""
        return blake3(
            b"".join(b"-" if chain is None else chain.digest() for chain in self._by_phase)
        ).digest()

    def close(self) -> None:
        """Forget every key. The object is of no use afterwards."""
        for chain in self._by_phase:
            if chain is not None:
                chain.wipe()
        self._by_phase = [None] * 4
        self._cids = {}
        self._hmks = ()
        self._cid_key = bytes(32)
        self._hp = blake3(key=bytes(32))

    def open_run(
        self, buf: Buffer, segment_bytes: int, out: bytearray | memoryview, now: float
    ) -> OpenResult:
        """Open the datagrams in ``buf``: ``segment_bytes`` each, the last one possibly shorter.

        Stream bytes land back to back in ``out``, which has to be as long as ``buf``. Per packet:
        unmask, check HDR, CID, epoch and window, derive on copies, open, and only then change
        state; a packet that fails anywhere has no effect but on a count. [RT-3, WF-10]

        Args:
            buf: borrowed for the call.
            now: monotonic seconds; when keys of skipped packets begin to age.

        Raises:
            ValueError: a wrong argument; nothing has changed.
        """
        view, target = memoryview(buf), memoryview(out)
        total = len(view)
        if segment_bytes < 1 or len(target) < total:
            raise ValueError("segment_bytes is 0, or out is shorter than buf")
        layout, d1, d2 = self._format, self._format.d1, self._format.d2
        cid_offset, hdr_offset, dummy1_at = self.cid_offset, layout.hdr_offset, layout.dummy1_offset
        size_min, overhead = layout.datagram_bytes_min, layout.fixed_overhead
        by_phase, cids = self._by_phase, self._cids
        mask_with, digest, sample_reset = self._hp.update, self._hp.digest, self._hp.reset
        unmask, read_hdr, read_cid = _MASK.unpack, _HDR.unpack_from, _CID.unpack_from
        pack_aad, read_data = _AAD.pack, _DATA.unpack_from
        hchacha = monocypher.chacha20_h if self._aead == AEAD_XCHACHA else None
        new_cipher = _new_cipher(self._aead)

        runs: list[Run] = []
        run_sid, run_offset, run_at, run_end, run_fin = -1, 0, 0, 0, False
        others: list[Other] = []
        received: list[Received] = []
        got_epoch, got_first, got_last, got_eliciting = -1, 0, -2, False
        unclaimed: list[int] = []
        put = n_eliciting = authenticated_bytes = dropped = 0
        top_index, form_b = -1, False
        size_laid_out, payload_at, tag_at, dummy2_at, adjacent = -1, 0, 0, 0, False

        for start in range(0, total, segment_bytes):
            end = start + segment_bytes
            if end > total:
                end = total
            size = end - start
            if size < size_min:
                unclaimed.append(start // segment_bytes)
                continue

            # Unmask. Whose datagram is it, and may its epoch and CID be used?
            sample_reset()
            mask_with(view[end - 16 : end])
            mask_flags, mask_pn, mask_cid = unmask(digest(_MASK_BYTES))
            flags, pn = read_hdr(view, start + hdr_offset)
            flags ^= mask_flags
            pn ^= mask_pn
            if flags & RESERVED_BITS or pn >= PN_BOUND:
                unclaimed.append(start // segment_bytes)
                continue
            (cid,) = read_cid(view, start + cid_offset)
            index = cids.get(cid ^ mask_cid)
            if index is not None:
                cid ^= mask_cid
                by_endpoint_key = False
            else:
                known = self._form_b(cid, bytes(view[end - 16 : end]))
                if known is None:
                    dropped += 1
                    continue
                cid, index = known
                by_endpoint_key = True
            chain = by_phase[flags >> 6]
            if chain is None:
                dropped += 1
                continue

            # Key. In order, one hash gives it; every other case is ``find``'s.
            head = chain.head
            pn_bytes = pn.to_bytes(4, "big")
            if pn == head.expected and pn & 0xFF:
                candidate = None
                key = blake3(MESSAGE_KEY + pn_bytes, key=head.step).digest()
            else:
                candidate = chain.find(pn)
                if candidate is None:
                    dropped += 1
                    continue
                key = candidate.key

            # AEAD.
            if size != size_laid_out:
                payload_bytes = size - overhead
                back = layout.back_offsets(payload_bytes)
                payload_at, tag_at, dummy2_at = back.payload, back.tag, back.dummy2
                adjacent = tag_at == payload_at + payload_bytes
                size_laid_out = size
            aad = pack_aad(cid, flags, pn)
            if d1:
                aad += view[start + dummy1_at : start + dummy1_at + d1]
            if d2:
                aad += view[start + dummy2_at : start + dummy2_at + d2]
            where = start + payload_at
            if adjacent:
                sealed: Buffer = view[where : where + payload_bytes + TAG_BYTES]
            else:
                tag_from = start + tag_at
                sealed = b"".join(
                    (view[where : where + payload_bytes], view[tag_from : tag_from + TAG_BYTES])
                )
            if hchacha is not None:
                key = hchacha(key, chain.nonce_prefix)
            try:
                frames = new_cipher(key).decrypt(
                    (chain.nonce_base ^ pn).to_bytes(12, "big"), sealed, aad
                )
            except InvalidTag:
                dropped += 1
                continue

            # Authentic: now, and only now, state changes.
            if candidate is None:
                head.step = blake3(NEXT_STEP, key=head.step).digest()
                head.expected = pn + 1
                if pn >= chain.prune_at:
                    chain.prune()
            else:
                chain.commit(candidate, now)
            authenticated_bytes += size
            if index > top_index:
                top_index = index
            if by_endpoint_key:
                form_b = True

            # Frames: DATA is cut out and merged into runs, the rest is passed on as it stands.
            at, eliciting, rest = 0, False, b""
            while at < payload_bytes:
                kind = frames[at]
                if kind == _DATA_TYPE and at + _DATA_HEADER <= payload_bytes:
                    _, frame_flags, length, sid, offset = read_data(frames, at)
                    stop = at + 4 + length
                    if length < _DATA_BODY_MIN or stop > payload_bytes:
                        rest += frames[at:]
                        break
                    n = length - _DATA_BODY_MIN
                    target[put : put + n] = frames[at + _DATA_HEADER : stop]
                    if sid != run_sid or offset != run_end or run_fin:
                        if run_sid >= 0:
                            runs.append(
                                (run_sid, run_offset, run_at, run_end - run_offset, run_fin)
                            )
                        run_sid, run_offset, run_at = sid, offset, put
                    run_end = offset + n
                    run_fin = frame_flags & _FIN != 0
                    put += n
                    eliciting = True
                    at = stop
                elif kind == _END:
                    break
                else:
                    stop = at + 4 + int.from_bytes(frames[at + 2 : at + 4], "big")
                    if kind == _DATA_TYPE or at + 4 > payload_bytes or stop > payload_bytes:
                        rest += frames[at:]
                        break
                    rest += frames[at:stop]
                    if kind == _PAD:
                        eliciting = eliciting or frames[at + 1] & _ELICIT != 0
                    elif kind != _ACK and kind != _CLOSE:
                        eliciting = True
                    at = stop
            if rest:
                others.append((chain.epoch, pn, rest))
            if eliciting:
                n_eliciting += 1
            if pn == got_last + 1 and chain.epoch == got_epoch:
                got_last = pn
                got_eliciting = got_eliciting or eliciting
            else:
                if got_epoch >= 0:
                    received.append((got_epoch, got_first, got_last, got_eliciting))
                got_epoch, got_first, got_last, got_eliciting = chain.epoch, pn, pn, eliciting

        if run_sid >= 0:
            runs.append((run_sid, run_offset, run_at, run_end - run_offset, run_fin))
        if got_epoch >= 0:
            received.append((got_epoch, got_first, got_last, got_eliciting))
            if len(received) > 1:
                received = _merged(received)
        return OpenResult(
            put,
            runs,
            others,
            received,
            n_eliciting,
            unclaimed,
            (received[-1][0], received[-1][2]) if received else None,
            top_index,
            authenticated_bytes,
            dropped,
            form_b,
        )

    def _claimed_hdr(self, datagram: Buffer) -> tuple[int, int, int] | None:
        """``(flags, pn, form A mask of the CID)`` if the HDR fits, else ``None``."""
        if len(datagram) < self._format.datagram_bytes_min:
            return None
        self._hp.reset()
        self._hp.update(datagram[-16:])
        mask_flags, mask_pn, mask_cid = _MASK.unpack(self._hp.digest(_MASK_BYTES))
        flags, pn = _HDR.unpack_from(datagram, self._format.hdr_offset)
        flags ^= mask_flags
        pn ^= mask_pn
        return None if flags & RESERVED_BITS or pn >= PN_BOUND else (flags, pn, mask_cid)

    def _form_b(self, cid_wire: int, sample: bytes) -> tuple[int, int] | None:
        """``(CID, its index)`` if one of the endpoint's keys unmasks it to an accepted one."""
        for hmk in self._hmks:
            cid = cid_wire ^ int.from_bytes(keyed(hmk, sample)[:CID_BYTES], "big")
            index = self._cids.get(cid)
            if index is not None:
                return cid, index
        return None


def _merged(received: list[Received]) -> list[Received]:
    """Ascending by epoch and packet number, neighbours joined."""
    merged: list[Received] = []
    for epoch, first, last, eliciting in sorted(received):
        if merged and merged[-1][0] == epoch and merged[-1][2] + 1 == first:
            epoch, first, _, before = merged.pop()
            eliciting = eliciting or before
        merged.append((epoch, first, last, eliciting))
    return merged
