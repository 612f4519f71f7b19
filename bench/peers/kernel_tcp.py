"""One congestion control for every kernel TCP connection of a table, and what each end really had.

``BULK_TCP`` names it: a system's default may be one that paces, and two ends with different ones
compare nothing.
"""

from __future__ import annotations

import os
import socket

CONGESTION = os.environ.get("BULK_TCP", "")
_used: set[str] = set()


def choose(sock: socket.socket) -> None:
    """Sets it, and notes what the kernel has made of that."""
    if CONGESTION:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, CONGESTION.encode())
    name = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    _used.add(name.rstrip(b"\0").decode())


def used() -> str:
    """What the connections of this process had."""
    return ", ".join(sorted(_used))


def choose_for_links() -> None:
    """For every TCP connection of a WRAITH link from now on. Links have no such setting: what the
    system says holds for them."""
    from wraith.aio.transports import tcp, tcp_listener, websocket_head

    real = tcp.set_options

    def set_options(sock: socket.socket) -> None:
        real(sock)
        choose(sock)

    for module in (tcp, tcp_listener, websocket_head):
        module.set_options = set_options  # type: ignore[attr-defined]
