"""The peers that this user knows, by name and key; a transfer adds whom it met."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from wraith.aio.clock import SystemClock
from wraith.aio.disk.home_folder import HomeFolder
from wraith.errors import PeerKeyMismatch, TransferError, WraithError
from wraith.types import PeerKey

if TYPE_CHECKING:
    from wraith.node.events import NodeEvent


class Acquaintances:
    """The peers that are known here. Records whom a transfer met."""

    def __init__(self, home: HomeFolder) -> None:
        self._home = home
        self._names = {entry.key: entry.name for entry in home.peers()}

    def name_of(self, key: PeerKey) -> str:
        return self._names.get(key, "")

    def pinned(self, name: str) -> PeerKey:
        """The key that a person gave this name.

        Raises:
            TransferError: nobody has it.
        """
        entry = self._home.find_peer(name)
        if entry is None:
            raise TransferError(
                f"no peer is called {name}", hint="`wraith peers name NAME KEY` gives a name"
            )
        return entry.key

    def met(self, event: NodeEvent) -> None:
        """Records the peer of a ``Connected``. A disk that is full does not end a transfer."""
        from wraith.node.events import Connected

        if isinstance(event, Connected) and event.peer is not None and not event.is_this_machine:
            with contextlib.suppress(OSError, WraithError):
                self._home.peer_seen(event.peer, SystemClock().unix_time())

    def check_pin(self, name: str, key: PeerKey) -> None:
        """The code's key must be the one that this name stands for.

        Raises:
            PeerKeyMismatch: it is another one: nothing is dialled.
        """
        expected = self.pinned(name)
        if expected != key:
            raise PeerKeyMismatch(
                f"this code is from {key.short}…, but {name} is known as {expected.short}…",
                hint=f"ask {name} through another channel; if their key really changed, "
                f"`wraith peers forget {name}` and name the new one",
            )
