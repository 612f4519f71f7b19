"""The end of a transfer into a folder: makes what has no chunks, flushes, puts everything in its
place, flushes again, then marks it. It can be run again after a kill at any point.

Spec: transfer §8, §10 [TR-58].
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from functools import partial
from typing import Final

from wraith.aio.disk.chunk_writer import ChunkWriter
from wraith.aio.disk.complete_notes import CompleteNote
from wraith.aio.disk.placing import Placer, sync_file_system
from wraith.aio.disk.safe_tree import SafeTree
from wraith.aio.disk.state_folder import StateFolder
from wraith.transfer.answers import AllPlaced, first_paths
from wraith.transfer.journal_records import CompleteMark, Placing, encode_record
from wraith.transfer.listing import Entry, Kind
from wraith.transfer.path_rules import display_path

FILE_IDS_SHOWN: Final = 16


def shown_places(out: bytes, placing: dict[int, bytes]) -> tuple[str, ...]:
    """Where the top names are, for people."""
    return tuple(os.path.join(os.fsdecode(out), display_path(name)) for name in placing.values())


class Completion:
    """See the module.

    Args:
        state, writer: what was received, and who has written it.
        out, tree: the target folder, as a path and open.
        placing: where top names go, as far as that is decided; it is filled.
        placer: moves them there.
        umask: taken away from the modes of empty files.
        on_complete: told once everything is in its place and flushed.
    """

    def __init__(
        self,
        state: StateFolder,
        writer: ChunkWriter,
        out: bytes,
        tree: SafeTree,
        placing: dict[int, bytes],
        placer: Placer,
        umask: int,
        on_complete: Callable[[CompleteNote], None] | None,
    ) -> None:
        self._state = state
        self._writer = writer
        self._out = out
        self._tree = tree
        self._placing = placing
        self._placer = placer
        self._umask = umask
        self._on_complete = on_complete
        self._disk = state.disk

    def run(self, failed: Collection[int]) -> AllPlaced:
        """Does all of it. ``failed`` entries stay out; they ascend. A disk that fails to write the
        data shows before anything is in its place. [TR-58]"""
        failed_paths = first_paths(self._entry(number).path for number in failed)
        self._writer.close()
        self._make_the_rest(failed)
        tops = [(n, e) for n, e in self._state.listing.entries() if b"/" not in e.path]
        missing = [(n, e) for n, e in tops if n not in self._placing and n not in failed]
        listing = self._state.listing
        ends = [number for number, _ in tops[1:]] + [listing.index.n_entries]
        below = {
            number: partial(listing.entries, number, end)
            for (number, _), end in zip(tops, ends, strict=True)
        }
        names = {number: self._placer.choose_name(number, entry) for number, entry in missing}
        existed = self._state.existing_folders(
            found
            for number, entry in missing
            if entry.kind is Kind.FOLDER
            for found in self._placer.existing_folders(entry, names[number], below[number])
        )
        for number, name in names.items():
            self._placing[number] = name
            self._state.journal.append(encode_record(Placing(number, name)))
        self._writer.close()
        sync_file_system(self._disk, self._tree.fd)
        for number, entry in tops:
            if number in self._placing:
                self._placer.place(number, entry, self._placing[number], below[number], existed)
        self._tree.forget()
        sync_file_system(self._disk, self._tree.fd)
        self._tell_complete(len(failed))
        self._state.journal.append(encode_record(CompleteMark()))
        self._state.journal.sync()
        shown = [
            (e.path, self._state.digests.file_id(n, e.size))
            for n, e in tops[:FILE_IDS_SHOWN]
            if e.kind is Kind.FILE and n not in failed and e.cut.is_known
        ]
        return AllPlaced(shown_places(self._out, self._placing), failed_paths, None, tuple(shown))

    def _tell_complete(self, n_failed: int) -> None:
        if self._on_complete is None:
            return
        index = self._state.listing.index
        n_bytes = index.total_bytes or 0
        self._on_complete(
            CompleteNote(
                out=os.fsdecode(self._out),
                paths=self._real_places(),
                state=os.fsdecode(self._state.path),
                n_files=index.n_files - n_failed,
                bytes_total=n_bytes,
                n_failed=n_failed,
            )
        )

    def _real_places(self) -> tuple[str, ...]:
        names = self._placing.values()
        return tuple(os.path.join(os.fsdecode(self._out), os.fsdecode(name)) for name in names)

    def _make_the_rest(self, failed: Collection[int]) -> None:
        placed = {self._entry(n).path for n in self._placing}
        for number, entry in self._state.listing.entries():
            top = entry.path.partition(b"/")[0]
            if number in failed:
                self._state.set_aside(entry.path)
            elif top in placed:
                continue  # an earlier run had made all of it, and moved some
            elif entry.kind is Kind.FOLDER:
                if b"/" not in entry.path or self._state.data.lstat(entry.path) is None:
                    self._state.data.folder(entry.path, create=True)
            elif entry.kind is Kind.LINK:
                self._state.data.symlink(entry.path, entry.target, entry.mtime_ns)
            elif not entry.size:
                fd = self._state.data.open(entry.path, os.O_WRONLY | os.O_CREAT, create=True)
                self._disk.fchmod(fd, entry.mode & ~self._umask)
                self._disk.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
                self._disk.close(fd)
            elif not self._writer.is_finished(number):
                info = self._state.data.lstat(entry.path)
                if info is not None:
                    self._writer.finish(number, entry.cut.size_or(info.st_size))

    def _entry(self, number: int) -> Entry:
        return self._state.listing.entry(number)
