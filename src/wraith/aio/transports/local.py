"""Where programs bind: addresses in the forms that people and asyncio write, and sockets that are
bound already. No name is looked up."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from wraith.aio.transports.addresses import parse_address
from wraith.errors import ConfigError
from wraith.types import ANY_ADDRESS, Address

LocalAddress = str | int | tuple[str, int]
"""``"HOST:PORT"``, a port on every interface, or ``(host, port)``."""

GivenSockets = socket.socket | Sequence[socket.socket]
"""One bound UDP socket, or one for each address family."""

_ACCEPTED = "'HOST:PORT', a port, or (host, port), with a numeric host or localhost"


def local_address(where: LocalAddress | None) -> Address:
    """The address to bind; ``None``, an empty host and a bare port mean every interface, and port 0
    means any that is free. ``localhost`` is 127.0.0.1.

    Raises:
        ConfigError: anything else.
    """
    if where is None:
        return ANY_ADDRESS
    if isinstance(where, str):
        return parse_address(where)
    host: object = ""
    port: object = where
    if isinstance(where, tuple) and len(where) == 2:
        host, port = where
    if not isinstance(host, str | None) or not isinstance(port, int) or isinstance(port, bool):
        raise ConfigError("address", where, _ACCEPTED)
    if not 0 <= port <= 65_535:
        raise ConfigError("address", where, "a port from 0 to 65535")
    name = host or ""
    return parse_address(f"[{name}]:{port}" if ":" in name else f"{name}:{port}")


def bound_already(given: GivenSockets) -> list[socket.socket]:
    """The sockets in ``given``, which can be used as they are.

    Raises:
        ConfigError: one is no bound UDP socket, or two are of one family.
    """
    if not isinstance(given, socket.socket | Sequence):
        raise ConfigError("sock", given, "a bound UDP socket")
    socks = [given] if isinstance(given, socket.socket) else list(given)
    if not socks:
        raise ConfigError("sock", given, "at least one bound UDP socket")
    for sock in socks:
        if not isinstance(sock, socket.socket) or sock.type != socket.SOCK_DGRAM:
            raise ConfigError("sock", sock, "a UDP socket (socket.SOCK_DGRAM)")
        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            raise ConfigError("sock", sock, "a socket of IPv4 or IPv6")
        if not sock.getsockname()[1]:
            raise ConfigError("sock", sock, "a socket that is bound to a port")
        if sock.family == socket.AF_INET6 and _takes_ipv4(sock):
            raise ConfigError(
                "sock", sock, "an IPv6 socket with IPV6_V6ONLY (systemd: BindIPv6Only=ipv6-only)"
            )
    if len({sock.family for sock in socks}) < len(socks):
        raise ConfigError("sock", given, "at most one socket for each address family")
    return socks


def _takes_ipv4(sock: socket.socket) -> bool:
    return not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
