"""Fuzzes what a handshake datagram holds behind its veil: parts, prefix, payloads, extensions.

    python tests/fuzz/fuzz_handshake.py tests/fuzz/corpus/handshake
    python tests/fuzz/fuzz_handshake.py --write-corpus      (renews the committed seeds)

Needs atheris (`pip install atheris`); without it the program mutates the corpus for a minute with
a printed seed instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wraith.testing.fuzz_targets import handshake
from wraith.testing.fuzzing import main
from wraith.wire.extensions import Extension, encode_extensions
from wraith.wire.handshake import (
    FinishPayload,
    HelloPayload,
    HelloPrefix,
    PartKind,
    ResponsePayload,
    TransportParams,
    Unsupported,
    encode_part,
)

CORPUS = Path(__file__).parent / "corpus" / "handshake"


def samples() -> Iterator[bytes]:
    """Each payload, each aux entry, a hello in one part and a body in three."""
    extensions = (Extension(1), Extension(0x10, b"\x04\x80"), Extension(0x3A3A, b"grease"))
    params = TransportParams()
    yield HelloPayload((2,), (1, 2, 4), extensions).encode()
    yield ResponsePayload(bytes(104), extensions[:1], params, 1 << 31).encode()
    yield FinishPayload(ident=bytes(104), hmk=bytes(32), params=params, ticket_request=4).encode()
    yield FinishPayload(ident=None, hmk=bytes(32), params=params).encode()
    yield Unsupported((2,), (1, 2)).encode()
    yield encode_extensions(extensions)
    ticket = (bytes(16), b"encrypted parameters")
    for prefix in (
        HelloPrefix(1 << 31, 2, 1),
        HelloPrefix(1 << 31, 2, 1, cookie=bytes(32)),
        HelloPrefix(1 << 31, 2, 9, cookie=bytes(32), ticket=ticket, retry_of=bytes(32)),
    ):
        yield encode_part(
            kind=PartKind.HELLO, index=0, total=2, body_bytes=1224, offset=0, fragment=b"ek" * 20,
            prefix=prefix.encode(),
        ) + bytes(8)  # fmt: skip
    body = bytes(range(150))
    cuts = [
        encode_part(
            kind=PartKind.RESPONSE, index=i, total=3, body_bytes=150, offset=50 * i,
            fragment=body[50 * i : 50 * i + 50],
        )
        for i in range(3)
    ]  # fmt: skip
    yield b"".join(part.ljust(64, b"\xaa") for part in cuts)
    yield b"".join(part.ljust(64, b"\xaa") for part in reversed(cuts))


if __name__ == "__main__":
    main(handshake, CORPUS, samples)
