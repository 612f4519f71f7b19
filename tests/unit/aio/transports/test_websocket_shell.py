"""The WebSocket without a socket: what a stranger is answered, and what makes a message."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

import pytest

from wraith.aio.transports.websocket_shell import (
    MESSAGE_BYTES_MAX,
    NOT_FOUND,
    REQUEST_BYTES_MAX,
    RESPONSE_BYTES_MAX,
    WebClientShell,
    WebRequest,
    WebServerShell,
    WebSocketShell,
)
from wraith.connection.roads.reasons import RoadReason

KEY = b"AAECAwQFBgcICQoLDA0ODw=="
BINARY, TEXT, CONT, CLOSE, PING, PONG = 2, 1, 0, 8, 9, 10
FIN = 0x80
MASK = b"\x01\x02\x03\x04"
HEAD = (
    b"GET /p/token HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: " + KEY + b"\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def frame(opcode: int, data: bytes = b"", *, bits: int = FIN, masked: bool = True) -> bytes:
    """One frame as a client sends it, or a server; written here, not by the library."""
    mask_bit = 0x80 if masked else 0
    if len(data) < 126:
        length = bytes([mask_bit | len(data)])
    elif len(data) < 65_536:
        length = bytes([mask_bit | 126]) + len(data).to_bytes(2, "big")
    else:
        length = bytes([mask_bit | 127]) + len(data).to_bytes(8, "big")
    body = bytes(byte ^ MASK[i % 4] for i, byte in enumerate(data)) if masked else data
    return bytes([bits | opcode]) + length + (MASK if masked else b"") + body


def close_frame(code: int, *, masked: bool = False) -> bytes:
    return frame(CLOSE, code.to_bytes(2, "big"), masked=masked)


class Asking:
    """What the shell asks before it opens: keeps the requests."""

    def __init__(self, answer: bool = True) -> None:
        self.answer = answer
        self.requests: list[WebRequest] = []

    def __call__(self, request: WebRequest) -> bool:
        self.requests.append(request)
        return self.answer


def feed(shell: WebSocketShell, data: bytes, step: int | None = None) -> list[bytes]:
    step = step or max(1, len(data))
    pieces = [memoryview(data[at : at + step]) for at in range(0, len(data), step)]
    return [bytes(message) for piece in pieces for message in shell.receive(piece)]


def server(*, is_open: bool = True) -> WebServerShell:
    shell = WebServerShell(Asking())
    if is_open:
        feed(shell, HEAD)
        assert shell.is_open
        shell.to_send()
    return shell


def client(path: str = "/p/token") -> WebClientShell:
    return WebClientShell(secure=False, host="example.org", port=80, path=path)


def answered(shell: WebSocketShell) -> bytes:
    return b"".join(shell.to_send())


# --- what is answered to a request ------------------------------------------------------------


@pytest.mark.spec("CA-64")
@pytest.mark.parametrize("step", [1, 7, None])
def test_a_right_request_is_answered_101_without_extension_or_subprotocol(step: int | None) -> None:
    asking = Asking()
    shell = WebServerShell(asking)
    offers = b"Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    feed(shell, HEAD[:-2] + offers, step)
    answer = answered(shell)
    accept = base64.b64encode(hashlib.sha1(KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"Sec-WebSocket-Accept: " + accept + b"\r\n" in answer
    assert b"extensions" not in answer.lower()
    assert b"protocol:" not in answer.lower()
    assert asking.requests == [WebRequest("/p/token", ())]


WRONG: dict[str, bytes] = {
    "post": HEAD.replace(b"GET", b"POST"),
    "post with a body": HEAD.replace(b"GET", b"POST")[:-2] + b"Content-Length: 3\r\n\r\nabc",
    "chunks": HEAD[:-2] + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "http 1.0": HEAD.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "http 2.0": HEAD.replace(b"HTTP/1.1", b"HTTP/2.0"),
    "no upgrade": HEAD.replace(b"Upgrade: websocket\r\n", b""),
    "no connection": HEAD.replace(b"Connection: Upgrade\r\n", b""),
    "another upgrade": HEAD.replace(b"websocket", b"h2c"),
    "wrong version": HEAD.replace(b"Version: 13", b"Version: 12"),
    "no version": HEAD.replace(b"Sec-WebSocket-Version: 13\r\n", b""),
    "two versions": HEAD[:-2] + b"Sec-WebSocket-Version: 13\r\n\r\n",
    "short key": HEAD.replace(KEY, b"AAEC"),
    "no base64": HEAD.replace(KEY, b"!" * 24),
    "no key": HEAD.replace(b"Sec-WebSocket-Key: " + KEY + b"\r\n", b""),
    "two keys": HEAD[:-2] + b"Sec-WebSocket-Key: " + KEY + b"\r\n\r\n",
    "broken connection": HEAD.replace(b"Connection: Upgrade", b"Connection: @;@"),
    "a plain page": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "no http": b"EHLO example.org\r\n\r\n",
    "only an end": b"\r\n\r\n",
    "bytes": bytes(range(128, 256)) + b"\r\n\r\n",
    "a header without colon": b"GET / HTTP/1.1\r\nHost\r\n\r\n",
    "many headers": HEAD[:-2] + b"a: b\r\n" * 200 + b"\r\n",
    "too long": HEAD[:-2] + b"Cookie: " + bytes(REQUEST_BYTES_MAX) + b"\r\n\r\n",
}


@pytest.mark.spec("CA-64")
@pytest.mark.parametrize("step", [1, None])
@pytest.mark.parametrize("request_bytes", WRONG.values(), ids=WRONG.keys())
def test_everything_else_is_the_same_404(request_bytes: bytes, step: int | None) -> None:
    asking = Asking()
    shell = WebServerShell(asking)
    assert feed(shell, request_bytes, step) == []
    assert answered(shell) == NOT_FOUND
    assert shell.is_refused and not shell.is_open
    assert asking.requests == [], "a token must not be used up by a request that is wrong"
    assert feed(shell, request_bytes) == []
    assert answered(shell) == b"", "answered twice"


@pytest.mark.spec("CA-64")
def test_a_path_that_does_not_count_is_the_same_404() -> None:
    asking = Asking(answer=False)
    shell = WebServerShell(asking)
    feed(shell, HEAD)
    assert answered(shell) == NOT_FOUND
    assert len(asking.requests) == 1


@pytest.mark.spec("CA-64")
@pytest.mark.parametrize(
    "greeting",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"\x00" * 100_000,
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"GET /\r\n",
        b"x",
    ],
    ids=["tls", "ssh", "zeros", "half a request", "http 0.9", "a byte"],
)
def test_what_has_no_end_of_a_head_is_never_answered(greeting: bytes) -> None:
    shell = WebServerShell(Asking())
    for _ in range(3):
        feed(shell, greeting, 4_096)
        assert answered(shell) == b""
    assert not shell.is_refused


@pytest.mark.spec("CA-64")
@pytest.mark.parametrize("n_bytes", [0, 1, 10_000, 1_000_000])
def test_the_answer_comes_at_the_end_of_the_head_however_long_it_is(n_bytes: int) -> None:
    shell = WebServerShell(Asking())
    feed(shell, b"GET / HTTP/1.1\r\nCookie: " + bytes(n_bytes), 4_096)
    assert answered(shell) == b""
    assert len(shell._head) <= REQUEST_BYTES_MAX
    feed(shell, b"\r\n\r")
    assert answered(shell) == b""
    feed(shell, b"\n")
    assert answered(shell) == NOT_FOUND


@pytest.mark.spec("CA-74")
def test_the_headers_of_proxies_are_passed_on_in_their_order() -> None:
    asking = Asking()
    shell = WebServerShell(asking)
    feed(shell, HEAD[:-2] + b"X-Forwarded-For: a, b\r\nx-forwarded-for: c\r\n\r\n")
    assert asking.requests[0].forwarded_for == ("a, b", "c")


# --- what is made of an answer ------------------------------------------------------------------


@pytest.mark.spec("CA-67")
def test_a_dialler_asks_once_and_says_nothing_of_itself() -> None:
    (request,) = client().to_send()
    lines = request.split(b"\r\n")
    assert lines[0] == b"GET /p/token HTTP/1.1"
    names = {line.split(b":")[0] for line in lines[1:] if line}
    assert names == {
        b"Host", b"Upgrade", b"Connection", b"Sec-WebSocket-Key", b"Sec-WebSocket-Version"
    }  # fmt: skip
    assert len(request) < 300


def accept_for(request: bytes) -> bytes:
    key = request.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
    return base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


def opening(shell: WebClientShell, more: bytes = b"") -> bytes:
    accept = accept_for(b"".join(shell.to_send()))
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n" + more + b"\r\n"
    )


@pytest.mark.spec("CA-67")
@pytest.mark.parametrize("step", [1, 5, None])
def test_a_right_answer_opens_and_what_follows_is_read(step: int | None) -> None:
    shell = client()
    messages = feed(shell, opening(shell) + frame(BINARY, b"early", masked=False), step)
    assert (shell.is_open, shell.failure, messages) == (True, None, [b"early"])


ANSWERS: dict[str, tuple[bytes, str]] = {
    "404": (b"HTTP/1.1 404 Not Found\r\nContent-Length: 9000000\r\n\r\n", "http-status(404)"),
    "502": (b"HTTP/1.1 502 Bad Gateway\r\n\r\n<html>", "http-status(502)"),
    "403 in 1.0": (b"HTTP/1.0 403 Forbidden\r\n\r\n", "http-status(403)"),
    "a page": (b"HTTP/1.1 200 OK\r\n\r\n<html>", "captive-portal(200)"),
    "a redirect": (
        b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/\x1b[31m?a\r\n\r\n",
        "captive-portal(302, http://portal.example/[31m?a)",
    ),
    "a long redirect": (
        b"HTTP/1.1 307 x\r\nlocation:" + b"a" * 500 + b"\r\n\r\n",
        f"captive-portal(307, {'a' * 59})",
    ),
    "no http": (b"SSH-2.0-x\r\n\r\n", "not-upgraded"),
    "no status": (b"HTTP/1.1 abc\r\n\r\n", "not-upgraded"),
    "101 without more": (b"HTTP/1.1 101 x\r\n\r\n", "not-upgraded"),
    "endless": (b"HTTP/1.1 404 x\r\nA: " + b"a" * RESPONSE_BYTES_MAX, "not-upgraded"),
}


@pytest.mark.spec("CA-67")
@pytest.mark.parametrize("step", [1, None])
@pytest.mark.parametrize(("answer", "reason"), ANSWERS.values(), ids=ANSWERS.keys())
def test_every_other_answer_is_a_reason(answer: bytes, reason: str, step: int | None) -> None:
    shell = client()
    shell.to_send()
    assert feed(shell, answer, step) == []
    assert str(shell.failure) == reason
    assert not shell.is_open
    assert answered(shell) == b"", "no second request"


@pytest.mark.spec("CA-67")
@pytest.mark.parametrize(
    "change",
    [
        lambda head: head.replace(b"Accept: ", b"Accept: A"),
        lambda head: head.replace(b"Upgrade: websocket\r\n", b""),
        lambda head: head.replace(b"Connection: Upgrade\r\n", b""),
        lambda head: head[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        lambda head: head[:-2] + b"Sec-WebSocket-Protocol: chat\r\n\r\n",
        lambda head: head.replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
)
def test_a_101_that_is_no_websocket_opens_nothing(change: Callable[[bytes], bytes]) -> None:
    shell = client()
    feed(shell, change(opening(shell)))
    assert shell.failure is not None
    assert shell.failure.reason is RoadReason.NOT_UPGRADED
    assert not shell.is_open


# --- messages -----------------------------------------------------------------------------------


@pytest.mark.spec("CA-65")
@pytest.mark.parametrize("n_bytes", [1, 125, 126, 65_535, MESSAGE_BYTES_MAX])
def test_a_message_is_one_binary_frame(n_bytes: int) -> None:
    shell, data = server(), bytes(i & 0xFF for i in range(n_bytes))
    shell.send(data)
    assert answered(shell) == frame(BINARY, data, masked=False)
    assert feed(shell, frame(BINARY, data), 4_096) == [data]


@pytest.mark.spec("CA-66")
@pytest.mark.parametrize("step", [1, 3, None])
def test_fragments_are_joined_whatever_stands_between_them(step: int | None) -> None:
    stream = (
        frame(BINARY, b"one", bits=0)
        + frame(PING, b"?")
        + frame(CONT, b"", bits=0)
        + frame(CONT, b" and two")
        + frame(BINARY, b"", bits=0)
        + frame(CONT, b"three")
        + frame(BINARY, b"four")
    )
    shell = server()
    assert feed(shell, stream, step) == [b"one and two", b"three", b"four"]
    assert answered(shell) == frame(PONG, b"?", masked=False)


@pytest.mark.spec("CA-66")
def test_fragments_join_to_64_kib_and_no_further() -> None:
    half = bytes(MESSAGE_BYTES_MAX // 2)
    shell = server()
    assert feed(shell, frame(BINARY, half, bits=0) + frame(CONT, half)) == [half + half]
    assert feed(shell, frame(BINARY, half, bits=0) + frame(CONT, half + b"x")) == []
    assert (shell.close_code, answered(shell)) == (1009, close_frame(1009))


@pytest.mark.spec("CA-66")
def test_a_message_beyond_64_kib_is_refused_by_its_header_alone() -> None:
    shell = server()
    feed(shell, frame(BINARY, bytes(MESSAGE_BYTES_MAX + 1))[:10])
    assert (shell.close_code, answered(shell)) == (1009, close_frame(1009))


@pytest.mark.spec("CA-66")
def test_empty_fragments_without_end_hold_nothing() -> None:
    shell = server()
    feed(shell, frame(BINARY, b"", bits=0) + frame(CONT, b"", bits=0) * 5_000, 65_536)
    assert shell.is_open
    assert len(shell._message) == 0


BROKEN: dict[str, bytes] = {
    "text": frame(TEXT, b"hello"),
    "a text's first fragment": frame(TEXT, b"hel", bits=0),
    "rsv1": frame(BINARY, b"x", bits=FIN | 0x40),
    "rsv2": frame(BINARY, b"x", bits=FIN | 0x20),
    "rsv3": frame(BINARY, b"x", bits=FIN | 0x10),
    "not masked": frame(BINARY, b"x", masked=False),
    "empty": frame(BINARY, b""),
    "empty in fragments": frame(BINARY, b"", bits=0) + frame(CONT),
    "a fragment of nothing": frame(CONT, b"x"),
    "two begun": frame(BINARY, b"x", bits=0) + frame(BINARY, b"y"),
    "unknown opcode": frame(3, b"x"),
    "unknown control": frame(11, b"x"),
    "long ping": frame(PING, bytes(126)),
    "fragmented ping": frame(PING, b"x", bits=0),
}


@pytest.mark.spec("CA-66")
@pytest.mark.parametrize("step", [1, None])
@pytest.mark.parametrize("stream", BROKEN.values(), ids=BROKEN.keys())
def test_what_no_dialler_sends_ends_with_1002_and_no_word(stream: bytes, step: int | None) -> None:
    shell = server()
    good = frame(BINARY, b"good")
    assert feed(shell, good + stream + good, step) == [b"good"]
    assert (shell.close_code, shell.is_open) == (1002, False)
    assert answered(shell) == close_frame(1002)
    assert feed(shell, good) == []
    shell.send(b"late")
    shell.ping()
    shell.close()
    assert answered(shell) == b""


@pytest.mark.spec("CA-71")
@pytest.mark.parametrize(
    ("body", "code"),
    [(b"\x03\xe8", 1000), (b"\x03\xe9bye", 1001), (b"", 1005), (b"\x0f\xa0", 4000)],
)
def test_a_close_is_answered_and_told_with_its_code(body: bytes, code: int) -> None:
    shell = server()
    assert feed(shell, frame(CLOSE, body) + frame(BINARY, b"behind")) == []
    assert (shell.close_code, shell.is_open) == (code, False)
    assert answered(shell) == frame(CLOSE, body, masked=False)


@pytest.mark.spec("CA-66")
@pytest.mark.parametrize("body", [b"\x03", b"\x03\xed", b"\x00\x00", b"\x03\xe8\xff\xff"])
def test_a_malformed_close_is_no_error_of_ours(body: bytes) -> None:
    shell = server()
    feed(shell, frame(CLOSE, body))
    assert shell.close_code in (1002, 1007)
    assert answered(shell) == close_frame(shell.close_code)


@pytest.mark.spec("CA-71")
def test_our_close_is_done_when_the_peer_answers() -> None:
    shell = server()
    shell.close()
    assert answered(shell) == close_frame(1000)
    assert (shell.is_open, shell.close_code) == (True, None)
    shell.send(b"late")
    assert answered(shell) == b""
    feed(shell, frame(CLOSE, b"\x03\xe8"))
    assert (shell.is_open, shell.close_code) == (False, 1000)


def test_a_dialler_masks_and_reads_what_is_not_masked() -> None:
    shell = client()
    feed(shell, opening(shell))
    shell.send(b"data")
    sent = answered(shell)
    assert sent[:2] == bytes([FIN | BINARY, 0x80 | 4])
    assert bytes(byte ^ sent[2 + i % 4] for i, byte in enumerate(sent[6:])) == b"data"
    assert feed(shell, frame(BINARY, b"back", masked=False)) == [b"back"]
    feed(shell, frame(BINARY, b"masked"))
    assert shell.close_code == 1002
