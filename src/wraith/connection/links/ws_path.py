"""The last segment of a WebSocket link's request path: who has the code can make one, and use it
once.

::

    token = b64url(r 8 ‖ KH(DK("wraith-v2 ws path", AK ‖ psk), r ‖ minute u64)[0:16])

A web server that gets any other path answers 404, so nothing tells a stranger that anything else
than a web site is there. The token proves possession of the code and nothing more: the preface
inside the WebSocket is what authenticates a link. It is the one thing of a link that whoever ends
TLS can see and repeat; that is why each counts once.

Spec: docs/spec/carriers.md [CA-60] [CA-61] [CA-62] [CA-63].
"""

from __future__ import annotations

import base64
import hmac
import re
from typing import Final

from wraith.abc import Rng
from wraith.crypto.kdf import Label, derive_key, keyed_hash

TOKEN_CHARS: Final = 32
SPREAD_MINUTES: Final = 2
"""So far may the dialler's clock be from the listener's."""
ENTRIES_MAX: Final = 8_192

_R_BYTES: Final = 8
_TAG_BYTES: Final = 16
_NO_PSK: Final = bytes(32)
_SHAPE: Final = re.compile(r"[A-Za-z0-9_-]{32}", re.ASCII)
#: The likely minute first.
_OFFSETS: Final = sorted(range(-SPREAD_MINUTES, SPREAD_MINUTES + 1), key=abs)


def make_token(access_key: bytes, psk: bytes | None, *, rng: Rng, unix_now: float) -> str:
    """A fresh token, 32 characters of ``A-Za-z0-9_-``. [CA-60]

    Args:
        access_key: the public access key of the listener, 32 bytes.
        psk: its 32 bytes, or ``None``.
        rng: gives the 8 bytes that make it unique; they are seen by whoever ends TLS.
        unix_now: calendar time in seconds.
    """
    r = rng.public_bytes(_R_BYTES)
    tag = _tag(_path_key(access_key, psk), r, _minute_of(unix_now))
    return base64.urlsafe_b64encode(r + tag).decode()


class PathTokens:
    """The tokens of one access key: which are valid now, and which were used. Bounded.

    Args:
        access_key: the public access key, 32 bytes.
        psk: the one that it is used with, or ``None``.
        unix_now: calendar time in seconds.
        used_before: the key is older than this process. Then a process before this one may have
            accepted tokens that nobody remembers, and all that it can have accepted are refused:
            those of the minute of the start and of the two after it. A key that this process has
            made has no past, so its code works from the moment at which it is shown. [CA-63]
    """

    __slots__ = ("_floor", "_key", "_used")

    def __init__(
        self, access_key: bytes, psk: bytes | None, *, unix_now: float, used_before: bool
    ) -> None:
        self._key = _path_key(access_key, psk)
        #: ``r`` of what was accepted, by the minute of its token.
        self._used: dict[int, set[bytes]] = {}
        # Nothing of this minute or before is accepted: it may have been used and forgotten. So a
        # clock that is set back makes no used token valid again. No minute is below 0.
        self._floor = _minute_of(unix_now) + SPREAD_MINUTES if used_before else -1

    @property
    def n_entries(self) -> int:
        return sum(map(len, self._used.values()))

    def accepts(self, token: str, unix_now: float) -> bool:
        """Whether ``token`` (from a stranger: any text) is valid and new; then it is used up.

        False as well while 8,192 used ones are remembered: a token that could not be remembered
        would count twice. [CA-61] [CA-62]
        """
        if _SHAPE.fullmatch(token) is None:
            return False
        raw = base64.urlsafe_b64decode(token)
        r, tag = raw[:_R_BYTES], raw[_R_BYTES:]
        now = _minute_of(unix_now)
        self._forget(now - SPREAD_MINUTES)
        for minute in (now + offset for offset in _OFFSETS):
            if minute > self._floor and hmac.compare_digest(tag, _tag(self._key, r, minute)):
                return self._use(r, minute)
        return False

    def _use(self, r: bytes, minute: int) -> bool:
        if self.n_entries >= ENTRIES_MAX or any(r in used for used in self._used.values()):
            return False
        self._used.setdefault(minute, set()).add(r)
        return True

    def _forget(self, oldest: int) -> None:
        for minute in [minute for minute in self._used if minute < oldest]:
            del self._used[minute]
            self._floor = max(self._floor, minute)


def _path_key(access_key: bytes, psk: bytes | None) -> bytes:
    return derive_key(Label.WS_PATH, access_key + (_NO_PSK if psk is None else psk))


def _minute_of(unix_now: float) -> int:
    return max(0, int(unix_now // 60))


def _tag(key: bytes, r: bytes, minute: int) -> bytes:
    return keyed_hash(key, r + minute.to_bytes(8, "big"))[:_TAG_BYTES]
