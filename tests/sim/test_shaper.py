"""A shaper decides how large datagrams are and when they leave: of handshakes and of sessions."""

from __future__ import annotations

import random
from itertools import takewhile

from wraith.connection.paths.shaper import RunShape
from wraith.connection.state import SessionState
from wraith.testing.endpoints import LinkedEndpoints, linked
from wraith.testing.netem import LinkConfig
from wraith.types import NetworkPath

DATA = random.Random(6).randbytes(60_000)
HANDSHAKE_BYTES, RUN_BYTES, SLOT_S = 700, 800, 0.25
LATENCY_S = 0.01


class Slots:
    """One size for each kind; nothing leaves but in a slot of a quarter of a second, and a run has
    three datagrams at most. Path messages and probes are not shaped."""

    def __init__(self) -> None:
        self._slot: dict[NetworkPath, float] = {}

    def handshake_bytes(self, least: int, most: int) -> int:
        return max(HANDSHAKE_BYTES, least)

    def handshake_time(self, network: NetworkPath, n_bytes: int, now: float) -> float:
        return -(-now // SLOT_S) * SLOT_S

    def run(self, network: NetworkPath, datagram_bytes: int, n_max: int, now: float) -> RunShape:
        last = self._slot.get(network, -1.0)
        at = max(-(-now // SLOT_S), last + 1)
        if at * SLOT_S <= now:
            self._slot[network] = at
        return RunShape(RUN_BYTES, min(n_max, 3), at * SLOT_S)


def seen(net: LinkedEndpoints) -> list[tuple[float, int]]:
    found: list[tuple[float, int]] = []
    net.on_sent = lambda source, target, datagram: found.append((net.now, len(datagram)))
    return found


def is_in_a_slot(at: float) -> bool:
    return abs(at / SLOT_S - round(at / SLOT_S)) < 1e-6


def test_a_shaper_delays_and_sizes_handshakes_and_runs() -> None:
    net = linked(link=LinkConfig(latency_s=LATENCY_S), shaper=Slots())
    net.run(seconds=0.1)
    handshake = seen(net)
    connection = net.dial()
    assert net.run_until_confirmed(connection)
    flights = list(takewhile(lambda sent: sent[1] == HANDSHAKE_BYTES, handshake))
    assert len(flights) >= 4, "hello, response, finish"
    assert all(is_in_a_slot(at) for at, _ in flights)
    runs = seen(net)
    sid = connection.open_stream(now=net.now)
    connection.stream_write(sid, DATA, fin=True, now=net.now)
    (peer,) = net.r.endpoint.connections
    assert net.run(seconds=60, until=lambda: peer.stream_readable(sid) == len(DATA))
    full = [at for at, n in runs if n == RUN_BYTES]
    assert len(full) > len(DATA) // RUN_BYTES and all(is_in_a_slot(at) for at in full)
    assert max(full.count(at) for at in full) == 3
    assert connection.state is SessionState.ESTABLISHED


def test_without_a_shaper_nothing_waits_for_a_slot() -> None:
    net = linked(link=LinkConfig(latency_s=LATENCY_S))
    net.run(seconds=0.1)
    sent = seen(net)
    assert net.run_until_confirmed(net.dial())
    assert not any(is_in_a_slot(at) for at, _ in sent)
