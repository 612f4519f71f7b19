"""asyncio's floor: sockets, clocks, disks and the public sessions over the pure machines.

Imports everything below (``connection``, ``transfer``, ``node``); must not parse or build a
datagram, or decide anything that the protocol decides. Start reading at ``session.py`` for the
API, at ``driver.py`` for how a machine is driven, at ``udp.py`` for the sockets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wraith.aio.dial import connect as connect
    from wraith.aio.listener import Listener as Listener
    from wraith.aio.listener import listen as listen
    from wraith.aio.session import Session as Session
    from wraith.aio.stream import Stream as Stream

_HOMES = {
    "connect": "wraith.aio.dial",
    "listen": "wraith.aio.listener",
    "Listener": "wraith.aio.listener",
    "Session": "wraith.aio.session",
    "Stream": "wraith.aio.stream",
}

__all__ = ["connect", "listen", "Listener", "Session", "Stream"]


def __getattr__(name: str) -> object:
    # Lazy, so that a tool which needs one file of this floor does not load the whole of it.
    from importlib import import_module

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'wraith.aio' has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value
