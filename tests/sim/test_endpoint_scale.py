"""One endpoint with thousands of established connections: the right one is found, the idle ones
cost memory only, and little of that. Their handshakes are left out; what is measured is the rest.
"""

from __future__ import annotations

import gc
import resource
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from wraith.abc import NullTracer
from wraith.config import EndpointConfig
from wraith.connection.connection import Connection
from wraith.connection.events import DatagramReceived, PathChanged
from wraith.connection.handshake.admission import CompletedHandshake
from wraith.crypto.kdf import blake3
from wraith.crypto.veil import VeilKeys
from wraith.testing.clock import VirtualClock
from wraith.testing.endpoints import ADDRESS_B, EndpointHost, Told, endpoint_host
from wraith.testing.established import handshake_results
from wraith.testing.rng import HashKem, SeededRng
from wraith.types import Address, NetworkPath, Role, Transmit

CONFIG = EndpointConfig(idle_timeout_s=600)


def address_of(number: int) -> Address:
    return Address(bytes((10, number >> 16, number >> 8 & 255, number & 255)), 4_000)


class Crowd:
    """A responder's endpoint, and the other ends of those connections that speak."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.host: EndpointHost = endpoint_host(self.clock, "r", config=CONFIG, listening=True)

    def admit(self, numbers: range) -> None:
        """A connection of its own for each number, with all that a handshake leaves behind."""
        endpoint = self.host.endpoint
        for number in numbers:
            secret = blake3(number.to_bytes(4, "big"))
            _, result = handshake_results(CONFIG, CONFIG, session_secret=secret)
            result = replace(result, own_hmks=endpoint._hmks.live)
            veil = VeilKeys.derive(secret, secret, secret, None)
            path = NetworkPath(ADDRESS_B, address_of(number))
            endpoint._accept(CompletedHandshake(result, veil), path, self.clock.now)
        self.rest()

    def rest(self) -> None:
        """Drains the endpoint; what it sends goes nowhere."""
        while self.host.service(self.clock.now) | bool(self.send()):
            pass

    def send(self) -> list[tuple[bytes, int, Address]]:
        """Everything due, copied: bytes, segment size, where to."""
        out: list[tuple[bytes, int, Address]] = []
        while transmits := self.host.endpoint.datagrams_to_send(self.clock.now):
            out += [(bytes(t.data), t.segment_bytes, t.path.remote) for t in transmits]
        return out

    def initiator(self, number: int) -> Connection:
        """The other end of connection ``number``. It has the endpoint's mask key already."""
        secret = blake3(number.to_bytes(4, "big"))
        result, _ = handshake_results(CONFIG, CONFIG, session_secret=secret)
        result = replace(result, peer_hmk=self.host.endpoint._hmks.live[0])
        connection = Connection(
            role=Role.INITIATOR,
            path=NetworkPath(address_of(number), ADDRESS_B),
            config=CONFIG,
            rng=SeededRng(number),
            kem=HashKem(),
            tracer=NullTracer(),
            now=self.clock.now,
        )
        connection.establish(result, self.clock.now)
        return connection

    def deliver(self, sent: list[Transmit], source: Address) -> list[Told]:
        """Hands ``sent`` to the endpoint; returns what it has to tell."""
        path = NetworkPath(ADDRESS_B, source)
        n_told = len(self.host.told)
        for transmit in sent:
            data = bytes(transmit.data)
            self.host.endpoint.receive_datagrams(data, transmit.segment_bytes, path, self.clock.now)
        self.host.service(self.clock.now)
        return self.host.told[n_told:]


def exercise(crowd: Crowd, n: int, step: int) -> None:
    """Every ``step``-th connection is reached by its 4-tuple, then from elsewhere by form B."""
    endpoint = crowd.host.endpoint
    by_address = {connection.path.remote: connection for connection in endpoint.connections}
    for number in range(0, n, step):
        peer, source = crowd.initiator(number), address_of(number)
        expected = by_address[source]
        peer.send_datagram(b"to %d" % number, crowd.clock.now)
        told = crowd.deliver(peer.datagrams_to_send(crowd.clock.now), source)
        (message,) = [t for t in told if isinstance(t.event, DatagramReceived)]
        assert message.connection is expected
        assert message.event == DatagramReceived(b"to %d" % number)
        for data, segment_bytes, remote in crowd.send():
            if remote == source:
                path = NetworkPath(source, ADDRESS_B)
                peer.receive_datagrams(data, segment_bytes, path, crowd.clock.now)
        assert peer.confirmed
        crowd.clock.advance(crowd.clock.now + 6.0)  # after that much silence form B is used
        elsewhere = Address(bytes((172, 16, number >> 8 & 255, number & 255)), 5)
        peer.send_datagram(b"moved", crowd.clock.now)
        told = crowd.deliver(peer.datagrams_to_send(crowd.clock.now), elsewhere)
        (message,) = [t for t in told if isinstance(t.event, DatagramReceived)]
        assert message.connection is expected and message.event == DatagramReceived(b"moved")
        assert not [t for t in told if isinstance(t.event, PathChanged)], "not proven yet"
        crowd.rest()


@pytest.mark.spec("HS-41")
def test_a_thousand_connections_are_told_apart_and_leave_nothing() -> None:
    crowd = Crowd()
    n = 1_000
    crowd.admit(range(n))
    endpoint = crowd.host.endpoint
    assert len(endpoint.connections) == n
    exercise(crowd, n, step=97)
    endpoint.close_all(crowd.clock.now)
    told_to = {remote for _, _, remote in crowd.send()}
    assert len(told_to) >= n, "each of them hears of the end"
    while endpoint.connections:
        due = endpoint.next_timer()
        assert due is not None
        crowd.clock.advance(max(due, crowd.clock.now))
        endpoint.handle_timer(crowd.clock.now)
        crowd.rest()
    assert endpoint._routing.n_cids == endpoint._routing.n_paths == 0
    assert endpoint._windows.used == 0


@pytest.mark.spec("HS-44")
def test_an_idle_connection_costs_less_than_fifty_kilobytes() -> None:
    crowd = Crowd()
    crowd.admit(range(50))  # whatever exists once per endpoint exists now
    crowd.host.told.clear()
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        crowd.admit(range(1_000, 1_200))
        crowd.clock.advance(12.0)  # FINISH can no longer be repeated
        crowd.host.endpoint.handle_timer(12.0)
        crowd.rest()
        crowd.host.told.clear()
        gc.collect()
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert used / 200 < 50_000


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.slow
@pytest.mark.spec("HS-41")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_ten_thousand_connections_behind_one_socket() -> None:
    crowd = Crowd()
    crowd.admit(range(100))
    gc.collect()
    before, n = resident_bytes(), 10_000
    crowd.admit(range(100, n))
    crowd.host.told.clear()
    gc.collect()
    assert (resident_bytes() - before) / (n - 100) < 100_000, "native parts included"
    assert len(crowd.host.endpoint.connections) == n
    exercise(crowd, n, step=911)
