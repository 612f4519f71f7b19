"""``wraith receive`` that notes when new bytes are written, and interrupts itself after so many.

    kept_receive.py BYTES FIGURES [OPTION]... CODE

FIGURES is a file that gets one JSON object: ``dialled``, ``first`` and ``last`` (of new data, on
the system's monotonic clock), ``bytes``, ``reread`` (calls that read kept data again) and
``rereading`` (one of them was under way at the end). What the command itself does is unchanged.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wraith.aio.disk.file_target import FileTarget
from wraith.aio.transfers import Transfer
from wraith.cli.main import main
from wraith.connection.handshake.node_record import NodeRecord
from wraith.errors import WraithError
from wraith.transfer.answers import KeptRead
from wraith.transfer.wishes import AnswerT, ReadAgain, Wish, WritePieces


class Notes:
    """What is known so far. Wishes are fulfilled in threads, so it has a lock."""

    def __init__(self, n_bytes: int, place: Path) -> None:
        self._limit = n_bytes
        self._place = place
        self._lock = threading.Lock()
        self._is_over = False
        self.figures: dict[str, Any] = {"bytes": 0, "reread": 0, "rereading": False}

    def began_to_read_again(self) -> None:
        with self._lock:
            self.figures["reread"] += not self._is_over
            self.figures["rereading"] |= not self._is_over

    def ended_to_read_again(self) -> None:
        with self._lock:
            self.figures["rereading"] &= self._is_over

    def wrote(self, n_bytes: int) -> None:
        with self._lock:
            if self._is_over:
                return
            now = time.monotonic()
            self.figures.setdefault("first", now)
            self.figures["last"] = now
            self.figures["bytes"] += n_bytes
            if self.figures["bytes"] < self._limit:
                return
            self._is_over = True
            self._place.write_text(json.dumps(self.figures), encoding="ascii")
        os.kill(os.getpid(), signal.SIGINT)


def watch(notes: Notes) -> None:
    """Puts ``notes`` beside the target and the transfer of this process."""
    fulfil, read_again, start = FileTarget.fulfil, FileTarget.read_again, Transfer.start

    def noted_fulfil(self: FileTarget, wish: Wish[AnswerT]) -> AnswerT | WraithError:
        answer = fulfil(self, wish)
        if isinstance(wish, WritePieces) and answer is None:
            notes.wrote(sum(record.length for record in wish.records))
        return answer

    def noted_again(
        self: FileTarget, wish: ReadAgain, pause: Callable[[], bool] = lambda: True
    ) -> KeptRead:
        notes.began_to_read_again()
        try:
            return read_again(self, wish, pause)
        finally:
            notes.ended_to_read_again()

    def noted_start(self: Transfer, record: NodeRecord | None = None) -> None:
        notes.figures["dialled"] = time.monotonic()
        start(self, record)

    FileTarget.fulfil = noted_fulfil  # type: ignore[method-assign]
    FileTarget.read_again = noted_again  # type: ignore[method-assign]
    Transfer.start = noted_start  # type: ignore[method-assign]


if __name__ == "__main__":
    watch(Notes(int(sys.argv[1]), Path(sys.argv[2])))
    sys.argv = ["wraith", "receive", *sys.argv[3:]]
    main()
