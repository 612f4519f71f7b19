"""A stream connection through an HTTP or SOCKS 5 proxy, which resolves the name that it leads to.

What is said to a proxy is made by ``python_socks`` (extra ``[socks]``, imported here alone, when
it is used). Its own connections are not used: they read what happens to be there, so that an
answer in two pieces fails, and bytes behind an answer are lost. Here an answer is read to its last
byte and no further, and is bounded: 266 bytes of SOCKS, 8 KiB of HTTP.

A proxy is trusted for nothing. Whatever it says or does, the outcome is a connection or one
``OpenFailed``; user and password are in neither.

Spec: docs/spec/proxies.md [PX-5] [PX-6] [PX-7]; the reasons are those of roads.md.
"""

from __future__ import annotations

import asyncio
import importlib.util
import socket
from collections.abc import Generator
from typing import Final

from wraith.aio.transports.base import OpenFailed
from wraith.connection.roads.proxies import ProxyScheme, ProxyUrl, checked_host
from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.errors import MissingExtra

EXTRA: Final = "socks"
HTTP_HEAD_BYTES_MAX: Final = 8 * 1024
ADDRESSES_MAX: Final = 4
"""So many addresses of the proxy's name are tried, each for its share of the time."""

Steps = Generator[bytes | int, bytes, None]
"""A conversation as its client leads it, without I/O. It yields bytes to send, or how many bytes it
takes next at most, and is then sent at least one. Its end is success; it raises ``OpenFailed``."""

_PROXY: Final = "the proxy"
_HEAD_END: Final = b"\r\n\r\n"
_HTTP: Final = b"HTTP/1."
_SOCKS_VERSION: Final = 5
_ADDRESS_BYTES: Final = {1: 4, 4: 16}
_ADDRESS_NAME: Final = 3
_PORT_BYTES: Final = 2
#: What a SOCKS reply means for the road; any other code is the proxy's own refusal.
_SOCKS_REASONS: Final = {
    3: (RoadReason.UNREACHABLE, "network, says the proxy"),
    4: (RoadReason.UNREACHABLE, "host or its name, says the proxy"),
    5: (RoadReason.REFUSED, "says the proxy"),
    6: (RoadReason.SYN_TIMEOUT, "says the proxy"),
}
_HTTP_REASONS: Final = {
    502: (RoadReason.UNREACHABLE, "the proxy answers 502"),
    504: (RoadReason.SYN_TIMEOUT, "the proxy answers 504"),
}
_HTTP_AUTH_WANTED: Final = (407, 401)  # 401: tinyproxy of a wrong password


def proxies_are_installed() -> bool:
    """Whether the extra is there."""
    return importlib.util.find_spec("python_socks") is not None


async def connect_through(proxy: str, host: str, port: int, *, deadline: float) -> socket.socket:
    """A non-blocking socket of the running loop, connected to ``host`` through ``proxy``. The
    caller owns it. The name of the proxy itself is resolved here, ``host`` never is.

    Args:
        proxy: as ``Road.proxy`` holds it.
        host: a name or a numeric address, IPv6 without brackets.
        deadline: on the clock of the loop.
    Raises:
        OpenFailed: in every other case that the network can bring about.
        MissingExtra: the extra is not installed.
        ConfigError: ``proxy`` is no URL of a proxy.
    """
    if not proxies_are_installed():
        raise MissingExtra(EXTRA, "a proxy")
    url = ProxyUrl.parse(proxy)
    target = checked_host(host)
    if target is None:
        raise _failed(RoadReason.NAME_UNKNOWN, "not a host name")
    sock = await _reach(url, deadline)
    try:
        async with asyncio.timeout_at(deadline):
            await _carry_out(sock, steps_for(url, target, port))
    except TimeoutError:
        sock.close()
        raise _failed(RoadReason.SYN_TIMEOUT, "no answer from the proxy") from None
    except BaseException:
        sock.close()
        raise
    return sock


def steps_for(url: ProxyUrl, host: str, port: int) -> Steps:
    """The conversation with ``url`` about ``host``, which ``checked_host`` has passed."""
    if url.scheme is ProxyScheme.HTTP:
        return _http_steps(url, host, port)
    return _socks_steps(url, host, port)


def _failed(reason: RoadReason, detail: int | str | None = None) -> OpenFailed:
    return OpenFailed(RoadFailure(reason, detail))


# --- what is said -------------------------------------------------------------------------------


def _http_steps(url: ProxyUrl, host: str, port: int) -> Steps:
    """CONNECT. What follows the empty line belongs to the connection and is left there."""
    from python_socks._protocols import errors, http

    yield http.ConnectRequest(host, port, url.user or None, url.password).dumps()
    head = b""
    while not head.endswith(_HEAD_END):
        if len(head) >= HTTP_HEAD_BYTES_MAX:
            raise _failed(RoadReason.PROXY_REFUSED, "its answer has no end")
        head += yield _bytes_before_end(head)
        if not (head.startswith(_HTTP) or _HTTP.startswith(head)):
            raise _failed(RoadReason.PROXY_REFUSED, "its answer is no HTTP")
    try:
        http.ConnectReply.loads(head)
    except errors.ReplyError as error:
        status = error.error_code
    else:
        return
    if status in _HTTP_AUTH_WANTED:
        raise _failed(RoadReason.PROXY_AUTH, status)
    if status is None or not 100 <= status <= 999:
        raise _failed(RoadReason.PROXY_REFUSED, "its answer is no HTTP")
    raise _failed(*_HTTP_REASONS.get(status, (RoadReason.PROXY_REFUSED, status)))


def _bytes_before_end(head: bytes) -> int:
    """How many bytes may be taken without passing the end of the head."""
    half_done = next(n for n in (3, 2, 1, 0) if head.endswith(_HEAD_END[:n]))
    return len(_HEAD_END) - half_done


def _socks_steps(url: ProxyUrl, host: str, port: int) -> Steps:
    """RFC 1928, and RFC 1929 where the proxy wants a user and a password."""
    from python_socks._protocols import errors, socks5

    request = socks5.AuthMethodsRequest(url.user or None, url.password or None)
    yield request.dumps()
    chosen = yield from _socks_answer()
    if chosen[1] == socks5.AuthMethod.NO_ACCEPTABLE:
        wanted = "it takes no password" if url.user else "it wants a user and a password"
        raise _failed(RoadReason.PROXY_AUTH, wanted)
    if chosen[1] not in request.methods:
        raise _failed(RoadReason.PROXY_REFUSED, "it chose what was not offered")
    if chosen[1] == socks5.AuthMethod.USERNAME_PASSWORD:
        yield socks5.AuthRequest(url.user, url.password).dumps()
        try:
            socks5.AuthReply.loads((yield from _exactly(socks5.AuthReply.SIZE)))
        except errors.ReplyError:
            raise _failed(RoadReason.PROXY_AUTH) from None
    yield socks5.ConnectRequest(host, port).dumps()
    code = (yield from _socks_answer())[1]
    if code:
        raise _failed(*_SOCKS_REASONS.get(code, (RoadReason.PROXY_REFUSED, code)))
    _, kind = yield from _exactly(2)
    if kind == _ADDRESS_NAME:
        (n_bytes,) = yield from _exactly(1)
    else:
        n_bytes = _ADDRESS_BYTES.get(kind, 0)
        if not n_bytes:
            raise _no_socks()
    yield from _exactly(n_bytes + _PORT_BYTES)  # where the proxy connects from; nobody needs it


def _socks_answer() -> Generator[int, bytes, bytes]:
    """The two bytes that begin an answer: the version and what it says."""
    answer = yield from _exactly(2)
    if answer[0] != _SOCKS_VERSION:
        raise _no_socks()
    return answer


def _exactly(n_bytes: int) -> Generator[int, bytes, bytes]:
    data = b""
    while len(data) < n_bytes:
        data += yield n_bytes - len(data)
    return data


def _no_socks() -> OpenFailed:
    return _failed(RoadReason.PROXY_REFUSED, "its answer is no SOCKS 5")


# --- how it gets there --------------------------------------------------------------------------


async def _carry_out(sock: socket.socket, steps: Steps) -> None:
    loop = asyncio.get_running_loop()
    try:
        step = next(steps)
        while True:
            if isinstance(step, bytes):
                await loop.sock_sendall(sock, step)
                step = next(steps)
            else:
                data = await loop.sock_recv(sock, step)
                if not data:
                    raise _failed(RoadReason.PROXY_REFUSED, "it closed the connection")
                step = steps.send(data)
    except StopIteration:
        return
    except OSError:
        raise _failed(RoadReason.PROXY_REFUSED, "it reset the connection") from None


async def _reach(url: ProxyUrl, deadline: float) -> socket.socket:
    """A connection to the proxy itself."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout_at(deadline):
            found = await loop.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # TimeoutError is an OSError
        raise _failed(RoadReason.NAME_UNKNOWN, _PROXY) from None
    addresses = found[:ADDRESSES_MAX]
    failure = _failed(RoadReason.NAME_UNKNOWN, _PROXY)
    for i, (family, _, _, _, address) in enumerate(addresses):
        share = (deadline - loop.time()) / (len(addresses) - i)
        try:
            return await _connected(family, address, share)
        except OSError as error:
            failure = _failed(_reason_of(error), _PROXY)
    raise failure


async def _connected(
    family: socket.AddressFamily, address: tuple[str | int | bytes, ...], timeout_s: float
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        async with asyncio.timeout(timeout_s):
            await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def _reason_of(error: OSError) -> RoadReason:
    if isinstance(error, TimeoutError):
        return RoadReason.SYN_TIMEOUT
    if isinstance(error, ConnectionRefusedError):
        return RoadReason.REFUSED
    return RoadReason.UNREACHABLE
