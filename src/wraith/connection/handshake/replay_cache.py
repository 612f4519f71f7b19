"""Every proven first hello of one access key is accepted once: an exact set, in two generations.

No Bloom filter: a false positive would refuse an honest peer, a false negative would answer a
recording. Entries are keyed by the *decoded* ephemeral under a key derived from the access key's
secret, so all encodings and paddings of one ephemeral share an entry, and the set can be written
to disk and read back by the next process.

A cache that may have lost entries is *incomplete*: then only hellos younger than this process
(plus the clock skew) are accepted. This module never writes a file; it hands out records.
Spec: handshake.md [HS-30] [HS-31] [HS-32] [HS-33].
"""

from __future__ import annotations

from collections.abc import Sequence

from wraith.crypto.kdf import Label, derive_key, keyed_hash
from wraith.crypto.x25519 import X25519Key

KEY_BYTES = 16
RECORD_BYTES = 24
CARRIER_DOMAIN = b"carrier"


def encode_record(key: bytes, timestamp: int) -> bytes:
    """24 bytes: key 16 ‖ timestamp u64 (Unix seconds of the hello)."""
    return key + timestamp.to_bytes(8, "big")


class ReplayCache:
    """Two generations of ``2 · max_clock_skew_s`` each, so an entry outlives its hello's freshness.

    ``now`` is monotonic and turns generations over; ``timestamp`` is the hello's calendar time.
    ``floor``: nothing at or below this timestamp is accepted; from an earlier cache of the key.
    """

    __slots__ = (
        "_key",
        "_generation_s",
        "_entries_max",
        "_current",
        "_previous",
        "_current_max",
        "_previous_max",
        "_turned_at",
        "_floor",
        "_start_floor",
    )

    def __init__(
        self,
        ak: X25519Key,
        *,
        max_clock_skew_s: float,
        entries_max: int,
        now: float,
        unix_now: float,
        complete: bool,
        floor: int = -1,
    ) -> None:
        self._key = derive_key(Label.REPLAY, ak.secret_bytes())
        self._generation_s = 2 * max_clock_skew_s
        self._entries_max = entries_max
        self._current: dict[bytes, int] = {}
        self._previous: dict[bytes, int] = {}
        self._current_max = -1
        self._previous_max = -1
        self._turned_at = now
        # Nothing at or below the floor is accepted. It holds the newest timestamp of any entry
        # that was forgotten: with a steady clock those are stale anyway, and a clock that is set
        # back cannot make them fresh again.
        self._floor = floor
        self._start_floor = -1 if complete else int(unix_now + max_clock_skew_s)

    @property
    def is_complete(self) -> bool:
        return self._start_floor < 0

    @property
    def n_entries(self) -> int:
        return len(self._current) + len(self._previous)

    @property
    def newest(self) -> int:
        """The newest timestamp that was ever accepted, -1 without one."""
        return max(self._floor, self._previous_max, self._current_max)

    def key_of(self, e_public: bytes) -> bytes:
        """The 16-byte entry key of a decoded ephemeral (32 bytes)."""
        return keyed_hash(self._key, e_public)[:KEY_BYTES]

    def carrier_key_of(self, e_public: bytes) -> bytes:
        """The 16-byte entry key of the decoded ephemeral (32 bytes) of a link's preface: a hello
        and a preface never share an entry. [CA-6]"""
        return keyed_hash(self._key, CARRIER_DOMAIN + e_public)[:KEY_BYTES]

    def contains(self, key: bytes, now: float) -> bool:
        self._turn(now)
        return key in self._current or key in self._previous

    def accepts(self, timestamp: int) -> bool:
        """Whether entries that could hold this hello are all still remembered."""
        return timestamp > self._floor and timestamp > self._start_floor

    def insert(self, key: bytes, timestamp: int, now: float) -> bool:
        """Remembers a proven hello. False: full, the hello must be dropped."""
        self._turn(now)
        if len(self._current) >= self._entries_max:
            return False
        self._current[key] = timestamp
        self._current_max = max(self._current_max, timestamp)
        return True

    def load(self, records: Sequence[bytes], now: float) -> None:
        """Takes the records of the process before this one and calls the cache complete.

        A record of another length ends the list: it is the torn tail of a crash, and what
        follows a tear was never answered. Records beyond the capacity make the cache incomplete
        again, that is: this returns without calling it complete.
        """
        self._turn(now)
        for record in records:
            if len(record) != RECORD_BYTES:
                break
            timestamp = int.from_bytes(record[KEY_BYTES:], "big")
            if not self.insert(bytes(record[:KEY_BYTES]), timestamp, now):
                return
        self._start_floor = -1

    def _turn(self, now: float) -> None:
        n_turns = int((now - self._turned_at) // self._generation_s)
        if n_turns <= 0:
            return
        self._turned_at += n_turns * self._generation_s
        # The previous generation is forgotten at the first turn, the current one at the second.
        for _ in range(min(n_turns, 2)):
            self._floor = max(self._floor, self._previous_max)
            self._previous, self._previous_max = self._current, self._current_max
            self._current, self._current_max = {}, -1
