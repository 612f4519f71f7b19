"""Fuzzes what both ends of a WebSocket read: heads from strangers, and frames.

    python tests/fuzz/fuzz_websocket.py tests/fuzz/corpus/websocket
    python tests/fuzz/fuzz_websocket.py --write-corpus      (renews the committed seeds)

Needs atheris (`pip install atheris`); without it the program mutates the corpus for a minute with
a printed seed instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wraith.testing.fuzzing import main
from wraith.testing.ws_fuzz import sample_frames, websocket

CORPUS = Path(__file__).parent / "corpus" / "websocket"
LISTENER, DIALLER, OPENED = 0, 1, 2
REQUEST = (
    b"GET /x HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\nSec-WebSocket-Version: 13\r\n"
)
ANSWERS = (
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 302 Found\r\nLocation: http://a/\r\n\r\n",
    (
        b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: a\r\n\r\n"
    ),
)


def samples() -> Iterator[bytes]:
    """Right and wrong heads, and frames behind a right one."""
    yield bytes([LISTENER]) + REQUEST + b"\r\n" + sample_frames(masked=True)[0]
    yield bytes([LISTENER]) + REQUEST + b"X-Forwarded-For: 192.0.2.1, x\r\n\r\n"
    yield bytes([LISTENER]) + REQUEST + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    yield bytes([LISTENER]) + b"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc"
    for answer in ANSWERS:
        yield bytes([DIALLER]) + answer
    for end in (LISTENER, DIALLER):
        for frames in sample_frames(masked=end == LISTENER):
            yield bytes([end | OPENED]) + frames


if __name__ == "__main__":
    main(websocket, CORPUS, samples)
