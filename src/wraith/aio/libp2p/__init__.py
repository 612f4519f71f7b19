"""A libp2p host over asyncio. The public names stand here; start reading at ``host``.

Part of ``aio``: it imports ``wraith.libp2p`` (the machines), the sockets and the driver.
"""

from __future__ import annotations

from wraith.aio.libp2p.connection import Libp2pConnection
from wraith.aio.libp2p.host import Libp2pHost
from wraith.aio.libp2p.stream import Libp2pStream

__all__ = ["Libp2pConnection", "Libp2pHost", "Libp2pStream"]
