"""Tries, once and with a file of ours, which names the file system of a target tells apart.

The file is empty and lives for milliseconds, but a kill in between would leave it. So each try
first removes what such a kill has left: a probe that nobody holds a lock on.

Spec: transfer §3 [TR-22], §9 [TR-129].
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import unicodedata
from typing import Final

from wraith.aio.disk.seam import LOCK_EX, LOCK_NB, Disk
from wraith.transfer.path_rules import STATE_PREFIX, PathRules

PREFIX: Final = STATE_PREFIX + b"probe-e\xcc\x81"
"""Ends with a letter and an accent of its own, which some file systems join."""
_TRIES: Final = 100
_FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def probe_rules(folder_fd: int, disk: Disk) -> PathRules:
    """The rules of the folder ``folder_fd``. Raises ``OSError`` if nothing can be made there."""
    remove_old_probes(folder_fd, disk)
    fd, name = _make(folder_fd, disk)
    try:
        composed = unicodedata.normalize("NFC", os.fsdecode(name))
        return PathRules(
            any_bytes=os.name == "posix" and os.uname().sysname != "Darwin",
            case_insensitive=_is_there(folder_fd, name.swapcase(), disk),
            normalises=_is_there(folder_fd, os.fsencode(composed), disk),
        )
    finally:
        with contextlib.suppress(FileNotFoundError):
            disk.unlink(name, dir_fd=folder_fd)
        disk.close(fd)


def remove_old_probes(folder_fd: int, disk: Disk) -> None:
    """Removes probes of killed processes; those in use, and what is not a probe of ours, stay.
    [TR-129]"""
    try:
        names = disk.listdir(folder_fd)
    except OSError:
        return
    for name in names:
        if name.startswith(PREFIX):
            with contextlib.suppress(OSError):
                _remove_if_left(folder_fd, name, disk)


def _remove_if_left(folder_fd: int, name: bytes, disk: Disk) -> None:
    fd = disk.open(name, _FLAGS, dir_fd=folder_fd)
    try:
        info = disk.fstat(fd)
        if stat.S_ISREG(info.st_mode) and info.st_uid == os.geteuid() and not info.st_size:
            disk.flock(fd, LOCK_EX | LOCK_NB)  # raises while its maker lives
            disk.unlink(name, dir_fd=folder_fd)
    finally:
        disk.close(fd)


def _make(folder_fd: int, disk: Disk) -> tuple[int, bytes]:
    """A new probe and its name, held by a lock where the file system has locks."""
    for _ in range(_TRIES):
        name = PREFIX + secrets.token_hex(8).encode()
        fd = disk.open(name, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder_fd)
        if _is_ours(fd, disk) and _is_there(folder_fd, name, disk):
            return fd, name
        disk.close(fd)  # another process took it for a leftover, before the lock was there
    raise OSError("no name can be tried in the destination")


def _is_ours(fd: int, disk: Disk) -> bool:
    """Whether nobody is about to remove it; from then on nobody will."""
    try:
        disk.flock(fd, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks: nobody removes anything there
    return True


def _is_there(folder_fd: int, name: bytes, disk: Disk) -> bool:
    try:
        disk.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
