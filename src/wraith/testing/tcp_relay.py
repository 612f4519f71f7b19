"""A TCP relay that does harm to one connection: it flips a bit of what the server says, once.

Lives in a thread of its own; ``with`` ends it. Belongs to tests.
"""

from __future__ import annotations

import contextlib
import socket
import threading

PIECE_BYTES = 64 * 1024


class TcpRelay:
    """Between whoever connects and ``target``.

    Args:
        flip_at: the byte of the first connection, counted from its beginning as the server sends
            it, of which the lowest bit is flipped.

    Attributes:
        address: where to connect.
        n_connections: how many have been made.
        n_flipped: 1 once the harm is done.
    """

    def __init__(self, target: tuple[str, int], *, flip_at: int) -> None:
        self._target = target
        self._flip_at = flip_at
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.address: tuple[str, int] = self._listener.getsockname()
        self.n_connections = 0
        self.n_flipped = 0

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed: the end
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                self.n_connections += 1
                flip_at = self._flip_at if self.n_connections == 1 else None
                for source, target, at in ((client, server, None), (server, client, flip_at)):
                    threading.Thread(
                        target=self._pump, args=(source, target, at), daemon=True
                    ).start()

    def _pump(self, source: socket.socket, target: socket.socket, flip_at: int | None) -> None:
        n_before = 0
        with contextlib.suppress(OSError):
            while data := bytearray(source.recv(PIECE_BYTES)):
                if flip_at is not None and n_before <= flip_at < n_before + len(data):
                    data[flip_at - n_before] ^= 1
                    self.n_flipped += 1
                n_before += len(data)
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
