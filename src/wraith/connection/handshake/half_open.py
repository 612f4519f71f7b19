"""Keeps what a responder needs between a proven hello and its FINISH, and nothing else.

Everything is bounded by count and by time: half-open entries (per 4-tuple, per prefix, in all),
second hello halves that overtook the first, datagrams that overtook FINISH, and handshakes that
completed moments ago. Strangers without a proof create none of these but the second kind.

Spec: handshake.md [HS-23] [HS-24] [HS-25] [HS-28].
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from wraith.config import Budgets
from wraith.connection.deadlines import Deadline
from wraith.connection.handshake.budget import prefix_of
from wraith.types import NetworkPath

if TYPE_CHECKING:
    from wraith.connection.handshake.responder import AwaitingFinish, AwaitingHello
    from wraith.connection.handshake.resuming import AwaitingFirstPacket
    from wraith.wire.resumption import TicketContent

ATTEMPTS_PER_PATH = 3
HELLO_LIFETIME_S = 5.0
RESPONSE_LIFETIME_S = 10.0
STRAYS_MAX = 256
STRAY_S = 0.25
EARLY_S = 0.25
COMPLETED_S = 10.0
AMPLIFICATION = 3


class HalfOpen(Deadline):
    """One attempt of one initiator, from its proven HELLO/0 on."""

    __slots__ = (
        "bytes_received", "bytes_sent", "is_validated", "key", "path", "serial", "stage",
        "ticket",
    )  # fmt: skip

    def __init__(
        self,
        path: NetworkPath,
        stage: AwaitingHello,
        *,
        key: bytes,
        is_validated: bool,
        ticket: tuple[bytes, TicketContent] | None = None,
    ) -> None:
        super().__init__()
        self.path = path
        #: The public half of the access key that it proved.
        self.key = key
        self.stage: AwaitingHello | AwaitingFinish | AwaitingFirstPacket = stage
        #: The id and the content of the ticket that this attempt holds.
        self.ticket = ticket
        #: A cookie proved that the peer receives at this address.
        self.is_validated = is_validated
        self.bytes_received = 0
        self.bytes_sent = 0
        self.serial = 0

    def may_send(self, n_bytes: int) -> bool:
        """Whether ``n_bytes`` more stay within three times what was received. [HS-24]"""
        return self.is_validated or self.bytes_sent + n_bytes <= AMPLIFICATION * self.bytes_received


class HalfOpenTable:
    """Half-open entries by 4-tuple, with the limits per 4-tuple, per prefix and in all.

    The first two count for each access key apart, and in a full table the key that has most makes
    room: the peers of one key push out each other."""

    __slots__ = ("_all", "_budgets", "_by_path", "_by_prefix", "_n_of_key", "_serial")

    def __init__(self, budgets: Budgets) -> None:
        self._budgets = budgets
        self._by_path: dict[NetworkPath, list[HalfOpen]] = {}
        self._by_prefix: dict[bytes, OrderedDict[int, HalfOpen]] = {}
        self._all: OrderedDict[int, HalfOpen] = OrderedDict()
        self._n_of_key: Counter[bytes] = Counter()
        self._serial = 0

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[HalfOpen]:
        """All attempts, oldest first; they may be removed meanwhile."""
        return iter(tuple(self._all.values()))

    def on_path(self, path: NetworkPath) -> tuple[HalfOpen, ...]:
        """The attempts on ``path``, oldest first."""
        return tuple(self._by_path.get(path, ()))

    def siblings(self, entry: HalfOpen) -> tuple[HalfOpen, ...]:
        """The other attempts of the same key on the same path, oldest first."""
        others = self._by_path.get(entry.path, ())
        return tuple(e for e in others if e.key == entry.key and e is not entry)

    def is_on(self, path: NetworkPath) -> bool:
        """Whether there is an attempt on ``path``."""
        return path in self._by_path

    def insert(self, entry: HalfOpen) -> list[HalfOpen]:
        """Adds ``entry``; returns what had to make room, oldest of the same kind first."""
        dropped: list[HalfOpen] = []
        prefix = self._prefix_of(entry)
        attempts = self.siblings(entry)
        if len(attempts) >= ATTEMPTS_PER_PATH:
            dropped.append(attempts[0])
            self.remove(attempts[0])
        of_prefix = self._by_prefix.get(prefix)
        if of_prefix is not None and (
            len(of_prefix) >= self._budgets.half_open_per_prefix
            or len(self._all) >= self._budgets.half_open_max
        ):
            oldest = next(iter(of_prefix.values()))
            dropped.append(oldest)
            self.remove(oldest)
        if len(self._all) >= self._budgets.half_open_max:
            ((most, _),) = self._n_of_key.most_common(1)
            oldest = next(e for e in self._all.values() if e.key == most)
            dropped.append(oldest)
            self.remove(oldest)
        self._serial += 1
        entry.serial = self._serial
        self._by_path.setdefault(entry.path, []).append(entry)
        self._by_prefix.setdefault(prefix, OrderedDict())[entry.serial] = entry
        self._all[entry.serial] = entry
        self._n_of_key[entry.key] += 1
        return dropped

    def remove(self, entry: HalfOpen) -> None:
        """Forgets ``entry``; harmless when it is gone already."""
        if self._all.pop(entry.serial, None) is None:
            return
        self._n_of_key[entry.key] -= 1
        if not self._n_of_key[entry.key]:
            del self._n_of_key[entry.key]
        attempts = self._by_path[entry.path]
        attempts.remove(entry)
        if not attempts:
            del self._by_path[entry.path]
        prefix = self._prefix_of(entry)
        of_prefix = self._by_prefix[prefix]
        del of_prefix[entry.serial]
        if not of_prefix:
            del self._by_prefix[prefix]

    @staticmethod
    def _prefix_of(entry: HalfOpen) -> bytes:
        return prefix_of(entry.path.remote) + entry.key


class Strays:
    """Second hello halves that came first: one per 4-tuple, 256 in all, for 250 ms. [HS-23]"""

    __slots__ = ("_by_path",)

    def __init__(self) -> None:
        self._by_path: OrderedDict[NetworkPath, tuple[float, bytes]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_path)

    def keep(self, path: NetworkPath, datagram: bytes, now: float) -> None:
        while self._by_path and next(iter(self._by_path.values()))[0] <= now:
            self._by_path.popitem(last=False)
        self._by_path.pop(path, None)
        if len(self._by_path) >= STRAYS_MAX:
            self._by_path.popitem(last=False)
        self._by_path[path] = (now + STRAY_S, datagram)

    def take(self, path: NetworkPath, now: float) -> bytes | None:
        """The datagram kept for ``path``, if it is not too old."""
        kept = self._by_path.pop(path, None)
        return kept[1] if kept is not None and kept[0] > now else None


class EarlyQueue(Deadline):
    """Datagrams of one 4-tuple that no key of its answered attempts opens: they may have overtaken
    FINISH. ``at`` is when the oldest one has waited long enough. [HS-28]"""

    __slots__ = ("path", "waiting", "n_bytes")

    def __init__(self, path: NetworkPath) -> None:
        super().__init__()
        self.path = path
        self.waiting: deque[tuple[float, bytes]] = deque()
        self.n_bytes = 0


class EarlyQueues:
    """All early queues: 12 datagrams and 16 KiB per 4-tuple, 1 MiB in all, 250 ms."""

    __slots__ = ("_budgets", "_by_path", "n_bytes", "n_dropped")

    def __init__(self, budgets: Budgets) -> None:
        self._budgets = budgets
        self._by_path: dict[NetworkPath, EarlyQueue] = {}
        self.n_bytes = 0
        self.n_dropped = 0

    def __len__(self) -> int:
        return len(self._by_path)

    def put(self, path: NetworkPath, datagram: bytes, now: float) -> EarlyQueue | None:
        """Queues a copy; ``None`` when it was over a limit and dropped."""
        queue = self._by_path.get(path)
        n_waiting = len(queue.waiting) if queue is not None else 0
        n_bytes = queue.n_bytes if queue is not None else 0
        budgets = self._budgets
        if (
            n_waiting >= budgets.early_datagrams
            or n_bytes + len(datagram) > budgets.early_bytes
            or self.n_bytes + len(datagram) > budgets.early_bytes_total
        ):
            self.n_dropped += 1
            return None
        if queue is None:
            queue = self._by_path[path] = EarlyQueue(path)
        queue.waiting.append((now + EARLY_S, datagram))
        queue.n_bytes += len(datagram)
        self.n_bytes += len(datagram)
        return queue

    def take_all(self, path: NetworkPath) -> tuple[EarlyQueue | None, list[bytes]]:
        """FINISH has come: everything queued for ``path``, in order of arrival."""
        queue = self._by_path.pop(path, None)
        if queue is None:
            return None, []
        self.n_bytes -= queue.n_bytes
        return queue, [datagram for _, datagram in queue.waiting]

    def take_due(self, queue: EarlyQueue, now: float) -> list[bytes]:
        """What has waited 250 ms. The caller moves ``queue`` to ``next_time`` afterwards."""
        due: list[bytes] = []
        while queue.waiting and queue.waiting[0][0] <= now:
            datagram = queue.waiting.popleft()[1]
            queue.n_bytes -= len(datagram)
            self.n_bytes -= len(datagram)
            due.append(datagram)
        if not queue.waiting:
            self._by_path.pop(queue.path, None)
        return due

    @staticmethod
    def next_time(queue: EarlyQueue) -> float | None:
        return queue.waiting[0][0] if queue.waiting else None
