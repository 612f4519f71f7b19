"""The dials of one transfer: which are under way, when the next one is due, when to give up.

One attempt at a time; whether the connection that there is should give way to one is the business
of ``peers``.

Spec: docs/spec/transfer.md §10 [TR-95].
"""

from __future__ import annotations

from collections.abc import Callable

from wraith.connection.connection import Connection
from wraith.connection.handshake.node_record import NodeRecord
from wraith.errors import CloseCode
from wraith.node.config import NodeConfig
from wraith.node.dialer import DialPlan
from wraith.node.events import Dialling


class Attempts:
    """Dials ``record`` by ``connect``, as ``plan`` says."""

    def __init__(
        self,
        connect: Callable[[NodeRecord, float], Connection],
        record: NodeRecord,
        config: NodeConfig,
        now: float,
    ) -> None:
        self.plan = DialPlan(config, now)
        self._connect = connect
        self._record = record
        self._under_way: set[Connection] = set()

    def dial_when_due(self, now: float) -> Dialling | None:
        """Begins an attempt if one is due and none is under way.

        Raises:
            WraithError: the record cannot be dialled from here, now or ever.
        """
        plan = self.plan
        if self._under_way or not plan.is_due(now):
            return None
        attempt = self._connect(self._record, now)
        self._under_way.add(attempt)
        return Dialling(plan.attempts, plan.was_connected)

    def take(self, connection: Connection) -> bool:
        """Whether ``connection`` is an attempt; from now on it is none."""
        if connection not in self._under_way:
            return False
        self._under_way.discard(connection)
        return True

    def on_lost(self, now: float, *, was_silent: bool) -> None:
        """The connection is gone: the next attempt is due at once, unless one is under way. The
        wait counts from the silence, if there was one before."""
        if not self._under_way:
            self.plan.on_lost(self.plan.since if was_silent else now, now)

    def drop(self, now: float) -> None:
        """Breaks off what is under way."""
        for attempt in list(self._under_way):
            self._under_way.discard(attempt)
            attempt.close(CloseCode.NO_ERROR, "", now)
