"""The seam for whoever decides how large datagrams are and when they leave, beside window and
pacer.

Without a shaper nothing is asked. A shaper may only delay and make smaller: what window, pacer and
path allow stays the bound. Path messages, MTU probes and CLOSE are single datagrams and are not
shaped.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from wraith.types import NetworkPath


class RunShape(NamedTuple):
    """How the next run may leave: ``n_max`` datagrams of ``datagram_bytes``, not before ``at``
    (monotonic seconds)."""

    datagram_bytes: int
    n_max: int
    at: float


class Shaper(Protocol):
    """Sizes and release times of what one endpoint sends. Pure: randomness and time come in."""

    def handshake_bytes(self, least: int, most: int, /) -> int:
        """The size of the next datagram of a handshake flight, ``least`` to ``most``."""
        ...

    def handshake_time(self, network: NetworkPath, n_bytes: int, now: float, /) -> float:
        """When a handshake datagram that is ready may leave."""
        ...

    def run(self, network: NetworkPath, datagram_bytes: int, n_max: int, now: float, /) -> RunShape:
        """How the next run may leave that could have ``n_max`` datagrams of ``datagram_bytes`` now.
        Datagrams smaller than a queued message delay it. ``n_max`` is 1 at least."""
        ...
