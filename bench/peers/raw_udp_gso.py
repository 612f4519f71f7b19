"""The limit: UDP with segmentation offload and no protocol at all, in the bulk peers' shape.

Nothing is reliable here; the receiver stops at a one-byte datagram and counts what came. Content is
not compared.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import struct
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from content import enlarge

HOST = os.environ.get("BULK_HOST", "127.0.0.1")
UDP_SEGMENT, UDP_GRO, SOL_UDP = 103, 104, 17


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def new_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    enlarge(sock)
    return sock


def receive() -> None:
    sock = new_socket()
    sock.setsockopt(SOL_UDP, UDP_GRO, 1)
    sock.bind((HOST, 0))
    print(json.dumps({"port": sock.getsockname()[1]}), flush=True)
    buffer = bytearray(65_536)
    start, last, total, cpu = 0.0, 0.0, 0, cpu_seconds()
    sock.settimeout(30)
    while True:
        n = sock.recv_into(buffer)
        if n <= 1:
            break
        last = time.perf_counter()
        start = start or last
        total += n
        sock.settimeout(1)
    print(json.dumps({"bytes": total, "seconds": last - start, "cpu_s": cpu_seconds() - cpu}))


def send(port: int, mib: int, datagram: int) -> None:
    sock = new_socket()
    sock.connect((HOST, port))
    burst = bytes(datagram * min(64, 65_507 // datagram))
    segment = [(SOL_UDP, UDP_SEGMENT, struct.pack("H", datagram))]
    cpu = cpu_seconds()
    for _ in range((mib << 20) // len(burst)):
        sock.sendmsg([burst], segment)
    for _ in range(20):
        time.sleep(0.01)
        with contextlib.suppress(ConnectionRefusedError):  # the receiver has seen an earlier one
            sock.send(b"x")
    print(json.dumps({"cpu_s": cpu_seconds() - cpu}))


if __name__ == "__main__":
    if sys.argv[1] == "recv":
        receive()
    else:
        send(*map(int, sys.argv[2:5]))
