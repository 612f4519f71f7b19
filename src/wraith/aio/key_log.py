"""A file of TLS secrets for a packet analyser, made only where somebody names it.

Whoever reads the file reads the connections. So it is named on the command line alone (an inherited
``SSLKEYLOGFILE`` is not looked at), created anew for its owner only, and never follows a link.

Spec: libp2p-quic section 3.3 [LQ-77]; the NSS key log format (draft-ietf-tls-keylogfile).
"""

from __future__ import annotations

import os
from pathlib import Path

from wraith.aio.disk.seam import OS_DISK, Disk
from wraith.errors import ConfigError


class KeyLog:
    """Appends lines; call it with one line of the format, without its end.

    A disk that fails ends the log, not the connection: ``failure`` then says why.
    """

    def __init__(self, path: Path, disk: Disk = OS_DISK) -> None:
        """Creates ``path`` on ``disk`` with mode 0600.

        Raises:
            ConfigError: it exists, or cannot be created there.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        self.disk = disk
        self.failure: OSError | None = None
        try:
            self._descriptor: int | None = disk.open(path, flags, 0o600)
        except OSError as error:
            why = error.strerror or str(error)
            raise ConfigError("key-log", str(path), f"a new file; {why}") from error

    def __call__(self, line: str) -> None:
        if self._descriptor is None:
            return
        try:
            self.disk.write(self._descriptor, f"{line}\n".encode())
        except OSError as error:
            self.failure = error
            self.close()

    def close(self) -> None:
        """Idempotent."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            self.disk.close(descriptor)
