"""Giving a file or folder a name that nothing has yet, in one step.

``renameat2`` with ``RENAME_NOREPLACE`` does it for both. Where the kernel or the file system has no
such call (NFS, old FUSE), a file is linked and the old name removed; a kill in between leaves two
names of one inode, which the next call takes for what it is: placed already. A folder cannot be
linked: there the name is looked at first, and a moment remains.

Python has no ``renameat2``, so it is called in the C library, without the interpreter lock.

Spec: transfer §9 [TR-139].
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Callable
from functools import cache

RENAME_NOREPLACE = 1
_NO_SUCH_CALL = frozenset({errno.EINVAL, errno.ENOSYS, errno.EPERM})


def rename_to_new(fd: int, name: bytes, to_fd: int, new_name: bytes) -> None:
    """Renames ``name`` in the folder ``fd`` to ``new_name`` in ``to_fd``. If both are one file
    already, only the old name goes.

    Raises:
        FileExistsError: another file or folder has that name.
    """
    code = _rename_noreplace(fd, name, to_fd, new_name)
    if not code:
        return
    if code == errno.EEXIST:
        _only_the_old_name(fd, name, to_fd, new_name)
    elif code not in _NO_SUCH_CALL:
        raise OSError(code, os.strerror(code), new_name)
    elif _is_folder(fd, name):
        if _exists(to_fd, new_name):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new_name)
        os.rename(name, new_name, src_dir_fd=fd, dst_dir_fd=to_fd)
    else:
        _link(fd, name, to_fd, new_name)


def _link(fd: int, name: bytes, to_fd: int, new_name: bytes) -> None:
    try:
        os.link(name, new_name, src_dir_fd=fd, dst_dir_fd=to_fd, follow_symlinks=False)
    except FileExistsError:
        _only_the_old_name(fd, name, to_fd, new_name)
        return
    except OSError:  # a file system without hard links
        if _exists(to_fd, new_name):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new_name) from None
        os.rename(name, new_name, src_dir_fd=fd, dst_dir_fd=to_fd)
        return
    os.unlink(name, dir_fd=fd)


def _only_the_old_name(fd: int, name: bytes, to_fd: int, new_name: bytes) -> None:
    old = os.stat(name, dir_fd=fd, follow_symlinks=False)
    new = os.stat(new_name, dir_fd=to_fd, follow_symlinks=False)
    if not os.path.samestat(old, new) or stat.S_ISDIR(old.st_mode):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new_name)
    os.unlink(name, dir_fd=fd)


def _is_folder(fd: int, name: bytes) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)


def _exists(fd: int, name: bytes) -> bool:
    with contextlib.suppress(FileNotFoundError):
        os.stat(name, dir_fd=fd, follow_symlinks=False)
        return True
    return False


@cache
def _renameat2() -> Callable[..., int] | None:
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return None
    call.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    return call


def _rename_noreplace(fd: int, name: bytes, to_fd: int, new_name: bytes) -> int:
    """0, or the error number."""
    call = _renameat2()
    if call is None:
        return errno.ENOSYS
    if call(fd, name, to_fd, new_name, RENAME_NOREPLACE) == 0:
        return 0
    return ctypes.get_errno()
