"""The seams to the world: what a machine is given instead of a clock, a random source or a disk."""

from __future__ import annotations

from typing import Protocol


class Rng(Protocol):
    """Randomness with two doors, so that a test can see which kind was drawn."""

    def public_bytes(self, n: int, /) -> bytes:
        """``n`` bytes that may be seen on the wire (padding, dummies, jitter)."""
        ...

    def secret_bytes(self, n: int, /) -> bytes:
        """``n`` bytes that become key material."""
        ...


class WallClock(Protocol):
    """Calendar time, for certificates and timestamps only. Never for timers."""

    def unix_time(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        ...


class Tracer(Protocol):
    """Takes structured records. Never secrets; peer addresses only under the name ``address``."""

    def record(self, name: str, /, **fields: object) -> None: ...


class KemSecret(Protocol):
    """The decapsulation side of one ephemeral KEM key pair. Wiped by ``wipe``."""

    @property
    def encapsulation_key(self) -> bytes: ...

    def decapsulate(self, ciphertext: bytes, /) -> bytes:
        """32-byte shared secret. Implicit rejection: a wrong ciphertext gives another secret."""
        ...

    def wipe(self) -> None: ...


class Kem(Protocol):
    """A key-encapsulation mechanism (FIPS 203). Sizes in bytes."""

    name: str
    encapsulation_key_bytes: int
    ciphertext_bytes: int

    def generate(self, rng: Rng, /) -> KemSecret: ...

    def encapsulate(self, encapsulation_key: bytes, rng: Rng, /) -> tuple[bytes, bytes]:
        """``(shared_secret, ciphertext)``. Raises ``InvalidKey`` for a key that fails its check."""
        ...


class NullTracer:
    """Drops every record."""

    def record(self, name: str, /, **fields: object) -> None:
        del name, fields
