"""One walk over the files and folders that are to be sent: a listing, stamps, and what cannot go.

Names are sorted, links are listed and not followed (but those that were named themselves), and
what is wraith's own stays out. Nothing is read but names.

Spec: transfer §9 [TR-126].
"""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from wraith.aio.disk.own_state import OwnState
from wraith.aio.disk.seam import Disk
from wraith.aio.disk.source_roots import SourceRoots
from wraith.aio.disk.stamp import Stamp
from wraith.aio.disk.stamp_file import StampFile
from wraith.errors import TransferError, UnsafePath
from wraith.transfer.listing import MODE_MASK, Entry, Kind, ListingWriter
from wraith.transfer.path_rules import PathRules, check_link, check_name, check_path, display_path

PROBLEMS_SHOWN = 20
_POSIX = PathRules()


class SourceUnreadable(TransferError):
    """Some of what should be sent cannot be read."""

    code = "source-unreadable"
    hint = "use --skip-unreadable to send the rest"

    def __init__(
        self, problems: Sequence[tuple[bytes, str]], *, is_all_of_it: bool = False
    ) -> None:
        shown = [f"{display_path(path)}: {why}" for path, why in problems[:PROBLEMS_SHOWN]]
        if len(problems) > PROBLEMS_SHOWN:
            shown.append(f"and {len(problems) - PROBLEMS_SHOWN} more")
        super().__init__("cannot be sent: " + "; ".join(shown))
        self.problems = tuple(problems)
        if is_all_of_it:
            self.hint = ""


@dataclass(slots=True)
class SourceScan:
    """One walk over everything that was named."""

    exclude: tuple[str, ...]
    pages_fd: int
    roots: SourceRoots
    stamps: StampFile
    own: OwnState
    disk: Disk
    writer: ListingWriter = field(default_factory=ListingWriter)
    problems: list[tuple[bytes, str]] = field(default_factory=list)
    left_out: list[tuple[bytes, str]] = field(default_factory=list)

    def close(self) -> None:
        """Closes what the scan holds open."""
        self.disk.close(self.pages_fd)
        self.roots.close()
        self.stamps.close()

    def top(self, name: bytes) -> None:
        """One of the named paths; a link there was followed, because it was named."""
        try:
            check_path(name, _POSIX)
            info = self.roots.stat(name)
        except UnsafePath as exc:
            self.problems.append((name, str(exc)))
            return
        except OSError as exc:
            self.problems.append((name, _words(exc)))
            return
        if self._one(name, info, None):
            self._folder(name)

    def _folder(self, top: bytes) -> None:
        # A stack of iterators and not recursion: 128 levels, each with its names sorted.
        stack = [self._names(top)]
        while stack:
            child = next(stack[-1], None)
            if child is None:
                stack.pop()
                continue
            parent, _, name = child.rpartition(b"/")
            try:
                check_name(name, _POSIX)
                check_path(child, _POSIX)
                folder = self.roots.folder(parent)
                info = self.disk.stat(name, dir_fd=folder, follow_symlinks=False)
            except UnsafePath as exc:
                self.problems.append((child, str(exc)))
                continue
            except OSError as exc:
                self.problems.append((child, _words(exc)))
                continue
            if self._one(child, info, folder):
                stack.append(self._names(child))

    def _names(self, path: bytes) -> Iterator[bytes]:
        try:
            names = sorted(self.disk.listdir(self.roots.folder(path)))
        except OSError as exc:
            self.problems.append((path, _words(exc)))
            return
        for name in names:
            child = path + b"/" + name
            if not self._is_excluded(child, name):
                yield child

    def _is_excluded(self, path: bytes, name: bytes) -> bool:
        if not self.exclude:
            return False
        texts = (os.fsdecode(name), os.fsdecode(path))
        return any(fnmatch.fnmatch(t, pattern) for t in texts for pattern in self.exclude)

    def _one(self, path: bytes, info: os.stat_result, folder: int | None) -> bool:
        """Adds one entry, which lies in ``folder`` (``None``: it was named); true if it is a
        folder whose content comes next."""
        mode = info.st_mode
        own = self.own.reason(path.rpartition(b"/")[2], info)
        if own is not None:
            self.left_out.append((path, own))
            return False
        if stat.S_ISDIR(mode):
            self._add(Entry(Kind.FOLDER, mode & MODE_MASK, info.st_mtime_ns, 0, path), info)
            return True
        name = path.rpartition(b"/")[2] if folder is not None else self.roots.real(path)
        if stat.S_ISREG(mode):
            if self.disk.access(name, os.R_OK, dir_fd=folder):
                size = info.st_size
                self._add(Entry(Kind.FILE, mode & MODE_MASK, info.st_mtime_ns, size, path), info)
            else:
                self.problems.append((path, "permission denied"))
        elif stat.S_ISLNK(mode):
            self._link(path, name, info, folder)
        else:
            self.problems.append((path, "is neither a file nor a folder"))
        return False

    def _link(self, path: bytes, name: bytes, info: os.stat_result, folder: int | None) -> None:
        try:
            target = self.disk.readlink(name, dir_fd=folder)
            check_link(path, target, _POSIX)
        except UnsafePath as exc:
            self.problems.append((path, str(exc)))
        except OSError as exc:
            self.problems.append((path, _words(exc)))
        else:
            self._add(Entry(Kind.LINK, 0, info.st_mtime_ns, 0, path, target), info)

    def _add(self, entry: Entry, info: os.stat_result) -> None:
        self.stamps.append(Stamp.of(info))
        self.keep(self.writer.add(entry))

    def keep(self, page: bytes | None) -> None:
        if page is not None:
            self.disk.write_all(self.pages_fd, page)


def _words(exc: OSError) -> str:
    return (exc.strerror or str(exc)).lower()
