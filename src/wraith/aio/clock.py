"""The clocks of the machine's shell. Calendar time enters the pure core through here only.

Monotonic time is not here: it is the event loop's own ``loop.time()``, so that a test which
replaces the loop's clock moves the whole protocol.
"""

from __future__ import annotations

import time

from wraith.abc import WallClock


class SystemClock(WallClock):
    """The operating system's calendar."""

    __slots__ = ()

    def unix_time(self) -> float:
        return time.time()
