"""A port that is bound and that nobody drives yet, and the code that leads there.

A command shows its code before it loads the machine that answers behind it: what arrives meanwhile
waits in the kernel.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from wraith.aio.road_choice import Reached, WebPlace
from wraith.aio.transports.datagram_endpoint import bind_sockets
from wraith.aio.transports.listening import listening_sockets
from wraith.aio.transports.udp import SocketSet
from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.connection.handshake.node_record import NodeRecord, usable_suites
from wraith.errors import TransportError
from wraith.node.codes import code_of
from wraith.transfer.code import encode_code
from wraith.types import Address, Carrier, PeerKey, SuiteId


async def bind_preferred(
    local: Address,
    preferred_port: int,
    *,
    listens: frozenset[Carrier] = frozenset((Carrier.UDP,)),
    web: WebPlace | None = None,
) -> SocketSet:
    """Binds ``local`` for ``listens``, and the place of ``web``. With port 0 in ``local``
    ``preferred_port`` is taken if it is free: on UDP alone rather than another one, since a code
    names it. [CA-26]

    Raises:
        TransportError: the address cannot be bound.
    """
    sockets = await _bind(local, preferred_port, listens)
    if web is not None:
        try:
            sockets.web = listening_sockets(web.local)
        except BaseException:
            sockets.close()
            raise
    return sockets


async def _bind(local: Address, preferred_port: int, listens: frozenset[Carrier]) -> SocketSet:
    with_tcp = Carrier.TCP in listens
    if preferred_port and not local.port:
        preferred = local._replace(port=preferred_port)
        ways = (True, False) if with_tcp and Carrier.UDP in listens else (with_tcp,)
        for way in ways:
            with contextlib.suppress(TransportError):
                return await bind_sockets(preferred, with_tcp=way)
    return await bind_sockets(local, with_tcp=with_tcp)


@dataclass(frozen=True, slots=True)
class WaitingPort:
    """The port of a side that is going to listen as ``peer`` with the key ``access``; ``suites``
    are those of its configuration. Whoever makes it closes ``sockets``, unless a node takes them.
    """

    sockets: SocketSet
    reached: Reached
    peer: PeerKey
    suites: tuple[SuiteId, ...]
    access: AccessKey = field(repr=False)

    @property
    def port(self) -> int:
        """The port of UDP, and of TCP."""
        return self.sockets.port

    def code(self, addresses: Sequence[Address], *, maker_receives: bool = False) -> str:
        """The code that leads here. It is a secret: whoever holds it may take part."""
        named = self.reached.named(addresses)
        record = NodeRecord(
            access_key=self.access.ak.public,
            peer=self.peer,
            suites=usable_suites(self.suites),
            access_psk=self.access.psk,
            addresses=named.addresses,
            has_tcp=named.has_tcp,
            other_roads=named.other_roads,
        )
        return encode_code(code_of(record, maker_receives=maker_receives))
