"""Victim and attacker of the benchmark of hostile peers: two processes, one UDP socket each.

``victim`` prints ``{"port": N}``; each line ``N_WARM N`` on stdin makes a fresh session, takes so
many datagrams, one per read, and prints the processor time of the last ``N`` of them. ``attacker
PORT`` takes lines ``SIZE N_WARM N KIND``: it seals all packets first, prints what it has, and sends
them, never more than a receive buffer holds at once.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from itertools import islice

from wraith import hotpath
from wraith.abc import NullTracer
from wraith.config import MIB, EndpointConfig
from wraith.connection import events as ev
from wraith.connection.connection import Connection
from wraith.connection.handshake_result import HandshakeResult
from wraith.connection.keys import SessionEpochs
from wraith.testing.established import handshake_results
from wraith.testing.grammar import LONE, packets
from wraith.testing.pair import ADDRESS_A, ADDRESS_B
from wraith.testing.rng import HashKem, SeededRng
from wraith.types import NetworkPath, Role
from wraith.wire.format import WireFormatSpec

CONFIG = EndpointConfig(
    max_streams=16_384, stream_window=32 * MIB, stream_window_max=32 * MIB,
    conn_window=64 * MIB, conn_window_max=64 * MIB,
)  # fmt: skip
PATH = NetworkPath(ADDRESS_B, ADDRESS_A)
SECRET = next(
    secret
    for secret in (bytes([n]) * 32 for n in range(256))
    if WireFormatSpec.derive(secret).datagram_bytes_min == 33
)
"""A session whose layout has no dummies: its smallest packet has 33 bytes."""
CREDIT = 16
"""Datagrams that are under way at most: half of this when the victim asks for more."""


def results() -> tuple[HandshakeResult, HandshakeResult]:
    return handshake_results(CONFIG, CONFIG, session_secret=SECRET)


class Victim:
    """A responder that reads all that comes and answers as it must."""

    def __init__(self) -> None:
        self.connection = Connection(
            role=Role.RESPONDER, path=PATH, config=CONFIG, rng=SeededRng("victim"), kem=HashKem(),
            tracer=NullTracer(), now=time.monotonic(),
        )  # fmt: skip
        self.connection.establish(results()[1], time.monotonic())
        self.closed: int | None = None

    def take(self, data: bytes, sock: socket.socket, peer: tuple[str, int]) -> None:
        connection, now = self.connection, time.monotonic()
        connection.receive_datagrams(data, len(data), PATH, now)
        while (event := connection.next_event()) is not None:
            if isinstance(event, ev.PeerAuthenticated):
                connection.accept(now)
            elif isinstance(event, ev.StreamReadable):
                connection.stream_read_chunks(event.sid, 1 << 20, now)
            elif isinstance(event, ev.Closed):
                self.closed = event.code
        timer = connection.next_timer()
        if timer is not None and timer <= now:
            connection.handle_timer(now)
        for transmit in connection.datagrams_to_send(now):
            for at in range(0, len(transmit.data), transmit.segment_bytes):
                sock.sendto(transmit.data[at : at + transmit.segment_bytes], peer)


def victim() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * MIB)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(20)
    print(json.dumps({"port": sock.getsockname()[1], "hotpath": hotpath.NAME}), flush=True)
    for line in sys.stdin:
        n_warm, n = map(int, line.split())
        side, n_taken, began = Victim(), 0, time.process_time()
        for i in range(n_warm + n):
            if i == n_warm:
                began = time.process_time()
            data, peer = sock.recvfrom(2_048)
            side.take(data, sock, peer)
            n_taken += 1
            if n_taken % CREDIT == 0:
                sock.sendto(b"c", peer)
        cpu_s = time.process_time() - began
        print(json.dumps({"cpu_s": cpu_s, "n": n_taken, "closed": side.closed}), flush=True)


def attacker(port: int) -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect(("127.0.0.1", port))
    sock.settimeout(20)
    for line in sys.stdin:
        size_text, warm_text, n_text, kind = line.rstrip("\n").split(" ", 3)
        sealed = seal(kind, int(size_text), int(warm_text), int(n_text))
        print(json.dumps({"n": len(sealed), "bytes": len(sealed[-1])}), flush=True)
        credit = 2 * CREDIT
        for datagram in sealed:
            while credit == 0:
                if len(sock.recv(2_048)) == 1:
                    credit = CREDIT
            sock.send(datagram)
            credit -= 1
        print(json.dumps({"sent": len(sealed)}), flush=True)
        sock.setblocking(False)  # what the victim has answered is of no use
        try:
            while True:
                sock.recv(2_048)
        except BlockingIOError:
            sock.settimeout(20)


def seal(kind: str, size: int, n_warm: int, n: int) -> list[bytes]:
    """The packets of a fresh session: ``n_warm`` lone ones, then ``n`` of ``kind``; ``size``
    bytes each."""
    sealer = SessionEpochs(results()[0], 8_192).sealer
    sealed: list[bytes] = []
    for what, many in ((LONE, n_warm), (kind, n)):
        for payload in islice(packets(what, sealer.capacity(size)), many):
            out = bytearray(size)
            n_bytes, *_ = sealer.seal_run(
                epoch=0,
                cid_index=0,
                form=0,
                lead=payload,
                datagram_bytes=max(size, 64),
                n_max=1,
                random=os.urandom(sealer.dummy_bytes),
                out=out,
            )
            assert n_bytes == size
            sealed.append(bytes(out))
    return sealed


if __name__ == "__main__":
    victim() if sys.argv[1] == "victim" else attacker(int(sys.argv[2]))
