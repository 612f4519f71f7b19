"""Fuzzes all that a SOCKS 5 proxy says.

    python tests/fuzz/fuzz_socks_reply.py tests/fuzz/corpus/socks_reply
    python tests/fuzz/fuzz_socks_reply.py --write-corpus      (renews the committed seeds)

Needs atheris (`pip install atheris`); without it the program mutates the corpus for a minute with
a printed seed instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wraith.testing.fuzzing import main
from wraith.testing.proxy_fuzz import socks_reply

CORPUS = Path(__file__).parent / "corpus" / "socks_reply"


def samples() -> Iterator[bytes]:
    """Both methods with every reply, the three kinds of address, and what is none of them."""
    ipv4, ipv6 = b"\x01\x7f\x00\x00\x01", b"\x04" + bytes(16)
    for method in (b"\x05\x00", b"\x05\x02\x01\x00"):
        for code in (*range(10), 255):
            yield method + bytes((5, code, 0)) + ipv4 + b"\x00\x50"
        yield method + b"\x05\x00\x00" + ipv6 + b"\x00\x50 of the peer"
        yield method + b"\x05\x00\x00\x03\x07example\x00\x50"
        yield method + b"\x05\x00\x00\x03\x00\x00\x50"
        yield method + b"\x05\x00\x00\x02" + bytes(8)
        yield method + b"\x04\x5a" + bytes(6)
    for other in (1, 2, 128, 255):
        yield bytes((5, other))
    yield b"\x05\x02\x01\x01"
    yield b"\x05\x02\x05\x00"
    yield b"HTTP/1.1 400 Bad Request\r\n\r\n"


if __name__ == "__main__":
    main(socks_reply, CORPUS, samples)
