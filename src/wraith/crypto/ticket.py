"""Seals what a ticket says so that only the process that made it reads it.

``encrypted_params = kid 4 ‖ SIV(mac ‖ enc, content)``, with the two keys from
``DK("wraith-v2 ticket-keys", stek ‖ id, 64)``: every ticket has keys of its own, and the tag
commits to them. ``kid`` names the key ``stek``; it says nothing about it.

Spec: crypto §13 [CR-34].
"""

from __future__ import annotations

from wraith.crypto.kdf import Label, derive_key
from wraith.crypto.secret import SecretLike, revealed
from wraith.crypto.siv import siv_open, siv_seal
from wraith.errors import DecryptError
from wraith.types import Buffer

KID_BYTES = 4
ID_BYTES = 16


def seal_ticket(kid: bytes, stek: SecretLike, ticket_id: bytes, content: Buffer) -> bytes:
    """The encrypted parameters of a ticket with this id (16 random bytes, used once)."""
    mac, enc = _keys(stek, ticket_id)
    return kid + siv_seal(mac, enc, content)


def kid_of(encrypted_params: Buffer) -> bytes:
    """The name of the key that a ticket says it is sealed with: 4 bytes, or fewer if it is cut."""
    return bytes(encrypted_params[:KID_BYTES])


def open_ticket(stek: SecretLike, ticket_id: bytes, encrypted_params: Buffer) -> bytes:
    """The content.

    Raises:
        DecryptError: not sealed with this key under this id.
    """
    if len(ticket_id) != ID_BYTES:
        raise DecryptError
    mac, enc = _keys(stek, ticket_id)
    return siv_open(mac, enc, encrypted_params[KID_BYTES:])


def _keys(stek: SecretLike, ticket_id: bytes) -> tuple[bytes, bytes]:
    keys = derive_key(Label.TICKET_KEYS, revealed(stek) + ticket_id, 64)
    return keys[:32], keys[32:]
