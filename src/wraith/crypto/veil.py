"""The veil: what every handshake datagram is wrapped in, so that outsiders see random bytes only.

Its keys come from ``DH(e_I, AK)``; only the owner of the access key can open a hello or even tell
that it is one. They are independent of the session's keys.

Spec: crypto §15 [CR-28, CR-29].
"""

from __future__ import annotations

from dataclasses import dataclass

from wraith.crypto.kdf import Label, derive_key, keyed_hash
from wraith.crypto.secret import Secret
from wraith.crypto.siv import siv_open, siv_seal
from wraith.types import Buffer, Role

PSK_BYTES = 32
NO_PSK = bytes(PSK_BYTES)
ROAD_ID_BYTES = 8


@dataclass(frozen=True, slots=True, eq=False)
class VeilKeys:
    """``_i`` protects what the initiator sends, ``_r`` the reverse. One per handshake attempt."""

    mac_i: Secret
    enc_i: Secret
    mac_r: Secret
    enc_r: Secret

    @classmethod
    def derive(
        cls, dh: bytes, repr_e: bytes, ak_public: bytes, access_psk: bytes | None
    ) -> VeilKeys:
        """The keys of one attempt. [CR-28]

        Args:
            dh: ``X25519(e_I, AK)``, 32 bytes.
            repr_e: the representative of e_I as sent, 32 bytes.
            ak_public: the responder's access key, 32 bytes.
            access_psk: 32 random bytes, or ``None``. Never derived from a password: whoever records
                a hello could then try passwords against it.

        Raises:
            ValueError: an input does not have 32 bytes.
        """
        psk = NO_PSK if access_psk is None else access_psk
        if any(len(part) != 32 for part in (dh, repr_e, ak_public, psk)):
            raise ValueError("every input of the veil has 32 bytes")
        master = derive_key(Label.VEIL, b"".join((dh, repr_e, ak_public, psk)))
        keys = derive_key(Label.VEIL_KEYS, master, 128)
        return cls(*(Secret(keys[i : i + 32]) for i in (0, 32, 64, 96)))

    def seal(self, sender: Role, plaintext: Buffer) -> bytes:
        """``tag(32) ‖ ciphertext`` of a datagram that ``sender`` sends. [CR-29]"""
        mac, enc = self._pair(sender)
        return siv_seal(mac.reveal(), enc.reveal(), plaintext)

    def open(self, sender: Role, sealed: Buffer) -> bytes:
        """The plaintext of a datagram that ``sender`` sent. Raises ``DecryptError``."""
        mac, enc = self._pair(sender)
        return siv_open(mac.reveal(), enc.reveal(), sealed)

    @property
    def road_id(self) -> bytes:
        """8 bytes that name this attempt to both ends; nobody else can compute them. [RO-61]"""
        return keyed_hash(self.mac_i.reveal(), b"road")[:ROAD_ID_BYTES]

    def wipe(self) -> None:
        for key in (self.mac_i, self.enc_i, self.mac_r, self.enc_r):
            key.wipe()

    def _pair(self, sender: Role) -> tuple[Secret, Secret]:
        if sender is Role.INITIATOR:
            return self.mac_i, self.enc_i
        return self.mac_r, self.enc_r
