"""Opening runs of packets: the Python twin of the native opener. Read ``_python`` first.

Spec: wire-format §3-§6, ratchet §3-§4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import monocypher
from blake3 import blake3
from cryptography.exceptions import InvalidTag

from wraith.crypto.session_keys import CID_BYTES
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
from wraith.hotpath._ratchet import AEAD_XCHACHA, MESSAGE_KEY, NEXT_STEP, ReceiveChain, keyed
from wraith.types import Buffer
from wraith.wire.format import WireFormatSpec
from wraith.wire.packet import CID_INDICES_MAX, PN_BOUND, RESERVED_BITS, TAG_BYTES

_END: Final = 0x00
_DATA_TYPE: Final = 0x01
_ACK: Final = 0x02
_CLOSE: Final = 0x07
_PAD: Final = 0x08
_FIN: Final = 0x01
_ELICIT: Final = 0x01

Run = tuple[int, int, int, int, bool]
Other = tuple[int, int, bytes]
Received = tuple[int, int, int, bool]


class OpenResult(NamedTuple):
    """The result of one ``open_run``.

    Attributes:
        stream_bytes: bytes written to ``out``.
        runs: ``(sid, stream offset, at in out, length, fin)`` of DATA frames, contiguous ones
        merged
            across packets, in the order of arrival.
        others: ``(epoch, pn, frames)``: the encoded frames of a packet that are not DATA, in order.
            Bytes that are no frame stand at its end, and the decoder refuses them.
        received: ``(epoch, first pn, last pn, any ack-eliciting)``, merged, ascending.
        n_eliciting: packets that ask for an acknowledgement.
        unclaimed: positions of the datagrams that are not this session's (their HDR does not fit).
        highest: highest ``(epoch, pn)`` authenticated in this call.
        cid_index: highest CID index authenticated in this call, -1 if none.
        authenticated_bytes: bytes of the datagrams that authenticated.
        dropped: datagrams that looked like this session's and failed: CID, epoch, replay, AEAD.
        broken: those of them whose epoch is live and whose number is not below the window. Nothing
            that keeps the order and loses nothing brings such a datagram from the peer.
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
    broken: int
    form_b: bool


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
        check_keys(aead, direction, hp_key, cid_key)
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
        self._cids = {cid_of(self._cid_key, index): index for index in range(high, low - 1, -1)}

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
        (cid_wire,) = CID.unpack_from(datagram, self.cid_offset)
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
        if segment_bytes < 1 or len(target) < total or target.readonly:
            raise ValueError("segment_bytes is 0, or out is read-only or shorter than buf")
        layout, d1, d2 = self._format, self._format.d1, self._format.d2
        cid_offset, hdr_offset, dummy1_at = self.cid_offset, layout.hdr_offset, layout.dummy1_offset
        size_min, overhead = layout.datagram_bytes_min, layout.fixed_overhead
        by_phase, cids = self._by_phase, self._cids
        mask_with, digest, sample_reset = self._hp.update, self._hp.digest, self._hp.reset
        unmask, read_hdr, read_cid = MASK.unpack, HDR.unpack_from, CID.unpack_from
        pack_aad, read_data = AAD.pack, DATA.unpack_from
        hchacha = monocypher.chacha20_h if self._aead == AEAD_XCHACHA else None
        cipher_of = new_cipher(self._aead)

        runs: list[Run] = []
        run_sid, run_offset, run_at, run_end, run_fin = -1, 0, 0, 0, False
        others: list[Other] = []
        received: list[Received] = []
        got_epoch, got_first, got_last, got_eliciting = -1, 0, -2, False
        unclaimed: list[int] = []
        put = n_eliciting = authenticated_bytes = dropped = broken = 0
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
            mask_flags, mask_pn, mask_cid = unmask(digest(MASK_BYTES))
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
                    broken += 1
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
                    broken += not chain.is_below_window(pn)
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
                frames = cipher_of(key).decrypt(
                    (chain.nonce_base ^ pn).to_bytes(12, "big"), sealed, aad
                )
            except InvalidTag:
                dropped += 1
                broken += 1
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
            at, eliciting = 0, False
            rest: list[bytes] = []
            while at < payload_bytes:
                kind = frames[at]
                if kind == _DATA_TYPE and at + DATA_HEADER <= payload_bytes:
                    _, frame_flags, length, sid, offset = read_data(frames, at)
                    stop = at + 4 + length
                    if length < DATA_BODY_MIN or stop > payload_bytes:
                        rest.append(frames[at:])
                        break
                    n = length - DATA_BODY_MIN
                    target[put : put + n] = frames[at + DATA_HEADER : stop]
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
                        rest.append(frames[at:])
                        break
                    rest.append(frames[at:stop])
                    if kind == _PAD:
                        eliciting = eliciting or frames[at + 1] & _ELICIT != 0
                    elif kind != _ACK and kind != _CLOSE:
                        eliciting = True
                    at = stop
            if rest:
                others.append((chain.epoch, pn, b"".join(rest)))
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
            broken,
            form_b,
        )

    def _claimed_hdr(self, datagram: Buffer) -> tuple[int, int, int] | None:
        """``(flags, pn, form A mask of the CID)`` if the HDR fits, else ``None``."""
        if len(datagram) < self._format.datagram_bytes_min:
            return None
        self._hp.reset()
        self._hp.update(datagram[-16:])
        mask_flags, mask_pn, mask_cid = MASK.unpack(self._hp.digest(MASK_BYTES))
        flags, pn = HDR.unpack_from(datagram, self._format.hdr_offset)
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
