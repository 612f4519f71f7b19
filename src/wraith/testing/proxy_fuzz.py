"""The targets of the fuzzer of what proxies answer: used by ``tests/fuzz`` and by the corpus
replay.

Any answer opens the connection, is refused with a ``OpenFailed``, or is waited for; everything else
is a defect, and so are an answer that is read beyond its end, one that is read without a bound, and
one that means something else when it comes byte by byte.
"""

from __future__ import annotations

from wraith.aio.transports.base import OpenFailed
from wraith.aio.transports.proxy import HTTP_HEAD_BYTES_MAX, steps_for
from wraith.connection.roads.proxies import ProxyScheme, ProxyUrl
from wraith.testing.fuzzing import Target

OPEN, WAITS = "open", "waits"
SOCKS_BYTES_MAX = 2 + 2 + 4 + 1 + 255 + 2
_HEAD_END = b"\r\n\r\n"
_PLACE = ("proxy.example", 3128, "user", "password")


def converse(url: ProxyUrl, data: bytes, piece_bytes: int) -> tuple[str, int]:
    """What comes of a conversation in which the proxy says ``data`` whatever it is told, and how
    many of these bytes were taken."""
    steps = steps_for(url, "peer.example", 443)
    taken = 0
    try:
        step = next(steps)
        while True:
            if isinstance(step, bytes):
                step = next(steps)
                continue
            assert step > 0, "nothing is asked for"
            piece = data[taken : taken + min(step, piece_bytes)]
            if not piece:
                return WAITS, taken
            taken += len(piece)
            step = steps.send(piece)
    except StopIteration:
        return OPEN, taken
    except OpenFailed as error:
        return str(error), taken


def http_reply(data: bytes) -> None:
    """An answer to CONNECT."""
    outcome, taken = _both(ProxyUrl(ProxyScheme.HTTP, *_PLACE), data)
    assert taken <= HTTP_HEAD_BYTES_MAX + len(_HEAD_END)
    if outcome == OPEN:
        assert taken == data.index(_HEAD_END) + len(_HEAD_END), "read beyond its end"


def socks_reply(data: bytes) -> None:
    """All that a SOCKS proxy says, from the choice of a method to the address that it uses; with
    credentials and without."""
    for place in (_PLACE, _PLACE[:2]):
        _, taken = _both(ProxyUrl(ProxyScheme.SOCKS5, *place), data)
        assert taken <= SOCKS_BYTES_MAX


TARGETS: tuple[Target, ...] = (http_reply, socks_reply)


def _both(url: ProxyUrl, data: bytes) -> tuple[str, int]:
    """The outcome, which must not depend on how the bytes arrive. (A refusal may be known earlier
    in smaller pieces.)"""
    outcome, taken = converse(url, data, len(data) + 1)
    same, taken_in_pieces = converse(url, data, 1)
    assert outcome == same, "pieces make a difference"
    assert outcome != OPEN or taken == taken_in_pieces
    return outcome, taken
