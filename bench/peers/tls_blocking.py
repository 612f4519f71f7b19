"""TLS 1.3 over blocking sockets in plain Python, in the bulk peers' shape: no event loop at all.

What a program that sends one thing to one peer gets from the standard library. AES-256-GCM.
``BULK_PROXY`` is the URL of a proxy on the way.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import ssl
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import kernel_tcp
from content import Expected, enlarge, pieces
from tls_bulk import server_context

HOST = os.environ.get("BULK_HOST", "127.0.0.1")
READ_BYTES = 256 * 1024


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def receive() -> None:
    listener = socket.create_server((HOST, 0))
    enlarge(listener)  # what it accepts inherits this
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    accepted, _ = listener.accept()
    kernel_tcp.choose(accepted)
    buffer = bytearray(READ_BYTES)
    view = memoryview(buffer)
    with server_context().wrap_socket(accepted, server_side=True) as stream:
        expected = Expected()
        start, total, cpu = 0.0, 0, cpu_seconds()
        while n := stream.recv_into(buffer):
            start = start or time.perf_counter()
            total += n
            expected.take(view[:n])
        seconds = time.perf_counter() - start
        said = {"bytes": total, "seconds": seconds, "cpu_s": cpu_seconds() - cpu}
        print(
            json.dumps(
                {
                    **said,
                    "equal": expected.equal,
                    "cipher": stream.cipher(),
                    "tcp": kernel_tcp.used(),
                }
            )
        )
        with contextlib.suppress(OSError):  # the sender need not wait for our good-bye
            stream.unwrap()


def connected(port: int) -> socket.socket:
    """To the receiver, through the proxy of ``BULK_PROXY`` if there is one."""
    proxy = os.environ.get("BULK_PROXY")
    if proxy is None:
        return socket.create_connection((HOST, port))
    from python_socks.sync import Proxy

    return Proxy.from_url(proxy).connect(HOST, port)


def send(port: int, mib: int) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    raw = connected(port)
    enlarge(raw)
    kernel_tcp.choose(raw)
    stream = context.wrap_socket(raw)
    cpu = cpu_seconds()
    for piece in pieces(mib << 20):
        stream.sendall(piece)
    with contextlib.suppress(OSError):
        stream.unwrap()
    print(json.dumps({"cpu_s": cpu_seconds() - cpu, "tcp": kernel_tcp.used()}))


if __name__ == "__main__":
    if sys.argv[1] == "recv":
        receive()
    else:
        send(int(sys.argv[2]), int(sys.argv[3]))
