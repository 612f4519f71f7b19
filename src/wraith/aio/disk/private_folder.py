"""Folders that are this user's own, opened so that nobody else can have had a hand in them.

A name proves nothing: where others may write, a folder or file with the right name may have been
put there by them. So a folder of ours is opened once, its owner and mode are looked at through the
descriptor, and everything in it is opened relative to that, never through a link. New files get a
random name first, exclusively, and modes are explicit: 0700 for folders, 0600 for files, whatever
the umask is.

Some file systems have no modes (exFAT, a share of another system): what is made there with 0700
shows other bits at once. There the owner alone counts, and ``has_modes`` is false so that the
caller can say it.

POSIX only. Spec: transfer §7 [TR-122] to [TR-125].
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import secrets
import stat
from collections.abc import Iterator
from typing import Final

from wraith.aio.disk.descriptor import OwnsDescriptor
from wraith.aio.disk.renaming import rename_to_new
from wraith.aio.disk.seam import OS_DISK, Disk
from wraith.errors import WraithError

_OPEN_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_OPEN_FILE: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_WRITABLE_BY_OTHERS: Final = 0o022
_OPEN_TO_OTHERS: Final = 0o077
_PROBE: Final = b".modes-"


class UntrustedPath(WraithError):
    """Others may have had a hand in a file or folder that must be this user's alone."""

    code = "untrusted-path"


class PrivateFolder(OwnsDescriptor):
    """A folder of ours, held open. Make it with ``open`` or ``below``; ``close`` it, or use it as a
    context manager.

    Attributes:
        path: for messages alone.
        has_modes: this file system keeps permission bits.
        is_closed: nobody else can reach what is in it.
    """

    def __init__(
        self, fd: int, path: bytes, hint: str, disk: Disk, *, in_closed: bool = False
    ) -> None:
        """Takes ``fd`` over and judges it; closes it when it raises. [TR-122]"""
        self.fd = fd
        self.path = path
        self.disk = disk
        self._hint = hint
        try:
            info = self.disk.fstat(fd)
            self._check_owner(info, path)
            mode = stat.S_IMODE(info.st_mode)
            self.has_modes = True
            if mode & _WRITABLE_BY_OTHERS:
                if in_closed:
                    self.disk.fchmod(fd, 0o700)  # nobody else could come here
                else:
                    self.has_modes = _keeps_modes(fd, disk)
                    self._check_mode(mode, path)
            self.is_closed = in_closed or not mode & _OPEN_TO_OTHERS
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(
        cls, path: str | bytes | os.PathLike[str], *, hint: str = "", disk: Disk = OS_DISK
    ) -> PrivateFolder:
        """The folder that a user named; links on the way to it are the user's. Made if missing,
        with the folders above it, all 0700.

        Args:
            hint: what to do when it cannot be trusted.
        Raises:
            UntrustedPath: it belongs to somebody else, or others may write in it.
            OSError: it cannot be made or opened.
        """
        raw = os.fsencode(os.path.abspath(path))
        try:
            fd = disk.open(raw, _OPEN_FOLDER)
        except FileNotFoundError:
            _make_with_parents(raw, disk)
            fd = disk.open(raw, _OPEN_FOLDER)
        return cls(fd, raw, hint, disk)

    @classmethod
    def below(
        cls,
        dir_fd: int,
        path: bytes,
        *,
        hint: str = "",
        create: bool = True,
        in_closed: bool = False,
        disk: Disk = OS_DISK,
    ) -> PrivateFolder:
        """The folder ``path``, opened by its last name relative to ``dir_fd``, not through a link.

        Raises:
            UntrustedPath: it is a link, belongs to somebody else, or others may write in it.
            FileNotFoundError: it is missing, and ``create`` is false.
            OSError: it cannot be made or opened.
        """
        name = os.path.basename(path)
        if create:
            with contextlib.suppress(FileExistsError):
                disk.mkdir(name, 0o700, dir_fd=dir_fd)
        try:
            fd = disk.open(name, _OPEN_FOLDER | os.O_NOFOLLOW, dir_fd=dir_fd)
        except OSError as exc:
            if exc.errno in (errno.ELOOP, errno.ENOTDIR) and _is_link(name, dir_fd, disk):
                raise UntrustedPath(f"{_shown(path)} is a link", hint=hint) from None
            exc.filename = path
            raise
        return cls(fd, path, hint, disk, in_closed=in_closed)

    def __enter__(self) -> PrivateFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what is in it ----------------------------------------------------------------------

    def folder(self, name: bytes, *, create: bool = True) -> PrivateFolder:
        """The folder ``name`` in this one; as ``below``."""
        return PrivateFolder.below(
            self.fd,
            self.path + b"/" + name,
            hint=self._hint,
            create=create,
            in_closed=self.is_closed,
            disk=self.disk,
        )

    def open_file(self, name: bytes, flags: int) -> int:
        """A new descriptor of a file of ours, made 0600 with ``O_CREAT``. [TR-123]

        Raises:
            UntrustedPath: a link, not a file, somebody else's, or others may write it.
            OSError: missing, or the disk says no.
        """
        path = self.path + b"/" + name
        try:
            fd = self.disk.open(name, flags | _OPEN_FILE, 0o600, dir_fd=self.fd)
        except OSError as exc:
            if exc.errno == errno.ELOOP:
                raise UntrustedPath(f"{_shown(path)} is a link", hint=self._hint) from None
            exc.filename = path
            raise
        try:
            info = self.disk.fstat(fd)
            if not stat.S_ISREG(info.st_mode):
                raise UntrustedPath(f"{_shown(path)} is not a file", hint=self._hint)
            self._check_owner(info, path)
            if info.st_mode & _WRITABLE_BY_OTHERS:
                if self.is_closed:
                    self.disk.fchmod(fd, 0o600)
                else:
                    self._check_mode(stat.S_IMODE(info.st_mode), path)
        except BaseException:
            self.disk.close(fd)
            raise
        return fd

    def read(self, name: bytes, n_max: int) -> bytes:
        """The first ``n_max`` bytes of a file. Raises as ``open_file``."""
        fd = self.open_file(name, os.O_RDONLY)
        try:
            data = bytearray()
            while len(data) < n_max and (more := self.disk.read(fd, n_max - len(data))):
                data += more
            return bytes(data)
        finally:
            self.disk.close(fd)

    @contextlib.contextmanager
    def replacing(self, name: bytes, *, sync: bool = False) -> Iterator[int]:
        """A new file, 0600, under a random name that nobody can have prepared; it takes the place
        of ``name`` in one step when the block ends well and goes when it does not. [TR-124]

        Args:
            sync: on the disk before it takes the name.
        """
        temporary = b".%s.%s" % (name, secrets.token_hex(8).encode())
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _OPEN_FILE
        try:
            fd = self.disk.open(temporary, flags, 0o600, dir_fd=self.fd)
        except OSError as exc:
            exc.filename = self.path
            raise
        try:
            try:
                yield fd
                if sync:
                    self.disk.fsync(fd)
            finally:
                self.disk.close(fd)
            self.disk.rename(temporary, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except BaseException:
            with contextlib.suppress(OSError):
                self.disk.unlink(temporary, dir_fd=self.fd)
            raise

    def write(self, name: bytes, data: bytes) -> None:
        """Replaces a file in one step; after a crash the old or the new one is there.

        Raises:
            OSError: the disk is full or not writable; the old file is then untouched.
        """
        with self.replacing(name, sync=True) as fd:
            self.disk.write_all(fd, data)

    def write_new(self, name: bytes, data: bytes) -> None:
        """Makes a file in one step, unless there is one: two who do it at once get one file.

        Raises:
            FileExistsError: there is one; it is untouched.
            OSError: the disk is full or not writable.
        """
        hidden = b".%s.%s" % (name, secrets.token_hex(8).encode())
        with self.replacing(hidden, sync=True) as fd:
            self.disk.write_all(fd, data)
        try:
            rename_to_new(self.disk, self.fd, hidden, self.fd, name)
        except BaseException:
            with contextlib.suppress(OSError):
                self.disk.unlink(hidden, dir_fd=self.fd)
            raise

    def names(self) -> list[bytes]:
        """What is in it, in no order."""
        return self.disk.listdir(self.fd)

    def unlink(self, name: bytes) -> None:
        """Removes a file or link, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self.disk.unlink(name, dir_fd=self.fd)

    def rename(self, name: bytes, new_name: bytes) -> None:
        """Within this folder; replaces what is there."""
        self.disk.rename(name, new_name, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def remove_tree(self, name: bytes) -> None:
        """Removes a folder with all that is below it, as far as the disk lets it."""
        self.disk.rmtree(name, dir_fd=self.fd)

    def remove_from(self, dir_fd: int) -> None:
        """Removes this folder itself, which lies in ``dir_fd``, unless another one has its name."""
        name = os.path.basename(self.path)
        with contextlib.suppress(OSError):
            info = self.disk.stat(name, dir_fd=dir_fd, follow_symlinks=False)
            if os.path.samestat(info, self.disk.fstat(self.fd)):
                self.disk.rmtree(name, dir_fd=dir_fd)

    # --- inside -----------------------------------------------------------------------------

    def _check_owner(self, info: os.stat_result, path: bytes) -> None:
        if info.st_uid != os.geteuid():
            raise UntrustedPath(
                f"{_shown(path)} belongs to {_owner(info.st_uid)}, and wraith runs as "
                f"{_owner(os.geteuid())}",
                hint=self._hint,
            )

    def _check_mode(self, mode: int, path: bytes) -> None:
        if self.has_modes and mode & _WRITABLE_BY_OTHERS:
            raise UntrustedPath(
                f"others may write {_shown(path)} (mode {mode:04o})",
                hint=f"if nobody else had a hand in it: chmod go-w '{_shown(path)}'",
            )


def no_modes(folder: PrivateFolder) -> str:
    """Makes the warning for a file system that keeps no permission bits."""
    return (
        f"{_shown(folder.path)} lies on a file system without permission bits: "
        "only its owner was checked"
    )


def _make_with_parents(path: bytes, disk: Disk) -> None:
    parent = os.path.dirname(path)
    if parent != path and not _is_folder(parent, disk):
        _make_with_parents(parent, disk)
    with contextlib.suppress(FileExistsError):
        disk.mkdir(path, 0o700)


def _is_folder(path: bytes, disk: Disk) -> bool:
    try:
        return stat.S_ISDIR(disk.stat(path).st_mode)
    except OSError:
        return False


def _keeps_modes(fd: int, disk: Disk) -> bool:
    """True if a folder that is made in ``fd`` with 0700 has that mode then."""
    name = _PROBE + secrets.token_hex(8).encode()
    try:
        disk.mkdir(name, 0o700, dir_fd=fd)
    except OSError:
        return True  # nothing can be made here: what others could have done counts
    try:
        made = disk.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
        return not made & _WRITABLE_BY_OTHERS
    finally:
        with contextlib.suppress(OSError):
            disk.rmdir(name, dir_fd=fd)


def _is_link(name: bytes, dir_fd: int, disk: Disk) -> bool:
    try:
        return stat.S_ISLNK(disk.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _owner(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def _shown(path: bytes) -> str:
    return os.fsdecode(path)
