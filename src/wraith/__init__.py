"""WRAITH: a secure peer-to-peer transport with a hybrid post-quantum handshake.

The public names below load on first use, so that ``import wraith`` costs nothing and brings in no
asyncio: a program may use ``wraith.connection`` (the machine without I/O) with a loop of its own.
Start reading at ``wraith.aio`` (sessions over sockets) or ``wraith.connection`` (the protocol).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "2.0.0"

if TYPE_CHECKING:
    from wraith.aio import sync as sync
    from wraith.aio.files import events as events
    from wraith.aio.files.receiving import Answer as Answer
    from wraith.aio.files.receiving import receive as receive
    from wraith.aio.files.sending import Sending as Sending
    from wraith.aio.files.sending import send as send
    from wraith.aio.sessions.dial import connect as connect
    from wraith.aio.sessions.listener import Listener as Listener
    from wraith.aio.sessions.listener import listen as listen
    from wraith.aio.sessions.session import Session as Session
    from wraith.aio.sessions.stream import Stream as Stream
    from wraith.config import EndpointConfig as EndpointConfig
    from wraith.crypto.ed25519 import Identity as Identity
    from wraith.errors import WraithError as WraithError
    from wraith.types import PeerKey as PeerKey
    from wraith.types import SecurityInfo as SecurityInfo
    from wraith.types import SuiteId as SuiteId

#: Public name -> the module that defines it.
_HOMES = {
    "connect": "wraith.aio.sessions.dial",
    "listen": "wraith.aio.sessions.listener",
    "receive": "wraith.aio.files.receiving",
    "send": "wraith.aio.files.sending",
    "Answer": "wraith.aio.files.receiving",
    "Sending": "wraith.aio.files.sending",
    "Listener": "wraith.aio.sessions.listener",
    "Session": "wraith.aio.sessions.session",
    "Stream": "wraith.aio.sessions.stream",
    "Identity": "wraith.crypto.ed25519",
    "EndpointConfig": "wraith.config",
    "PeerKey": "wraith.types",
    "SecurityInfo": "wraith.types",
    "SuiteId": "wraith.types",
    "WraithError": "wraith.errors",
}

#: Public modules that load when they are used.
_MODULES = {"events": "wraith.aio.files.events", "sync": "wraith.aio.sync"}

__all__ = [
    "__version__",
    "connect",
    "events",
    "listen",
    "receive",
    "send",
    "sync",
    "Answer",
    "EndpointConfig",
    "Identity",
    "Listener",
    "PeerKey",
    "SecurityInfo",
    "Sending",
    "Session",
    "Stream",
    "SuiteId",
    "WraithError",
]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _MODULES:
        return import_module(_MODULES[name])
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'wraith' has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
