"""The order of roads: rows by carrier, the same again through proxies, families in turn.

Spec: docs/spec/roads.md §2 [RO-10] [RO-11]; docs/adr/0024-order-of-roads.md says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from wraith.types import Carrier, Road

#: What is tried first. A carrier that is not named here comes last.
DEFAULT_ORDER: Final = (Carrier.UDP, Carrier.QUIC, Carrier.TCP, Carrier.WS)
#: The order of those who would rather look like the web.
STEALTH_ORDER: Final = (Carrier.WS, Carrier.TCP, Carrier.QUIC, Carrier.UDP)

Order = Sequence[Carrier]


def row_of(road: Road, order: Order) -> int:
    """The number of the row that ``road`` stands in: 0 is the best. Equal: neither is better."""
    place = order.index(road.carrier) if road.carrier in order else len(order)
    return place if road.proxy is None else place + len(order) + 1


def rows_of(roads: Iterable[Road], order: Order) -> list[tuple[Road, ...]]:
    """The rows that have a road, best first. Within a row IPv6 and IPv4 alternate, and the order
    is otherwise the given one; a road that is named twice stands there once."""
    rows: dict[int, list[Road]] = {}
    for road in dict.fromkeys(roads):
        rows.setdefault(row_of(road, order), []).append(road)
    return [_alternate(rows[number]) for number in sorted(rows)]


def best_of(roads: Iterable[Road], order: Order, n_max: int) -> list[Road]:
    """At most ``n_max`` roads in the order of rows: first one of each row, then a second of each,
    so that many addresses of one carrier do not push another carrier out."""
    rows = rows_of(roads, order)
    longest = max((len(row) for row in rows), default=0)
    taken = [road for i in range(longest) for row in rows for road in row[i : i + 1]][:n_max]
    return [road for row in rows for road in row if road in taken]


def _alternate(roads: list[Road]) -> tuple[Road, ...]:
    """IPv6 and the others in turn, IPv6 first, each in the given order. [HS-50]

    One family may be broken on the way; alternating finds that out after one step, not after all
    addresses of it (RFC 8305 §4).
    """
    six: list[Road] = []
    others: list[Road] = []
    for road in roads:
        is_six = road.address is not None and len(road.address.ip) == 16
        (six if is_six else others).append(road)
    ordered: list[Road] = []
    for i in range(max(len(six), len(others))):
        ordered.extend(six[i : i + 1])
        ordered.extend(others[i : i + 1])
    return tuple(ordered)
