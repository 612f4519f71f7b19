"""Through real proxies, each a process: microsocks, tinyproxy, and one that misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import pytest_asyncio

from wraith.aio.transports.base import OpenFailed
from wraith.aio.transports.proxy import connect_through
from wraith.testing.bad_proxy import Fault
from wraith.testing.proxies import bad_proxy, free_port, microsocks, tinyproxy

pytestmark = [pytest.mark.interop, pytest.mark.asyncio, pytest.mark.timeout(60)]

ENOUGH_S = 10.0
SHORT_S = 0.3
USER, PASSWORD = "anna", "hunter2"

Start = Callable[[Path], AbstractContextManager[str]]


def _microsocks(_: Path) -> AbstractContextManager[str]:
    return microsocks()


def _microsocks_with_password(_: Path) -> AbstractContextManager[str]:
    return microsocks(user=USER, password=PASSWORD)


def _tinyproxy_with_password(folder: Path) -> AbstractContextManager[str]:
    return tinyproxy(folder, user=USER, password=PASSWORD)


STARTS: list[Start] = [_microsocks, _microsocks_with_password, tinyproxy, _tinyproxy_with_password]
WITH_PASSWORD: list[Start] = [_microsocks_with_password, _tinyproxy_with_password]


class Echo:
    """Servers that send back what comes, at 127.0.0.1 and ::1; ``heard`` is what each connection
    said."""

    def __init__(self) -> None:
        self.heard: list[bytearray] = []
        self.port = 0
        self.port6 = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = bytearray()
        self.heard.append(said)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while data := await reader.read(64 * 1024):
                said += data
                writer.write(data)
                await writer.drain()
        writer.close()


@pytest_asyncio.fixture
async def echo() -> AsyncIterator[Echo]:
    echo = Echo()
    servers = [await asyncio.start_server(echo.serve, host, 0) for host in ("127.0.0.1", "::1")]
    echo.port, echo.port6 = (server.sockets[0].getsockname()[1] for server in servers)
    yield echo
    for server in servers:
        server.close()


async def through(url: str, host: str, port: int, within_s: float = ENOUGH_S) -> socket.socket:
    deadline = asyncio.get_running_loop().time() + within_s
    return await connect_through(url, host, port, deadline=deadline)


async def answer(sock: socket.socket, question: bytes) -> bytes:
    """What comes back, as much as was sent; less where the connection ends."""
    loop = asyncio.get_running_loop()
    got = b""
    async with asyncio.timeout(ENOUGH_S):
        with sock:
            await loop.sock_sendall(sock, question)
            while len(got) < len(question) and (data := await loop.sock_recv(sock, 64 * 1024)):
                got += data
    return got


async def failure(url: str, host: str, port: int, within_s: float = ENOUGH_S) -> str:
    with pytest.raises(OpenFailed) as failed:
        (await through(url, host, port, within_s)).close()
    return str(failed.value.failure)


@pytest.mark.parametrize("start", STARTS)
async def test_bytes_go_through_to_addresses_and_names(
    start: Start, echo: Echo, tmp_path: Path
) -> None:
    question = bytes(range(256)) * 4_096
    with start(tmp_path) as url:
        assert await answer(await through(url, "127.0.0.1", echo.port), question) == question
        assert await answer(await through(url, "::1", echo.port6), b"six") == b"six"
        assert await answer(await through(url, "localhost", echo.port), b"name") == b"name"


@pytest.mark.parametrize("start", [_microsocks, tinyproxy])
async def test_the_proxy_resolves_the_name(
    start: Start, echo: Echo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    resolve = socket.getaddrinfo

    def noted(host: object, *rest: object, **named: object) -> object:
        asked.append(host)
        return resolve(host, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", noted)
    with start(tmp_path) as url:
        asked.clear()
        (await through(url, "localhost", echo.port)).close()
        assert (await failure(url, "no-such-name.invalid", echo.port)).startswith("proxy-refused")
    assert set(asked) == {"127.0.0.1"}  # the proxy itself


@pytest.mark.parametrize("start", WITH_PASSWORD)
async def test_a_proxy_that_wants_a_password_says_so(
    start: Start, echo: Echo, tmp_path: Path
) -> None:
    with start(tmp_path) as url:
        for other in ("", f"{USER}:wrong@", f"other:{PASSWORD}@"):
            wrong = url.replace(f"{USER}:{PASSWORD}@", other)
            assert (await failure(wrong, "127.0.0.1", echo.port)).startswith("proxy-auth")
    assert not echo.heard


async def test_what_lies_behind_a_proxy_may_refuse(echo: Echo, tmp_path: Path) -> None:
    nobody = free_port()
    with microsocks() as url:
        assert await failure(url, "127.0.0.1", nobody) == "refused(says the proxy)"
    with tinyproxy(tmp_path) as url:
        assert await failure(url, "127.0.0.1", nobody) == "proxy-refused(500)"


async def test_a_proxy_that_connects_to_some_ports_alone(echo: Echo, tmp_path: Path) -> None:
    with tinyproxy(tmp_path, ports=[443]) as url:
        assert await failure(url, "127.0.0.1", echo.port) == "proxy-refused(403)"
    with tinyproxy(tmp_path, ports=[443, echo.port]) as url:
        assert await answer(await through(url, "127.0.0.1", echo.port), b"allowed") == b"allowed"


@pytest.mark.parametrize("start", WITH_PASSWORD)
async def test_credentials_are_told_to_the_proxy_alone(
    start: Start, echo: Echo, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asyncio.get_running_loop().set_debug(True)
    caplog.set_level(logging.DEBUG)
    said = []
    with start(tmp_path) as url:
        assert await answer(await through(url, "127.0.0.1", echo.port), b"in") == b"in"
        for host, port in (("127.0.0.1", free_port()), ("-bad-", 1), ("no-such.invalid", 1)):
            with pytest.raises(OpenFailed) as failed:
                await through(url, host, port)
            said += traceback.format_exception(failed.value)
            said.append(repr(failed.value.failure))
            assert failed.value.__cause__ is None
    said += [record.getMessage() for record in caplog.records]
    said += Path("/proc/self/cmdline").read_text().split("\0")
    assert not [line for line in said if PASSWORD in line or USER in line]
    assert bytes(echo.heard[0]) == b"in"


NO_ANSWER = {
    Fault.TRUNCATES: "proxy-refused(it closed the connection)",
    Fault.CLOSES: "proxy-refused(it closed the connection)",
    Fault.RESETS: "proxy-refused(it reset the connection)",
    Fault.SILENT: "syn-timeout(no answer from the proxy)",
}


@pytest.mark.parametrize("scheme", ["http", "socks5"])
@pytest.mark.parametrize("fault", list(NO_ANSWER))
async def test_a_proxy_that_gives_no_answer(scheme: str, fault: Fault, echo: Echo) -> None:
    with bad_proxy(scheme, fault) as url:
        within_s = SHORT_S if fault is Fault.SILENT else ENOUGH_S
        assert await failure(url, "127.0.0.1", echo.port, within_s) == NO_ANSWER[fault]
    assert not echo.heard


@pytest.mark.parametrize(
    ("scheme", "fault", "expected"),
    [
        ("http", Fault.WRONG_VERSION, "proxy-refused(its answer is no HTTP)"),
        ("socks5", Fault.WRONG_VERSION, "proxy-refused(its answer is no SOCKS 5)"),
        ("http", Fault.HUGE, "proxy-refused(its answer has no end)"),
        ("http", Fault.WANTS_MORE, "proxy-auth(407)"),
        ("socks5", Fault.WANTS_MORE, "proxy-refused(it chose what was not offered)"),
    ],
)
async def test_a_proxy_that_gives_a_wrong_answer(
    scheme: str, fault: Fault, expected: str, echo: Echo
) -> None:
    with bad_proxy(scheme, fault) as url:
        url = url.replace("://", f"://{USER}:{PASSWORD}@")
        assert await failure(url, "127.0.0.1", echo.port) == expected
    assert not echo.heard


@pytest.mark.parametrize("scheme", ["http", "socks5"])
@pytest.mark.parametrize("fault", [Fault.NONE, Fault.PIECEMEAL])
async def test_an_answer_may_come_in_pieces(scheme: str, fault: Fault, echo: Echo) -> None:
    with bad_proxy(scheme, fault) as url:
        for credentials in ("", f"{USER}:{PASSWORD}@"):
            known = url.replace("://", f"://{credentials}")
            assert (
                await answer(await through(known, "127.0.0.1", echo.port), b"x" * 99) == b"x" * 99
            )


async def test_a_socks_answer_cannot_be_longer_than_it_says(echo: Echo) -> None:
    with bad_proxy("socks5", Fault.HUGE) as url:
        sock = await through(url, "127.0.0.1", echo.port)
        with sock:  # 255 bytes of a name and two of a port were the answer; this is what followed
            data = await asyncio.get_running_loop().sock_recv(sock, 64)
            assert set(data) <= set(b"X-Filler: \r\n") | set(b"x")


@pytest.mark.parametrize("scheme", ["http", "socks5"])
@pytest.mark.parametrize(
    ("fault", "heard"),
    [(Fault.REWRITES, b"abbdef"), (Fault.CUTS, b"ab"), (Fault.JOINS, b"abcdef")],
)
async def test_what_a_proxy_does_to_the_bytes_is_seen_at_the_other_end(
    scheme: str, fault: Fault, heard: bytes, echo: Echo
) -> None:
    with bad_proxy(scheme, fault, at=2) as url:
        sock = await through(url, "127.0.0.1", echo.port)
        await answer(sock, b"abcdef")
    async with asyncio.timeout(ENOUGH_S):
        while [bytes(said) for said in echo.heard] != [heard] * (1 + (fault is Fault.JOINS)):
            await asyncio.sleep(0.01)
