"""Cookies prove that a peer receives at the address it sends from, at the price of one hash.

Only a proven hello is ever answered with one, so strangers learn nothing from them.
Spec: handshake.md [HS-27].

====== ==== ====================================================================
offset size meaning
====== ==== ====================================================================
0      4    bucket = floor(Unix seconds / 60), u32
4      28   KH(DK("wraith-v2 cookie", K_boot ‖ bucket), ip 16 ‖ port u16 ‖ AK)
====== ==== ====================================================================
"""

from __future__ import annotations

import hmac

from wraith.crypto.kdf import Label, derive_key, keyed_hash
from wraith.crypto.secret import Secret
from wraith.types import Address

COOKIE_BYTES = 32
BUCKET_S = 60
_MAPPED = b"\0" * 10 + b"\xff\xff"


class CookieJar:
    """Makes and checks cookies under a key that lives as long as the process."""

    __slots__ = ("_boot_key",)

    def __init__(self, boot_key: Secret) -> None:
        self._boot_key = boot_key

    def make(self, source: Address, ak_public: bytes, unix_now: float) -> bytes:
        return self._cookie(int(unix_now) // BUCKET_S, source, ak_public)

    def check(self, cookie: bytes, source: Address, ak_public: bytes, unix_now: float) -> bool:
        """Whether ``cookie`` was made for this source and key in this or the previous minute."""
        if len(cookie) != COOKIE_BYTES:
            return False
        bucket = int.from_bytes(cookie[:4], "big")
        if int(unix_now) // BUCKET_S - bucket not in (0, 1):
            return False
        return hmac.compare_digest(cookie, self._cookie(bucket, source, ak_public))

    def _cookie(self, bucket: int, source: Address, ak_public: bytes) -> bytes:
        stamp = (bucket & 0xFFFFFFFF).to_bytes(4, "big")
        key = derive_key(Label.COOKIE, self._boot_key.reveal() + stamp)
        ip = source.ip if len(source.ip) == 16 else _MAPPED + source.ip
        return stamp + keyed_hash(key, ip + source.port.to_bytes(2, "big") + ak_public)[:28]
