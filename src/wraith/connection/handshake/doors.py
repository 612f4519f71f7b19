"""The access keys that an endpoint listens with, and what each remembers of its hellos.

A door is an access key and its replay cache. A key that is removed keeps its cache while a hello
that it has answered could still be fresh: adding it again must be no amnesty for recordings.
Opens nothing and answers nobody; ``admission`` does. Spec: handshake.md [HS-30 to HS-33] [HS-72].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wraith.abc import WallClock
from wraith.config import EndpointConfig
from wraith.connection.handshake.budget import HelloFull
from wraith.connection.handshake.endpoint_keys import ACCESS_KEYS_MAX, AccessKey
from wraith.connection.handshake.replay_cache import ReplayCache
from wraith.errors import LocalProtocolError

KEPT_SKEWS = 4
"""How long the cache of a removed key is kept, in clock skews: no entry matters for longer."""
KEPT_MAX = 16
FLOORS_MAX = 4_096
SEEN_MAX = 1_024


class AccessDoor:
    """One access key, the memory of the hellos that it has accepted, and its peers' budget."""

    __slots__ = ("_seen", "hello_full", "key", "records", "replays", "skew_told_at")

    def __init__(self, key: AccessKey, replays: ReplayCache, hello_full: HelloFull) -> None:
        self.key = key
        self.replays = replays
        self.hello_full = hello_full
        #: When the application was last told of a clock that is off.
        self.skew_told_at: float | None = None
        #: Replay records that are not on disk yet.
        self.records: list[bytes] = []
        #: The names of the first flights that have come last, oldest first.
        self._seen: dict[bytes, None] = {}

    def note_seen(self, road_id: bytes) -> None:
        """A first flight of this name has come, and proved the key. The last 1,024 are kept: a key
        has its own, so that the peers of others push none of them out. [RO-62]"""
        self._seen[road_id] = None
        if len(self._seen) > SEEN_MAX:
            del self._seen[next(iter(self._seen))]

    def has_seen(self, road_id: bytes) -> bool:
        """Whether it is one of those."""
        return road_id in self._seen


class Doors:
    """At most four doors that are open, and those of the keys removed lately."""

    __slots__ = ("_clock", "_config", "_floors", "_kept", "_open")

    def __init__(self, config: EndpointConfig, clock: WallClock) -> None:
        self._config = config
        self._clock = clock
        self._open: dict[bytes, AccessDoor] = {}
        #: Doors of removed keys and the time of their removal, oldest first.
        self._kept: dict[bytes, tuple[AccessDoor, float]] = {}
        #: Of removed keys whose cache is gone: the newest timestamp that it had accepted.
        self._floors: dict[bytes, int] = {}

    def __bool__(self) -> bool:
        return bool(self._open)

    def __iter__(self) -> Iterator[AccessDoor]:
        return iter(tuple(self._open.values()))

    @property
    def keys(self) -> tuple[AccessKey, ...]:
        """Oldest first."""
        return tuple(door.key for door in self._open.values())

    @property
    def n_entries(self) -> int:
        """Hellos that are remembered, by removed keys too."""
        return sum(door.replays.n_entries for door in self._all())

    def _all(self) -> list[AccessDoor]:
        return [*self._open.values(), *(door for door, _ in self._kept.values())]

    def add(self, key: AccessKey, now: float) -> None:
        """Raises:
        LocalProtocolError: this key is open already, or four others are.
        """
        public = key.ak.public
        if public in self._open:
            raise LocalProtocolError("this access key is in use already")
        if len(self._open) >= ACCESS_KEYS_MAX:
            raise LocalProtocolError(f"an endpoint has at most {ACCESS_KEYS_MAX} access keys")
        self._forget_old(now)
        kept = self._kept.pop(public, None)
        if kept is not None:
            door, _ = kept
            door.key = key
            self._open[public] = door
            self._share(now)
            return
        replays = ReplayCache(
            key.ak,
            max_clock_skew_s=self._config.max_clock_skew_s,
            entries_max=self._config.budgets.replay_entries,
            now=now,
            unix_now=self._clock.unix_time(),
            complete=not key.persistent,
            floor=self._floors.pop(public, -1),
        )
        self._open[public] = AccessDoor(key, replays, HelloFull(self._config.budgets, now))
        self._share(now)

    def find(self, ak_public: bytes) -> AccessDoor | None:
        """The door of a key that is open or was removed lately."""
        if (door := self._open.get(ak_public)) is not None:
            return door
        kept = self._kept.get(ak_public)
        return kept[0] if kept is not None else None

    def _share(self, now: float) -> None:
        """The peers of one key cannot use up what those of the others need. [HS-22]"""
        for door in self._open.values():
            door.hello_full.set_share(1 / len(self._open), now)

    def remove(self, ak_public: bytes, now: float) -> None:
        """Closes the door of this key, if there is one; what it has answered is remembered."""
        door = self._open.pop(ak_public, None)
        if door is None:
            return
        self._share(now)
        self._forget_old(now)
        self._kept[ak_public] = door, now
        if len(self._kept) > KEPT_MAX:
            self._forget(next(iter(self._kept)))

    def _forget_old(self, now: float) -> None:
        """Lets go of keys that were removed so long ago that all their hellos are stale."""
        until = now - KEPT_SKEWS * self._config.max_clock_skew_s
        for public in [public for public, (_, at) in self._kept.items() if at <= until]:
            self._forget(public)

    def _forget(self, public: bytes) -> None:
        """Keeps no more of a removed key's hellos than when the newest one was made."""
        door, _ = self._kept.pop(public)
        if door.replays.newest < 0:
            return
        self._floors[public] = door.replays.newest
        if len(self._floors) > FLOORS_MAX:
            del self._floors[next(iter(self._floors))]

    # -- records

    def load(self, ak_public: bytes, records: Sequence[bytes], now: float) -> None:
        """Raises:
        LocalProtocolError: no such key is open.
        """
        door = self._open.get(ak_public)
        if door is None:
            raise LocalProtocolError("no such access key here")
        door.replays.load(records, now)

    @property
    def has_records(self) -> bool:
        return any(door.records for door in self._all())

    def take_records(self) -> list[tuple[bytes, list[bytes]]]:
        """Records that are not on disk yet, by the public half of their key; the caller's now."""
        taken: list[tuple[bytes, list[bytes]]] = []
        for door in self._all():
            if door.records:
                taken.append((door.key.ak.public, door.records))
                door.records = []
        return taken
