"""Packets put together step by step from ``crypto`` and ``wire``: what the hot path is tested
against.

Slow and obvious on purpose. Shares no code with ``hotpath``: the ratchet is ``crypto.ratchet``, the
layout is ``wire.polymorphic``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wraith.crypto.aead import Aead, seal
from wraith.crypto.kdf import Label, derive_key, directed
from wraith.crypto.ratchet import iv, message_key_at, packet_nonce
from wraith.crypto.session_keys import cid
from wraith.types import Role
from wraith.wire.format import WireFormatSpec
from wraith.wire.packet import TAG_BYTES
from wraith.wire.polymorphic import (
    PacketFields,
    WireCodec,
    encode_hdr,
    mask_cid_form_a,
    mask_cid_form_b,
    mask_hdr,
    sample_of,
)

ROLES = (Role.INITIATOR, Role.RESPONDER)


@dataclass(frozen=True, slots=True)
class PacketSession:
    """One direction of one session, everything derived from ``secret`` (32 bytes).

    Attributes:
        direction: 0 if the initiator sends.
        hmk: header-mask key of the receiving endpoint, for form B.
    """

    aead: int
    secret: bytes
    direction: int = 0
    hmk: bytes = b"\x24" * 32

    @property
    def sender(self) -> Role:
        return ROLES[self.direction]

    @property
    def spec(self) -> WireFormatSpec:
        return WireFormatSpec.derive(self.secret)

    @property
    def hp_key(self) -> bytes:
        return derive_key(directed(Label.HEADER_I2R, self.sender), self.secret)

    @property
    def cid_key(self) -> bytes:
        receives = Label.CID_R if self.sender is Role.INITIATOR else Label.CID_I
        return derive_key(receives, self.secret)

    def root(self, epoch: int) -> bytes:
        """A root per epoch; the first one is that of the session."""
        root = derive_key(Label.ROOT, self.secret)
        for _ in range(epoch):
            root = derive_key(Label.ROOT, root)
        return root

    def sealer(self, implementation: Any, *epochs: int) -> Any:
        """A ``Sealer`` of a hot path with these epochs (default: 0)."""
        sealer = implementation.Sealer(
            self.aead, self.direction, self.spec.pack(), self.hp_key, self.cid_key
        )
        sealer.set_hmk(self.hmk)
        for epoch in epochs or (0,):
            sealer.add_epoch(epoch, self.root(epoch))
        return sealer

    def opener(self, implementation: Any, *epochs: int, window: int = 8192) -> Any:
        """An ``Opener`` of a hot path that accepts CID indices 0 to 7."""
        opener = implementation.Opener(
            self.aead, self.direction, self.spec.pack(), self.hp_key, self.cid_key, window
        )
        opener.set_hmk([self.hmk])
        opener.set_cids(0, 7)
        for epoch in epochs or (0,):
            opener.add_epoch(epoch, self.root(epoch))
        return opener

    def packet(
        self,
        pn: int,
        frames: bytes,
        *,
        epoch: int = 0,
        cid_index: int = 0,
        form: int = 0,
        dummies: bytes | None = None,
    ) -> bytes:
        """The sealed datagram of ``frames`` (4 bytes or more), one step after the other."""
        spec = self.spec
        if dummies is None:
            dummies = bytes(range(0xD0, 0xD0 + spec.d1 + spec.d2))
        dummy1, dummy2 = dummies[: spec.d1], dummies[spec.d1 :]
        cid_plain = cid(self.cid_key, cid_index)
        hdr = encode_hdr(epoch, pn)
        aead, root = Aead(self.aead), self.root(epoch)
        sealed = seal(
            aead,
            message_key_at(root, epoch, self.sender, pn),
            packet_nonce(aead, iv(root, epoch, self.sender), pn),
            cid_plain + hdr + dummy1 + dummy2,
            frames,
        )
        payload, tag = sealed[:-TAG_BYTES], sealed[-TAG_BYTES:]
        codec = WireCodec(spec)
        unmasked = codec.encode(PacketFields(cid_plain, hdr, dummy1, payload, tag, dummy2))
        sample = sample_of(unmasked)
        if form:
            cid_wire = mask_cid_form_b(self.hmk, sample, cid_plain)
        else:
            cid_wire = mask_cid_form_a(self.hp_key, sample, cid_plain)
        hdr_wire = mask_hdr(self.hp_key, sample, hdr)
        return codec.encode(PacketFields(cid_wire, hdr_wire, dummy1, payload, tag, dummy2))


def open_all(opener: Any, datagrams: list[bytes], now: float = 0.0) -> list[Any]:
    """Each datagram in a call of its own: one result per datagram."""
    results = []
    for datagram in datagrams:
        out = bytearray(len(datagram))
        results.append(opener.open_run(datagram, len(datagram), out, now))
    return results
