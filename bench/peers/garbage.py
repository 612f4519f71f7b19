"""Throws random datagrams at one UDP port of this machine, single ones, at a steady rate.

    python bench/peers/garbage.py PORT RATE SECONDS [BYTES]

Prints one JSON line: how many it sent, in how long, and what processor time that took. Goes to
127.0.0.1 alone, from an address that the victim does not know (127.0.0.2). It ends by itself, or
when its standard input ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import time

TICK_S = 0.001
POOL = 64
SECONDS_MAX = 120.0


def main() -> None:
    port, rate, seconds = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    n_bytes = int(sys.argv[4]) if len(sys.argv) > 4 else 1200
    pool = [os.urandom(n_bytes) for _ in range(POOL)]
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.2", 0))
    sock.connect(("127.0.0.1", port))
    began, cpu, n_sent = time.monotonic(), time.process_time(), 0
    end = began + min(seconds, SECONDS_MAX)
    while (now := time.monotonic()) < end and not select.select([sys.stdin], [], [], 0)[0]:
        due = int((now - began) * rate)
        while n_sent < due:
            with contextlib.suppress(OSError):  # nobody listens yet or any more
                sock.send(pool[n_sent % POOL])
            n_sent += 1
        time.sleep(TICK_S)
    elapsed = time.monotonic() - began
    used = time.process_time() - cpu
    print(json.dumps({"sent": n_sent, "seconds": elapsed, "cpu_s": used}), flush=True)


if __name__ == "__main__":
    main()
