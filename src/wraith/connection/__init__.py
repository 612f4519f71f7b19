"""One peer, and many behind one socket: handshake, established connection, endpoint.

Floor: machines. Sans-I/O: datagrams, time and randomness come in as arguments; datagrams, a
deadline and events come out. May import ``hotpath``, ``wire``, ``crypto`` and what lies below them.
Must never touch a socket, a clock or the application's data. Start with ``connection.py`` (one
peer) and ``endpoint.py`` (routing and first contact); docs/spec/connection.md and
docs/spec/handshake.md. Five rooms lie inside: ``handshake`` (the way to a connection), ``tickets``
(what makes that way shorter), ``data`` (streams, acknowledgements, loss), ``paths`` (the network
between two peers) and ``roads`` (which way to a peer is tried, kept and gone back to).

The public names below load on first use: a program that needs a node record alone does not pay for
a handshake. A program with an event loop of its own needs nothing else; docs/reference/api.md shows
how to drive an ``Endpoint``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wraith.connection.connection import Connection as Connection
    from wraith.connection.endpoint import Endpoint as Endpoint
    from wraith.connection.endpoint_events import ClockSkew as ClockSkew
    from wraith.connection.events import Event as Event
    from wraith.connection.handshake.endpoint_keys import AccessKey as AccessKey
    from wraith.connection.handshake.endpoint_keys import EndpointKeys as EndpointKeys
    from wraith.connection.handshake.node_record import NodeRecord as NodeRecord
    from wraith.connection.state import SessionState as SessionState
    from wraith.connection.stats import ConnectionStats as ConnectionStats

#: Public name -> the module that defines it.
_HOMES = {
    "AccessKey": "handshake.endpoint_keys",
    "ClockSkew": "endpoint_events",
    "Connection": "connection",
    "ConnectionStats": "stats",
    "Endpoint": "endpoint",
    "EndpointKeys": "handshake.endpoint_keys",
    "Event": "events",
    "NodeRecord": "handshake.node_record",
    "SessionState": "state",
}

__all__ = [
    "AccessKey",
    "ClockSkew",
    "Connection",
    "ConnectionStats",
    "Endpoint",
    "EndpointKeys",
    "Event",
    "NodeRecord",
    "SessionState",
]


def __getattr__(name: str) -> object:
    from importlib import import_module

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'wraith.connection' has no attribute {name!r}")
    value: object = getattr(import_module(f"wraith.connection.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
