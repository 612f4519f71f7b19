"""Fixed chunks of a file, their digests, and the file id that follows from them.

A file is cut into chunks of exactly ``CHUNK_BYTES``; only the last may be shorter, and an empty
file has none. ``Cut`` answers every question about where a chunk lies and how long it is, and it
alone knows what an entry looks like whose size nobody knows yet: no other room reckons with
``CHUNK_BYTES`` or names ``UNKNOWN_SIZE`` (``tools/check_tree.py`` looks). This module never reads a
file: whoever does hands the bytes in.

Spec: transfer §2 [TR-1, TR-2].
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence

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
"""The size in a listing of an entry that has none yet (standard input)."""

FILE_BYTES_MAX = CHUNK_BYTES * MAX_CHUNKS


class Cut:
    """The cut of one entry into chunks, by its size as a listing gives it.

    An entry of unknown size is cut like an endless one: it may have ``MAX_CHUNKS`` chunks, each of
    them full, and any of them may turn out to be shorter.
    """

    __slots__ = ("_size",)

    def __init__(self, size: int) -> None:
        self._size = size

    @property
    def is_known(self) -> bool:
        """Its size is known."""
        return self._size != UNKNOWN_SIZE

    @property
    def size(self) -> int | None:
        """Its bytes; ``None`` while nobody knows."""
        return self._size if self._size != UNKNOWN_SIZE else None

    def size_or(self, n_bytes: int) -> int:
        """Its size; ``n_bytes`` while nobody knows it."""
        return self._size if self._size != UNKNOWN_SIZE else n_bytes

    def may_end_at(self, n_bytes: int) -> bool:
        """Its size is not known, and may turn out to be ``n_bytes``."""
        return self._size == UNKNOWN_SIZE and n_bytes <= FILE_BYTES_MAX - CHUNK_BYTES

    # --- which chunks it has --------------------------------------------------------------------

    @property
    def n_chunks(self) -> int:
        """The number of chunks that it has, or may have at most."""
        return MAX_CHUNKS if self._size == UNKNOWN_SIZE else -(-self._size // CHUNK_BYTES)

    @property
    def n_listed(self) -> int:
        """How many chunks its listing tells of: none while nobody knows its size."""
        return 0 if self._size == UNKNOWN_SIZE else -(-self._size // CHUNK_BYTES)

    @property
    def is_small(self) -> bool:
        """It has one chunk at most."""
        return self._size <= CHUNK_BYTES

    def may_have(self, chunk: int, length: int) -> bool:
        """``length`` bytes can be all of chunk number ``chunk``, which it has. [TR-35]"""
        if self._size == UNKNOWN_SIZE:
            return 0 < length <= CHUNK_BYTES
        return length == self.length(chunk)

    # --- where they lie -------------------------------------------------------------------------

    def offset(self, chunk: int) -> int:
        """Where chunk number ``chunk`` begins."""
        return chunk * CHUNK_BYTES

    def length(self, chunk: int) -> int:
        """Bytes of chunk number ``chunk``; 0 beyond its end. [TR-1]"""
        return max(0, min(CHUNK_BYTES, self._size - chunk * CHUNK_BYTES))

    def n_bytes(self, first: int, n: int) -> int:
        """Bytes of ``n`` chunks from ``first`` on."""
        end = min((first + n) * CHUNK_BYTES, self._size)
        return max(0, end - first * CHUNK_BYTES)

    def span(self, first: int, n: int) -> tuple[int, int]:
        """Where ``n`` chunks from ``first`` on begin, and how many bytes they have."""
        return first * CHUNK_BYTES, self.n_bytes(first, n)


NO_SIZE_YET = Cut(UNKNOWN_SIZE)


def size_field(size: int | None) -> int:
    """The size that a listing says; ``None``: nobody knows it yet."""
    return UNKNOWN_SIZE if size is None else size


def is_size_field(number: int) -> bool:
    """A listing may say this of a size."""
    return number <= FILE_BYTES_MAX or number == UNKNOWN_SIZE


def known_bytes(sizes: array[int]) -> int:
    """The sum of what a listing says of sizes; unknown ones count nothing."""
    return sum(sizes) - UNKNOWN_SIZE * sizes.count(UNKNOWN_SIZE)


def n_unknown(sizes: array[int]) -> int:
    """The number of sizes that are unknown."""
    return sizes.count(UNKNOWN_SIZE)


def n_whole_chunks(n_bytes: int) -> int:
    """The number of full chunks that fit into so many bytes."""
    return n_bytes // CHUNK_BYTES


def is_full_chunk(length: int) -> bool:
    """A chunk of this length need not be the last one."""
    return length == CHUNK_BYTES


def runs_of(first: int, n: int, n_max: int) -> Iterator[tuple[int, int]]:
    """``(first, n)`` of consecutive runs, each of at most ``n_max`` chunks, that are together
    ``n`` chunks from ``first`` on."""
    for at in range(first, first + n, n_max):
        yield at, min(n_max, first + n - at)


def chunks_of(data: bytes) -> Iterator[bytes | memoryview]:
    """The consecutive chunks in ``data``, which begins with one; only the last may be short.
    Nothing is copied: views, or ``data`` itself if it is one chunk."""
    if len(data) <= CHUNK_BYTES:
        yield data
        return
    view = memoryview(data)
    for at in range(0, len(data), CHUNK_BYTES):
        yield view[at : at + CHUNK_BYTES]


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
