"""Files below one folder, reached part by part so that no link on the way is ever followed.

Paths are relative bytes that ``transfer.paths`` has judged already; what it cannot know is what
lies on this disk at the moment of opening. Each step opens one name with ``O_NOFOLLOW`` relative to
the folder before it, so neither an old link nor one that appears in between leads out. [TR-24]

POSIX only. The descriptors of the folders last used are kept, because files of one folder follow
each other.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict

from wraith.aio.disk.descriptor import OwnsDescriptor
from wraith.aio.disk.renaming import rename_to_new
from wraith.aio.disk.seam import OS_DISK, Disk

FOLDERS_KEPT = 32
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class SafeTree(OwnsDescriptor):
    """Everything below ``root``, which itself may be reached through links (the user named it).

    Args:
        fd: the folder ``root`` if it is open already; the tree takes it over.
        disk: on which it lies.
    """

    def __init__(self, root: bytes, fd: int | None = None, *, disk: Disk = OS_DISK) -> None:
        self.root = root
        self.disk = disk
        self._kept: OrderedDict[bytes, int] = OrderedDict()
        if fd is None:
            fd = self.disk.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.fd = fd

    def close(self) -> None:
        self.forget()
        super().close()

    def forget(self) -> None:
        """Closes the kept folders; needed before folders are moved or removed."""
        while self._kept:
            self.disk.close(self._kept.popitem()[1])

    def folder(self, path: bytes, *, create: bool = False) -> int:
        """A descriptor of the folder at ``path`` (``b""``: the root), owned by the tree and good
        until the next call.

        Raises:
            OSError: missing, not a folder, or a link (``ELOOP``/``ENOTDIR``).
        """
        if not path:
            return self.fd
        kept = self._kept.get(path)
        if kept is not None:
            self._kept.move_to_end(path)
            return kept
        parent, _, name = path.rpartition(b"/")
        above = self.folder(parent, create=create)
        try:
            fd = self.disk.open(name, _FOLDER, dir_fd=above)
        except FileNotFoundError:
            if not create:
                raise
            self.disk.mkdir(name, 0o700, dir_fd=above)
            fd = self.disk.open(name, _FOLDER, dir_fd=above)
        self._kept[path] = fd
        if len(self._kept) > FOLDERS_KEPT:
            self.disk.close(self._kept.popitem(last=False)[1])
        return fd

    def _parent(self, path: bytes, *, create: bool = False) -> tuple[int, bytes]:
        parent, _, name = path.rpartition(b"/")
        return self.folder(parent, create=create), name

    def open(self, path: bytes, flags: int, mode: int = 0o600, *, create: bool = False) -> int:
        """A new descriptor of the file at ``path``; ``create`` makes the folders above it."""
        fd, name = self._parent(path, create=create)
        return self.disk.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=fd)

    def lstat(self, path: bytes) -> os.stat_result | None:
        """``None`` when there is nothing (or a link or file where a folder should be)."""
        try:
            fd, name = self._parent(path)
            return self.disk.stat(name, dir_fd=fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            if exc.errno in _NOT_THERE:
                return None
            raise

    def mkdir(self, path: bytes) -> bool:
        """Makes a folder; false if one is there already. Raises ``OSError`` for anything else."""
        fd, name = self._parent(path)
        try:
            self.disk.mkdir(name, 0o700, dir_fd=fd)
        except FileExistsError:
            if stat.S_ISDIR(self.disk.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                return False
            raise
        return True

    def unlink(self, path: bytes) -> None:
        """Removes a file or link, if it is there."""
        try:
            fd, name = self._parent(path)
            self.disk.unlink(name, dir_fd=fd)
        except FileNotFoundError:
            pass

    def symlink(self, path: bytes, target: bytes, mtime_ns: int) -> None:
        """Makes a link, in place of an older one."""
        fd, name = self._parent(path, create=True)
        try:
            self.disk.symlink(target, name, dir_fd=fd)
        except FileExistsError:
            self.disk.unlink(name, dir_fd=fd)
            self.disk.symlink(target, name, dir_fd=fd)
        self.disk.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=fd, follow_symlinks=False)

    def make_writable(self, path: bytes) -> None:
        """Lets the owner read and write a file, if it is there: it may have its final mode
        already."""
        try:
            fd = self.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return
        try:
            self.disk.fchmod(fd, 0o600)
        finally:
            self.disk.close(fd)

    def set_folder(self, path: bytes, mode: int, mtime_ns: int) -> None:
        """Mode and time of a folder, once nothing more is put into it."""
        fd = self.folder(path)
        self.disk.utime(fd, ns=(mtime_ns, mtime_ns))
        self.disk.fchmod(fd, mode)

    def move(self, path: bytes, to: SafeTree, new_path: bytes, *, replace: bool) -> None:
        """Renames within one file system. Without ``replace`` an existing name stays, unless it is
        one of the same file: then only the old one goes. [TR-139]

        Raises:
            FileExistsError: ``new_path`` exists and ``replace`` is not set.
        """
        fd, name = self._parent(path)
        to_fd, new_name = to._parent(new_path)
        if replace:
            self.disk.rename(name, new_name, src_dir_fd=fd, dst_dir_fd=to_fd)
        else:
            rename_to_new(self.disk, fd, name, to_fd, new_name)


_NOT_THERE = frozenset({errno.ELOOP, errno.ENOTDIR})
