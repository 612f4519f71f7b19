"""A proxy that misbehaves on purpose, as a program.

    python -m wraith.testing.bad_proxy SCHEME FAULT [--at N] [--seconds S]

SCHEME is ``http`` or ``socks5``, FAULT one of ``Fault``. It listens on 127.0.0.1, prints its port
and ends with its stdin, or after so many seconds. With ``none`` it is an ordinary proxy;
credentials are taken and not looked at. ``wraith.testing.proxies.bad_proxy`` starts it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import struct
import sys
from enum import StrEnum
from typing import Final

SECONDS: Final = 60.0
PIECE_BYTES: Final = 64 * 1024
_HTTP_OK: Final = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 bad\r\n\r\n"
_SOCKS_OK: Final = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"


class Fault(StrEnum):
    """What it does wrong."""

    NONE = "none"
    TRUNCATES = "truncates"  # half of its answer, then the end of the stream
    PIECEMEAL = "piecemeal"  # every byte of its answer alone: no fault, but some trip over it
    SILENT = "silent"  # takes the request and says nothing
    HUGE = "huge"  # an answer without an end
    WRONG_VERSION = "wrong-version"  # SOCKS 4, or something that is no HTTP
    CLOSES = "closes"  # ends the connection instead of answering
    RESETS = "resets"  # the same with a RST
    WANTS_MORE = "wants-more"  # authentication that was not offered
    REWRITES = "rewrites"  # flips one bit of what the client sends, in byte ``at``
    CUTS = "cuts"  # ends both connections after ``at`` bytes of the client
    JOINS = "joins"  # sends every byte of the client twice, in two connections


class BadProxy:
    """The server; one ``serve`` for each client."""

    def __init__(self, scheme: str, fault: Fault, at: int) -> None:
        self._scheme = scheme
        self._fault = fault
        self._at = at

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError, ValueError):
            target = await (self._asked_http if self._scheme == "http" else self._asked_socks)(
                reader, writer
            )
            if target is not None:
                await self._answer(writer)
                if not writer.is_closing():
                    await self._forward(target, reader, writer)
        writer.close()

    async def _asked_http(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[str, int] | None:
        request = await reader.readuntil(b"\r\n\r\n")
        host, _, port = request.split(b" ")[1].decode().rpartition(":")
        if self._fault is Fault.WANTS_MORE:
            writer.write(b"HTTP/1.1 407 no\r\nProxy-Authenticate: Negotiate\r\n\r\n")
            return None
        return host.strip("[]"), int(port)

    async def _asked_socks(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[str, int] | None:
        _, n_methods = await reader.readexactly(2)
        methods = await reader.readexactly(n_methods)
        method = 1 if self._fault is Fault.WANTS_MORE else max(methods)
        writer.write(bytes((5, method)))
        if method == 1:
            await reader.read()
            return None
        if method == 2:
            user_bytes = (await reader.readexactly(2))[1]  # RFC 1929, behind its version
            password_bytes = (await reader.readexactly(user_bytes + 1))[-1]
            await reader.readexactly(password_bytes)
            writer.write(b"\x01\x00")
        kind = (await reader.readexactly(4))[3]
        if kind == 3:
            (n_bytes,) = await reader.readexactly(1)
            host = (await reader.readexactly(n_bytes)).decode()
        else:
            family = socket.AF_INET if kind == 1 else socket.AF_INET6
            host = socket.inet_ntop(family, await reader.readexactly(4 if kind == 1 else 16))
        return host, int.from_bytes(await reader.readexactly(2), "big")

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        answer = _HTTP_OK if self._scheme == "http" else _SOCKS_OK
        match self._fault:
            case Fault.TRUNCATES:
                writer.write(answer[: len(answer) // 2])
                writer.close()
            case Fault.CLOSES:
                writer.close()
            case Fault.RESETS:
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            case Fault.SILENT:
                await asyncio.sleep(SECONDS)
            case Fault.WRONG_VERSION:
                writer.write(
                    b"\x00\x5a" + bytes(6) if self._scheme == "socks5" else b"SSH-2.0-x\r\n"
                )
                await asyncio.sleep(SECONDS)
            case Fault.HUGE:
                # A name of 255 bytes is all that SOCKS can claim; behind it no end either.
                beginning = b"\x05\x00\x00\x03\xff" if self._scheme == "socks5" else answer[:-2]
                writer.write(beginning)
                while True:
                    writer.write(b"X-Filler: " + b"x" * 4_000 + b"\r\n")
                    await writer.drain()
            case Fault.PIECEMEAL:
                for byte in answer:
                    writer.write(bytes((byte,)))
                    await writer.drain()
                    await asyncio.sleep(0.001)
            case _:
                writer.write(answer)
        with contextlib.suppress(OSError):
            await writer.drain()

    async def _forward(
        self, target: tuple[str, int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        n_connections = 2 if self._fault is Fault.JOINS else 1
        far = [await asyncio.open_connection(*target) for _ in range(n_connections)]
        tasks = [asyncio.create_task(_copy(one[0], writer)) for one in far]
        tasks.append(asyncio.create_task(self._copy_out(reader, [one[1] for one in far])))
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _, far_writer in far:
            far_writer.close()

    async def _copy_out(
        self, reader: asyncio.StreamReader, writers: list[asyncio.StreamWriter]
    ) -> None:
        n_seen = 0
        while data := bytearray(await reader.read(PIECE_BYTES)):
            inside = n_seen <= self._at < n_seen + len(data)
            if inside and self._fault is Fault.REWRITES:
                data[self._at - n_seen] ^= 1
            if inside and self._fault is Fault.CUTS:
                del data[self._at - n_seen :]
            for writer in writers:
                writer.write(data)
                await writer.drain()
            n_seen += len(data)
            if inside and self._fault is Fault.CUTS:
                return


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(PIECE_BYTES):
        writer.write(data)
        await writer.drain()


async def _main(scheme: str, fault: Fault, at: int, seconds: float) -> None:
    server = await asyncio.start_server(BadProxy(scheme, fault, at).serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await ended.wait()
    asyncio.get_running_loop().remove_reader(sys.stdin.fileno())


def main() -> None:
    parser = argparse.ArgumentParser(description="A proxy that misbehaves on purpose.")
    parser.add_argument("scheme", choices=["http", "socks5"])
    parser.add_argument("fault", type=Fault, choices=list(Fault))
    parser.add_argument("--at", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    given = parser.parse_args()
    asyncio.run(_main(given.scheme, given.fault, given.at, given.seconds))


if __name__ == "__main__":
    main()
