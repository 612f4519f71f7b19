"""Sealing runs of packets: the Python twin of the native sealer. Read ``_python`` first.

Spec: wire-format §2-§5, ratchet §1-§2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import monocypher
from blake3 import blake3

from wraith.crypto.session_keys import CID_BYTES
from wraith.errors import NonceExhausted
from wraith.hotpath._packet import (
    AAD,
    CID,
    DATA,
    DATA_BODY_MIN,
    DATA_HEADER,
    HDR,
    MASK,
    MASK_BYTES,
    check_keys,
    cid_of,
    new_cipher,
)
from wraith.hotpath._ratchet import AEAD_XCHACHA, MESSAGE_KEY, NEXT_STEP, SendChain, keyed
from wraith.types import UDP_PAYLOAD_BYTES_MAX, Buffer
from wraith.wire.format import WireFormatSpec
from wraith.wire.packet import (
    FORM_A,
    FORM_B,
    PAYLOAD_BYTES_MIN,
    PN_BOUND,
    TAG_BYTES,
)

#: Beside the lead, a datagram takes stream bytes only if so many bytes of frames fit.
_LEAD_ROOM_MIN: Final = 64
_DATA_TYPE: Final = 0x01
#: Packets of one ``seal_frames`` call.
FRAMES_MAX: Final = 64


class _Plan(NamedTuple):
    """The cut of one run, decided before anything changes."""

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
        check_keys(aead, direction, hp_key, cid_key)
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

    def skip(self, epoch: int) -> int:
        """Spend the next packet number of ``epoch`` on nothing and forget its key. [RT-20]

        Returns:
            The number.

        Raises:
            NonceExhausted: the epoch has no number left.
            ValueError: ``epoch`` is not live.
        """
        chain = self._chain(epoch)
        pn = chain.next_pn
        if pn >= PN_BOUND:
            raise NonceExhausted
        step = chain.step if pn & 0xFF else chain.begin_block(pn >> 8)
        chain.step = keyed(step, NEXT_STEP)
        chain.next_pn = pn + 1
        return pn

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
        *,
        epoch: int,
        cid_index: int,
        form: int,
        lead: Buffer,
        sid: int = 0,
        offset: int = 0,
        data: Sequence[Buffer] = (),
        fin: bool = False,
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
        if not 0 <= at <= len(view) or view.readonly or n_max < 1:
            raise ValueError("out is read-only, at lies outside it, or n_max is 0")
        if len(random) < n * dummy_bytes:
            raise ValueError("random is too short for this run")
        if chain.next_pn + n > PN_BOUND:
            raise NonceExhausted
        if n == 0:
            return 0, 0, 0, 0
        begin = at
        d1 = self._format.d1
        per_packet = room - DATA_HEADER
        cid_offset, hdr_offset = self._format.cid_offset, self._format.hdr_offset
        dummy1_offset = self._format.dummy1_offset
        hp = self._hp
        mask_with, digest, sample_reset = hp.update, hp.digest, hp.reset
        unmask, pack_cid, pack_hdr = MASK.unpack, CID.pack_into, HDR.pack_into
        hchacha = monocypher.chacha20_h if self._aead == AEAD_XCHACHA else None
        cipher_of = new_cipher(self._aead)
        base, prefix, flags = chain.nonce_base, chain.nonce_prefix, chain.flags
        cid = cid_of(self._cid_key, cid_index)
        aad_head = AAD.pack(cid, flags, 0)[:-4]

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
                frames += DATA.pack(_DATA_TYPE, last, want + DATA_BODY_MIN, sid, stream_at)
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
                cipher_of(key).encrypt_into(
                    nonce, frames, aad, view[where : where + size + TAG_BYTES]
                )
            else:
                sealed = cipher_of(key).encrypt(nonce, frames, aad)
                view[where : where + size] = sealed[:size]
                view[at + tag_at : at + tag_at + TAG_BYTES] = sealed[size:]

            # Mask: a keyed hash of the last 16 bytes as sent. ``reset`` keeps the hasher's key and
            # costs a third of keying a new one.
            end = at + datagram_bytes
            sample_reset()
            mask_with(view[end - 16 : end])
            mask_flags, mask_pn, mask_cid = unmask(digest(MASK_BYTES))
            if hmk is not None:
                (mask_cid,) = CID.unpack(keyed(hmk, bytes(view[end - 16 : end]))[:CID_BYTES])
            pack_hdr(view, at + hdr_offset, flags ^ mask_flags, pn ^ mask_pn)
            pack_cid(view, at + cid_offset, cid ^ mask_cid)
            at = end
            pn += 1
        chain.step = step
        return at - begin, n, plan.taken, plan.first

    def seal_frames(
        self,
        *,
        epoch: int,
        cid_index: int,
        form: int,
        payloads: Sequence[Buffer],
        random: bytes,
        out: bytearray | memoryview,
        at: int = 0,
    ) -> tuple[int, int]:
        """Seal each of ``payloads`` (encoded frames) into a packet of its own, back to back into
        ``out`` from ``at``. [WF-17]

        For 1 to 64 packets of any size. Each is what ``seal_run`` makes of its payload as a lead
        alone. Ends early when ``out`` has no room for the next packet.

        Args:
            form: as for ``seal_run``.
            random: one draw of at least ``dummy_bytes`` per payload.

        Returns:
            ``(bytes written, packets)``.

        Raises:
            NonceExhausted: the epoch has not so many packet numbers left; nothing has changed.
            ValueError: a wrong argument; nothing has changed.
        """
        chain = self._chain(epoch)
        if form != FORM_A and (form != FORM_B or self._hmk is None):
            raise ValueError("form is 0 (A), or 1 (B) once the peer's header-mask key is known")
        leads = [bytes(payload) for payload in payloads]
        overhead, dummy_bytes = self._format.fixed_overhead, self.dummy_bytes
        view = memoryview(out)
        if not 1 <= len(leads) <= FRAMES_MAX:
            raise ValueError(f"a call seals 1 to {FRAMES_MAX} payloads")
        if any(not lead or len(lead) + overhead > UDP_PAYLOAD_BYTES_MAX for lead in leads):
            raise ValueError("a payload is empty or does not fit into a datagram")
        if not 0 <= at <= len(view) or view.readonly or len(random) < len(leads) * dummy_bytes:
            raise ValueError("out is read-only, at lies outside it, or random is too short")
        cid_of(self._cid_key, cid_index)
        n, end = 0, at
        for lead in leads:
            more = max(len(lead), PAYLOAD_BYTES_MIN) + overhead
            if end + more > len(view):
                break
            n, end = n + 1, end + more
        if n > PN_BOUND - chain.next_pn:
            raise NonceExhausted
        place = at
        for i, lead in enumerate(leads[:n]):
            place += self.seal_run(
                epoch=epoch,
                cid_index=cid_index,
                form=form,
                lead=lead,
                # A packet with its lead alone is as short as it may be, whatever this allows.
                datagram_bytes=max(len(lead), DATA_HEADER + 1) + overhead,
                n_max=1,
                random=random[i * dummy_bytes : (i + 1) * dummy_bytes],
                out=view[:end],
                at=place,
            )[0]
        return end - at, n

    def _plan(
        self, n_lead: int, total: int, fin: bool, datagram_bytes: int, n_max: int, n_out: int
    ) -> _Plan:
        """Cut ``total`` stream bytes beside a lead of ``n_lead`` into datagrams: arithmetic
        only."""
        room = self.capacity(datagram_bytes)
        per_packet = room - DATA_HEADER
        if per_packet < 1 or datagram_bytes > UDP_PAYLOAD_BYTES_MAX:
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
            first = 0 if lead_alone else min(total, room - n_lead - DATA_HEADER)
            rest = total - first
            n = 1 + -(-rest // per_packet)
            if lead_alone and n == 1:
                n = 2
            last = DATA_HEADER + (rest - (n - 2) * per_packet if n > 1 else n_lead + total)
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
