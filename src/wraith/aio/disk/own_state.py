"""Knows wraith's own files on this disk, which are never sent: keys, codes, unfinished transfers.

Keys and codes are known by device and inode, so a bind mount, a link or a second name of the same
file does not hide them; an unfinished transfer is known by its name alone. ``WRAITH_HOME`` may be a
folder that holds other things too: the folder as a whole is left out where it is met, and below it
only what wraith keeps there may not be named.

Spec: transfer §8 [TR-126].
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from typing import Final

from wraith.aio.disk.seam import OS_DISK, Disk
from wraith.errors import TransferError
from wraith.transfer.path_rules import STATE_PREFIX

HOME_NAMES: Final = (b"identity.key", b"peers.json", b"sends", b"receives", b"suspect", b"complete")
"""The names that ``aio/disk/home_folder.py`` and ``aio/disk/kept_code.py`` use in a home."""
KEYS: Final = "wraith's own keys and codes"
UNFINISHED: Final = "an unfinished transfer of wraith"

_STATE_NAME: Final = re.compile(re.escape(STATE_PREFIX) + rb"[0-9a-f]{12}")


class OwnFolder(TransferError):
    """This is wraith's own, and is never sent."""

    exit_code = 2
    code = "own-folder"


class OwnState:
    """Answers whether something on this disk belongs to wraith itself.

    Args:
        home: the folder that holds keys and codes; ``None``: there is none.
        disk: on which it and what is asked about lies.
    """

    def __init__(self, home: bytes | None = None, *, disk: Disk = OS_DISK) -> None:
        self.disk = disk
        self._home: tuple[int, int] | None = None
        self._kept: set[tuple[int, int]] = set()
        if home is None:
            return
        with contextlib.suppress(OSError):
            self._home = _identity(self.disk.stat(home))
        for name in HOME_NAMES:
            self._kept.update(_identities(home + b"/" + name, disk))

    def reason(self, name: bytes, info: os.stat_result) -> str | None:
        """Why something that was met is left out; ``None`` if it is not wraith's."""
        if _identity(info) in self._kept or _identity(info) == self._home:
            return KEYS
        if stat.S_ISDIR(info.st_mode) and name.lower().startswith(STATE_PREFIX):
            return UNFINISHED
        return None

    def check_named(self, path: bytes) -> None:
        """Raises ``OwnFolder`` if ``path``, which has no links in it, is wraith's own or lies in
        what is. A path that is missing passes: that is told elsewhere."""
        for at in _upwards(path):
            try:
                info = self.disk.stat(at, follow_symlinks=False)
            except OSError:
                continue
            name = os.path.basename(at)
            why = self.reason(name, info) if at == path else self._reason_below(name, info)
            if why is not None:
                raise OwnFolder(f"{os.fsdecode(path)} is not sent: it holds {why}")

    def _reason_below(self, name: bytes, info: os.stat_result) -> str | None:
        """Why nothing that lies in such a folder may be named. Other folders that merely begin
        like ours, and other things in a home, are the user's."""
        if _identity(info) in self._kept:
            return KEYS
        return UNFINISHED if _STATE_NAME.fullmatch(name) else None


def _identity(info: os.stat_result) -> tuple[int, int]:
    return info.st_dev, info.st_ino


def _identities(path: bytes, disk: Disk) -> Iterator[tuple[int, int]]:
    """Of ``path`` and of all that is below it."""
    below = [path]
    while below:
        at = below.pop()
        with contextlib.suppress(OSError):
            info = disk.stat(at, follow_symlinks=False)
            yield _identity(info)
            if stat.S_ISDIR(info.st_mode):
                below += [at + b"/" + name for name in disk.listdir(at)]


def _upwards(path: bytes) -> Iterator[bytes]:
    yield path
    while (parent := os.path.dirname(path)) != path:
        path = parent
        yield path
