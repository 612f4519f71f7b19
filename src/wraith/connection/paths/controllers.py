"""The congestion controllers by their names in ``EndpointConfig``.

Spec: docs/spec/recovery.md [RC-9].
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from wraith.connection.paths.bbr import Bbr
from wraith.connection.paths.congestion import WINDOW_MAX_BYTES, Controller, Cubic, NewReno

CONTROLLERS: Final = MappingProxyType[str, Callable[[int, int], Controller]](
    {"cubic": Cubic, "newreno": NewReno, "bbr": Bbr}
)
"""Made of the size of datagrams and the largest window."""


def make_controller(
    name: str, datagram_bytes: int, *, window_max: int = WINDOW_MAX_BYTES
) -> Controller:
    """One of ``CONTROLLERS``; its window never grows beyond ``window_max`` bytes. [CN-66]"""
    return CONTROLLERS[name](datagram_bytes, window_max)
