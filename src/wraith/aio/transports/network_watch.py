"""Says when something about this host's addresses or routes has changed.

Linux tells at once, through a netlink socket. What it tells is a hint alone: shortly afterwards the
state itself is looked at, and only if that differs, or a link went up or down, is anybody called.
So a burst of messages is one call, a lost message costs nothing, and neither do the many that
change nothing (signal strength, lifetimes). Where there is no netlink, or no ``add_reader``, the
state is looked at every two seconds.

Linux ``rtnetlink(7)``, ``netlink(7)``.
"""

from __future__ import annotations

import socket
import struct
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable, Iterator
from typing import Final

from wraith.aio.transports.network_state import NetworkState, read_network_state
from wraith.types import Buffer

SETTLE_S: Final = 0.1
"""From the first hint to the look at the state: most changes are several messages."""
CALL_GAP_S: Final = 1.0
"""Between two calls at least."""
POLL_S: Final = 2.0
READS_PER_TURN: Final = 16
READ_BYTES: Final = 64 * 1024

# RTMGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE
_GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
_HEADER: Final = struct.Struct("=IHHII")
_LINK: Final = struct.Struct("=BxHiII")
_NEW_LINK: Final = 16
_DEL_LINK: Final = 17
_UP_AND_RUNNING: Final = 0x1 | 0x40
_ALIGNMENT: Final = 4


class NetworkWatch:
    """``start`` it on a loop; ``changed`` is called from the loop, at most once a second, until
    ``close``.

    Args:
        changed: takes nothing; looks by itself at what it needs.
        state: what is compared.
    Attributes:
        is_polling: the system tells nothing by itself.
    """

    def __init__(
        self,
        changed: Callable[[], None],
        *,
        state: Callable[[], NetworkState] = read_network_state,
    ) -> None:
        self.is_polling = False
        self._changed = changed
        self._state = state
        self._seen: NetworkState | None = None
        self._links: dict[int, bool] = {}
        self._link_moved = False
        self._no_call_before = 0.0
        self._timer: TimerHandle | None = None
        self._loop: AbstractEventLoop | None = None
        self._socket: socket.socket | None = None

    def start(self, loop: AbstractEventLoop) -> None:
        """Begins. What is there now is what a change is measured against."""
        self._loop = loop
        self._socket = _netlink_socket()
        if self._socket is not None:
            try:
                loop.add_reader(self._socket.fileno(), self._read)
            except NotImplementedError:
                self._socket.close()
                self._socket = None
        self._seen = self._state()
        if self._socket is None:
            self.is_polling = True
            self._look_in(POLL_S)

    def close(self) -> None:
        """Ends it; nobody is called afterwards. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._socket is not None:
            assert self._loop is not None
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
        self._loop = None

    def _read(self) -> None:
        """Takes what the kernel has to say, of which link states alone are read."""
        assert self._socket is not None and self._loop is not None
        for _ in range(READS_PER_TURN):
            try:
                data = self._socket.recv(READ_BYTES)
            except BlockingIOError:
                break
            except OSError:  # ENOBUFS: some messages are lost, the state is not
                continue
            self._note_links(data)
        if self._timer is None:
            self._look_in(max(SETTLE_S, self._no_call_before - self._loop.time()))

    def _note_links(self, data: Buffer) -> None:
        for index, is_up in link_states(data):
            if is_up is None:
                self._links.pop(index, None)
            else:
                # One that was never spoken of was most likely up.
                self._link_moved |= self._links.get(index, True) is not is_up
                self._links[index] = is_up

    def _look_in(self, delay_s: float) -> None:
        assert self._loop is not None
        self._timer = self._loop.call_later(delay_s, self._look)

    def _look(self) -> None:
        assert self._loop is not None
        self._timer = None
        state = self._state()
        is_news = self._link_moved or state != self._seen
        self._seen, self._link_moved = state, False
        if self.is_polling:
            self._look_in(POLL_S)
        if is_news:
            self._no_call_before = self._loop.time() + CALL_GAP_S
            self._changed()


def link_states(data: Buffer) -> Iterator[tuple[int, bool | None]]:
    """The links that netlink messages speak of: number, and whether it is up and has a carrier;
    ``None`` for one that is gone. Ends where a message makes no sense; never raises."""
    at = 0
    while at + _HEADER.size <= len(data):
        n_bytes, kind, _, _, _ = _HEADER.unpack_from(data, at)
        if not _HEADER.size <= n_bytes <= len(data) - at:
            return
        if kind in (_NEW_LINK, _DEL_LINK) and n_bytes >= _HEADER.size + _LINK.size:
            _, _, index, flags, _ = _LINK.unpack_from(data, at + _HEADER.size)
            is_up = flags & _UP_AND_RUNNING == _UP_AND_RUNNING
            yield index, is_up if kind == _NEW_LINK else None
        at += -(-n_bytes // _ALIGNMENT) * _ALIGNMENT


def _netlink_socket() -> socket.socket | None:
    """A socket that hears of links, addresses and routes; ``None`` where there is none, or where
    this process may not."""
    family = getattr(socket, "AF_NETLINK", None)
    if family is None:
        return None
    try:
        sock = socket.socket(family, socket.SOCK_RAW, 0)
    except OSError:
        return None
    try:
        sock.setblocking(False)
        sock.bind((0, _GROUPS))
    except OSError:
        sock.close()
        return None
    return sock
