"""``wraith.connect``: from a code to an established session.

The name is here as soon as a program imports it; the machine behind it loads with the first dial.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from wraith.aio.opening import Opening

if TYPE_CHECKING:
    from wraith.aio.sessions.endpoint import AsyncEndpoint
    from wraith.aio.sessions.session import Session
    from wraith.aio.transports.local import LocalAddress
    from wraith.config import EndpointConfig
    from wraith.connection.handshake.node_record import NodeRecord
    from wraith.connection.tickets.store import MemoryTickets
    from wraith.crypto.ed25519 import Identity
    from wraith.types import SuiteId


def connect(
    code: str | NodeRecord,
    *,
    identity: Identity | None = None,
    require_pq: bool = True,
    suites: tuple[SuiteId, ...] | None = None,
    config: EndpointConfig | None = None,
    local: LocalAddress | None = None,
    carriers: Sequence[str] | None = None,
    proxy: str = "auto",
    tickets: MemoryTickets | None = None,
) -> Opening[Session]:
    """Dials a node: ``session = await connect(...)`` or ``async with connect(...) as session``.

    All roads that the code names are tried, a quarter of a second apart, UDP first; the first that
    answers with the right key wins. When it fails later the session goes on over another one. The
    session has its own socket. Cancelled, nothing is left behind.

    Args:
        code: a code as ``Listener.code`` shows it, or the record itself.
        identity: who this side is; a fresh identity when ``None``.
        require_pq: refuse anything without post-quantum key exchange.
        suites: what to offer, best first; ``None`` offers all that the policy allows.
        config: everything else that can be set.
        local: what to send from: ``"HOST:PORT"``, ``(host, port)`` or a port; every interface and a
            free port when ``None``.
        carriers: which may be used: ``"udp"``, ``"tcp"``, ``"ws"``, ``"quic"``; ``None``: all that
            are installed.
        proxy: ``"auto"`` goes by the environment (ALL_PROXY, HTTPS_PROXY, NO_PROXY), ``"none"``,
            or a URL: then every byte goes through it and UDP is off.
        tickets: a ``wraith.MemoryTickets`` that outlives the session: a node that was dialled with
            it before is reached again by a ticket, without certificates. With it, ``identity``
            ``None`` means one identity for all dials with this store. A ticket that is refused
            costs one round trip.

    Raises:
        CodeInvalid: the code is mistyped or of a newer version.
        HandshakeTimeout: nobody answered: filtered, gone, an old code, or a wrong clock.
        PeerKeyMismatch: another node answered.
        NotAuthorised: the node does not accept this identity.
        PolicyRefused, ConfigError, MissingExtra, TransportError: what they say.
    """

    async def open_() -> Session:
        from wraith.aio.argument_kinds import check_identity, check_tickets
        from wraith.aio.entropy import OsRng
        from wraith.aio.fork import poison_after_fork
        from wraith.aio.road_choice import choose
        from wraith.aio.sessions.endpoint import effective_config, local_for, open_endpoint
        from wraith.aio.transports.local import local_address
        from wraith.crypto.ed25519 import Identity
        from wraith.node.codes import to_record

        record = to_record(code)
        chosen = effective_config(config, require_pq=require_pq, suites=suites)
        check_identity(identity)
        check_tickets(tickets)
        own = identity
        if tickets is not None:
            poison_after_fork(tickets)
            if own is None:
                tickets.identity = tickets.identity or Identity.generate(OsRng())
                own = tickets.identity
        endpoint = await open_endpoint(
            config=chosen,
            identity=own,
            local=local_address(local) if local is not None else local_for(record),
            listening=False,
            choice=choose(carriers, proxy),
        )
        endpoint.private = True
        try:
            return await dial(endpoint, record, require_pq=require_pq, tickets=tickets)
        except BaseException:
            endpoint.close()
            raise

    return Opening(open_, "wraith.connect(...)")


async def dial(
    endpoint: AsyncEndpoint,
    record: NodeRecord,
    *,
    require_pq: bool,
    tickets: MemoryTickets | None = None,
) -> Session:
    """One session from ``endpoint`` to ``record``. Cancelled or failed, the attempt is dropped."""
    session = endpoint.connect(record, require_pq=require_pq, tickets=tickets)
    try:
        await session._wait_ready()
    except BaseException:
        if not session.is_closed:
            session.connection.close(0, "", endpoint.driver.now())
            endpoint.driver.wake()
        raise
    return session
