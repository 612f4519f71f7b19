"""Chunks, digests and file ids."""

from __future__ import annotations

import struct

import pytest
from blake3 import blake3

from wraith.content.chunking import (
    CHUNK_BYTES,
    MAX_CHUNKS,
    UNKNOWN_SIZE,
    FileIdHasher,
    chunk_digest,
    chunk_digests,
    chunk_digests_of,
    chunk_length,
    digest_of_digests,
    file_id,
    n_chunks,
    parts_digest,
    verify_chunk,
)
from wraith.errors import HashMismatch


@pytest.mark.spec("TR-1")
@pytest.mark.parametrize(
    ("size", "lengths"),
    [
        (0, []),
        (1, [1]),
        (262_143, [262_143]),
        (262_144, [262_144]),
        (262_145, [262_144, 1]),
        (3 * 262_144, [262_144] * 3),
    ],
)
def test_a_file_is_cut_into_full_chunks_and_a_rest(size: int, lengths: list[int]) -> None:
    assert [chunk_length(size, i) for i in range(n_chunks(size))] == lengths
    assert chunk_length(size, n_chunks(size)) == 0


def test_a_stream_may_have_any_number_of_chunks() -> None:
    assert n_chunks(UNKNOWN_SIZE) == MAX_CHUNKS
    assert chunk_length(UNKNOWN_SIZE, 7) == CHUNK_BYTES


@pytest.mark.spec("TR-2")
def test_a_chunk_in_parts_is_verified_as_a_whole() -> None:
    data = b"0123456789"
    verify_chunk([data[:3], data[3:]], blake3(data).digest(), file="f", chunk=4)
    with pytest.raises(HashMismatch) as caught:
        verify_chunk([data[:3], b"x" + data[4:]], blake3(data).digest(), file="f", chunk=4)
    assert (caught.value.file, caught.value.chunk) == ("f", 4)


@pytest.mark.spec("TR-1")
def test_chunks_are_digested_across_parts() -> None:
    data = bytes(range(256)) * 2100
    assert chunk_digests_of([data[:1000], data[1000:262_200], data[262_200:]]) == chunk_digests(
        data
    )
    assert chunk_digests_of([]) == b""


@pytest.mark.spec("TR-3")
def test_a_file_id_is_derived_from_its_size_and_chunk_digests() -> None:
    digests = [chunk_digest(b"a"), chunk_digest(b"b")]
    expected = blake3(
        struct.pack(">Q", 262_145) + b"".join(digests), derive_key_context="wraith-v2 file"
    ).digest()
    assert file_id(262_145, b"".join(digests)) == expected
    hasher = FileIdHasher(262_145)
    for digest in digests:
        hasher.update(digest)
    assert hasher.digest() == expected
    assert file_id(262_146, b"".join(digests)) != expected


def test_digest_of_digests_does_not_depend_on_how_they_are_joined() -> None:
    parts = [chunk_digest(bytes([i])) for i in range(5)]
    assert digest_of_digests(parts) == digest_of_digests([b"".join(parts)]) == parts_digest(parts)
