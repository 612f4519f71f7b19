"""Sockets that listen for stream connections, bound before the machine behind them is loaded.

Connections that come meanwhile wait in the kernel. ``tcp_listener`` takes them over.
"""

from __future__ import annotations

import errno
import socket
import sys
from typing import Final

from wraith.aio.transports.addresses import family_of, to_sockaddr
from wraith.errors import TransportError
from wraith.types import Address

BACKLOG: Final = 128
_TRIES: Final = 16


def listening_sockets(address: Address) -> list[socket.socket]:
    """Listens on TCP at ``address``, or with an empty ``ip`` on every interface of both families,
    on one port; a family that the host does not have is no error. The caller closes them.

    Raises:
        TransportError: the port is taken in one of the families, or nothing could be bound.
    """
    if address.ip:
        return [_listening_socket(address)]
    for _ in range(_TRIES):  # a port that is free for IPv4 may be taken for IPv6
        first = _listening_socket(Address(bytes(4), address.port))
        try:
            second = _listening_socket(Address(bytes(16), first.getsockname()[1]))
        except TransportError as exc:
            cause = exc.__cause__
            if isinstance(cause, OSError) and cause.errno in (
                errno.EAFNOSUPPORT,
                errno.EADDRNOTAVAIL,
            ):
                return [first]
            first.close()
            if address.port:
                raise
            continue
        return [first, second]
    raise TransportError("no TCP port is free for both IPv4 and IPv6")


def _listening_socket(address: Address) -> socket.socket:
    family, sockaddr = family_of(address), to_sockaddr(address)
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as exc:
        raise TransportError(f"cannot open a TCP socket: {exc}") from exc
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if sys.platform != "win32":  # where it means that two may listen
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        sock.bind(sockaddr)
        sock.listen(BACKLOG)
    except OSError as exc:
        sock.close()
        raise TransportError(
            f"cannot bind TCP port {address.port} on {sockaddr[0]}: {exc.strerror}"
        ) from exc
    return sock
