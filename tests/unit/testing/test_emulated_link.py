"""Namespaces joined by the emulated link: it delays, loses and counts, and the router's rules hold
behind it."""

from __future__ import annotations

import socket
import time

import pytest

from wraith.testing.emulated_link import LinkFailed, LinkPath, joined, require_link
from wraith.testing.netns import DEVICE, Direction, alone, require_netns, routed

PATH = LinkPath(rate_mbit=100, delay_ms=20, queue_bytes=500_000)
ARRIVES_S = 10.0


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_link_delays_and_the_routers_rules_hold_behind_it(family: socket.AddressFamily) -> None:
    require_netns()
    require_link()
    with routed(tunnel=True) as net:
        host = net.right.ipv4 if family == socket.AF_INET else net.right.ipv6
        with joined(net.left.name, net.router.name, PATH, device=net.left.device) as link:
            with net.right.entered():
                server = socket.create_server((host, 0), family=family)
                datagrams = socket.socket(family, socket.SOCK_DGRAM)
            with server, datagrams, net.left.entered():
                datagrams.bind((host, 0))
                datagrams.settimeout(0.2)
                rule = net.drop_udp(Direction.OUT)
                began = time.monotonic()
                with socket.create_connection(server.getsockname()[:2], timeout=ARRIVES_S):
                    assert time.monotonic() - began >= 2 * PATH.delay_ms / 1000
                with socket.socket(family, socket.SOCK_DGRAM) as sender:
                    sender.sendto(b"lost", datagrams.getsockname())
                with pytest.raises(TimeoutError):
                    datagrams.recv(64)
                assert rule.n_packets == 1
        assert link.counts["there"]["delivered"] >= 3 and link.counts["back"]["delivered"] >= 1


def test_a_link_loses() -> None:
    require_netns()
    require_link()
    path = LinkPath(rate_mbit=100, delay_ms=1, queue_bytes=500_000, loss=1.0)
    with (
        routed(tunnel=True) as net,
        joined(net.left.name, net.router.name, path, device=net.left.device) as link,
    ):
        rule = net.drop_udp(Direction.OUT)  # counts what comes so far
        with net.left.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near:
            for _ in range(20):
                near.sendto(b"hello", (net.right.ipv4, 9))
        assert rule.n_packets == 0
    assert link.counts["there"]["lost"] == link.counts["there"]["packets"] > 0


def test_a_link_without_its_devices_says_so() -> None:
    require_netns()
    require_link()
    with (
        alone() as namespace,
        pytest.raises(LinkFailed, match="wraith-link"),
        joined(namespace.name, "no-such-namespace", PATH, device=DEVICE),
    ):
        pass
