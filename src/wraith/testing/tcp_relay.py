"""A TCP relay that does harm to one connection: it flips a bit, once.

Lives in a thread of its own; ``with`` ends it. Belongs to tests.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable

PIECE_BYTES = 64 * 1024


class TcpRelay:
    """Between whoever connects and ``target``.

    Args:
        flip_at: the byte of the first connection, counted from its beginning as the server sends
            it, of which the lowest bit is flipped.
        to_server: flips instead the first byte that the client says after that.

    Attributes:
        address: where to connect.
        came_at: when each connection was made, monotonic seconds.
        flipped_at: when the harm was done; ``None`` before.
    """

    def __init__(self, target: tuple[str, int], *, flip_at: int, to_server: bool = False) -> None:
        self._target = target
        self._flip_at = flip_at
        self._to_server = to_server
        self._n_of_server = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.address: tuple[str, int] = self._listener.getsockname()
        self.came_at: list[float] = []
        self.flipped_at: float | None = None

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed: the end
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                self.came_at.append(time.monotonic())
                change = self._change if len(self.came_at) == 1 else None
                for ends in ((client, server, False), (server, client, True)):
                    threading.Thread(target=self._pump, args=(*ends, change), daemon=True).start()

    def _change(self, data: bytearray, is_servers: bool) -> None:
        """Does the harm when its place has come."""
        n_before = self._n_of_server
        if is_servers:
            self._n_of_server += len(data)
        if self.flipped_at is not None or is_servers is self._to_server:
            return
        at = self._flip_at - n_before
        if self._to_server:
            at = 0 if at < 0 else len(data)
        if at < len(data):
            data[at] ^= 1
            self.flipped_at = time.monotonic()

    def _pump(
        self,
        source: socket.socket,
        target: socket.socket,
        is_servers: bool,
        change: Callable[[bytearray, bool], None] | None,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := bytearray(source.recv(PIECE_BYTES)):
                if change is not None:
                    change(data, is_servers)
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def __enter__(self) -> TcpRelay:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
