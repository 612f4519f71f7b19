"""Small file systems of their own, for tests of full and read-only disks. Linux, superuser."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path


class NotMounted(Exception):
    """This user may not mount anything here."""


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A tmpfs on the new ``folder`` with these mount options (``size=4m``, ``ro``).

    Raises:
        NotMounted: see there.
    """
    folder.mkdir()
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        raise NotMounted("there is no mount command") from None
    if done.returncode:
        raise NotMounted(f"mounting needs the superuser: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)
