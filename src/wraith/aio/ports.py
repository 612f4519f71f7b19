"""A port that is bound and that nobody drives yet, and the code that leads there.

A command shows its code before it loads the machine that answers behind it: what arrives meanwhile
waits in the kernel.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from wraith.aio.road_choice import Reached, RoadChoice
from wraith.aio.transports.datagram_endpoint import bind_sockets
from wraith.aio.transports.listening import listening_sockets
from wraith.aio.transports.socket_set import SocketSet
from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.connection.handshake.node_record import NodeRecord, usable_suites
from wraith.errors import TransportError
from wraith.node.codes import code_of
from wraith.transfer.code import encode_code
from wraith.types import Address, Carrier, PeerKey, SuiteId


async def bind_preferred(local: Address, preferred_port: int, choice: RoadChoice) -> SocketSet:
    """Binds ``local`` for what ``choice`` listens on. With port 0 in ``local`` ``preferred_port``
    is taken if it is free: on some of the carriers rather than another one, since a code names it.
    [CA-26] [CA-86]

    Raises:
        TransportError: the address cannot be bound.
    """
    sockets = await _bind(local, preferred_port, choice)
    if choice.web is not None:
        try:
            sockets.web = listening_sockets(choice.web.local)
        except BaseException:
            sockets.close()
            raise
    return sockets


async def _bind(local: Address, preferred_port: int, choice: RoadChoice) -> SocketSet:
    with_tcp, with_quic = Carrier.TCP in choice.listens, Carrier.QUIC in choice.listens
    with_udp = choice.uses_udp
    if preferred_port and not local.port:
        preferred = local._replace(port=preferred_port)
        ways = [(True, True), (True, False), (False, True), (False, False)]
        for tcp, quic in ways:
            is_more = tcp > with_tcp or quic > with_quic
            is_nothing = not (tcp or quic or with_udp) and (with_tcp or with_quic)
            if is_more or is_nothing:
                continue
            with contextlib.suppress(TransportError):
                return await bind_sockets(
                    preferred, with_tcp=tcp, with_quic=quic, with_udp=with_udp
                )
    return await bind_sockets(local, with_tcp=with_tcp, with_quic=with_quic, with_udp=with_udp)


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
