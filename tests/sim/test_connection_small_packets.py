"""What small packets full of frames make their receiver do, counted in calls: no clock decides.

The figure that the project states is processor time (``bench/hostile.py``); calls are what can be
held in every run.
"""

from __future__ import annotations

import sys
from itertools import islice

import pytest

from wraith import hotpath
from wraith.abc import NullTracer
from wraith.config import MIB, EndpointConfig
from wraith.connection import events as ev
from wraith.connection.connection import Connection
from wraith.connection.keys import SessionEpochs
from wraith.testing.established import handshake_results
from wraith.testing.grammar import KINDS, LARGE, LONE, packets
from wraith.testing.pair import ADDRESS_A, ADDRESS_B
from wraith.testing.rng import HashKem, SeededRng
from wraith.types import NetworkPath, Role

CONFIG = EndpointConfig(
    max_streams=16_384, stream_window=32 * MIB, stream_window_max=32 * MIB,
    conn_window=64 * MIB, conn_window_max=64 * MIB,
)  # fmt: skip
PATH = NetworkPath(ADDRESS_B, ADDRESS_A)
SMALL_BYTES = 199
N = 60
CALLS_MAX = 4.0
"""Times the calls of a lone packet. Kinds of five and more missed the bound on processor time."""


class Victim:
    """A responder that reads all that comes and answers as it must."""

    def __init__(self) -> None:
        self.results = handshake_results(CONFIG, CONFIG)
        self.now = 1.0
        self.connection = Connection(
            role=Role.RESPONDER, path=PATH, config=CONFIG, rng=SeededRng("victim"), kem=HashKem(),
            tracer=NullTracer(), now=self.now,
        )  # fmt: skip
        self.connection.establish(self.results[1], self.now)

    def sealed(self, kind: str, size: int) -> list[bytes]:
        sealer = SessionEpochs(self.results[0], 8_192).sealer
        found: list[bytes] = []
        for what, many in ((LONE, 40), (kind, N)):
            for payload in islice(packets(what, sealer.capacity(size)), many):
                out = bytearray(size)
                n_bytes, *_ = sealer.seal_run(
                    epoch=0,
                    cid_index=0,
                    form=0,
                    lead=payload,
                    datagram_bytes=max(size, 64),
                    n_max=1,
                    random=bytes(sealer.dummy_bytes),
                    out=out,
                )
                found.append(bytes(out[:n_bytes]))
        return found

    def take(self, data: bytes) -> None:
        connection = self.connection
        self.now += 1e-4
        connection.receive_datagrams(data, len(data), PATH, self.now)
        while (event := connection.next_event()) is not None:
            if isinstance(event, ev.PeerAuthenticated):
                connection.accept(self.now)
            elif isinstance(event, ev.StreamReadable):
                connection.stream_read_chunks(event.sid, 1 << 20, self.now)
            assert not isinstance(event, ev.Closed), event
        timer = connection.next_timer()
        if timer is not None and timer <= self.now:
            connection.handle_timer(self.now)
        connection.datagrams_to_send(self.now)


def calls(kind: str, size: int) -> float:
    """Calls of Python functions for each packet."""
    victim = Victim()
    datagrams = victim.sealed(kind, size)
    for datagram in datagrams[:-N]:
        victim.take(datagram)
    n = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal n
        n += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        for datagram in datagrams[-N:]:
            victim.take(datagram)
    finally:
        sys.setprofile(before)
    return n / N


@pytest.mark.skipif(hotpath.NAME != "native", reason="the twin does more for a lone packet")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in LARGE])
def test_a_small_packet_of_many_frames_costs_few_times_the_calls_of_a_lone_one(kind: str) -> None:
    lone = calls(LONE, 64)
    assert calls(kind, SMALL_BYTES) <= CALLS_MAX * lone, f"a lone packet costs {lone:.0f} calls"
