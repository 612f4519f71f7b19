"""The key schedule of a session: everything that is derived once from its secret.

::

    session_secret ─┬─ wire-format-v2      format_seed   (layout of packets)
                    ├─ header i2r / r2i    hp_i2r hp_r2i (header masks, by sender)
                    ├─ cid i / r           cid_i cid_r   (connection ids, by receiver)
                    ├─ session-id          session_id    (16 bytes, may be shown)
                    ├─ exporter            exporter
                    ├─ resumption          resumption0
                    └─ root                root0 ─ chains and ivs of epoch 0 (ratchet), rekey

Spec: crypto §13 [CR-22, CR-23, CR-24].
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from wraith.crypto.kdf import Label, blake3, derive_key, keyed_hash
from wraith.crypto.secret import Secret, SecretLike, revealed
from wraith.types import Buffer, Role

CID_BYTES = 8
SESSION_ID_BYTES = 16
EXPORT_BYTES_MAX = 65_535


@dataclass(frozen=True, slots=True, eq=False)
class SessionKeys:
    """All values that live as long as the session. Wiped together by ``wipe``."""

    hp_i2r: Secret
    hp_r2i: Secret
    cid_i: Secret
    cid_r: Secret
    session_id: bytes
    exporter: Secret
    resumption0: Secret
    root0: Secret
    format_seed: Secret

    @classmethod
    def derive(cls, session_secret: SecretLike) -> SessionKeys:
        """From the 32-byte session secret, which the caller wipes afterwards."""
        material = revealed(session_secret)

        def dk(label: Label) -> Secret:
            return Secret(derive_key(label, material))

        return cls(
            hp_i2r=dk(Label.HEADER_I2R),
            hp_r2i=dk(Label.HEADER_R2I),
            cid_i=dk(Label.CID_I),
            cid_r=dk(Label.CID_R),
            session_id=derive_key(Label.SESSION_ID, material, SESSION_ID_BYTES),
            exporter=dk(Label.EXPORTER),
            resumption0=dk(Label.RESUMPTION),
            root0=dk(Label.ROOT),
            format_seed=dk(Label.WIRE_FORMAT),
        )

    def header_key(self, sender: Role) -> Secret:
        """The mask key of packets that ``sender`` sends."""
        return self.hp_i2r if sender is Role.INITIATOR else self.hp_r2i

    def cid_key(self, receiver: Role) -> Secret:
        """The key of the connection ids in packets that ``receiver`` receives."""
        return self.cid_i if receiver is Role.INITIATOR else self.cid_r

    def export(self, label: str, n: int, context: bytes = b"") -> bytes:
        """``n`` (1..65535) bytes for the application, bound to this session, ``label`` and
        ``context``.

        ``KH(exporter, len16(label) ‖ label)``, and ``len16(context) ‖ context`` behind it unless
        the context is empty. The length in front keeps it apart from every use of the exporter
        itself, which is never hashed under its own key otherwise. [CR-24]
        """
        name = label.encode()
        if not 1 <= n <= EXPORT_BYTES_MAX or max(len(name), len(context)) > 0xFFFF:
            raise ValueError("an export has 1 to 65535 bytes, label and context at most 65535")
        data = len(name).to_bytes(2, "big") + name
        if context:
            data += len(context).to_bytes(2, "big") + context
        return keyed_hash(self.exporter.reveal(), data, n)

    def wipe(self) -> None:
        for name in _SECRETS:
            getattr(self, name).wipe()


_SECRETS = tuple(field.name for field in fields(SessionKeys) if field.name != "session_id")
"""All but the id, which is no secret. From the fields, so that none is forgotten."""


def cid(key: SecretLike, index: int) -> bytes:
    """Connection id number ``index`` (u32) under a CID key: 8 bytes. [CR-23]"""
    return keyed_hash(revealed(key), index.to_bytes(4, "big"))[:CID_BYTES]


def session_secret(chaining_key: bytes, handshake_hash: bytes) -> Secret:
    """The session secret of a finished handshake (in place of Noise's ``Split``). [CR-21]"""
    return Secret(derive_key(Label.SESSION_SECRET, chaining_key + handshake_hash))


def next_root(root: SecretLike, s: bytes, th: bytes, epoch: int) -> Secret:
    """``root_{e+1}`` from ``root_e``.

    Args:
        root: 32 bytes, ``root_e``.
        s: the combined fresh secret (32 bytes).
        th: ``rekey_transcript(init, resp)`` (32 bytes).
        epoch: the new epoch, e + 1 (u32).
    """
    return Secret(derive_key(Label.REKEY, revealed(root) + s + th + epoch.to_bytes(4, "big")))


def rekey_transcript(init: Buffer, resp: Buffer) -> bytes:
    """The hash of both rekey messages, without record headers: 32 bytes."""
    return blake3(bytes(init) + bytes(resp))


def resumption(root: SecretLike) -> Secret:
    """``resumption_e`` for an epoch after the first, from ``root_e``."""
    return Secret(derive_key(Label.RESUMPTION, revealed(root)))


def ticket_secret(resumption_secret: SecretLike, ticket_id: bytes) -> Secret:
    """What a resumption with this ticket (16-byte id) starts from; both sides compute it from
    ``resumption_e`` of the epoch that NEW_TICKET names, and nobody sends it. [CR-33]"""
    return Secret(derive_key(Label.TICKET, revealed(resumption_secret) + ticket_id))


def resume_psk(secret: SecretLike) -> bytes:
    """The 32-byte psk of the Noise pattern that resumes, from ``ticket_secret``. [CR-33]"""
    return derive_key(Label.RESUME_PSK, revealed(secret))
