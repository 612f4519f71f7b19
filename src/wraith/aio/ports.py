"""A UDP port that is bound and that nobody drives yet, and the code that leads there.

A command shows its code before it loads the machine that answers behind it: what arrives meanwhile
waits in the kernel.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from wraith.aio.transports.datagram_endpoint import bind_sockets
from wraith.aio.transports.udp import SocketSet
from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.connection.handshake.node_record import NodeRecord, usable_suites
from wraith.errors import TransportError
from wraith.node.codes import code_of
from wraith.transfer.code import encode_code
from wraith.types import Address, PeerKey, SuiteId


async def bind_preferred(
    local: Address, preferred_port: int, *, with_tcp: bool = False
) -> SocketSet:
    """Binds ``local``; with port 0 in it ``preferred_port`` is taken if it is free: on UDP alone
    rather than another one, since a code names it. [CA-26]

    Raises:
        TransportError: the address cannot be bound.
    """
    if preferred_port and not local.port:
        preferred = local._replace(port=preferred_port)
        for both in (True, False) if with_tcp else (False,):
            with contextlib.suppress(TransportError):
                return await bind_sockets(preferred, with_tcp=both)
    return await bind_sockets(local, with_tcp=with_tcp)


@dataclass(frozen=True, slots=True)
class WaitingPort:
    """The port of a side that is going to listen as ``peer`` with the key ``access``; ``suites``
    are those of its configuration. Whoever makes it closes ``sockets``, unless a node takes them.
    """

    sockets: SocketSet
    peer: PeerKey
    suites: tuple[SuiteId, ...]
    access: AccessKey = field(repr=False)

    @property
    def port(self) -> int:
        """The UDP port."""
        return self.sockets.port

    @property
    def has_tcp(self) -> bool:
        """It listens on TCP at the same port, too."""
        return bool(self.sockets.tcp)

    def code(self, addresses: Sequence[Address], *, maker_receives: bool = False) -> str:
        """The code that leads here. It is a secret: whoever holds it may take part."""
        record = NodeRecord(
            access_key=self.access.ak.public,
            peer=self.peer,
            suites=usable_suites(self.suites),
            access_psk=self.access.psk,
            addresses=tuple(addresses),
            has_tcp=self.has_tcp,
        )
        return encode_code(code_of(record, maker_receives=maker_receives))
