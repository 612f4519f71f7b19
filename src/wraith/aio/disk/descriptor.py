"""One file descriptor with an owner: closed once, and at the latest with the object that holds it.

Part of ``aio.disk``.
"""

from __future__ import annotations

from wraith.aio.disk.seam import Disk


class OwnsDescriptor:
    """Owns ``fd``, which is open on ``disk``; -1 before it is opened and after it was closed."""

    disk: Disk
    fd: int = -1

    def close(self) -> None:
        """Idempotent."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1  # closed, whatever the disk says of it
            self.disk.close(fd)

    def __del__(self) -> None:
        self.close()  # an owner that is dropped unclosed keeps no descriptor
