"""Both ends of a WebSocket without a socket: bytes in, whole messages and bytes to send out.

The one file that knows the library ``websockets`` (extra ``ws``), and only its part without I/O.
Around it stands what a carrier needs and a general library leaves open: no head longer than its
bound is kept, a refusal is one fixed 404, and no text of the library ever leaves.

Bytes come from strangers. What they cannot do: make anything here raise, make it hold more than
one head or one message, or get another answer than 101 or that 404.

Spec: docs/spec/carriers.md [CA-64] [CA-65] [CA-66] [CA-67]; RFC 6455.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Final, NamedTuple, cast

from websockets.client import ClientProtocol
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN, Protocol
from websockets.server import ServerProtocol
from websockets.uri import WebSocketURI

from wraith.connection.roads.reasons import RoadFailure, RoadReason

MESSAGE_BYTES_MAX: Final = 64 * 1024
#: A request that reaches a listener is no longer, with all that proxies add to ours.
REQUEST_BYTES_MAX: Final = 4_096
RESPONSE_BYTES_MAX: Final = 16_384
NOT_FOUND: Final = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

_END: Final = b"\r\n\r\n"
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})[ \r]")
_LOCATION: Final = re.compile(rb"\r\nlocation:[ \t]*([^\r\n]*)", re.IGNORECASE)


def _silent_logger() -> logging.Logger:
    """A logger that writes nothing and belongs to no tree: what the library would say holds paths
    and bytes of strangers."""
    logger = logging.Logger("websockets")
    logger.disabled = True
    return logger


_LOGGER: Final = _silent_logger()


class _QuietServer(ServerProtocol):
    """Fails without words: those of the library would name it to whoever asks. [CA-66]"""

    def fail(self, code: CloseCode | int, reason: str = "") -> None:
        super().fail(code)


class _QuietClient(ClientProtocol):
    """The same at the other end."""

    def fail(self, code: CloseCode | int, reason: str = "") -> None:
        super().fail(code)


class WebRequest(NamedTuple):
    """What a request says, as far as anybody needs it.

    ``path`` as it was sent. ``forwarded_for``: the values of X-Forwarded-For in their order.
    """

    path: str
    forwarded_for: tuple[str, ...]


class WebSocketShell:
    """What both ends have in common. Call ``receive``, then ``to_send``, then look at the rest.

    Attributes:
        is_open: the handshake is done and the WebSocket has not ended.
        is_refused: there is no WebSocket and will be none: we have answered 404, or been refused.
        close_code: how it ended, once it did: the peer's code, or that of our own failure.
    """

    def __init__(self, head_bytes_max: int) -> None:
        self.is_open = False
        self.is_refused = False
        self.close_code: int | None = None
        self._protocol: Protocol | None = None
        self._head = bytearray()
        self._head_bytes_max = head_bytes_max
        self._is_head_too_long = False
        self._message = bytearray()
        self._to_send: list[bytes] = []

    def receive(self, data: memoryview) -> list[bytes | bytearray]:
        """Takes what came; gives the whole messages in it, each 1 to 65,536 bytes. Raises nothing.

        ``data`` is borrowed for the call. What follows the end of the WebSocket is dropped.
        """
        if not self.is_open:
            rest = self._receive_head(data)
            if rest is None:
                return []
            data = memoryview(rest)
        return self._receive_frames(data) if data else []

    def send(self, message: bytes) -> None:
        """One binary message, unfragmented."""
        if self._can_send:
            self._protocol_in_use.send_binary(message)

    def ping(self) -> None:
        """An empty ping, which keeps what is in between from forgetting the connection."""
        if self._can_send:
            self._protocol_in_use.send_ping(b"")

    def close(self, code: int = CloseCode.NORMAL_CLOSURE) -> None:
        """Begins the closing handshake."""
        if self._can_send:
            self._protocol_in_use.send_close(code)

    def fail(self) -> None:
        """Ends the WebSocket with 1002, without words: the peer sent what no peer sends. [CA-66]"""
        if self.is_open:
            self._protocol_in_use.fail(CloseCode.PROTOCOL_ERROR)
            self._end(CloseCode.PROTOCOL_ERROR)

    def to_send(self) -> list[bytes]:
        """What is due, in order. The caller takes it over."""
        out, self._to_send = self._to_send, []
        if self._protocol is not None:
            out += [piece for piece in self._protocol.data_to_send() if piece]
        return out

    @property
    def _can_send(self) -> bool:
        return self.is_open and self._protocol_in_use.state is OPEN

    @property
    def _protocol_in_use(self) -> Protocol:
        assert self._protocol is not None
        return self._protocol

    def _end(self, code: int) -> None:
        if self.is_open:
            self.is_open = False
            self.close_code = code

    # --- the head ---------------------------------------------------------------------------

    def _receive_head(self, data: memoryview) -> bytes | None:
        """Collects a head, at most so much of it; what follows it once it was accepted.

        A head ends at its empty line and nowhere else, however long it is and whatever stands in
        it. So no answer and no end depends on a count of bytes. [CA-64]
        """
        if self.is_refused or self.close_code is not None:
            return None
        start = max(0, len(self._head) - len(_END) + 1)
        self._head += data
        end = self._head.find(_END, start)
        n_bytes = len(self._head) if end < 0 else end + len(_END)
        self._is_head_too_long |= n_bytes > self._head_bytes_max
        if end < 0:
            if self._is_head_too_long:
                del self._head[: -len(_END) + 1]
            return None
        rest = bytes(self._head[end + len(_END) :])
        head = bytes(self._head[: end + len(_END)])
        self._head.clear()
        self._on_head(b"" if self._is_head_too_long else head)
        return rest if self.is_open else None

    def _on_head(self, head: bytes) -> None:
        """A whole head, or nothing when it was too long."""
        raise NotImplementedError

    # --- messages ---------------------------------------------------------------------------

    def _receive_frames(self, data: memoryview) -> list[bytes | bytearray]:
        protocol = self._protocol_in_use
        # It appends to a bytearray, so any buffer will do.
        protocol.receive_data(cast(bytes, data))
        messages: list[bytes | bytearray] = []
        for frame in protocol.events_received():
            assert isinstance(frame, Frame)
            if frame.opcode is Opcode.CLOSE:
                assert protocol.close_rcvd is not None
                self._end(protocol.close_rcvd.code)
            elif frame.opcode is Opcode.TEXT:
                self.fail()
            elif frame.opcode is Opcode.BINARY or frame.opcode is Opcode.CONT:
                message = self._joined(frame)
                if message is None:
                    continue
                if message:
                    messages.append(message)
                else:
                    self.fail()
            if not self.is_open:
                return messages
        if protocol.parser_exc is not None and protocol.close_sent is not None:
            # The library refused a frame: reserved bits, a mask, a length, an unknown opcode.
            self._end(protocol.close_sent.code)
        return messages

    def _joined(self, frame: Frame) -> bytes | bytearray | None:
        """The message that ``frame`` completes. We send no fragments; others on the way may cut
        a message, and the library bounds the sum of its parts. [CA-66]"""
        data = cast(bytes | bytearray, frame.data)
        if frame.fin and not self._message and frame.opcode is Opcode.BINARY:
            return data
        self._message += data
        if not frame.fin:
            return None
        message, self._message = self._message, bytearray()
        return message


class WebServerShell(WebSocketShell):
    """The end that was dialled.

    Args:
        opens: whether this request is to be answered with 101; asked once, and only for one that
            is a right WebSocket handshake otherwise. False makes it 404.
    """

    def __init__(self, opens: Callable[[WebRequest], bool]) -> None:
        super().__init__(REQUEST_BYTES_MAX)
        self._opens = opens

    def _on_head(self, head: bytes) -> None:
        protocol = _QuietServer(max_size=MESSAGE_BYTES_MAX, logger=_LOGGER)
        if head:
            protocol.receive_data(head)
            for request in protocol.events_received():
                assert isinstance(request, Request)
                response = protocol.accept(request)
                if response.status_code == 101 and self._opens(_summary(request)):
                    protocol.send_response(response)
                    self._protocol = protocol
                    self.is_open = True
                    return
        # Whatever is wrong, and whatever the library would say about it. [CA-64]
        self._to_send.append(NOT_FOUND)
        self.is_refused = True


def _summary(request: Request) -> WebRequest:
    return WebRequest(request.path, tuple(request.headers.get_all("X-Forwarded-For")))


class WebClientShell(WebSocketShell):
    """The end that dials: asks once, and follows no redirect.

    Args:
        secure: ``wss``; decides only on the port that the header Host leaves out.
        host, port: as the URL has them.
        path: with the token, beginning with ``/``.

    Attributes:
        failure: why the answer was none, once there was one.
    """

    def __init__(self, *, secure: bool, host: str, port: int, path: str) -> None:
        super().__init__(RESPONSE_BYTES_MAX)
        self.failure: RoadFailure | None = None
        self._client = _QuietClient(
            WebSocketURI(secure, host, port, path, ""), max_size=MESSAGE_BYTES_MAX, logger=_LOGGER
        )
        self._client.send_request(self._client.connect())
        self._to_send += self._client.data_to_send()

    def receive(self, data: memoryview) -> list[bytes | bytearray]:
        messages = super().receive(data)
        if self._is_head_too_long:
            self._refuse(RoadFailure(RoadReason.NOT_UPGRADED))
        return messages

    def _on_head(self, head: bytes) -> None:
        status = _STATUS.match(head)
        if status is not None and status[1] != b"101":
            self._refuse(_refusal(int(status[1]), head))
            return
        if status is not None:
            self._client.receive_data(head)
            self._client.events_received()
        if self._client.state is OPEN:
            self._protocol = self._client
            self.is_open = True
        else:
            self._refuse(RoadFailure(RoadReason.NOT_UPGRADED))

    def _refuse(self, failure: RoadFailure) -> None:
        if self.failure is None:
            self.failure = failure
        self.is_refused = True


def _refusal(status: int, head: bytes) -> RoadFailure:
    """A portal in between answers with a page of its own, or leads to one; a web server that has
    no such path answers 404."""
    if status == 200 or 300 <= status < 400:
        location = _LOCATION.search(head)
        if location is None:
            return RoadFailure(RoadReason.CAPTIVE_PORTAL, status)
        where = location[1].decode("ascii", "replace")
        return RoadFailure(RoadReason.CAPTIVE_PORTAL, f"{status}, {where}")
    return RoadFailure(RoadReason.HTTP_STATUS, status)
