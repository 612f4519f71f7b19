"""A UDP relay on loopback that slows, loses and counts: a network between two real processes.

It forwards datagrams between whoever sends to its port and one target, through two seeded
``netem.Link``s in real time. It sees only what a network sees: sizes, times and directions.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from dataclasses import dataclass, field

from wraith.testing.netem import Link, LinkConfig

MAX_CLIENTS = 64
SIZES_KEPT = 4_096
SOCKET_BUFFER_BYTES = 4 * 1024 * 1024


@dataclass(slots=True)
class DirectionCount:
    """What crossed in one direction. ``sizes`` and ``times`` are those of the first datagrams."""

    datagrams: int = 0
    bytes: int = 0
    sizes: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def count(self, size: int) -> None:
        self.datagrams += 1
        self.bytes += size
        if len(self.sizes) < SIZES_KEPT:
            self.sizes.append(size)
            self.times.append(time.monotonic())


class _Client:
    """One sender on the near side, with a socket of its own towards the target."""

    def __init__(self, address: tuple[str, int], forward: Link, back: Link) -> None:
        self.address = address
        self.forward = forward
        self.back = back
        self.upstream = new_upstream()


def new_upstream() -> socket.socket:
    """A socket towards the target, with a port that the target has not seen."""
    upstream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    upstream.setblocking(False)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        upstream.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
    return upstream


class UdpRelay:
    """``with UdpRelay(("127.0.0.1", port)) as relay: ...`` runs it in a thread of its own.

    Args:
        target: where datagrams of clients go.
        link: shape of each direction.
        seed: decides the fate of every datagram.
    """

    def __init__(
        self, target: tuple[str, int], *, link: LinkConfig | None = None, seed: int = 1
    ) -> None:
        self.target = target
        self.to_target = DirectionCount()
        self.to_client = DirectionCount()
        self._config = link if link is not None else LinkConfig()
        self._seed = seed
        self._clients: dict[tuple[str, int], _Client] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self._socket.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket, selectors.EVENT_READ, None)
        self._stop = threading.Event()
        self._is_to_move = threading.Event()
        #: How often ``move`` has given a client another port.
        self.n_moves = 0
        self._thread = threading.Thread(target=self._run, name="udp-relay", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        """Where clients send to."""
        host, port = self._socket.getsockname()
        return str(host), int(port)

    def set_link(self, link: LinkConfig) -> None:
        """Shapes both directions anew, for present and future clients."""
        self._config = link
        for client in list(self._clients.values()):
            client.forward.config = link
            client.back.config = link

    def move(self) -> None:
        """From now on the target sees every present client at another port, and what it sends to
        the old one is lost: a NAT that forgot its binding."""
        self._is_to_move.set()

    def __enter__(self) -> UdpRelay:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5)
        self._selector.close()
        self._socket.close()
        for client in self._clients.values():
            client.upstream.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._is_to_move.is_set():
                self._is_to_move.clear()
                self._move()
            now = time.monotonic()
            times = [
                at
                for client in self._clients.values()
                for link in (client.forward, client.back)
                if (at := link.next_time()) is not None
            ]
            wait = min([0.05, *(max(0.0, at - now) for at in times)])
            for key, _ in self._selector.select(wait):
                if key.data is None:
                    self._read_clients()
                else:
                    self._read_target(key.data)
            self._flush(time.monotonic())

    def _move(self) -> None:
        for client in self._clients.values():
            self._selector.unregister(client.upstream)
            client.upstream.close()
            client.upstream = new_upstream()
            self._selector.register(client.upstream, selectors.EVENT_READ, client)
            self.n_moves += 1

    def _read_clients(self) -> None:
        for _ in range(256):
            try:
                data, address = self._socket.recvfrom(65_535)
            except (BlockingIOError, ConnectionError):
                return
            client = self._clients.get(address)
            if client is None:
                if len(self._clients) >= MAX_CLIENTS:
                    continue
                n = self._seed * 2 * MAX_CLIENTS + 2 * len(self._clients)
                client = _Client(address, Link(self._config, n), Link(self._config, n + 1))
                self._clients[address] = client
                self._selector.register(client.upstream, selectors.EVENT_READ, client)
            self.to_target.count(len(data))
            client.forward.send(data, time.monotonic())

    def _read_target(self, client: _Client) -> None:
        for _ in range(256):
            try:
                data = client.upstream.recv(65_535)
            except (BlockingIOError, ConnectionError):
                return
            self.to_client.count(len(data))
            client.back.send(data, time.monotonic())

    def _flush(self, now: float) -> None:
        for client in self._clients.values():
            for data in client.forward.due(now):
                self._deliver(client.upstream, data, self.target)
            for data in client.back.due(now):
                self._deliver(self._socket, data, client.address)

    @staticmethod
    def _deliver(sock: socket.socket, data: bytes, address: tuple[str, int]) -> None:
        try:
            sock.sendto(data, address)
        except (BlockingIOError, ConnectionError):
            return  # a full or closed socket loses datagrams, as any network may
