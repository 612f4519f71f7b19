"""What a node asks of a service, whatever the service does.

A service listens under one access key, dials, or both. The node gives it every event of its own
connections and nothing of anybody else's.

Spec: docs/adr/0021-services-are-chosen-by-access-key.md.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from wraith.connection.connection import Connection
from wraith.connection.endpoint_events import EndpointEvent
from wraith.connection.events import Event
from wraith.types import Buffer, NetworkPath

ServiceEventT_co = TypeVar("ServiceEventT_co", covariant=True)


class Service(Protocol[ServiceEventT_co]):
    """Times are monotonic seconds. Nothing here raises, whatever a peer sends."""

    def on_event(self, connection: Connection, event: Event, now: float, /) -> None:
        """A fact about one of its connections. An incoming one begins with ``PeerAuthenticated``,
        which the service answers with ``accept`` or ``refuse``."""
        ...

    def on_endpoint_event(self, event: EndpointEvent, now: float, /) -> None:
        """A fact about somebody who proved its access key and has no connection."""
        ...

    def pump(self, now: float, /) -> bool:
        """Moves what can be moved after events, commands or time. True when that may have made
        events of its connections, so that they are looked at again."""
        ...

    def before_sending(self, now: float, /) -> None:
        """The endpoint is about to be asked for datagrams."""
        ...

    def handle_timer(self, now: float, /) -> None:
        """Does what is due at ``now``."""
        ...

    def next_timer(self) -> float | None:
        """When ``handle_timer`` is due."""
        ...

    def next_event(self) -> ServiceEventT_co | None:
        """The next fact for whoever runs the service, oldest first."""
        ...


class FirstLook(Protocol):
    """Looks at datagrams that belong to no connection, dial or handshake of the endpoint before
    they are tried as hellos: what is no WRAITH packet at all, or is to be passed on."""

    def takes(self, datagram: Buffer, path: NetworkPath, now: float, /) -> bool:
        """Whether the datagram was meant for it; then nobody else sees it. Borrowed for the call.
        It is unproven: nothing may be answered that a stranger could not have known anyway."""
        ...
