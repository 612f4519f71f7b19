"""Links over WebSocket, accepted: a web server that knows one path at a time, and 404 for the rest.

::

    accepted ──► TLS, head ──► 101 ──► the door is asked, and the doorstep watches over the link
        │            ├──► 404, once, and read until the peer closes
        │            └──► no head within 5 s: read and thrown away, 60 to 600 s, then reset
        └── too many of them: the oldest of the prefix with most is reset

To whoever has no path that counts it is a web site without that page, also behind a reverse proxy
that shows its own page for it (docs/howto/behind-nginx.md). Behind one the addresses of clients
come from its headers.

Spec: docs/spec/carriers.md [CA-64] [CA-73] [CA-74].
"""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from wraith.aio.transports.addresses import family_of, from_sockaddr, to_sockaddr
from wraith.aio.transports.base import LinkDoor
from wraith.aio.transports.crowd import Crowd
from wraith.aio.transports.forwarded import ListedProxies
from wraith.aio.transports.websocket_head import WebSocketHead
from wraith.aio.transports.websocket_link import WebSocketLink
from wraith.connection.handshake.budget import prefix_of
from wraith.connection.links.link import StreamLink
from wraith.connection.links.pools import (
    DISCARD_S,
    DISCARDING_MAX,
    PREFACE_S,
    UNDECIDED_MAX,
    UNDECIDED_PER_PREFIX_MAX,
)
from wraith.errors import MissingExtra, TransportError
from wraith.types import Address, Carrier, NetworkPath

if TYPE_CHECKING:
    from wraith.aio.transports.doorstep import Doorstep
    from wraith.aio.transports.websocket_shell import WebRequest, WebServerShell

#: A head has so long to come, as a preface has; over TLS, so long for each of both.
HEAD_WAIT_S: Final = PREFACE_S
#: Whoever was answered 404 has so long to close.
LINGER_S: Final = 5.0
#: asyncio keeps more than 256 KiB for each connection with TLS.
UNDECIDED_TLS_MAX: Final = 256
_BACKLOG: Final = 128
#: The process has no descriptor left: some will be closed meanwhile.
_ACCEPT_AGAIN_S: Final = 0.1


class _Visitor:
    """One connection before anybody has shown a path: its socket, then its head."""

    __slots__ = ("head", "is_served", "prefix", "remote", "sock", "task", "timer")

    def __init__(self, sock: socket.socket, remote: Address, prefix: bytes | None) -> None:
        self.sock = sock
        #: The client, as soon as a listed proxy has named it.
        self.remote = remote
        self.prefix = prefix
        self.head: WebSocketHead[WebServerShell] | None = None
        self.is_served = False
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None

    def let_go(self) -> None:
        """Ends the connection, whatever has become of it."""
        if self.timer is not None:
            self.timer.cancel()
        if self.task is not None:
            self.task.cancel()
        if not self.is_served:
            self.sock.close()
        if self.head is not None:
            self.head.reset()


class WebSocketListener:
    """Listens on one address, for ``ws`` or, with a context, for ``wss``.

    Args:
        sock: bound; taken over.
        prefix: of all paths, without a slash at its end; often empty.
        accepts_token: whether the last segment of a path counts; then it is used up. It is handed
            any text of a stranger. ``links.ws_path.PathTokens`` of each access key.
        tls: certificate and key of this server; ``None`` behind a proxy that has them.
        proxies: reverse proxies whose X-Forwarded-For counts.

    Raises:
        MissingExtra: the library is not installed.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        prefix: str,
        accepts_token: Callable[[str], bool],
        tls: ssl.SSLContext | None = None,
        proxies: ListedProxies | None = None,
    ) -> None:
        self._new_shell = _load_shell()
        self.local = from_sockaddr(sock.getsockname())
        self._sock = sock
        self._prefix = f"{prefix.rstrip('/')}/"
        self._accepts_token = accepts_token
        self._tls = tls
        self._proxies = proxies or ListedProxies()
        self._door: LinkDoor | None = None
        self._doorstep: Doorstep | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._undecided: Crowd[_Visitor] = Crowd(
            UNDECIDED_MAX if tls is None else UNDECIDED_TLS_MAX, UNDECIDED_PER_PREFIX_MAX
        )
        self._discarding: Crowd[_Visitor] = Crowd(DISCARDING_MAX)

    @classmethod
    def bind(
        cls,
        address: Address,
        *,
        prefix: str = "",
        accepts_token: Callable[[str], bool],
        tls: ssl.SSLContext | None = None,
        proxies: Sequence[str] = (),
    ) -> WebSocketListener:
        """Binds to ``address`` (an empty ``ip`` means every interface, of IPv4).

        Raises:
            TransportError: it cannot be bound.
            ConfigError: an entry of ``proxies`` is no network.
            MissingExtra: the library is not installed.
        """
        listed = ListedProxies(proxies)
        where = address if address.ip else Address(bytes(4), address.port)
        sock = socket.socket(family_of(where), socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(to_sockaddr(where))
            sock.listen(_BACKLOG)
            return cls(sock, prefix=prefix, accepts_token=accepts_token, tls=tls, proxies=listed)
        except OSError as exc:
            sock.close()
            where_text = to_sockaddr(where)[0]
            raise TransportError(
                f"cannot bind TCP port {address.port} on {where_text}: {exc.strerror}"
            ) from exc
        except BaseException:
            sock.close()
            raise

    @property
    def n_strangers(self) -> int:
        """Connections that have shown no path, and those that are only read: bounded."""
        return len(self._undecided) + len(self._discarding)

    def start(self, loop: asyncio.AbstractEventLoop, door: LinkDoor, doorstep: Doorstep) -> None:
        """Accepts from now on. ``door`` is asked about whoever showed a path that counts; whom it
        refuses is answered 101 all the same and sees no difference. [CA-21]"""
        self._loop = loop
        self._door = door
        self._doorstep = doorstep
        self._accepting = loop.create_task(self._accept())

    def close(self) -> None:
        """Stops listening and ends what is no link yet. Links stay. Idempotent."""
        if self._accepting is None:
            self._sock.close()
        else:  # the loop still looks at the socket until the task has ended
            self._accepting.cancel()
            self._accepting.add_done_callback(lambda _: self._sock.close())
        for pool in (self._undecided, self._discarding):
            for visitor in pool.clear():
                visitor.let_go()

    # --- connections ------------------------------------------------------------------------

    async def _accept(self) -> None:
        assert self._loop is not None
        while True:
            try:
                sock, address = await self._loop.sock_accept(self._sock)
            except OSError:
                await asyncio.sleep(_ACCEPT_AGAIN_S)
                continue
            self._receive(sock, from_sockaddr(address))

    def _receive(self, sock: socket.socket, peer: Address) -> None:
        assert self._loop is not None
        is_proxy = self._proxies.holds(peer)
        # What comes through a proxy has no prefix yet, and the proxy none of its own.
        visitor = _Visitor(sock, peer, None if is_proxy else prefix_of(peer))
        shell = self._new_shell(lambda request: self._opens(request, visitor))
        visitor.head = WebSocketHead(shell, lambda: self._look_at(visitor))
        pushed_out = self._undecided.admit(visitor, visitor.prefix)
        if pushed_out is not None:
            pushed_out.let_go()
        visitor.task = self._loop.create_task(self._serve(visitor, visitor.head))

    async def _serve(self, visitor: _Visitor, head: WebSocketHead[WebServerShell]) -> None:
        assert self._loop is not None
        visitor.is_served = True
        try:
            await self._loop.connect_accepted_socket(
                lambda: head,
                visitor.sock,
                ssl=self._tls,
                ssl_handshake_timeout=HEAD_WAIT_S if self._tls else None,
            )
        except BaseException as exc:
            visitor.sock.close()
            self._forget(visitor)
            if not isinstance(exc, OSError):
                raise
            return
        finally:
            visitor.task = None
        if visitor in self._undecided:
            visitor.timer = self._loop.call_later(HEAD_WAIT_S, self._throw_away, visitor)

    def _opens(self, request: WebRequest, visitor: _Visitor) -> bool:
        if not request.path.startswith(self._prefix):
            return False
        if not self._accepts_token(request.path[len(self._prefix) :]):
            return False
        visitor.remote = self._proxies.client_of(visitor.remote, request.forwarded_for)
        return True

    def _look_at(self, visitor: _Visitor) -> None:
        head = visitor.head
        assert head is not None
        if head.is_gone:
            self._forget(visitor)
        elif head.shell.is_open:
            self._forget(visitor)
            self._let_in(head, visitor.remote)
        elif head.shell.is_refused:
            self._move(visitor)
            head.refuse(LINGER_S)

    def _let_in(self, head: WebSocketHead[WebServerShell], remote: Address) -> None:
        assert self._door is not None and self._doorstep is not None
        path = NetworkPath(head.local, remote, Carrier.WS, self._door.next_link_number())
        accepted = self._door.accept_link(path)
        link = WebSocketLink(head, accepted or StreamLink.refused(), path, self._doorstep)
        self._doorstep.came(link)
        if accepted is None:
            link.discard()
        else:
            self._door.link_accepted(link)

    def _throw_away(self, visitor: _Visitor) -> None:
        """No head in time: from outside nothing happens."""
        self._move(visitor)
        if visitor.head is not None:
            visitor.head.discard(random.SystemRandom().uniform(*DISCARD_S))

    def _move(self, visitor: _Visitor) -> None:
        self._forget(visitor)
        pushed_out = self._discarding.admit(visitor, visitor.prefix)
        if pushed_out is not None:
            pushed_out.let_go()

    def _forget(self, visitor: _Visitor) -> None:
        if visitor.timer is not None:
            visitor.timer.cancel()
        self._undecided.remove(visitor)
        self._discarding.remove(visitor)


def _load_shell() -> type[WebServerShell]:
    """As ``websocket._load_shell``, of the other end."""
    try:
        from wraith.aio.transports.websocket_shell import WebServerShell
    except ModuleNotFoundError as exc:
        raise MissingExtra("ws", "the carrier WebSocket") from exc
    return WebServerShell
