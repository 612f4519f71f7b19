"""Giving a file or folder a name that nothing has yet, in one step.

``renameat2`` with ``RENAME_NOREPLACE`` does it for both. Where the kernel or the file system has no
such call (NFS, old FUSE), a file is linked and the old name removed; a kill in between leaves two
names of one inode, which the next call takes for what it is: placed already. A folder cannot be
linked: there the name is looked at first, and a moment remains.

Spec: transfer §9 [TR-139].
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from wraith.aio.disk.seam import Disk

_NO_SUCH_CALL = frozenset({errno.EINVAL, errno.ENOSYS, errno.EPERM})


def rename_to_new(disk: Disk, fd: int, name: bytes, to_fd: int, new_name: bytes) -> None:
    """Renames ``name`` in the folder ``fd`` to ``new_name`` in ``to_fd``. If both are one file
    already, only the old name goes.

    Raises:
        FileExistsError: another file or folder has that name.
    """
    code = disk.renameat2(fd, name, to_fd, new_name)
    if not code:
        return
    if code == errno.EEXIST:
        _only_the_old_name(disk, fd, name, to_fd, new_name)
    elif code not in _NO_SUCH_CALL:
        raise OSError(code, os.strerror(code), new_name)
    elif _is_folder(disk, fd, name):
        if _exists(disk, to_fd, new_name):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new_name)
        disk.rename(name, new_name, src_dir_fd=fd, dst_dir_fd=to_fd)
    else:
        _link(disk, fd, name, to_fd, new_name)


def _link(disk: Disk, fd: int, name: bytes, to_fd: int, new_name: bytes) -> None:
    try:
        disk.link(name, new_name, src_dir_fd=fd, dst_dir_fd=to_fd, follow_symlinks=False)
    except FileExistsError:
        _only_the_old_name(disk, fd, name, to_fd, new_name)
        return
    except OSError:  # a file system without hard links
        if _exists(disk, to_fd, new_name):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new_name) from None
        disk.rename(name, new_name, src_dir_fd=fd, dst_dir_fd=to_fd)
        return
    disk.unlink(name, dir_fd=fd)


def _only_the_old_name(disk: Disk, fd: int, name: bytes, to_fd: int, new_name: bytes) -> None:
    old = disk.stat(name, dir_fd=fd, follow_symlinks=False)
    new = disk.stat(new_name, dir_fd=to_fd, follow_symlinks=False)
    if not os.path.samestat(old, new) or stat.S_ISDIR(old.st_mode):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new_name)
    disk.unlink(name, dir_fd=fd)


def _is_folder(disk: Disk, fd: int, name: bytes) -> bool:
    return stat.S_ISDIR(disk.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)


def _exists(disk: Disk, fd: int, name: bytes) -> bool:
    with contextlib.suppress(FileNotFoundError):
        disk.stat(name, dir_fd=fd, follow_symlinks=False)
        return True
    return False
