"""Sessions for programs: ``connect`` and ``listen``, streams, and the same calls without asyncio.

Part of ``aio``. Start at ``session``; ``endpoint`` joins sockets, driver and sessions.
"""
