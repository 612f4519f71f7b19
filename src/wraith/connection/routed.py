"""A connection as an endpoint owns it: every command tells the endpoint that it was touched.

An endpoint with ten thousand connections cannot ask each of them for news. So a command that may
have made output, an event or an earlier deadline marks its connection; the endpoint looks at marked
ones only. Nothing else is added to ``Connection``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from wraith.connection.connection import Connection

P = ParamSpec("P")
R = TypeVar("R")


def _waking(
    command: Callable[Concatenate[Connection, P], R],
) -> Callable[Concatenate[RoutedConnection, P], R]:
    @wraps(command)
    def issue(self: RoutedConnection, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(self, *args, **kwargs)
        finally:
            self.wake()

    return issue


class RoutedConnection(Connection):
    """``wake`` is called after every command; set once, by the endpoint, right after creation."""

    __slots__ = ("wake",)

    wake: Callable[[], None]

    accept = _waking(Connection.accept)
    refuse = _waking(Connection.refuse)
    open_stream = _waking(Connection.open_stream)
    stream_write = _waking(Connection.stream_write)
    stream_write_chunks = _waking(Connection.stream_write_chunks)
    stream_finish = _waking(Connection.stream_finish)
    stream_read = _waking(Connection.stream_read)
    stream_read_chunks = _waking(Connection.stream_read_chunks)
    stream_reset = _waking(Connection.stream_reset)
    stream_stop = _waking(Connection.stream_stop)
    set_priority = _waking(Connection.set_priority)
    send_datagram = _waking(Connection.send_datagram)
    ping = _waking(Connection.ping)
    rekey = _waking(Connection.rekey)
    close = _waking(Connection.close)
    go_away = _waking(Connection.go_away)
    end = _waking(Connection.end)
    handle_mtu_exceeded = _waking(Connection.handle_mtu_exceeded)

    @property
    def n_authenticated(self) -> int:
        """Datagrams that have authenticated so far."""
        return 0 if self._session is None else self._session.n_datagrams_received
