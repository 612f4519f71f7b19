"""One receiver that has everything and puts it in its place: run under strace by
``test_placing_kills.py``, because one thread and one process make every system call countable.

Once the sender has had its receipt it is gone: then a run finds what ``wraith receive`` finds,
nobody, and its own note.

Usage: placing_run.py SOURCES OUT HOME POLICY     (sources joined by ``:``)
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from wraith.aio.disk.complete_notes import CompleteNotes
from wraith.aio.disk.existing import ExistsPolicy
from wraith.aio.disk.file_source import FileSource
from wraith.aio.disk.file_target import FileTarget
from wraith.errors import WraithError
from wraith.testing.transfer_pipe import TransferPipe
from wraith.transfer.events import Done
from wraith.transfer.wishes import AnswerT, RemoveState, Store, Wish

CODE = "a code"


class Target(Store):
    """Notes that the sender has gone."""

    def __init__(self, target: FileTarget, gone: str) -> None:
        self.target = target
        self.gone = gone

    def fulfil(self, wish: Wish[AnswerT]) -> AnswerT | WraithError:
        if isinstance(wish, RemoveState):
            os.close(os.open(self.gone, os.O_CREAT | os.O_WRONLY))
        return self.target.fulfil(wish)


def main(sources: str, out: str, home: str, policy: str) -> int:
    notes, gone = CompleteNotes(Path(home)), os.path.join(home, "sender-gone")
    if os.path.exists(gone):
        note = notes.find(CODE, os.path.realpath(out), time.time())
        if note is None:
            print("nobody answers")
            return 12
        from wraith.aio.disk.store_worker import clear_complete  # slow to import, and seldom needed

        clear_complete(note)
        return 0
    target = FileTarget(
        out,
        policy=ExistsPolicy(policy),
        home=Path(home),
        on_complete=lambda note: notes.write(CODE, note, time.time()),
    )
    pipe = TransferPipe(FileSource.scan(sources.split(":")), Target(target, gone))
    pipe.run()
    target.close()
    last = pipe.received_events[-1]
    if isinstance(last, Done) and last.n_failed == 0:
        return 0
    print(last)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
