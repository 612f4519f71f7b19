"""Keeps what networks were like, so that the next process need not wait to find it out.

    HOME/roads.json    0600; 64 networks, each for 24 hours after its last news

A network stands there under a hash with a key that is drawn with the file, so the file does not say
where its owner was; no peer stands in it. It changes delays and the order of roads, nothing else,
so it is never a condition: a file that cannot be read is an empty one, and a disk that does not
take the news costs the news. Other processes with the same home wait for each other.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from wraith.abc import Rng
from wraith.aio.disk.home_folder import HOME_HINT, FolderLock, HomeFolder
from wraith.aio.disk.private_folder import PrivateFolder
from wraith.aio.transports.network_state import NetworkIdentity
from wraith.connection.roads.network_memory import NetworkMemory
from wraith.connection.roads.reasons import RoadFailure
from wraith.crypto.kdf import keyed_hash
from wraith.errors import WraithError
from wraith.types import Carrier

FILE: Final = b"roads.json"
BYTES_MAX: Final = 256 * 1024
_KEY_BYTES: Final = 32
_NAME_BYTES: Final = 16


class _Content(NamedTuple):
    """What the file says; ``key`` is not secret from whoever reads the file, only from whoever has
    an entry alone."""

    key: bytes
    memory: NetworkMemory


class RoadsFile:
    """The file in the folder of ``home``. Every method is short and blocking, and raises nothing
    for what the disk does.

    Args:
        rng: for the key of a new file.
    """

    def __init__(self, home: HomeFolder, rng: Rng) -> None:
        self._home = home
        self._rng = rng

    def known_to_fail(self, network: NetworkIdentity, unix_now: int) -> frozenset[Carrier]:
        """The carriers whose latest news in ``network`` was a failure, within 24 hours."""
        with contextlib.suppress(OSError, WraithError), self._open() as folder:
            content = _read(folder, unix_now)
            if content is not None:
                name = _name(content.key, network)
                return content.memory.known_to_fail(name, unix_now)
        return frozenset()

    def note(
        self,
        network: NetworkIdentity,
        news: Iterable[tuple[Carrier, RoadFailure | None]],
        unix_now: int,
    ) -> None:
        """Keeps how carriers fared in ``network``, in this order; ``None`` is success. Of direct
        roads alone: what a proxy lets through is not the network's doing."""
        with (
            contextlib.suppress(OSError, WraithError),
            self._open() as folder,
            FolderLock(folder),
        ):
            content = _read(folder, unix_now)
            if content is None:
                content = _Content(self._rng.secret_bytes(_KEY_BYTES), NetworkMemory())
            name, memory = _name(content.key, network), content.memory
            for carrier, failure in news:
                memory = memory.noted(name, carrier, failure, unix_now)
            _write(folder, content._replace(memory=memory))

    def _open(self) -> PrivateFolder:
        return PrivateFolder.open(self._home.home, hint=HOME_HINT, disk=self._home.disk)


def _name(key: bytes, network: NetworkIdentity) -> str:
    """Under what a network stands in the file. No part of an identity holds a zero byte."""
    return keyed_hash(key, "\0".join(network).encode(), _NAME_BYTES).hex()


def _read(folder: PrivateFolder, unix_now: int) -> _Content | None:
    """``None`` if there is no file, or one that is not ours."""
    try:
        rows: Any = json.loads(folder.read(FILE, BYTES_MAX))
        key = bytes.fromhex(rows["key"])
        networks = rows["networks"]
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if len(key) != _KEY_BYTES:
        return None
    return _Content(key, NetworkMemory.from_plain(networks, unix_now))


def _write(folder: PrivateFolder, content: _Content) -> None:
    rows = {"version": 1, "key": content.key.hex(), "networks": content.memory.to_plain()}
    with folder.replacing(FILE) as fd:
        folder.disk.write_all(fd, json.dumps(rows).encode())
