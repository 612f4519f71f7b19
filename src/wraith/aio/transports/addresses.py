"""Between ``wraith.types.Address`` (raw bytes) and what ``socket`` and people write.

Pure conversions: no name is ever looked up here.
"""

from __future__ import annotations

import ipaddress
import socket

from wraith.errors import ConfigError
from wraith.types import ANY_ADDRESS, Address

SocketAddress = tuple[str, int] | tuple[str, int, int, int]


def family_of(address: Address) -> socket.AddressFamily:
    """``AF_INET`` for 4 address bytes, ``AF_INET6`` for 16. Raises ``ValueError`` for others."""
    if len(address.ip) == 4:
        return socket.AF_INET
    if len(address.ip) == 16:
        return socket.AF_INET6
    raise ValueError("an address has 4 or 16 bytes")


def to_sockaddr(address: Address) -> SocketAddress:
    """The address as ``sendto`` takes it."""
    if family_of(address) == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, address.ip), address.port
    return socket.inet_ntop(socket.AF_INET6, address.ip), address.port, 0, address.scope


def from_sockaddr(sockaddr: tuple[object, ...]) -> Address:
    """The address as ``recvfrom`` and ``getsockname`` give it; ``ANY_ADDRESS`` if it is unusual."""
    host = str(sockaddr[0]).partition("%")[0]
    port = sockaddr[1]
    assert isinstance(port, int)
    try:
        if len(sockaddr) == 2:
            return Address(socket.inet_pton(socket.AF_INET, host), port)
        scope = sockaddr[3]
        assert isinstance(scope, int)
        return Address(socket.inet_pton(socket.AF_INET6, host), port, scope)
    except OSError:
        return ANY_ADDRESS


def format_address(address: Address) -> str:
    """``192.0.2.1:4433`` or ``[2001:db8::1]:4433``."""
    sockaddr = to_sockaddr(address)
    if len(sockaddr) == 2:
        return f"{sockaddr[0]}:{sockaddr[1]}"
    zone = f"%{address.scope}" if address.scope else ""
    return f"[{sockaddr[0]}{zone}]:{sockaddr[1]}"


def parse_address(text: str) -> Address:
    """Reads ``HOST:PORT`` with a numeric host; IPv6 in brackets; ``:PORT`` means every interface,
    and ``localhost`` is 127.0.0.1.

    Raises:
        ConfigError: anything else, with what is accepted.
    """
    accepted = "HOST:PORT such as 192.0.2.1:4433, [2001:db8::1]:4433 or 127.0.0.1:0"
    host, colon, port_text = text.strip().rpartition(":")
    if not colon or not port_text.isascii() or not port_text.isdigit():
        raise ConfigError("address", text, accepted)
    port = int(port_text)
    bracketed = host.startswith("[") and host.endswith("]")
    if port > 65_535 or (":" in host and not bracketed):
        raise ConfigError("address", text, accepted)
    if host in ("", "*"):
        return Address(b"", port)
    if host.lower() == "localhost":
        return Address(bytes([127, 0, 0, 1]), port)
    host = host[1:-1] if bracketed else host
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        raise ConfigError("address", text, accepted) from None
    scope = 0
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.scope_id is not None:
        try:
            scope = int(parsed.scope_id)
        except ValueError:
            try:
                scope = socket.if_nametoindex(parsed.scope_id)
            except OSError:
                raise ConfigError("address", text, "a zone that exists on this host") from None
    return Address(parsed.packed, port, scope)
