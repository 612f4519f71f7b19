"""The access keys of a node, as its WebSocket listeners see them: which path of a request counts.

Spec: docs/spec/carriers.md [CA-60] to [CA-63].
"""

from __future__ import annotations

from wraith.abc import WallClock
from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.connection.links.ws_path import PathTokens


class PathKeys:
    """The tokens of all keys with which a node listens. At most a node's four."""

    def __init__(self, clock: WallClock) -> None:
        self._clock = clock
        self._tokens: dict[bytes, PathTokens] = {}

    def add(self, key: AccessKey, *, used_before: bool) -> None:
        """Lets in who knows ``key``; ``used_before`` as for ``PathTokens``."""
        self._tokens[key.ak.public] = PathTokens(
            key.ak.public, key.psk, unix_now=self._clock.unix_time(), used_before=used_before
        )

    def remove(self, ak_public: bytes) -> None:
        """Forgets a key; one that is not known is ignored."""
        self._tokens.pop(ak_public, None)

    def accepts(self, token: str) -> bool:
        """Whether ``token``, any text of a stranger, is one of these keys and new; then it is used
        up."""
        now = self._clock.unix_time()
        return any(tokens.accepts(token, now) for tokens in self._tokens.values())
