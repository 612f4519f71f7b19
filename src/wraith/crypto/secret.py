"""``Secret``: key material that does not leak by accident.

It promises three things only: no value in ``repr``, comparison in constant time, and a best-effort
wipe of its own buffer. It cannot promise that no other copy exists: ``reveal`` makes one, OpenSSL
keeps others, and CPython may leave more behind (docs/security says which).

Spec: crypto §2 [CR-3].
"""

from __future__ import annotations

import hmac
from typing import NoReturn

import monocypher

from wraith.errors import LocalProtocolError
from wraith.types import Buffer


class Secret:
    """Owns a private copy of ``material``. Not hashable, not picklable, not copyable."""

    __slots__ = ("_bytes",)
    __hash__ = None  # type: ignore[assignment]  # a hash would be a fingerprint of the secret

    def __init__(self, material: Buffer) -> None:
        self._bytes: bytearray | None = bytearray(material)

    def reveal(self) -> bytes:
        """A fresh copy of the material, owned by the caller.

        Raises:
            LocalProtocolError: the secret was wiped.
        """
        if self._bytes is None:
            raise LocalProtocolError("this secret was wiped")
        return bytes(self._bytes)

    def wipe(self) -> None:
        """Overwrite the buffer. Afterwards ``reveal`` raises; calling it again does nothing."""
        if self._bytes is not None:
            monocypher.wipe(self._bytes)
            self._bytes = None

    @property
    def is_wiped(self) -> bool:
        return self._bytes is None

    def __len__(self) -> int:
        return 0 if self._bytes is None else len(self._bytes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        if self._bytes is None or other._bytes is None:
            return False
        return hmac.compare_digest(self._bytes, other._bytes)

    def __repr__(self) -> str:
        return "Secret(wiped)" if self._bytes is None else f"Secret({len(self._bytes)} bytes)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not serialised")

    def __copy__(self) -> NoReturn:
        raise TypeError("a secret is not copied; reveal it where it is used")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError("a secret is not copied; reveal it where it is used")


SecretLike = Secret | bytes
"""The input of a derivation: a ``Secret``, or bytes that the caller already holds."""


def revealed(material: SecretLike) -> bytes:
    """The bytes of ``material``, whichever form it has."""
    return material.reveal() if isinstance(material, Secret) else material
