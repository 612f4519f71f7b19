"""Digests of the consecutive chunks of many bytes: the reference of the native calls."""

from __future__ import annotations

from collections.abc import Sequence

from blake3 import blake3

from wraith.types import Buffer


def blake3_chunks(buf: Buffer, chunk_bytes: int) -> bytes:
    """BLAKE3 digests (32 bytes each, back to back) of the chunks of ``buf``.

    The last chunk may be shorter than ``chunk_bytes``; an empty buffer has no digest. The native
    one lets go of the interpreter lock once for all of it.

    Raises:
        ValueError: ``chunk_bytes`` is less than 1.
    """
    return blake3_chunks_of((buf,), chunk_bytes)


def blake3_chunks_of(parts: Sequence[Buffer], chunk_bytes: int) -> bytes:
    """``blake3_chunks`` of what ``parts`` are when joined, without joining them: a chunk may lie in
    several."""
    views = [memoryview(part) for part in parts]
    if chunk_bytes < 1:
        raise ValueError("chunk_bytes must be at least 1")
    digests = []
    begun, missing = blake3(), 0  # of the chunk that began in an earlier part
    for view in views:
        at = min(missing, len(view))
        if at:
            begun.update(view[:at])
            missing -= at
            if not missing:
                digests.append(begun.digest())
        n_whole = (len(view) - at) // chunk_bytes
        end = at + n_whole * chunk_bytes
        digests += [blake3(view[i : i + chunk_bytes]).digest() for i in range(at, end, chunk_bytes)]
        if end < len(view):
            begun = blake3(view[end:])
            missing = chunk_bytes - (len(view) - end)
    if missing:
        digests.append(begun.digest())
    return b"".join(digests)
