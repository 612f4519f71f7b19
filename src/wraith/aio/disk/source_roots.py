"""The paths that a sender was told to send, opened again and again without following a link.

A named path may be a link: the user named it. Below it nothing is followed, neither an old link nor
one that took the place of a folder since, and a named path that became another file or folder is
refused. The bytes that are sent are therefore those of the tree that was listed, also when others
may write in it (a backup that the superuser makes).

Spec: transfer §8 [TR-121].
"""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from typing import Final

from wraith.aio.disk.safe_tree import SafeTree
from wraith.aio.disk.seam import OS_DISK, Disk

ROOTS_KEPT: Final = 8
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class SourceRoots:
    """Real paths by top name, each with the device and inode that it had. ``close`` it."""

    def __init__(self, disk: Disk = OS_DISK) -> None:
        self.disk = disk
        self._real: dict[bytes, bytes] = {}
        self._identity: dict[bytes, tuple[int, int]] = {}
        self._trees: OrderedDict[bytes, SafeTree] = OrderedDict()

    def __contains__(self, name: bytes) -> bool:
        return name in self._real

    def names(self) -> list[bytes]:
        """All top names, ascending."""
        return sorted(self._real)

    def add(self, name: bytes, path: bytes) -> None:
        """A named path, whose links are resolved here once."""
        self._real[name] = self.disk.realpath(path)

    def real(self, name: bytes) -> bytes:
        """The path of a top name without links, for asking what lies above it."""
        return self._real[name]

    def stat(self, name: bytes) -> os.stat_result:
        """What a top name is; noted, so that it must stay that."""
        info = self.disk.stat(self._real[name], follow_symlinks=False)
        self._identity[name] = (info.st_dev, info.st_ino)
        return info

    def folder(self, path: bytes) -> int:
        """A descriptor of a folder of the listing, good until the next call.

        Raises:
            OSError: it is gone, or something on the way is a link or another root now.
        """
        top, _, rest = path.partition(b"/")
        return self._tree(top).folder(rest)

    def open(self, path: bytes) -> int:
        """A new descriptor of a file of the listing, for reading.

        Raises:
            OSError: it is gone, cannot be read, or something on the way is a link now.
        """
        top, slash, rest = path.partition(b"/")
        if not slash:
            return self.disk.open(self._real[top], _FILE)
        return self._tree(top).open(rest, os.O_RDONLY | os.O_NONBLOCK)

    def close(self) -> None:
        """Closes the folders that are held. They open again when needed."""
        while self._trees:
            self._trees.popitem()[1].close()

    def _tree(self, top: bytes) -> SafeTree:
        tree = self._trees.get(top)
        if tree is not None:
            self._trees.move_to_end(top)
            return tree
        tree = SafeTree(self._real[top], disk=self.disk)
        info = self.disk.fstat(tree.fd)
        if (info.st_dev, info.st_ino) != self._identity[top]:
            tree.close()
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), self._real[top])
        self._trees[top] = tree
        if len(self._trees) > ROOTS_KEPT:
            self._trees.popitem(last=False)[1].close()
        return tree
