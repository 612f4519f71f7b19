"""Fuzzes what an HTTP proxy answers to CONNECT.

    python tests/fuzz/fuzz_http_reply.py tests/fuzz/corpus/http_reply
    python tests/fuzz/fuzz_http_reply.py --write-corpus      (renews the committed seeds)

Needs atheris (`pip install atheris`); without it the program mutates the corpus for a minute with
a printed seed instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wraith.testing.fuzzing import main
from wraith.testing.proxy_fuzz import http_reply

CORPUS = Path(__file__).parent / "corpus" / "http_reply"


def samples() -> Iterator[bytes]:
    """Answers that were seen, and some that nobody should give."""
    yield b"HTTP/1.0 200 Connection established\r\nProxy-agent: tinyproxy/1.11.1\r\n\r\n"
    yield b"HTTP/1.1 200 OK\r\n\r\n\x16\x03\x03 of the peer"
    for status in (100, 101, 204, 301, 401, 403, 407, 500, 502, 503, 504, 1000):
        yield b"HTTP/1.1 %d why\r\nContent-Length: 0\r\n\r\n" % status
    yield b"HTTP/1.1 200\r\nX: \r\n \r\r\n\r\n"
    yield b"HTTP/1.1 \xff\xfe\r\n\r\n"
    yield b"HTTP/1.1\r\n\r\n"
    yield b"\r\n\r\n"
    yield b"\x15\x03\x01\x00\x02\x02\x28"
    yield b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 9_000


if __name__ == "__main__":
    main(http_reply, CORPUS, samples)
