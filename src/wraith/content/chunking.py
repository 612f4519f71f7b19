"""Fixed chunks of a file, their digests, and the file id that follows from them.

A file is cut into chunks of exactly ``CHUNK_BYTES``; only the last may be shorter, and an empty
file has none. This module never reads a file: whoever does hands the bytes in.

Spec: transfer §2 [TR-1, TR-2].
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from blake3 import blake3

from wraith.crypto.kdf import Label
from wraith.errors import HashMismatch
from wraith.hotpath import blake3_chunks, blake3_chunks_of
from wraith.types import Buffer

CHUNK_BYTES = 262_144
DIGEST_BYTES = 32
MAX_CHUNKS = 1 << 32
"""A chunk number is a u32 on the wire, so a file has at most 1 PiB."""

UNKNOWN_SIZE = (1 << 64) - 1
"""The size of what has none yet (standard input)."""

FILE_BYTES_MAX = CHUNK_BYTES * MAX_CHUNKS


def n_chunks(size: int) -> int:
    """How many chunks a file of ``size`` bytes has; ``MAX_CHUNKS`` for ``UNKNOWN_SIZE``."""
    return MAX_CHUNKS if size == UNKNOWN_SIZE else -(-size // CHUNK_BYTES)


def chunk_length(size: int, chunk: int) -> int:
    """Bytes of chunk number ``chunk`` of a file of ``size`` bytes; 0 beyond its end. [TR-1]"""
    if size == UNKNOWN_SIZE:
        return CHUNK_BYTES
    return max(0, min(CHUNK_BYTES, size - chunk * CHUNK_BYTES))


def chunk_digest(data: Buffer) -> bytes:
    """BLAKE3 of one chunk, 32 bytes. Releases the interpreter lock for anything large."""
    return blake3(data).digest()


def chunk_digests(data: Buffer) -> bytes:
    """Digests of the consecutive chunks in ``data``, joined; the last may be short. Releases the
    interpreter lock (with the native part: once for all of it)."""
    return blake3_chunks(data, CHUNK_BYTES)


def chunk_digests_of(parts: Sequence[Buffer]) -> bytes:
    """``chunk_digests`` of what ``parts`` are when joined; no part needs to end with a chunk."""
    return blake3_chunks_of(parts, CHUNK_BYTES)


def parts_digest(parts: Iterable[Buffer]) -> bytes:
    """``chunk_digest`` of a chunk that lies in several buffers."""
    hasher = blake3()
    for part in parts:
        hasher.update(part)
    return hasher.digest()


def verify_chunk(parts: Iterable[Buffer], digest: bytes, *, file: str, chunk: int) -> None:
    """Return if the chunk in ``parts`` has ``digest``.

    Raises:
        HashMismatch: it has another one; names ``file`` and ``chunk``. [TR-2]
    """
    if parts_digest(parts) != digest:
        raise HashMismatch(file, chunk)


def digest_of_digests(digests: Iterable[Buffer]) -> bytes:
    """BLAKE3 over chunk digests one after the other: stands for many chunks in a resume."""
    return parts_digest(digests)


class FileIdHasher:
    """``DK("wraith-v2 file", size u64 ‖ chunk digests in order)``, fed piece by piece. [TR-3]"""

    def __init__(self, size: int) -> None:
        self._hasher = blake3(struct.pack(">Q", size), derive_key_context=Label.FILE.value)

    def update(self, digests: Buffer) -> None:
        """Takes any number of whole 32-byte digests, in order."""
        self._hasher.update(digests)

    def digest(self) -> bytes:
        return self._hasher.digest()


def file_id(size: int, digests: Buffer) -> bytes:
    """The 32-byte id of a file of ``size`` bytes from all its chunk digests, joined. [TR-3]"""
    hasher = FileIdHasher(size)
    hasher.update(digests)
    return hasher.digest()
