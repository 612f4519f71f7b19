"""A TCP relay that does harm to what it carries, at an exact byte: the network that an attacker
owns.

::

    with BadRelay(("127.0.0.1", port), Harm.CUT, at=100_000) as relay:
        ...                                   # whoever connects to relay.address
    assert relay.n_harmed == 1

It sees what a network sees, and keeps what clients said for whoever wants to say it again. Lives in
threads of its own; ``with`` ends them. Belongs to tests.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from enum import StrEnum

PIECE_BYTES = 64 * 1024
SOME_BYTES = 1_000
"""So many are left out, or said twice."""


class Harm(StrEnum):
    """What happens to a connection at byte ``at`` of one of its directions."""

    NONE = "none"
    FLIP = "flip"  # the lowest bit of that byte is another
    OMIT = "omit"  # it and the bytes behind it are left out
    REPEAT = "repeat"  # it and the bytes behind it come twice
    CUT = "cut"  # both sides are closed in good order there
    RESET = "reset"  # the same with a RST
    HOLD = "hold"  # nothing passes any more, either way, and nobody is told
    JOIN = "join"  # the same; what later connections say that way is said here too


class _Connection:
    """One client and its way to the target. ``sides[0]`` is the client."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.sides = (client, server)
        self.said = bytearray()
        self.n_bytes = [0, 0]  # that went to each side
        self.is_held = False
        self.is_joined = False
        self.is_over = False

    def end(self, *, is_reset: bool) -> None:
        self.is_over = True
        for side in self.sides:
            if is_reset:
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with contextlib.suppress(OSError):
                # A RST leaves with the close alone, and a reader in another thread keeps it back.
                side.shutdown(socket.SHUT_RD if is_reset else socket.SHUT_RDWR)
            side.close()


class BadRelay:
    """Between whoever connects and ``target``.

    Args:
        at: the byte of the harm, counted from the beginning of the connection; without it nothing
            happens until ``arm``.
        to_server: in the direction of what clients say; else of what the server says.
        to_every: each connection is harmed; else the first alone.

    Attributes:
        target: as given.
        address: where to connect.
        n_connections: how many have been made.
        n_harmed: how many of them were harmed.
    """

    def __init__(
        self,
        target: tuple[str, int],
        harm: Harm = Harm.NONE,
        *,
        at: int | None = None,
        to_server: bool = False,
        to_every: bool = False,
    ) -> None:
        self.target = target
        self._harm = harm
        self._at = at
        self._harmed_side = int(to_server)  # where the harmed bytes go: to the client is 0
        self._to_every = to_every
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[_Connection] = []
        self.address: tuple[str, int] = self._listener.getsockname()
        self.n_harmed = 0

    @property
    def n_connections(self) -> int:
        return len(self._connections)

    def arm(self, n_bytes: int) -> None:
        """The harm comes so many bytes later than what the first connection has carried now."""
        self._at = self._connections[0].n_bytes[self._harmed_side] + n_bytes

    def heal(self) -> None:
        """No harm from now on."""
        self._at = None

    def said(self, number: int) -> bytes:
        """All that the client of a connection has said; they are counted from 1."""
        return bytes(self._connections[number - 1].said)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed: the end
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(self.target)
                except OSError:
                    client.close()
                    continue
                connection = _Connection(client, server)
                self._connections.append(connection)
                is_harmed = self._to_every or self.n_connections == 1
                for side in (0, 1):
                    harm = self._harm if is_harmed and side == self._harmed_side else Harm.NONE
                    threading.Thread(
                        target=self._pump,
                        args=(connection, side, harm),
                        daemon=True,
                    ).start()

    def _pump(self, connection: _Connection, side: int, harm: Harm) -> None:
        """Moves what goes to ``side``, and does it the harm that waits for it."""
        source, target = connection.sides[1 - side], connection.sides[side]
        with contextlib.suppress(OSError):
            while data := source.recv(PIECE_BYTES):
                if side == 1:
                    connection.said += data
                n_before = connection.n_bytes[side]
                connection.n_bytes[side] += len(data)
                if connection.is_held:
                    continue
                at = -1 if self._at is None else self._at - n_before
                if harm is not Harm.NONE and 0 <= at < len(data):
                    self._do_harm(connection, side, harm, data, at)
                else:
                    target.sendall(data)
                self._join(connection, side, data)
            if not connection.is_held and not connection.is_over:
                target.shutdown(socket.SHUT_WR)

    def _do_harm(
        self, connection: _Connection, side: int, harm: Harm, data: bytes, at: int
    ) -> None:
        target = connection.sides[side]
        self.n_harmed += 1
        match harm:
            case Harm.FLIP:
                target.sendall(data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :])
            case Harm.OMIT:
                target.sendall(data[:at] + data[at + SOME_BYTES :])
            case Harm.REPEAT:
                target.sendall(data[: at + SOME_BYTES] + data[at:])
            case Harm.HOLD | Harm.JOIN:
                connection.is_held = True
                connection.is_joined = harm is Harm.JOIN
                target.sendall(data[:at])
            case _:
                target.sendall(data[:at])
                connection.end(is_reset=harm is Harm.RESET)

    def _join(self, connection: _Connection, side: int, data: bytes) -> None:
        if side != self._harmed_side:
            return
        for other in self._connections:
            if other.is_joined and other is not connection:
                with contextlib.suppress(OSError):
                    other.sides[side].sendall(data)

    def __enter__(self) -> BadRelay:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            connection.end(is_reset=False)
