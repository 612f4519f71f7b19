"""The one folder in which a node keeps what must outlive its process.

::

    HOME/                   WRAITH_HOME, else the platform's folder for user data; 0700
      identity.key          the node's identity, 0600, one line of text
      peers.json            keys seen, names given to them (pins)
      sends/<32 hex>/       one unfinished send: its access key, psk and replay files (replay_files)

Every folder that a process works in is held by a lock, so that two processes with one home
never write one file. Nothing secret is ever readable by another user: the folder is opened as
``aio/disk/private_folder.py`` does, and an error of its disk is one sentence.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final

from wraith.abc import Rng
from wraith.aio.disk.failures import told
from wraith.aio.disk.identity_file import IDENTITY_KIND, Identity
from wraith.aio.disk.key_file import read_or_make
from wraith.aio.disk.private_folder import PrivateFolder, no_modes
from wraith.aio.disk.seam import LOCK_EX, LOCK_NB, OS_DISK, Disk
from wraith.crypto.ed25519 import SEED_BYTES
from wraith.errors import ConfigError, LocalProtocolError, PeerKeyMismatch
from wraith.types import PeerKey

_PEERS_MAX: Final = 100_000
_IDENTITY: Final = b"identity.key"
_PEERS: Final = b"peers.json"
_PEERS_BYTES_MAX: Final = 64 * 1024 * 1024
_LOCK: Final = b".lock"
HOME_HINT: Final = (
    "set WRAITH_HOME to a folder of your own that can be written; with sudo, use sudo -H"
)


class FolderLocked(LocalProtocolError):
    """Another wraith process is working in this folder."""

    code = "locked"
    hint = "wait for it to end, or stop it"


class FolderLock:
    """An advisory lock on one folder, given back by the kernel however the process ends.

    Use as a context manager, or ``acquire`` and ``release``. Not inherited by a forked child's
    later work: the child must make its own.
    """

    def __init__(self, folder: Path | PrivateFolder) -> None:
        self._folder = folder
        self.disk = folder.disk if isinstance(folder, PrivateFolder) else OS_DISK
        self._descriptor: int | None = None

    def acquire(self, *, wait: bool = False) -> None:
        """Takes the lock; ``wait`` blocks until it is free.

        Raises:
            FolderLocked: another holder has it, and ``wait`` is false.
            OSError: the folder cannot be written.
        """
        if isinstance(self._folder, PrivateFolder):
            self._acquire(self._folder, wait)
        else:
            with PrivateFolder.open(self._folder, hint=HOME_HINT) as folder:
                self._acquire(folder, wait)

    def _acquire(self, folder: PrivateFolder, wait: bool) -> None:
        descriptor = folder.open_file(_LOCK, os.O_RDWR | os.O_CREAT)
        try:
            self.disk.flock(descriptor, LOCK_EX if wait else LOCK_EX | LOCK_NB)
        except OSError:
            self.disk.close(descriptor)
            where = os.fsdecode(folder.path)
            raise FolderLocked(f"{where} is in use by another wraith process") from None
        self._descriptor = descriptor

    def release(self) -> None:
        """Gives it back. Idempotent. The file stays: removing it would race with a waiter."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            self.disk.close(descriptor)

    def __enter__(self) -> FolderLock:
        self.acquire(wait=True)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


@dataclass(frozen=True, slots=True)
class PeerEntry:
    """One peer key with its name and times. ``pinned`` means that a person chose it by name."""

    key: PeerKey
    name: str = ""
    pinned: bool = False
    first_seen: float = 0.0
    last_seen: float = 0.0


class HomeFolder:
    """The state folder of one user or one test. Every method is short and blocking.

    Args:
        home: the folder; created with mode 0700 when it is missing.
        disk: on which it lies.
    Attributes:
        note: what a person should know about it; empty most of the time.
    Raises:
        UntrustedPath: from any method: the folder is not this user's alone. [TR-122]
        DiskFailed, NoSpace: from any method: its disk says no. [TR-127]
    """

    def __init__(self, home: Path, disk: Disk = OS_DISK) -> None:
        self.home = home
        self.disk = disk
        with told(home, HOME_HINT), self._open() as folder:
            self.note = "" if folder.has_modes else no_modes(folder)

    def _open(self) -> PrivateFolder:
        return PrivateFolder.open(self.home, hint=HOME_HINT, disk=self.disk)

    @classmethod
    def default(cls, environ: Mapping[str, str] | None = None) -> HomeFolder:
        """``WRAITH_HOME``, or the platform's place for it."""
        chosen = (os.environ if environ is None else environ).get("WRAITH_HOME")
        if chosen:
            return cls(Path(chosen))
        import platformdirs  # it looks at much of the platform

        return cls(platformdirs.user_data_path("wraith"))

    # --- identity ---------------------------------------------------------------------------

    def identity(self, rng: Rng) -> Identity:
        """The node's identity; made on first use.

        Raises:
            ConfigError: the file is there but is not an identity; it is never overwritten.
        """
        with told(self.home, HOME_HINT), self._open() as folder, FolderLock(folder):
            seed, _ = read_or_make(
                folder, _IDENTITY, kind=IDENTITY_KIND, n_bytes=SEED_BYTES, rng=rng
            )
        return Identity.from_seed(seed)

    # --- peers ------------------------------------------------------------------------------

    def peers(self) -> list[PeerEntry]:
        """All known peers, last seen first."""
        with told(self.home, HOME_HINT), self._open() as folder:
            return sorted(self._read_peers(folder).values(), key=lambda entry: -entry.last_seen)

    def peer_seen(self, key: PeerKey, unix_time: float) -> PeerEntry:
        """Records that ``key`` proved itself at ``unix_time``; returns its entry."""
        with told(self.home, HOME_HINT), self._open() as folder, FolderLock(folder):
            peers = self._read_peers(folder)
            known = peers.get(key) or PeerEntry(key, first_seen=unix_time)
            peers[key] = known = replace(known, last_seen=unix_time)
            _write_peers(folder, peers.values())
        return known

    def name_peer(self, name: str, key: PeerKey, *, change: bool = False) -> PeerEntry:
        """Pins ``key`` under ``name``.

        Raises:
            PeerKeyMismatch: the name belongs to another key, and ``change`` is false.
            ConfigError: the name is empty, too long, or holds control characters.
        """
        if not 0 < len(name) <= 64 or not name.isprintable() or name != name.strip():
            raise ConfigError("name", name, "1 to 64 printable characters")
        with told(self.home, HOME_HINT), self._open() as folder, FolderLock(folder):
            peers = self._read_peers(folder)
            for other in list(peers.values()):
                if other.name == name and other.key != key:
                    if not change:
                        raise PeerKeyMismatch(
                            f"{name} is known with another key ({other.key.short})",
                            hint="if you are sure that the new key is right, remove the name first",
                        )
                    peers[other.key] = replace(other, name="", pinned=False)
            entry = replace(peers.get(key) or PeerEntry(key), name=name, pinned=True)
            peers[key] = entry
            _write_peers(folder, peers.values())
        return entry

    def forget_peer(self, key: PeerKey) -> bool:
        """Removes ``key`` and its name. False when it was not there."""
        with told(self.home, HOME_HINT), self._open() as folder, FolderLock(folder):
            peers = self._read_peers(folder)
            found = peers.pop(key, None) is not None
            if found:
                _write_peers(folder, peers.values())
        return found

    def find_peer(self, name: str) -> PeerEntry | None:
        """The peer that is pinned under ``name``."""
        return next((entry for entry in self.peers() if entry.name == name), None)

    def _read_peers(self, folder: PrivateFolder) -> dict[PeerKey, PeerEntry]:
        path = self.home / "peers.json"
        try:
            rows = json.loads(folder.read(_PEERS, _PEERS_BYTES_MAX))["peers"]
            entries = [
                PeerEntry(
                    key=PeerKey.parse(row["key"]),
                    name=str(row.get("name", "")),
                    pinned=bool(row.get("pinned", False)),
                    first_seen=float(row.get("first_seen", 0.0)),
                    last_seen=float(row.get("last_seen", 0.0)),
                )
                for row in rows
            ]
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            # Pins are a security decision: a damaged file must stop the user, not forget them.
            raise ConfigError("peers.json", str(path), f"a readable list of peers ({exc})") from exc
        return {entry.key: entry for entry in entries}

    # --- folders for unfinished work --------------------------------------------------------

    def send_folder(self, paths: Iterable[Path]) -> Path:
        """The folder of a send of exactly these paths; created 0700. Lock it before use."""
        joined = b"\0".join(os.fsencode(os.path.abspath(path)) for path in paths)
        name = hashlib.sha256(joined).hexdigest()[:32]
        with (
            told(self.home, HOME_HINT),
            self._open() as home,
            home.folder(b"sends") as sends,
            sends.folder(name.encode()),
        ):
            return self.home / "sends" / name


def _write_peers(folder: PrivateFolder, entries: Iterable[PeerEntry]) -> None:
    kept = sorted(entries, key=lambda entry: (not entry.pinned, -entry.last_seen))[:_PEERS_MAX]
    rows = [{**asdict(entry), "key": str(entry.key)} for entry in kept]
    text = json.dumps({"version": 1, "peers": rows}, indent=1)
    folder.write(_PEERS, text.encode())
