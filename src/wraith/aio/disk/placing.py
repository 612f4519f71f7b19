"""Puts finished files where they belong: one rename for a new name, file by file in a merge.

It starts only when everything is verified and it can be run again after a kill at any point: what
has been moved is not in ``data`` any more and is left alone.

Spec: transfer §10.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator

from wraith.aio.disk.existing import Choices, ExistsPolicy
from wraith.aio.disk.safe_tree import SafeTree
from wraith.aio.disk.seam import Disk
from wraith.aio.disk.suspect import FlushFailed, Suspicion
from wraith.transfer.listing import Entry, Kind
from wraith.transfer.path_rules import display_path
from wraith.transfer.reasons import OfferTaken

Entries = Callable[..., Iterator[tuple[int, Entry]]]
"""All entries of one top name, itself first; ``backwards=True`` from its end."""

NAMES_TRIED = 10_000


class Placer:
    """Moves from ``data`` to ``out``. ``choices`` say what becomes of a name that exists.
    ``replaces``: what a run whose disk failed has put there is replaced under any policy."""

    def __init__(
        self,
        *,
        data: SafeTree,
        out: SafeTree,
        choices: Choices,
        umask: int,
        replaces: Suspicion | None = None,
    ) -> None:
        self._replaces = replaces
        self._data = data
        self._out = out
        self._choices = choices
        self._umask = umask

    def choose_name(self, number: int, top: Entry) -> bytes:
        """The name at the target for a top name: its own, or a free one if it is renamed."""
        there = self._out.lstat(top.path)
        if there is None or self._choices[number] is not ExistsPolicy.RENAME:
            return top.path
        if self._is_replaced(top.path, there):
            return top.path
        ours = self._data.lstat(top.path)
        if ours is not None and os.path.samestat(ours, there):
            return top.path  # it has that name already, beside the one in the state folder
        if top.kind is Kind.FOLDER and stat.S_ISDIR(there.st_mode):
            return top.path  # a merge: its files are renamed one by one
        return self._free_name(top.path, top.path)

    def existing_folders(self, top: Entry, name: bytes, entries: Entries) -> Iterator[int]:
        """The numbers of those folders that are at the target already. They keep their modes and
        times; a run that goes on after a kill cannot tell them any more from those it made."""
        there = self._out.lstat(name)
        if there is None or not stat.S_ISDIR(there.st_mode) or self._is_replaced(name, there):
            return
        for number, entry in entries():
            if entry.kind is Kind.FOLDER:
                there = self._out.lstat(name + entry.path[len(top.path) :])
                if there is not None and stat.S_ISDIR(there.st_mode):
                    yield number

    def place(self, number: int, top: Entry, name: bytes, entries: Entries, existed: bytes) -> None:
        """Moves one top name with all that is below it; a second call goes on where it stopped.

        Args:
            number: of ``top`` in the listing.
            existed: a bit for each entry that ``existing_folders`` has named.
        Raises:
            OfferTaken: the name exists and no policy allows to touch it.
            OSError: the disk says no.
        """
        if top.kind is not Kind.FOLDER:
            if self._data.lstat(top.path) is not None:
                self._move(number, top.path, name)
            return
        if self._data.lstat(top.path) is not None:
            there = self._out.lstat(name)
            if there is None:
                there = self._move_folder(top.path, name)
            if there is not None:
                self._merge(number, top.path, name, there, entries)
        self._set_folders(top.path, name, entries, existed)

    def _move_folder(self, top: bytes, name: bytes) -> os.stat_result | None:
        """Moves a whole folder to a name that is free. What has taken that name meanwhile is
        returned, and judged as if it had always been there."""
        self._data.forget()
        try:
            self._data.move(top, self._out, name, replace=False)
        except FileExistsError:
            return self._out.lstat(name)
        return None

    def _merge(
        self, number: int, top: bytes, name: bytes, there: os.stat_result, entries: Entries
    ) -> None:
        is_allowed = self._choices[number] is not ExistsPolicy.REFUSE
        is_allowed = is_allowed or self._is_replaced(name, there)
        if not stat.S_ISDIR(there.st_mode) or not is_allowed:
            raise OfferTaken(f"{display_path(name)} exists already")
        for below, entry in entries():
            target = name + entry.path[len(top) :]
            if entry.kind is Kind.FOLDER:
                self._out.mkdir(target)
            elif self._data.lstat(entry.path) is not None:
                self._move(below, entry.path, target)

    def _move(self, number: int, path: bytes, target: bytes) -> None:
        """One file or link, by its policy. [TR-72]"""
        try:
            self._data.move(path, self._out, target, replace=False)
        except FileExistsError:
            there = self._out.lstat(target)
            policy = self._choices[number]
            if there is not None and self._is_replaced(target, there):
                policy = ExistsPolicy.OVERWRITE
            is_folder = there is not None and stat.S_ISDIR(there.st_mode)
            if policy is ExistsPolicy.SKIP:
                self._data.unlink(path)
            elif policy is ExistsPolicy.RENAME:
                self._data.move(path, self._out, self._free_name(target, path), replace=False)
            elif policy is ExistsPolicy.OVERWRITE and not is_folder:
                self._data.move(path, self._out, target, replace=True)
            else:
                raise OfferTaken(f"{display_path(target)} exists already") from None

    def _is_replaced(self, path: bytes, there: os.stat_result) -> bool:
        return self._replaces is not None and self._replaces.placed_it(self._out, path, there)

    def _free_name(self, path: bytes, ours: bytes) -> bytes:
        """Another name for ``path`` that nothing has, or that ``ours`` in the state folder has
        already: without ``renameat2`` a kill leaves it there under both. [TR-139]"""
        info = self._data.lstat(ours)
        folder, slash, name = path.rpartition(b"/")
        stem, dot, suffix = name.rpartition(b".")
        if not stem:
            stem, dot, suffix = name, b"", b""
        for i in range(1, NAMES_TRIED):
            candidate = folder + slash + stem + b" (%d)" % i + dot + suffix
            there = self._out.lstat(candidate)
            if there is None or (info is not None and os.path.samestat(info, there)):
                return candidate
        raise OfferTaken(f"{display_path(path)} exists already, and so do its other names")

    def _set_folders(self, top: bytes, name: bytes, entries: Entries, existed: bytes) -> None:
        """Modes and times of folders last: they change with every file that is put in, and one
        without write permission would take none. Innermost first. [TR-74]"""
        self._out.forget()
        for number, entry in entries(backwards=True):
            if entry.kind is not Kind.FOLDER:
                continue
            if not existed or not existed[number >> 3] & (1 << (number & 7)):
                mode = entry.mode & ~self._umask
                self._out.set_folder(name + entry.path[len(top) :], mode, entry.mtime_ns)
        self._out.forget()


def sync_file_system(disk: Disk, fd: int) -> None:
    """Has the file system that ``fd`` lies on written out. Raises ``FlushFailed``."""
    try:
        disk.syncfs(fd)
    except OSError as exc:
        raise FlushFailed(exc.errno, exc.strerror) from None
