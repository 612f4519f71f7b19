"""asyncio's floor: sockets, clocks, disks and the public sessions over the pure machines.

Imports everything below (``connection``, ``transfer``, ``node``); must not parse or build a
datagram, or decide anything that the protocol decides. Start reading at ``sessions/`` for the
API, at ``driver.py`` for how a machine is driven, at ``sockets/`` for UDP and at ``disk/`` for
files. ``files/`` has ``send`` and ``receive``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wraith.aio.files.receiving import receive as receive
    from wraith.aio.files.send import send as send
    from wraith.aio.running import RunningNode as RunningNode
    from wraith.aio.running import open_node as open_node
    from wraith.aio.sessions.dial import connect as connect
    from wraith.aio.sessions.listener import Listener as Listener
    from wraith.aio.sessions.listener import listen as listen
    from wraith.aio.sessions.session import Session as Session
    from wraith.aio.sessions.stream import Stream as Stream

_HOMES = {
    "connect": "wraith.aio.sessions.dial",
    "listen": "wraith.aio.sessions.listener",
    "Listener": "wraith.aio.sessions.listener",
    "RunningNode": "wraith.aio.running",
    "Session": "wraith.aio.sessions.session",
    "Stream": "wraith.aio.sessions.stream",
    "open_node": "wraith.aio.running",
    "receive": "wraith.aio.files.receiving",
    "send": "wraith.aio.files.send",
}

__all__ = [
    "connect",
    "listen",
    "open_node",
    "receive",
    "send",
    "Listener",
    "RunningNode",
    "Session",
    "Stream",
]


def __getattr__(name: str) -> object:
    # Lazy, so that a tool which needs one file of this floor does not load the whole of it.
    from importlib import import_module

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'wraith.aio' has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value
