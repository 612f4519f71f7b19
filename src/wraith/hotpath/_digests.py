"""Digests of the consecutive chunks of one large buffer: the reference of the native call."""

from __future__ import annotations

from blake3 import blake3

from wraith.types import Buffer


def blake3_chunks(buf: Buffer, chunk_bytes: int) -> bytes:
    """BLAKE3 digests (32 bytes each, back to back) of the chunks of ``buf``.

    The last chunk may be shorter than ``chunk_bytes``; an empty buffer has no digest. The native
    one lets go of the interpreter lock once for all of it.

    Raises:
        ValueError: ``chunk_bytes`` is less than 1.
    """
    if chunk_bytes < 1:
        raise ValueError("chunk_bytes must be at least 1")
    view = memoryview(buf)
    return b"".join(
        blake3(view[at : at + chunk_bytes]).digest() for at in range(0, len(view), chunk_bytes)
    )
