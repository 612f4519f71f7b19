"""WRAITH in the bulk peers' shape: one stream, memory to memory, one process a side.

``recv`` prints the code where others print a port. The sender waits until all is acknowledged.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import hashlib
import json
import os
import pstats
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import wraith

sys.path.insert(0, str(Path(__file__).parent))
import kernel_tcp
from content import Expected, pieces

HOST = os.environ.get("BULK_HOST", "127.0.0.1")
MIB = 1 << 20
READ_BYTES = 1 * MIB


def config_of(arguments: argparse.Namespace) -> wraith.EndpointConfig:
    return wraith.EndpointConfig(
        datagram_bytes=arguments.datagram,
        max_udp_bytes=max(arguments.datagram, 1472),
        suites=(wraith.SuiteId[arguments.suite],),
        congestion=arguments.congestion,
    )


def say(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


async def receive(arguments: argparse.Namespace) -> None:
    """Takes one stream and measures from its first to its last byte."""
    config = config_of(arguments)
    async with wraith.listen(
        f"{HOST}:0",
        config=config,
        carriers=(arguments.carrier,),
        ws=arguments.ws,
        ws_listen=arguments.ws_listen,
    ) as listener:
        say(port=listener.code)
        session = await listener.accept()
        stream = await session.accept_stream()
        digest = hashlib.blake2b() if arguments.verify else None
        expected = Expected()
        n_bytes = 0
        began = cpu = 0.0
        while chunks := await stream.read_chunks(READ_BYTES):
            if not n_bytes:
                profile(on=True)
                began, cpu = time.perf_counter(), time.process_time()
            for chunk in chunks:
                n_bytes += len(chunk)
                expected.take(chunk)
                if digest is not None:
                    digest.update(chunk)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        profile(on=False)
        say(
            bytes=n_bytes,
            equal=expected.equal,
            seconds=seconds,
            cpu_s=cpu,
            packets=session.stats().received_packets,
            digest=digest.hexdigest() if digest else None,
            tcp=kernel_tcp.used(),
        )
        await stream.write(b"k")  # the sender may go: everything is here
        stream.finish()
        await session.wait_closed()


async def send(arguments: argparse.Namespace) -> None:
    """Sends ``mib`` MiB on one stream and waits until all is acknowledged."""
    total = arguments.mib * MIB
    digest = hashlib.blake2b() if arguments.verify else None
    async with wraith.connect(
        arguments.port,
        config=config_of(arguments),
        carriers=(arguments.carrier,),
        proxy=arguments.proxy,
    ) as session:
        stream = await session.open_stream()
        profile(on=True)
        began, cpu = time.perf_counter(), time.process_time()
        for piece in pieces(total):
            await stream.write(piece)
            if digest is not None:
                digest.update(piece)
        stream.finish()
        await stream.wait_sent()
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        profile(on=False)
        await stream.read()
        stats = session.stats()
        say(
            bytes=total,
            seconds=seconds,
            cpu_s=cpu,
            packets=stats.sent_packets,
            lost_packets=stats.lost_packets,
            rtt_ms=round(stats.rtt_s * 1000, 3),
            cwnd_bytes=stats.cwnd_bytes,
            tcp=kernel_tcp.used(),
            digest=digest.hexdigest() if digest else None,
        )


# --- where the time goes --------------------------------------------------------------------------

PROFILER = cProfile.Profile()
is_profiling = False


def profile(*, on: bool) -> None:
    """Covers the transfer alone: neither imports nor the handshake."""
    if is_profiling and on:
        PROFILER.enable()
    elif is_profiling:
        PROFILER.disable()


def parts_of(stats: pstats.Stats) -> dict[str, float]:
    """Own seconds per part of the program; what is built in counts for its caller."""
    seconds: dict[str, float] = defaultdict(float)
    table: dict[Any, Any] = stats.stats  # type: ignore[attr-defined]
    for (file, _, name), (_, _, own, _, callers) in table.items():
        if file != "~":
            seconds[part_of_file(file)] += own
        elif "sendmsg" in name or "recvmsg_into" in name:
            seconds["socket calls"] += own
        elif "'poll'" in name or "epoll" in name:
            seconds["waiting"] += own
        else:
            for (caller, _, _), values in callers.items():
                seconds[builtin_part(name) or part_of_file(caller)] += values[2]
    return dict(sorted(seconds.items(), key=lambda item: -item[1]))


def builtin_part(name: str) -> str | None:
    if "encrypt" in name or "decrypt" in name or "AESGCM" in name or "ChaCha20Poly" in name:
        return "aead"
    if "blake3" in name or "digest" in name:
        return "hashes: ratchet and masks"
    if "seal_run" in name or "open_run" in name:
        return "native seal and open"
    return None


def part_of_file(file: str) -> str:
    for part in ("hotpath", "crypto", "wire", "aio"):
        if f"/wraith/{part}/" in file:
            return part
    if "/wraith/connection/" in file:
        return f"connection: {Path(file).stem}"
    return "asyncio" if "/asyncio/" in file or "selectors" in file else "other"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", choices=["A", "B"], default="B")
    parser.add_argument("--carrier", choices=["udp", "tcp", "ws", "quic"], default="udp")
    parser.add_argument("--congestion", choices=["cubic", "newreno", "bbr"], default="cubic")
    parser.add_argument("--ws", metavar="URL", help="what leads to the receiver over WebSocket")
    parser.add_argument("--ws-listen", metavar="HOST:PORT", help="where the receiver finds it")
    parser.add_argument("--proxy", default="none", help="URL of what leads to the receiver")
    parser.add_argument("--verify", action="store_true", help="hash what is sent and received")
    parser.add_argument("--parts", action="store_true", help="profile; shares go to stderr")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("recv")
    verb.add_argument("datagram", type=int, nargs="?", default=1400)
    verb = verbs.add_parser("send")
    verb.add_argument("port")
    verb.add_argument("mib", type=int)
    verb.add_argument("datagram", type=int)
    arguments = parser.parse_args()
    if arguments.carrier != "udp":
        kernel_tcp.choose_for_links()
    work = receive(arguments) if arguments.verb == "recv" else send(arguments)
    global is_profiling
    is_profiling = arguments.parts
    asyncio.run(work)
    if is_profiling:
        print(json.dumps(parts_of(pstats.Stats(PROFILER))), file=sys.stderr)


if __name__ == "__main__":
    main()
