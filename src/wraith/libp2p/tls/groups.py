"""Key exchange groups: what a client offers, what a server answers, what both get.

Must not touch the transcript or the schedule. A new group is one more entry in ``GROUPS``.

X25519MLKEM768 (0x11EC), all lengths exact:

============  =====  ==================================================
field         bytes  content
============  =====  ==================================================
client share  1216   ML-KEM-768 encapsulation key 1184, X25519 key 32
server share  1120   ML-KEM-768 ciphertext 1088, X25519 key 32
secret        64     ML-KEM secret 32, X25519 secret 32
============  =====  ==================================================

Keys are fresh for every handshake. Where both groups are offered they share one X25519 key, which
saves an exchange and tells nothing: both shares are public [LQ-13].

Spec: libp2p-quic [LQ-12], [LQ-13]; draft-ietf-tls-ecdhe-mlkem, RFC 8446 §4.2.8, FIPS 203.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Protocol

from wraith.abc import KemSecret, Rng
from wraith.crypto.mlkem import MlKem768
from wraith.crypto.secret import Secret
from wraith.crypto.x25519 import KEY_BYTES, X25519Key
from wraith.errors import InvalidKey

EK_BYTES, CT_BYTES = MlKem768.encapsulation_key_bytes, MlKem768.ciphertext_bytes


class GroupId(IntEnum):
    X25519 = 0x001D
    X25519MLKEM768 = 0x11EC


class ClientExchange(Protocol):
    """The client's half of one exchange; used once."""

    @property
    def share(self) -> bytes: ...

    def finish(self, server_share: bytes, /) -> Secret:
        """Raises :class:`InvalidKey` for a share of the wrong length or a low-order point."""
        ...

    def wipe(self) -> None: ...


class Group(Protocol):
    """One entry of the registry."""

    group_id: GroupId
    name: str
    post_quantum: bool

    def begin(self, rng: Rng, classical: X25519Key) -> ClientExchange: ...

    def respond(self, client_share: bytes, rng: Rng) -> tuple[bytes, Secret]:
        """``(server share, secret)``. Raises :class:`InvalidKey`."""
        ...


class _X25519Exchange:
    __slots__ = ("_key", "share")

    def __init__(self, key: X25519Key) -> None:
        self._key = key
        self.share = key.public

    def finish(self, server_share: bytes, /) -> Secret:
        if len(server_share) != KEY_BYTES:
            raise InvalidKey("an X25519 share has 32 bytes")
        return Secret(self._key.exchange(server_share))

    def wipe(self) -> None:
        self._key.wipe()


class X25519Group:
    """Classical. Exists for ``PREFER`` and ``CLASSICAL``, and inside the private profile."""

    group_id = GroupId.X25519
    name = "X25519"
    post_quantum = False

    def begin(self, rng: Rng, classical: X25519Key) -> ClientExchange:
        del rng
        return _X25519Exchange(classical)

    def respond(self, client_share: bytes, rng: Rng) -> tuple[bytes, Secret]:
        if len(client_share) != KEY_BYTES:
            raise InvalidKey("an X25519 share has 32 bytes")
        key = X25519Key.generate(rng)
        secret = Secret(key.exchange(client_share))
        public = key.public
        key.wipe()
        return public, secret


class _HybridExchange:
    __slots__ = ("_classical", "_kem", "share")

    def __init__(self, kem: KemSecret, classical: X25519Key) -> None:
        self._kem = kem
        self._classical = classical
        self.share = kem.encapsulation_key + classical.public

    def finish(self, server_share: bytes, /) -> Secret:
        if len(server_share) != CT_BYTES + KEY_BYTES:
            raise InvalidKey("an X25519MLKEM768 server share has 1120 bytes")
        pq_ss = self._kem.decapsulate(server_share[:CT_BYTES])
        return Secret(pq_ss + self._classical.exchange(server_share[CT_BYTES:]))

    def wipe(self) -> None:
        self._kem.wipe()
        self._classical.wipe()


class X25519MlKem768Group:
    """Hybrid: secret as long as either part is [LQ-12]."""

    group_id = GroupId.X25519MLKEM768
    name = "X25519MLKEM768"
    post_quantum = True

    def __init__(self) -> None:
        self._kem = MlKem768()

    def begin(self, rng: Rng, classical: X25519Key) -> ClientExchange:
        return _HybridExchange(self._kem.generate(rng), classical)

    def respond(self, client_share: bytes, rng: Rng) -> tuple[bytes, Secret]:
        if len(client_share) != EK_BYTES + KEY_BYTES:
            raise InvalidKey("an X25519MLKEM768 client share has 1216 bytes")
        pq_ss, pq_ct = self._kem.encapsulate(client_share[:EK_BYTES], rng)
        key = X25519Key.generate(rng)
        secret = Secret(pq_ss + key.exchange(client_share[EK_BYTES:]))
        share = pq_ct + key.public
        key.wipe()
        return share, secret


GROUPS: dict[GroupId, Group] = {
    GroupId.X25519MLKEM768: X25519MlKem768Group(),
    GroupId.X25519: X25519Group(),
}
"""Every group that the engine knows, best first."""
