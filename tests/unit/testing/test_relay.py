"""The relay forwards both ways and counts what it saw."""

from __future__ import annotations

import socket

from wraith.testing.netem import LinkConfig
from wraith.testing.relay import UdpRelay


def test_it_forwards_both_ways_and_counts() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        with (
            UdpRelay(server.getsockname(), link=LinkConfig(latency_s=0.001)) as relay,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        ):
            client.settimeout(5)
            client.sendto(b"x" * 100, relay.address)
            data, source = server.recvfrom(2000)
            server.sendto(data + b"y", source)
            assert client.recv(2000) == b"x" * 100 + b"y"
            assert (relay.to_target.datagrams, relay.to_target.bytes) == (1, 100)
            assert relay.to_client.sizes == [101]
