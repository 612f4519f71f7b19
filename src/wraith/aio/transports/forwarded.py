"""Whom a request comes from when a reverse proxy stands in front.

``X-Forwarded-For`` can be written by anybody. It counts only from the proxies that the listener was
told, and of its entries only those that these proxies have added: from the right, up to the first
that is not one of them. Spec: docs/spec/carriers.md [CA-74]. Pure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from wraith.errors import ConfigError
from wraith.types import ANY_ADDRESS, Address

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ListedProxies:
    """The reverse proxies whose word counts.

    Args:
        networks: addresses or networks, such as ``127.0.0.1`` or ``fd00::/8``.

    Raises:
        ConfigError: one of them is neither.
    """

    __slots__ = ("_networks",)

    def __init__(self, networks: Sequence[str] = ()) -> None:
        self._networks: list[_Network] = []
        for text in networks:
            try:
                self._networks.append(ipaddress.ip_network(text.strip()))
            except ValueError:
                accepted = "an address or a network, such as 127.0.0.1 or fd00::/8"
                raise ConfigError("proxies", text, accepted) from None

    def holds(self, address: Address) -> bool:
        """Whether ``address`` is one of them."""
        if not address.ip:
            return False
        ip = ipaddress.ip_address(address.ip)
        mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
        return any((mapped or ip) in network for network in self._networks)

    def client_of(self, peer: Address, forwarded_for: Sequence[str]) -> Address:
        """Where a request comes from: ``peer`` itself, unless that is a listed proxy.

        Args:
            peer: who holds the connection.
            forwarded_for: the values of X-Forwarded-For as they came, in their order.

        Returns:
            An address with port 0 where a proxy named one; ``ANY_ADDRESS`` where it named none or
            wrote something else: nobody is known, so no prefix pays for it.
        """
        if not self.holds(peer):
            return peer
        entries = [entry for value in forwarded_for for entry in value.split(",")]
        for entry in reversed(entries):
            try:
                client = Address(ipaddress.ip_address(entry.strip()).packed, 0)
            except ValueError:
                return ANY_ADDRESS
            if not self.holds(client):
                return client
        return ANY_ADDRESS
