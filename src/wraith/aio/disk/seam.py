"""The one way to a disk: what WRAITH asks an operating system about files, under its ``os`` names.

Everything that keeps or reads files takes a ``Disk`` and asks it alone, so that a simulation can
put another one in its place: one with a page cache that a crash loses, errors at any call, torn
writes. ``tools/check_tree.py`` refuses code that goes past it.

A call does what the function of ``os`` with its name does, and raises what that raises. Paths are
bytes or text; most are names relative to an open folder (``dir_fd``). Descriptors are numbers and
belong to the disk that gave them.

POSIX only.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from fcntl import LOCK_EX as LOCK_EX
from fcntl import LOCK_NB as LOCK_NB
from functools import cache
from typing import Final

StrOrBytesPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]
RENAME_NOREPLACE: Final = 1
_BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Disk:
    """The disk of this machine. A simulated one derives from it and replaces every call."""

    access = staticmethod(os.access)
    close = staticmethod(os.close)
    dup = staticmethod(os.dup)
    fchmod = staticmethod(os.fchmod)
    fstat = staticmethod(os.fstat)
    fsync = staticmethod(os.fsync)
    ftruncate = staticmethod(os.ftruncate)
    link = staticmethod(os.link)
    lseek = staticmethod(os.lseek)
    mkdir = staticmethod(os.mkdir)
    open = staticmethod(os.open)
    pread = staticmethod(os.pread)
    pwrite = staticmethod(os.pwrite)
    pwritev = staticmethod(os.pwritev)
    read = staticmethod(os.read)
    readlink = staticmethod(os.readlink)
    rename = staticmethod(os.rename)
    rmdir = staticmethod(os.rmdir)
    stat = staticmethod(os.stat)
    statvfs = staticmethod(os.statvfs)
    symlink = staticmethod(os.symlink)
    unlink = staticmethod(os.unlink)
    utime = staticmethod(os.utime)
    write = staticmethod(os.write)

    # --- calls that Python has elsewhere, or not everywhere -------------------------------------

    def listdir(self, folder: StrOrBytesPath | int) -> list[bytes]:
        """The names in a folder, in no order, as bytes."""
        return [os.fsencode(name) for name in os.listdir(folder)]

    def realpath(self, path: StrOrBytesPath) -> bytes:
        """An absolute path to the same without links, as far as it exists; as bytes."""
        return os.path.realpath(os.fsencode(path))

    def boot_id(self) -> bytes:
        """16 bytes that change with every start of the host; zeros where the system has none."""
        with contextlib.suppress(OSError, ValueError), open(_BOOT_ID, encoding="ascii") as file:
            return bytes.fromhex(file.read().strip().replace("-", ""))[:16].ljust(16, b"\0")
        return bytes(16)

    def flock(self, fd: int, operation: int) -> None:
        """As ``fcntl.flock``: an advisory lock that ends with the descriptor."""
        fcntl.flock(fd, operation)

    def renameat2(self, fd: int, name: bytes, to_fd: int, new_name: bytes) -> int:
        """Renames unless ``new_name`` exists, in one step. Returns 0 or the number of the error;
        ``ENOSYS`` where there is no such call."""
        call = _of_libc("renameat2")
        if call is None:
            return errno.ENOSYS
        if call(fd, name, to_fd, new_name, RENAME_NOREPLACE) == 0:
            return 0
        return ctypes.get_errno()

    def syncfs(self, fd: int) -> None:
        """Has the file system of ``fd`` written out; all of them where there is no such call."""
        call = _of_libc("syncfs")
        if call is None:
            os.sync()
        elif call(fd) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    def posix_fallocate(self, fd: int, offset: int, n_bytes: int) -> None:
        """Sets room aside on a disk. Does nothing where the system has no such call, or ``fd`` lies
        in memory or across a network: those gain nothing, and some would write zeros instead."""
        if hasattr(os, "posix_fallocate") and os.major(os.fstat(fd).st_dev):
            os.posix_fallocate(fd, offset, n_bytes)

    def posix_fadvise(self, fd: int, offset: int, n_bytes: int) -> None:
        """Asks the system to begin to write these bytes out; nothing depends on it. Linux does so
        for ``POSIX_FADV_DONTNEED``, and lets go of pages that are on the disk already."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(fd, offset, n_bytes, os.POSIX_FADV_DONTNEED)

    @contextlib.contextmanager
    def mmap(self, fd: int) -> Iterator[memoryview]:
        """All of a file that is not empty, for reading, without reading it into memory."""
        with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as data, memoryview(data) as view:
            yield view

    def temporary(self, folder: bytes | None = None) -> int:
        """A file without a name, for reading and writing, in ``folder`` or where the system keeps
        such; gone with its descriptor, which is the caller's."""
        if folder is None:
            folder = _temporary_folder()
        with tempfile.TemporaryFile(dir=folder) as file:
            return os.dup(file.fileno())

    # --- made of the calls above: a simulated disk need not replace these -----------------------

    def lexists(self, path: StrOrBytesPath) -> bool:
        """True if anything has that name, a link that leads nowhere included."""
        try:
            self.stat(path, follow_symlinks=False)
        except (OSError, ValueError):
            return False
        return True

    def makedirs(self, path: bytes, mode: int = 0o777) -> None:
        """Makes a folder and those above it, as far as they are missing."""
        try:
            self.mkdir(path, mode)
        except FileExistsError:
            if not stat.S_ISDIR(self.stat(path).st_mode):
                raise
        except FileNotFoundError:
            parent = os.path.dirname(path)
            if parent in (b"", path):
                raise
            self.makedirs(parent, mode)
            with contextlib.suppress(FileExistsError):
                self.mkdir(path, mode)

    def rmtree(self, name: bytes, *, dir_fd: int) -> None:
        """Removes a folder of the folder ``dir_fd`` with all that is below it, as far as the disk
        lets it; no link is followed."""
        with contextlib.suppress(OSError):
            fd = self.open(name, _FOLDER, dir_fd=dir_fd)
            try:
                for child in self.listdir(fd):
                    with contextlib.suppress(OSError):
                        self._remove(child, fd)
            finally:
                self.close(fd)
            self.rmdir(name, dir_fd=dir_fd)

    def _remove(self, name: bytes, dir_fd: int) -> None:
        if stat.S_ISDIR(self.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode):
            self.rmtree(name, dir_fd=dir_fd)
        else:
            self.unlink(name, dir_fd=dir_fd)

    def write_all(self, fd: int, data: bytes | bytearray) -> None:
        """Writes all of ``data``, however many calls it takes."""
        view = memoryview(data)
        while view:
            view = view[self.write(fd, view) :]


OS_DISK: Final = Disk()
"""The disk of this machine."""


def _temporary_folder() -> bytes:
    """The folder where the system keeps files without a name. Its own error lists every try."""
    try:
        return tempfile.gettempdirb()
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "no folder for them can be written") from None


@cache
def _of_libc(name: str) -> Callable[..., int] | None:
    """A call that Python lacks; it runs without the interpreter lock."""
    try:
        call: Callable[..., int] = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (OSError, AttributeError):
        return None
    if name == "renameat2":
        number, text = ctypes.c_int, ctypes.c_char_p
        call.argtypes = [number, text, number, text, ctypes.c_uint]  # type: ignore[attr-defined]
    return call
