"""Links over WebSocket, dialled: from a road with a URL to an open link.

One try makes one connection with one short request, and follows no redirect. Needs the extra
``ws``; nothing imports the library before a link is opened.

Spec: docs/spec/carriers.md [CA-64] [CA-68] [CA-69] [CA-70].
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from wraith.aio.transports.base import OpenFailed
from wraith.aio.transports.link_socket import Sheltering
from wraith.aio.transports.proxy import connect_through
from wraith.aio.transports.websocket_dial import (
    client_context,
    connect_tcp,
    failed,
    of_tls,
    tell_issuers,
)
from wraith.aio.transports.websocket_head import WebSocketHead
from wraith.aio.transports.websocket_link import WebSocketLink
from wraith.connection.links.link import StreamLink
from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.errors import ConfigError, MissingExtra
from wraith.types import Carrier, NetworkPath, Road

if TYPE_CHECKING:
    from wraith.aio.transports.websocket_shell import WebClientShell


URL_CHARS_MAX: Final = 120
#: The dialler pings after so long without sending: nginx gives up after 60 s of silence. [CA-70]
PING_AFTER_S: Final = (20.0, 25.0)
OPEN_TIMEOUT_S: Final = 10.0

_ACCEPTED: Final = (
    "ws://HOST[:PORT][/PREFIX] or wss://HOST[:PORT][/PREFIX], at most 120 characters, "
    "such as wss://example.org/share"
)
_URL: Final = re.compile(
    r"(?P<scheme>wss?)://(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9_.-]+))"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<prefix>(?:/[a-z0-9._~!$&'()*+,;=:@%-]*)*)",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class WebSocketUrl:
    """A URL in its parts. ``prefix`` is the path without a slash at its end, often empty."""

    is_secure: bool
    host: str
    port: int
    prefix: str

    @classmethod
    def parse(cls, text: str) -> WebSocketUrl:
        """Reads ``text``, which may come from a stranger's code: no user, no password, no query.

        Raises:
            ConfigError: anything else than such a URL.
        """
        found = _URL.fullmatch(text) if len(text) <= URL_CHARS_MAX else None
        if found is None:
            raise ConfigError("url", text[:URL_CHARS_MAX], _ACCEPTED)
        is_secure = found["scheme"].lower() == "wss"
        port = int(found["port"] or (443 if is_secure else 80))
        host = found["name"] or found["v6"]
        if not 0 < port < 65_536 or (found["v6"] and not _is_ipv6(host)):
            raise ConfigError("url", text, _ACCEPTED)
        return cls(is_secure, host.lower(), port, found["prefix"].rstrip("/"))


def _is_ipv6(text: str) -> bool:
    with suppress(ValueError):
        ipaddress.IPv6Address(text)
        return True
    return False


Connect = Callable[[str, int], Awaitable[socket.socket]]
"""Opens a connection to a host and port. The socket does not block. Raises ``OpenFailed``."""


async def open_link(
    road: Road,
    link: StreamLink,
    number: int,
    *,
    token: str,
    tls: ssl.SSLContext | None = None,
    connect: Connect | None = None,
    doorstep: Sheltering | None = None,
    ping_after_s: tuple[float, float] = PING_AFTER_S,
    timeout_s: float = OPEN_TIMEOUT_S,
) -> WebSocketLink:
    """Dials ``road`` and returns the open link; nothing of ``link`` has been sent by then.

    Args:
        road: with a ``ws`` or ``wss`` URL.
        link: the dialler's end; its preface leaves with its first record.
        number: of the link, unique in its endpoint.
        token: the last segment of the path (``links.ws_path.make_token``), fresh for this try.
        tls: what ``wss`` is checked with; the system's trust store by default.
        connect: how a connection is opened; by default directly, or through the proxy of the road.
        doorstep: keeps the link when it discards.
        ping_after_s: least and most seconds without sending after which it pings.
        timeout_s: for everything.

    Raises:
        OpenFailed: the road is none, with the reason.
        ConfigError: the URL is none, or ``tls`` leaves a check out.
        MissingExtra: the library is not installed.
    """
    if road.url is None:
        raise ConfigError("road", str(road), _ACCEPTED)
    url = WebSocketUrl.parse(road.url)
    context = tell_issuers(_checked(tls or client_context())) if url.is_secure else None
    shell = _load_shell()(
        secure=url.is_secure, host=url.host, port=url.port, path=f"{url.prefix}/{token}"
    )
    if connect is None:
        connect = connect_tcp
        if road.proxy is not None:
            deadline = asyncio.get_running_loop().time() + timeout_s
            connect = partial(connect_through, road.proxy, deadline=deadline)
    is_connected = False
    try:
        async with asyncio.timeout(timeout_s):
            sock = await connect(url.host, url.port)
            is_connected = True
            head = await _handshake(shell, url, sock, context, timeout_s)
    except TimeoutError as exc:
        reason = RoadReason.ACCEPTED_SILENT if is_connected else RoadReason.SYN_TIMEOUT
        raise failed(reason) from exc
    path = NetworkPath(head.local, head.remote, Carrier.WS, number)
    return WebSocketLink(head, link, path, doorstep, ping_after_s=ping_after_s)


def _checked(tls: ssl.SSLContext) -> ssl.SSLContext:
    if tls.verify_mode is not ssl.CERT_REQUIRED or not tls.check_hostname:
        raise ConfigError("tls", tls, "a context that checks the certificate and the host name")
    return tls


async def _handshake(
    shell: WebClientShell,
    url: WebSocketUrl,
    sock: socket.socket,
    context: ssl.SSLContext | None,
    timeout_s: float,
) -> WebSocketHead[WebClientShell]:
    """TLS and the request, over ``sock``, which it takes over. Raises ``OpenFailed``."""
    decided = asyncio.Event()
    head = WebSocketHead(shell, lambda: _look_at(head, decided))
    try:
        await asyncio.get_running_loop().create_connection(
            lambda: head,
            sock=sock,
            ssl=context,
            server_hostname=url.host if context else None,
            ssl_handshake_timeout=timeout_s if context else None,
        )
    except (OSError, ssl.CertificateError) as exc:
        sock.close()
        raise of_tls(exc) from exc
    except BaseException:
        sock.close()
        raise
    try:
        await decided.wait()
        if shell.is_open and not head.is_gone:
            return head
        raise OpenFailed(shell.failure or _of_end(head, is_secure=url.is_secure))
    except BaseException:
        head.reset()
        raise


def _look_at(head: WebSocketHead[WebClientShell], decided: asyncio.Event) -> None:
    if head.shell.is_open or head.shell.is_refused or head.is_gone:
        decided.set()


def _of_end(head: WebSocketHead[WebClientShell], *, is_secure: bool) -> RoadFailure:
    """The connection ended before there was an answer."""
    if head.error is None:
        return RoadFailure(RoadReason.NOT_UPGRADED)
    if isinstance(head.error, ssl.SSLError):
        return RoadFailure(RoadReason.TLS_ALERT, head.error.reason)
    return RoadFailure(RoadReason.RESET_LATER if is_secure else RoadReason.RESET_AT_PREFACE)


def _load_shell() -> type[WebClientShell]:
    """The shell's file is the one that imports the library.

    Raises:
        MissingExtra: the library is not installed.
    """
    try:
        from wraith.aio.transports.websocket_shell import WebClientShell
    except ModuleNotFoundError as exc:
        raise MissingExtra("ws", "the carrier WebSocket") from exc
    return WebClientShell
