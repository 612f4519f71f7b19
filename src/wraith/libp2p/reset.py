"""Stateless reset: a host that restarted tells peers of its former life that it forgot them.

::

    key   = DK("wraith-v2 quic-reset", identity seed ‖ sockets)    the same after a restart
    token = KH(key, connection id), 16 bytes                       told to the peer under encryption
    reset = 01xxxxxx ‖ random ‖ token, smaller than what it answers

The sockets are in it because a token that one process gives away would end the connections of
another one with the same identity (RFC 9000 §21.11). Must not send or decide who sends.

Spec: libp2p-quic section 4 [LQ-75]; RFC 9000 §10.3.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Generic, TypeVar

from wraith.abc import Rng
from wraith.crypto.ed25519 import Identity
from wraith.crypto.kdf import Label, derive_key, keyed_hash
from wraith.types import Address

TOKEN_BYTES = 16
RESET_BYTES_MIN = 21
"""The smallest datagram that can be a reset (RFC 9000 §10.3)."""
RESET_BYTES_MAX = 42
"""Nothing longer looks more like a packet."""
_TOKEN_PARAMETER = 0x02
RESETS_PER_S = 100.0
RESETS_BURST = 100

OwnerT = TypeVar("OwnerT")


def reset_key(identity: Identity, addresses: Sequence[Address]) -> bytes:
    """The key of the endpoint that ``identity`` has on these sockets; 32 bytes."""
    material = identity.seed_bytes()
    for address in addresses:
        material += bytes((len(address.ip),)) + address.ip + address.port.to_bytes(2, "big")
    return derive_key(Label.QUIC_RESET, material)


def token_in(parameters: bytes) -> bytes | None:
    """The token among a peer's transport parameters (RFC 9000 §18.2), if it sent one."""
    rest = parameters
    while rest:
        number, rest = _read_varint(rest)
        length, rest = _read_varint(rest)
        body, rest = rest[:length], rest[length:]
        if number == _TOKEN_PARAMETER and len(body) == TOKEN_BYTES:
            return body
    return None


def _read_varint(data: bytes) -> tuple[int, bytes]:
    """QUIC's own form (RFC 9000 §16); 0 for what is cut off, which ends the loop above."""
    n = 1 << (data[0] >> 6) if data else 1
    return int.from_bytes(data[:n], "big") & ((1 << (8 * n - 2)) - 1), data[n:]


class ResetSender:
    """Makes tokens for our own connection ids, and resets for ids that nobody here knows."""

    def __init__(self, key: bytes, rng: Rng) -> None:
        self._key = key
        self._rng = rng
        self._allowance = float(RESETS_BURST)
        self._updated = 0.0

    def token(self, cid: bytes) -> bytes:
        return keyed_hash(self._key, cid, TOKEN_BYTES)

    def reset_for(self, cid: bytes, n_bytes: int, now: float) -> bytes | None:
        """The answer to a datagram of ``n_bytes`` to ``cid``; ``None`` for one too small or when
        there were too many. Always smaller than what it answers, so that two hosts that have
        forgotten each other fall silent.
        """
        size = min(n_bytes - 1, RESET_BYTES_MAX)
        gained = max(0.0, now - self._updated) * RESETS_PER_S
        self._allowance = min(float(RESETS_BURST), self._allowance + gained)
        self._updated = now
        if size < RESET_BYTES_MIN or self._allowance < 1:
            return None
        self._allowance -= 1
        head = self._rng.public_bytes(size - TOKEN_BYTES)
        return bytes((head[0] & 0x3F | 0x40,)) + head[1:] + self.token(cid)


class ResetReceiver(Generic[OwnerT]):
    """Finds whose reset a datagram is, among the tokens that peers have told.

    The table is by a keyed hash of the token and the token is compared in constant time: how long
    the answer takes says nothing about the tokens.
    """

    def __init__(self, rng: Rng) -> None:
        self._key = rng.secret_bytes(32)
        self._owners: dict[bytes, tuple[bytes, OwnerT]] = {}

    def watch(self, token: bytes, owner: OwnerT) -> None:
        self._owners[self._slot(token)] = (token, owner)

    def forget(self, token: bytes) -> None:
        self._owners.pop(self._slot(token), None)

    def owner_of(self, datagram: bytes) -> OwnerT | None:
        """Whose connection ``datagram`` ends, if it is a reset at all."""
        if len(datagram) < RESET_BYTES_MIN:
            return None
        tail = datagram[-TOKEN_BYTES:]
        token, owner = self._owners.get(self._slot(tail), (None, None))
        return owner if token is not None and hmac.compare_digest(token, tail) else None

    def _slot(self, token: bytes) -> bytes:
        return keyed_hash(self._key, token, TOKEN_BYTES)
