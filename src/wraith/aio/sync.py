"""``wraith.sync``: the public names for programs without asyncio; every call blocks.

How they share one event loop says ``aio/blocking.py``.
"""

from __future__ import annotations

from wraith.aio.files.sync import Sending as Sending
from wraith.aio.files.sync import receive as receive
from wraith.aio.files.sync import send as send
from wraith.aio.sessions.sync import Listener as Listener
from wraith.aio.sessions.sync import Session as Session
from wraith.aio.sessions.sync import Stream as Stream
from wraith.aio.sessions.sync import connect as connect
from wraith.aio.sessions.sync import listen as listen

__all__ = ["connect", "listen", "receive", "send", "Listener", "Sending", "Session", "Stream"]
