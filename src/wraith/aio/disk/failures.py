"""An error of the operating system about a file, as the one sentence that a person reads.

Spec: transfer §7 [TR-127].
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Final

from wraith.aio.disk.seam import Disk
from wraith.errors import NoSpace, WraithError
from wraith.transfer.reasons import DiskFailed

_TEMPORARY_HINT: Final = "TMPDIR can name a folder that has room"
NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def disk_error(exc: OSError, *, where: str = "", hint: str = "") -> WraithError:
    """The error to raise instead of ``exc``: ``NoSpace`` (19) for a full disk or quota, else
    ``DiskFailed`` (1).

    Args:
        where: what is named when ``exc`` names no file.
    """
    named = os.fsdecode(exc.filename) if isinstance(exc.filename, str | bytes) else where
    words = (exc.strerror or str(exc)).lower()
    text = f"{named}: {words}" if named else words
    return NoSpace(text, hint=hint) if exc.errno in NO_ROOM else DiskFailed(text, hint=hint)


@contextlib.contextmanager
def told(where: str | os.PathLike[str], hint: str = "") -> Iterator[None]:
    """Errors of the operating system inside the block leave it as ``disk_error``. [TR-127]"""
    try:
        yield
    except WraithError:  # some of ours are an OSError as well, and say already what was wrong
        raise
    except OSError as exc:
        raise disk_error(exc, where=os.fspath(where), hint=hint) from None


def temporary_file(disk: Disk) -> int:
    """A file without a name where the system keeps such; the caller's.

    Raises:
        DiskFailed, NoSpace: there is no folder for it.
    """
    with told("temporary files", _TEMPORARY_HINT):
        return disk.temporary()
