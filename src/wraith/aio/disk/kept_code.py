"""A code that outlives its process: the same paths are offered again under the same code.

::

    HOME/sends/<32 hex>/     locked (flock) by the process that offers; 0700
      .lock
      code.json              access key, psk, port, addresses, whom the code belongs to; 0600
      replay-<n>.log         proven hellos (replay_files.py)
      digests-<12 hex>       chunk digests already computed (file_source.py)

A folder is found by what is offered, not by the code. While another process holds it, the next free
one beside it is taken, so that process and this one have a code each. A code that is a day old, or
spent, is never offered again.

Behaviour: docs/reference/cli.md, "Again after a crash". Replay records: handshake.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from wraith.abc import Rng, WallClock
from wraith.aio.disk.failures import told
from wraith.aio.disk.home_folder import HOME_HINT, FolderLock, FolderLocked, HomeFolder
from wraith.aio.disk.private_folder import PrivateFolder
from wraith.aio.disk.replay_files import ReplayFiles
from wraith.aio.disk.seam import OS_DISK, Disk
from wraith.aio.transports.addresses import format_address
from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.crypto.x25519 import X25519Key
from wraith.errors import ConfigError, WraithError
from wraith.types import Address, Carrier, PeerKey

LIFETIME_S: Final = 24 * 3600.0
_FILE: Final = b"code.json"
_FILE_BYTES_MAX: Final = 1 << 20
_VERSION: Final = 1
_COPIES_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class _Stored:
    """The contents of ``code.json``."""

    created: float
    secret: bytes = field(repr=False)
    psk: bytes = field(repr=False)
    port: int = 0
    addresses: tuple[str, ...] = ()
    carriers: tuple[str, ...] = ()
    bound_to: PeerKey | None = None


@dataclass(slots=True)
class KeptCode:
    """One locked folder with the secrets of one code.

    Attributes:
        private: the folder, held open.
        access: its access key and psk.
        replay: the replay files of that key.
        is_resumed: an earlier process offered the same under this code.
        port: the port that the code named last; 0 when there is none yet.
        addresses, carriers: as the code named them last, for telling whether its text changes.
        bound_to: the receiver that accepted first.
    """

    private: PrivateFolder = field(repr=False)
    access: AccessKey = field(repr=False)
    replay: ReplayFiles = field(repr=False)
    created: float
    is_resumed: bool
    port: int = 0
    addresses: tuple[str, ...] = ()
    carriers: tuple[str, ...] = ()
    bound_to: PeerKey | None = None
    is_spent: bool = False
    _lock: FolderLock | None = field(default=None, repr=False)

    @property
    def folder(self) -> Path:
        """Where it is, for messages."""
        return Path(os.fsdecode(self.private.path))

    @classmethod
    def open(
        cls,
        folder: Path,
        rng: Rng,
        clock: WallClock,
        *,
        max_clock_skew_s: float,
        new_code: bool = False,
        disk: Disk = OS_DISK,
    ) -> KeptCode:
        """The code kept in ``folder``, or a new one; in the next folder if that one is in use.

        Args:
            folder: from ``send_folder`` or ``receive_folder``: two levels below the home.
            new_code: forget what an earlier process left.
            disk: on which it lies.
        Raises:
            ConfigError: the stored code cannot be read; it is not silently replaced.
            UntrustedPath: the folder is not this user's alone.
            DiskFailed, NoSpace: its disk says no.
        """
        with told(folder, HOME_HINT):
            private, lock = _free_folder(folder, disk)
            try:
                return cls._load(private, lock, rng, clock, max_clock_skew_s, new_code)
            except BaseException:
                lock.release()
                private.close()
                raise

    @classmethod
    def _load(
        cls,
        folder: PrivateFolder,
        lock: FolderLock,
        rng: Rng,
        clock: WallClock,
        skew_s: float,
        new_code: bool,
    ) -> KeptCode:
        now = clock.unix_time()
        stored = None if new_code else _read(folder)
        if stored is None or not 0 <= now - stored.created < LIFETIME_S:
            _empty(folder)
            is_resumed = False
            stored = _Stored(now, rng.secret_bytes(32), rng.secret_bytes(32))
        else:
            is_resumed = True
        kept = cls(
            private=folder,
            access=AccessKey(X25519Key.from_secret(stored.secret), stored.psk, persistent=True),
            replay=ReplayFiles(folder, clock, max_clock_skew_s=skew_s, fresh=not is_resumed),
            created=stored.created,
            is_resumed=is_resumed,
            port=stored.port,
            addresses=stored.addresses,
            carriers=stored.carriers,
            bound_to=stored.bound_to,
            _lock=lock,
        )
        kept.save()
        return kept

    def save(self) -> None:
        """Writes what changed. Raises ``DiskFailed`` or ``NoSpace`` when the disk says no."""
        assert self.access.psk is not None
        row = {
            "version": _VERSION,
            "created": self.created,
            "secret": self.access.ak.secret_bytes().hex(),
            "psk": self.access.psk.hex(),
            "port": self.port,
            "addresses": list(self.addresses),
            "carriers": list(self.carriers),
            "bound_to": str(self.bound_to) if self.bound_to is not None else None,
        }
        with told(os.fsdecode(self.private.path), HOME_HINT):
            self.private.write(_FILE, json.dumps(row).encode())

    def names(
        self,
        addresses: Iterable[Address],
        port: int,
        carriers: Iterable[Carrier] = (Carrier.UDP,),
        url: str | None = None,
    ) -> bool:
        """Notes what the code names from now on; true if an earlier process named other ones."""
        texts = tuple(format_address(address) for address in addresses)
        texts += () if url is None else (url,)
        words = tuple(carrier.name.lower() for carrier in carriers)
        is_same = (texts, words) == (self.addresses, self.carriers)
        if not is_same or port != self.port:
            self.addresses, self.carriers, self.port = texts, words, port
            self.save()
        return self.is_resumed and not is_same

    def bind(self, peer: PeerKey | None) -> None:
        """Notes whom the code belongs to."""
        if peer != self.bound_to and not self.is_spent:
            self.bound_to = peer
            self.save()

    def spend(self) -> str:
        """The receipt has come: no process offers this code again. The rest of the folder goes
        with ``close``, because the endpoint may still be saying its last words.

        Where the disk removes no file, it is written over. Returns what a person should be told
        then; empty most of the time.
        """
        self.is_spent = True
        try:
            self.private.unlink(_FILE)
        except OSError as exc:
            what = f"{self.folder / os.fsdecode(_FILE)} cannot be removed: {_words(exc)}"
            return f"{what}; {self._overwrite()}"
        return ""

    def _overwrite(self) -> str:
        """Puts a word in place of the secrets, in the same file. Returns what has become of it."""
        disk = self.private.disk
        try:
            fd = self.private.open_file(_FILE, os.O_WRONLY | os.O_TRUNC)
            try:
                disk.write_all(fd, json.dumps({"version": _VERSION, "spent": True}).encode())
                disk.fsync(fd)
            finally:
                disk.close(fd)
        except (OSError, WraithError):
            return "the spent code is still in it, and the next run would offer it again"
        return "the spent code in it was overwritten"

    def close(self) -> None:
        """Lets go of the folder. What is in it stays for the next process, unless it is spent."""
        self.replay.close()
        if self.is_spent:
            with contextlib.suppress(OSError):
                _empty(self.private)
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        self.private.close()


def send_folder(home: HomeFolder, paths: Iterable[Path]) -> Path:
    """Names the folder of the code of a send of exactly these paths, in any order."""
    return home.send_folder(sorted({Path(os.path.abspath(path)) for path in paths}))


def receive_folder(home: HomeFolder, out: Path) -> Path:
    """Names the folder of the code of ``receive --listen`` into ``out``."""
    name = hashlib.sha256(home.disk.realpath(out)).hexdigest()[:32]
    return home.home / "receives" / name


def remove_old_codes(home: HomeFolder, clock: WallClock) -> None:
    """Removes what nobody may offer any more. Folders in use, and unreadable ones, stay."""
    for kind in (b"sends", b"receives"):
        with (
            contextlib.suppress(OSError, WraithError),
            PrivateFolder.open(home.home, hint=HOME_HINT, disk=home.disk) as folder,
            folder.folder(kind, create=False) as root,
        ):
            for name in root.names():
                with contextlib.suppress(OSError, WraithError):
                    _remove_if_old(root, name, clock.unix_time())


def _remove_if_old(root: PrivateFolder, name: bytes, now: float) -> None:
    with root.folder(name, create=False) as folder, contextlib.ExitStack() as stack:
        lock = FolderLock(folder)
        lock.acquire()
        stack.callback(lock.release)
        stored = _read(folder)
        created = stored.created if stored is not None else folder.disk.fstat(folder.fd).st_mtime
        if now - created >= LIFETIME_S:
            root.remove_tree(name)


def _free_folder(folder: Path, disk: Disk) -> tuple[PrivateFolder, FolderLock]:
    with (
        PrivateFolder.open(folder.parent.parent, hint=HOME_HINT, disk=disk) as home,
        home.folder(os.fsencode(folder.parent.name)) as root,
    ):
        for n in range(_COPIES_MAX):
            name = folder.name if n == 0 else f"{folder.name}-{n}"
            candidate = root.folder(os.fsencode(name))
            lock = FolderLock(candidate)
            try:
                lock.acquire()
            except FolderLocked:
                candidate.close()
                continue
            except BaseException:
                candidate.close()
                raise
            return candidate, lock
    raise FolderLocked(f"{folder} is in use by {_COPIES_MAX} wraith processes")


def _empty(folder: PrivateFolder) -> None:
    """Removes everything but the lock: the file that holds it must stay the same one."""
    for name in folder.names():
        if name != b".lock":
            with contextlib.suppress(OSError):
                folder.unlink(name)


def _words(exc: OSError) -> str:
    return (exc.strerror or str(exc)).lower()


def _read(folder: PrivateFolder) -> _Stored | None:
    try:
        data = folder.read(_FILE, _FILE_BYTES_MAX)
    except FileNotFoundError:
        return None
    try:
        row = json.loads(data)
        if row["version"] != _VERSION:
            raise ValueError("another version")
        if row.get("spent"):
            return None
        secret, psk = bytes.fromhex(row["secret"]), bytes.fromhex(row["psk"])
        if len(secret) != 32 or len(psk) != 32:
            raise ValueError("keys of the wrong length")
        bound = row["bound_to"]
        return _Stored(
            created=float(row["created"]),
            secret=secret,
            psk=psk,
            port=int(row["port"]),
            addresses=tuple(str(text) for text in row["addresses"]),
            # Older versions wrote none, and knew UDP alone.
            carriers=tuple(str(word) for word in row.get("carriers", ["udp"])),
            bound_to=PeerKey.parse(bound) if bound is not None else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(
            "code.json",
            os.fsdecode(folder.path + b"/" + _FILE),
            "a file that wraith wrote; --new-code replaces it",
        ) from None
