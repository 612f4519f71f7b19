"""A secret in a file of one line: its kind, and the bytes in base32.

::

    wraith-identity-1 mfrggzdfmztwq2lknnwg23tpobyxe43uov3ho6dzpi2tmnzygyydc

The file is 0600, lies in a folder that nobody else may write, and appears whole: two processes that
make it at once end with the same secret. It is never overwritten.
"""

from __future__ import annotations

import base64
import os
import stat
from typing import Final

from wraith.abc import Rng
from wraith.aio.disk.private_folder import PrivateFolder, UntrustedPath
from wraith.errors import ConfigError

_BYTES_MAX: Final = 4_096
_OTHERS: Final = 0o077


def read_or_make(
    folder: PrivateFolder, name: bytes, *, kind: str, n_bytes: int, rng: Rng
) -> tuple[bytes, bool]:
    """The secret in the file ``name``; drawn and stored when there is none. The second value is
    true if it was made here.

    Args:
        kind: the first word of the line.
        n_bytes: length of the secret.
    Raises:
        ConfigError: the file holds something else.
        UntrustedPath: it is a link or another user's, or others can read or write it.
        OSError: the disk says no.
    """
    try:
        return _read(folder, name, kind, n_bytes), False
    except FileNotFoundError:
        secret = rng.secret_bytes(n_bytes)
    text = f"{kind} {base64.b32encode(secret).decode().rstrip('=').lower()}\n"
    try:
        folder.write_new(name, text.encode())
    except FileExistsError:  # another process was faster: its secret is the one
        return _read(folder, name, kind, n_bytes), False
    return secret, True


def _read(folder: PrivateFolder, name: bytes, kind: str, n_bytes: int) -> bytes:
    where = os.fsdecode(folder.path + b"/" + name)
    fd = folder.open_file(name, os.O_RDONLY)
    try:
        mode = stat.S_IMODE(folder.disk.fstat(fd).st_mode)
        if mode & _OTHERS and folder.has_modes and not folder.is_closed:
            raise UntrustedPath(
                f"others may read {where} (mode {mode:04o})",
                hint=f"if nobody else has read it: chmod 600 '{where}'",
            )
        data = folder.disk.read(fd, _BYTES_MAX)
    finally:
        folder.disk.close(fd)
    try:
        header, _, encoded = data.decode("ascii").strip().partition(" ")
        secret = base64.b32decode(encoded.upper() + "=" * (-len(encoded) % 8))
    except ValueError:
        header, secret = "", b""
    if header != kind or len(secret) != n_bytes:
        accepted = f"a file that wraith wrote, beginning with {kind}"
        raise ConfigError(os.fsdecode(name), where, accepted)
    return secret
