"""The access key of a listener that outlives its process, so that its code stays the same.

::

    FOLDER/                 locked (flock) by the process that listens; made 0700
      .lock
      access.key            access key and psk in one line; 0600
      replay-<n>.log        proven hellos (replay_files.py)

A code names addresses, a port and an identity as well: it stays the same where these do.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Final

from wraith.abc import Rng, WallClock
from wraith.aio.disk.failures import told
from wraith.aio.disk.home_folder import FolderLock
from wraith.aio.disk.key_file import read_or_make
from wraith.aio.disk.private_folder import PrivateFolder
from wraith.aio.disk.replay_files import ReplayFiles
from wraith.aio.disk.seam import OS_DISK, Disk
from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.crypto.x25519 import KEY_BYTES, X25519Key

_KIND: Final = "wraith-access-1"
_FILE: Final = b"access.key"
_PSK_BYTES: Final = 32
_HINT: Final = "an access key lies in a folder of your own that nobody else may write"


@dataclass(slots=True)
class KeptAccess:
    """One locked folder with the secrets of one code. ``close`` it after the endpoint that uses it.

    Attributes:
        key: the access key and its psk.
        replay: the replay files of that key.
    """

    key: AccessKey = field(repr=False)
    replay: ReplayFiles = field(repr=False)
    _folder: PrivateFolder = field(repr=False)
    _lock: FolderLock = field(repr=False)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        rng: Rng,
        clock: WallClock,
        *,
        max_clock_skew_s: float,
        disk: Disk = OS_DISK,
    ) -> KeptAccess:
        """The key in the folder ``path``; a fresh one when there is none.

        Raises:
            FolderLocked: another process listens with it.
            ConfigError: ``access.key`` is there and holds something else.
            UntrustedPath: folder or file are not this user's alone.
            DiskFailed, NoSpace: the disk says no.
        """
        with told(path, _HINT):
            folder = PrivateFolder.open(path, hint=_HINT, disk=disk)
            lock = FolderLock(folder)
            try:
                lock.acquire()
                secret, is_new = read_or_make(
                    folder, _FILE, kind=_KIND, n_bytes=KEY_BYTES + _PSK_BYTES, rng=rng
                )
                key = AccessKey(
                    X25519Key.from_secret(secret[:KEY_BYTES]), secret[KEY_BYTES:], persistent=True
                )
                replay = ReplayFiles(folder, clock, max_clock_skew_s=max_clock_skew_s, fresh=is_new)
            except BaseException:
                lock.release()
                folder.close()
                raise
        return cls(key, replay, folder, lock)

    def close(self) -> None:
        """Lets go of the folder, for the next process. Idempotent."""
        self.replay.close()
        self._lock.release()
        self._folder.close()
