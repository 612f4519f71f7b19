"""The disk half of a transfer: sources, targets, leftovers, and the thread that serves them.

``StoreWorker`` takes a node's wishes, has them fulfilled one after the other in a thread (what may
wait for all others in a second one), and brings the answers back to the event loop. Reading,
hashing and writing let go of the interpreter lock there, so the loop goes on sealing and opening
packets meanwhile.

Spec: transfer §6.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from wraith.aio.disk.complete_notes import CompleteNote, CompleteNotes
from wraith.aio.disk.existing import Choices, ExistsPolicy
from wraith.aio.disk.failures import disk_error, told
from wraith.aio.disk.file_source import FileSource
from wraith.aio.disk.file_target import FileTarget
from wraith.aio.disk.journal_file import load_journal, read_header
from wraith.aio.disk.pipes import PipeTarget, StreamSource
from wraith.aio.disk.private_folder import PrivateFolder, UntrustedPath
from wraith.aio.disk.seam import OS_DISK, Disk
from wraith.aio.disk.source_scan import SourceUnreadable
from wraith.aio.disk.state_folder import StateFolder, load_listing, open_state
from wraith.errors import Busy, WraithError
from wraith.transfer.answers import KeptRead
from wraith.transfer.memory_store import MemorySource
from wraith.transfer.path_rules import STATE_PREFIX, display_path
from wraith.transfer.reasons import DiskFailed
from wraith.transfer.wishes import Fulfils, ReadAgain, Wish
from wraith.types import PeerKey

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@runtime_checkable
class RereadingStore(Protocol):
    """A store that can read what it kept beside everything else. ``pause`` makes it wait for what
    is more urgent; false means that nobody wants the answer any more."""

    def read_again(self, wish: ReadAgain, pause: Callable[[], bool], /) -> KeptRead: ...


class WishingNode(Protocol):
    """The part of a node that a worker needs."""

    def next_wish(self) -> Wish[object] | None: ...

    def io_done(self, wish_id: int, result: object, now: float, /) -> None: ...


class StoreWorker:
    """Fulfils the wishes of ``node`` with ``store`` in one daemon thread, ``ReadAgain`` in another
    one that stands still while any other wish waits or is under way.

    Call ``pump`` from the event loop whenever the node's events have been delivered (it takes what
    wishes there are and returns at once). Answers arrive on the loop; ``on_answered`` is called
    after each bunch of them, to drain the node again.
    """

    def __init__(
        self,
        node: WishingNode,
        store: Fulfils,
        *,
        now: Callable[[], float],
        on_answered: Callable[[], None],
    ) -> None:
        self._node = node
        self._store = store
        self._rereading = store if isinstance(store, RereadingStore) else None
        self._now = now
        self._on_answered = on_answered
        self._loop = asyncio.get_running_loop()
        self._wishes: queue.SimpleQueue[Wish[object] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[int, object]] = queue.SimpleQueue()
        self._again: queue.SimpleQueue[ReadAgain | None] = queue.SimpleQueue()
        self._n_waiting = 0
        self._closed = False
        self._n_urgent = 0
        self._nothing_urgent = threading.Condition()
        self._rereader: threading.Thread | None = None
        # A daemon: a read from a terminal or a pipe may never return.
        self._thread = threading.Thread(target=self._run, name="wraith-store", daemon=True)
        self._thread.start()

    @property
    def is_idle(self) -> bool:
        """No wish is under way."""
        return not self._n_waiting

    def pump(self) -> None:
        """Hands the node's wishes to the thread."""
        while not self._closed and (wish := self._node.next_wish()) is not None:
            self._n_waiting += 1
            if isinstance(wish, ReadAgain) and self._rereading is not None:
                self._pump_again(wish, self._rereading)
                continue
            with self._nothing_urgent:
                self._n_urgent += 1
            self._wishes.put(wish)

    def _pump_again(self, wish: ReadAgain, store: RereadingStore) -> None:
        if self._rereader is None:
            self._rereader = threading.Thread(
                target=self._run_again, args=(store,), name="wraith-reread", daemon=True
            )
            self._rereader.start()
        self._again.put(wish)

    def close(self) -> None:
        """No more wishes; the one under way is finished, its answer dropped."""
        with self._nothing_urgent:
            self._closed = True
            self._nothing_urgent.notify_all()
        self._wishes.put(None)
        self._again.put(None)

    async def closed(self, timeout_s: float = 5.0) -> bool:
        """Waits until the thread has ended, for as long as that may be worth it."""
        self.close()
        loop, rereader = asyncio.get_running_loop(), self._rereader
        await loop.run_in_executor(None, self._thread.join, timeout_s)
        if rereader is not None:
            await loop.run_in_executor(None, rereader.join, timeout_s)
        return not self._thread.is_alive() and not (rereader and rereader.is_alive())

    def joined(self, timeout_s: float) -> bool:
        """As ``closed``, blocking."""
        self.close()
        self._thread.join(timeout_s)
        if self._rereader is not None:
            self._rereader.join(timeout_s)
        return not self._thread.is_alive() and not (
            self._rereader is not None and self._rereader.is_alive()
        )

    def _run(self) -> None:
        while (wish := self._wishes.get()) is not None:
            try:
                result = self._store.fulfil(wish)
            except Exception as exc:
                result = DiskFailed(f"internal error: {type(exc).__name__}: {exc}")
            with self._nothing_urgent:
                self._n_urgent -= 1
                if not self._n_urgent:
                    self._nothing_urgent.notify_all()
            if not self._answer(wish.id, result):
                return

    def _run_again(self, store: RereadingStore) -> None:
        while (wish := self._again.get()) is not None:
            result: KeptRead | WraithError
            try:
                result = store.read_again(wish, self._pause)
            except Exception as exc:
                result = DiskFailed(f"internal error: {type(exc).__name__}: {exc}")
            if not self._answer(wish.id, result):
                return

    def _pause(self) -> bool:
        """Waits until nothing else is wanted of the disk; false once this is closed."""
        with self._nothing_urgent:
            self._nothing_urgent.wait_for(lambda: not self._n_urgent or self._closed)
        return not self._closed

    def _answer(self, wish_id: int, result: object) -> bool:
        self._answers.put((wish_id, result))
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:  # the loop is gone; so is whoever wanted the answer
            return False
        return True

    def _deliver(self) -> None:
        delivered = False
        while not self._closed:
            try:
                wish_id, result = self._answers.get_nowait()
            except queue.Empty:
                break
            self._n_waiting -= 1
            self._node.io_done(wish_id, result, self._now())
            delivered = True
        if delivered:
            self.pump()
            self._on_answered()


@dataclass(frozen=True, slots=True)
class Leftover:
    """An unfinished transfer in a folder. ``is_complete``: only the receipt was missing."""

    path: Path
    peer: PeerKey | None
    names: tuple[str, ...]
    bytes_done: int
    bytes_total: int | None
    is_complete: bool
    is_in_use: bool


def leftovers(out: str | os.PathLike[str], disk: Disk = OS_DISK) -> Iterator[Leftover]:
    """What unfinished transfers left in ``out``, for ``receive --list``. A folder that is not there
    holds none.

    Raises:
        DiskFailed: nobody can tell, because ``out`` cannot be looked into.
    """
    root = disk.realpath(out)
    try:
        root_fd = disk.open(root, _FOLDER)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise disk_error(exc) from None
    try:
        with told(os.fsdecode(root)):
            names = sorted(disk.listdir(root_fd))
        for name in names:
            if name.startswith(STATE_PREFIX):
                found = _read_leftover(root_fd, root + b"/" + name, disk)
                if found is not None:
                    yield found
    finally:
        disk.close(root_fd)


def discard(leftover: Leftover, disk: Disk = OS_DISK) -> None:
    """Removes what an unfinished transfer left.

    Raises:
        Busy: someone works in it.
        UntrustedPath: it is somebody else's; it stays.
    """
    root_fd = disk.open(leftover.path.parent, _FOLDER)
    try:
        StateFolder(root_fd, os.fsencode(leftover.path), disk=disk).remove()
    finally:
        disk.close(root_fd)


def clear_complete(note: CompleteNote, disk: Disk = OS_DISK) -> None:
    """Removes what a kill of the clean-up left of a transfer that is complete. Where files failed,
    what is there of them stays."""
    if note.n_failed:
        return
    out = Path(note.out)
    state = Path(note.state)
    if state.parent != out or not disk.lexists(state):
        return
    root_fd = disk.open(out, _FOLDER)
    try:
        with contextlib.suppress(OSError, WraithError):
            StateFolder(root_fd, os.fsencode(state), disk=disk).remove()
    finally:
        disk.close(root_fd)


def _read_leftover(root_fd: int, path: bytes, disk: Disk) -> Leftover | None:
    """``None`` for what is not a state folder, or not one of ours."""
    try:
        folder = open_state(root_fd, path, disk=disk)
    except (OSError, UntrustedPath):
        return None
    if folder is None:
        return None
    with folder:
        return _leftover_in(folder, root_fd)


def _leftover_in(folder: PrivateFolder, root_fd: int) -> Leftover | None:
    header = read_header(folder)
    if header is None:
        return None
    tops: tuple[str, ...] = ()
    done, total, is_complete = 0, None, False
    try:
        listing = load_listing(folder, header.listing_digest)
        loaded = load_journal(folder, listing.index.sizes, None)
        done, total = loaded.inventory.verified_bytes, listing.index.total_bytes
        is_complete = loaded.is_complete
        tops = tuple(
            display_path(entry.path) for _, entry in listing.entries() if b"/" not in entry.path
        )
        listing.close()
    except (OSError, WraithError):
        pass  # shown without its names, so that it can be discarded
    peer = PeerKey(header.peer) if any(header.peer) else None
    where = Path(os.fsdecode(folder.path))
    in_use = _is_locked(root_fd, folder.path, folder.disk)
    return Leftover(where, peer, tops, done, total, is_complete, in_use)


def _is_locked(root_fd: int, path: bytes, disk: Disk) -> bool:
    try:
        StateFolder(root_fd, path, disk=disk).close()
    except Busy:
        return True
    return False


__all__ = [
    "Choices",
    "CompleteNote",
    "CompleteNotes",
    "ExistsPolicy",
    "FileSource",
    "FileTarget",
    "Leftover",
    "MemorySource",
    "PipeTarget",
    "SourceUnreadable",
    "StoreWorker",
    "StreamSource",
    "clear_complete",
    "discard",
    "leftovers",
]
