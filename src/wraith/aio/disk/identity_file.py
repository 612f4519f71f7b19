"""``wraith.Identity``: who a node is, made from the system's randomness and kept in a file."""

from __future__ import annotations

import os
from typing import Final, Self

from wraith.abc import Rng
from wraith.aio.disk.failures import told
from wraith.aio.disk.key_file import read_or_make
from wraith.aio.disk.private_folder import PrivateFolder
from wraith.aio.entropy import OsRng
from wraith.crypto import ed25519

IDENTITY_KIND: Final = "wraith-identity-1"
_HINT: Final = "a key file lies in a folder of your own that nobody else may write"


class Identity(ed25519.Identity):
    """An Ed25519 key pair: who this node is. ``public`` is its ``PeerKey``, which peers see."""

    __slots__ = ()

    @classmethod
    def generate(cls, rng: Rng | None = None) -> Self:
        """A fresh one, from the operating system's randomness unless ``rng`` is given."""
        return cls.from_seed((rng or OsRng()).secret_bytes(ed25519.SEED_BYTES))

    @classmethod
    def load_or_create(cls, path: str | os.PathLike[str]) -> Self:
        """The identity that a file holds; a fresh one, stored there, when there is no file.

        The file is made 0600 and appears whole, so processes that begin at once have one identity.
        ``wraith`` itself keeps its identity in such a file, ``identity.key`` in ``WRAITH_HOME``.

        Args:
            path: the file. Its folder is made if it is missing, 0700.
        Raises:
            ConfigError: the file is there and holds something else; it is never overwritten.
            UntrustedPath: file or folder are not this user's alone.
            DiskFailed, NoSpace: the disk says no.
        """
        where = os.fsencode(os.path.abspath(path))
        folder, name = os.path.split(where)
        with (
            told(os.fsdecode(where), _HINT),
            PrivateFolder.open(folder, hint=_HINT) as private,
        ):
            seed, _ = read_or_make(
                private, name, kind=IDENTITY_KIND, n_bytes=ed25519.SEED_BYTES, rng=OsRng()
            )
        return cls.from_seed(seed)
