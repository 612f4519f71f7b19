"""The options of a UDP socket: what the kernel is asked for, as far as it knows it.

Linux ``udp(7)``, ``ip(7)``, ``ipv6(7)``.
"""

from __future__ import annotations

import socket
import sys
from typing import Final

from wraith.aio.transports.addresses import family_of, to_sockaddr
from wraith.errors import TransportError
from wraith.types import Address

BUFFER_BYTES: Final = 8 * 1024 * 1024

IS_LINUX: Final = sys.platform.startswith("linux")
#: Plain numbers, as ancillary messages bring them.
IPPROTO_UDP: Final = 17
IPPROTO_IP: Final = int(socket.IPPROTO_IP)
IPPROTO_IPV6: Final = int(socket.IPPROTO_IPV6)
UDP_SEGMENT: Final = 103
UDP_GRO: Final = 104
IP_PKTINFO: Final = getattr(socket, "IP_PKTINFO", 8 if IS_LINUX else 26)
IPV6_PKTINFO: Final = getattr(socket, "IPV6_PKTINFO", 50)
_IPV6_RECVPKTINFO: Final = getattr(socket, "IPV6_RECVPKTINFO", 49)
_IP_MTU_DISCOVER: Final = 10
_IPV6_MTU_DISCOVER: Final = 23
_PMTUDISC_PROBE: Final = 3
_IP_DONTFRAG_DARWIN: Final = 28
_IPV6_DONTFRAG: Final = getattr(socket, "IPV6_DONTFRAG", 62)
#: ``SO_RCVBUFFORCE`` and ``SO_SNDBUFFORCE``: beyond the limit, for the privileged.
_FORCED: Final = {int(socket.SO_RCVBUF): 33, int(socket.SO_SNDBUF): 32}


def bound_socket(address: Address) -> socket.socket:
    """A UDP socket on ``address``; an IPv6 one takes no IPv4 traffic, so both fit on one port.

    Raises:
        TransportError: the family is missing or the address cannot be bound.
    """
    sockaddr = to_sockaddr(address)
    family = family_of(address)
    try:
        sock = socket.socket(family, socket.SOCK_DGRAM | getattr(socket, "SOCK_CLOEXEC", 0))
    except OSError as exc:
        raise TransportError(f"cannot open a UDP socket: {exc}") from exc
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(sockaddr)
    except OSError as exc:
        sock.close()
        raise TransportError(
            f"cannot bind UDP port {address.port} on {sockaddr[0]}: {exc.strerror}"
        ) from exc
    return sock


def ask_for_packet_info(sock: socket.socket) -> None:
    """Each datagram says which local address it was sent to."""
    if sock.family == socket.AF_INET:
        try_option(sock, IPPROTO_IP, IP_PKTINFO, 1)
    else:
        try_option(sock, IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)


def forbid_fragments(sock: socket.socket) -> None:
    """DF on, and the kernel's own idea of the path MTU off: the machine searches (RFC 8899)."""
    if sock.family == socket.AF_INET:
        if IS_LINUX:
            try_option(sock, IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
        elif sys.platform == "darwin":
            try_option(sock, IPPROTO_IP, _IP_DONTFRAG_DARWIN, 1)
    else:
        if IS_LINUX:
            try_option(sock, IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
        try_option(sock, IPPROTO_IPV6, _IPV6_DONTFRAG, 1)


def try_option(sock: socket.socket, level: int, option: int, value: int) -> bool:
    """Sets an option that not every kernel knows. Linux numbers mean other things elsewhere."""
    if level == IPPROTO_UDP and not IS_LINUX:
        return False
    try:
        sock.setsockopt(level, option, value)
    except OSError:
        return False
    return True


def grown(sock: socket.socket, option: int) -> int:
    """Asks for a large socket buffer and returns what there is now, in bytes of payload.

    The kernel caps the request (``net.core.rmem_max``) silently; a privileged process may go
    beyond. Linux reports twice the usable size, for its own book-keeping.
    """
    for kind in (option, _FORCED[option]) if IS_LINUX else (option,):
        try:
            sock.setsockopt(socket.SOL_SOCKET, kind, BUFFER_BYTES)
        except OSError:
            continue
        if sock.getsockopt(socket.SOL_SOCKET, option) >= 2 * BUFFER_BYTES:
            break
    given = sock.getsockopt(socket.SOL_SOCKET, option)
    return given // 2 if IS_LINUX else given
