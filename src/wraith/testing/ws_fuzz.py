"""The target of the WebSocket fuzzer: what either end reads, from a stranger or behind a right
handshake.

The first byte of an input says which: bit 0 the end, bit 1 whether the handshake was right. The
rest is read whole and in pieces, which must make no difference to what is delivered and how it
ends. Documented outcomes only: 101 or the one 404, whole messages of 1 to 65,536 bytes, pongs, and
at most one close frame.
"""

from __future__ import annotations

import base64
import hashlib

from wraith.aio.transports.websocket_shell import (
    MESSAGE_BYTES_MAX,
    NOT_FOUND,
    REQUEST_BYTES_MAX,
    RESPONSE_BYTES_MAX,
    WebClientShell,
    WebServerShell,
    WebSocketShell,
)

_PIECES = (65_536, 61, 1)
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_REQUEST = (
    b"GET /x HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def websocket(data: bytes) -> None:
    """Both ends, on whatever ``data`` makes of them."""
    if not data:
        return
    is_client, is_opened = bool(data[0] & 1), bool(data[0] & 2)
    outcomes = [_read(is_client, is_opened, data[1:], size) for size in _PIECES]
    if len({repr(outcome) for outcome in outcomes}) != 1:
        raise AssertionError("the pieces made a difference")


def _read(is_client: bool, is_opened: bool, data: bytes, size: int) -> tuple[object, ...]:
    shell: WebSocketShell
    client = WebClientShell(secure=True, host="x", port=443, path="/x")
    shell = client if is_client else WebServerShell(lambda request: request.path == "/x")
    if is_opened:
        head = _answer(b"".join(client.to_send())) if is_client else _REQUEST
        shell.receive(memoryview(head))
    if is_opened or is_client:
        shell.to_send()
    was_open = shell.is_open
    messages: list[bytes] = []
    sent = b""
    for at in range(0, len(data), size):
        piece = memoryview(data[at : at + size])
        messages += map(bytes, shell.receive(piece))
        sent += b"".join(shell.to_send())
        if len(shell._head) > max(REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX):
            raise AssertionError("a head beyond its bound is kept")
    if not all(1 <= len(message) <= MESSAGE_BYTES_MAX for message in messages):
        raise AssertionError("a message has a size that it cannot have")
    if not was_open and not shell.is_open and shell.close_code is None:
        if sent not in (b"", NOT_FOUND) or messages:
            raise AssertionError("a stranger is told something")
    elif was_open:
        _check_frames(sent, masked=is_client)
    # Pongs may differ: to a ping behind a text in one read there is one, since the library has read
    # both before we refuse the text.
    return messages, shell.is_open, shell.is_refused, shell.close_code


def _answer(request: bytes) -> bytes:
    key = request.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
    accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
    return (
        b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


def _check_frames(sent: bytes, *, masked: bool) -> None:
    """Control frames alone: pongs, then at most one close, which says a code or echoes one."""
    at = 0
    while at < len(sent):
        kind, n_bytes = sent[at], sent[at + 1] & 0x7F
        if kind not in (0x8A, 0x88) or n_bytes > 125 or bool(sent[at + 1] & 0x80) is not masked:
            raise AssertionError("something else than a control frame is sent")
        at += 2 + 4 * masked + n_bytes
        if kind == 0x88 and at != len(sent):
            raise AssertionError("something is sent behind the end")


def sample_frames(*, masked: bool) -> list[bytes]:
    """Streams of frames for the committed seeds."""

    def frame(first: int, body: bytes) -> bytes:
        mask = b"\x11\x22\x33\x44" if masked else b""
        size = bytes([len(body)]) if len(body) < 126 else b"\x7e" + len(body).to_bytes(2, "big")
        length = bytes([size[0] | (0x80 if masked else 0)]) + size[1:]
        hidden = bytes(b ^ mask[i % 4] for i, b in enumerate(body)) if masked else body
        return bytes([first]) + length + mask + hidden

    whole, part, more, last = 0x82, 0x02, 0x00, 0x80
    return [
        frame(whole, b"message") * 3,
        frame(part, b"a") + frame(0x89, b"ping") + frame(more, b"") + frame(last, b"b"),
        frame(whole, bytes(130)) + frame(0x88, b"\x03\xe8bye"),
        frame(0x81, b"text"),
        frame(0xC2, b"reserved"),
        frame(whole, b""),
        frame(0x89, b"") * 20 + frame(0x8A, b"pong") + frame(0x88, b""),
        bytes([whole, 0xFF if masked else 0x7F]) + (1 << 40).to_bytes(8, "big"),
        frame(part, b"a") + frame(part, b"b"),
    ]
