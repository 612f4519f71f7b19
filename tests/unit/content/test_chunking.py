"""Chunks, digests and file ids."""

from __future__ import annotations

import struct
from array import array

import pytest
from blake3 import blake3

from wraith.content.chunking import (
    CHUNK_BYTES,
    FILE_BYTES_MAX,
    MAX_CHUNKS,
    NO_SIZE_YET,
    UNKNOWN_SIZE,
    Cut,
    FileIdHasher,
    chunk_digest,
    chunk_digests,
    chunk_digests_of,
    chunks_of,
    digest_of_digests,
    file_id,
    is_full_chunk,
    is_size_field,
    known_bytes,
    n_unknown,
    n_whole_chunks,
    parts_digest,
    runs_of,
    size_field,
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
    cut = Cut(size)
    assert [cut.length(i) for i in range(cut.n_chunks)] == lengths
    assert cut.length(cut.n_chunks) == 0
    assert cut.n_listed == cut.n_chunks
    assert cut.is_small is (len(lengths) <= 1)
    assert (cut.is_known, cut.size, cut.size_or(7)) == (True, size, size)
    assert [len(chunk) for chunk in chunks_of(bytes(size)) if chunk] == lengths
    for first in range(len(lengths)):
        for n in range(1, len(lengths) - first + 1):
            at, n_bytes = cut.span(first, n)
            assert at == cut.offset(first) == sum(lengths[:first])
            assert n_bytes == cut.n_bytes(first, n) == sum(lengths[first : first + n])
    for chunk, length in enumerate(lengths):
        assert cut.may_have(chunk, length)
        assert not cut.may_have(chunk, length - 1) and not cut.may_have(chunk, length + 1)
    assert not cut.may_end_at(size)


def test_what_has_no_size_yet_is_cut_like_an_endless_file() -> None:
    cut = Cut(UNKNOWN_SIZE)
    assert (cut.is_known, cut.size, cut.size_or(7), cut.is_small) == (False, None, 7, False)
    assert (cut.n_chunks, cut.n_listed) == (MAX_CHUNKS, 0)
    assert cut.length(7) == cut.length(MAX_CHUNKS - 1) == CHUNK_BYTES
    assert cut.span(MAX_CHUNKS - 2, 2) == (FILE_BYTES_MAX - 2 * CHUNK_BYTES, 2 * CHUNK_BYTES)
    assert cut.may_have(3, 1) and cut.may_have(3, CHUNK_BYTES)
    assert not cut.may_have(3, 0) and not cut.may_have(3, CHUNK_BYTES + 1)
    assert cut.may_end_at(0) and cut.may_end_at((MAX_CHUNKS - 1) * CHUNK_BYTES)
    assert not cut.may_end_at((MAX_CHUNKS - 1) * CHUNK_BYTES + 1)
    assert not cut.may_end_at(UNKNOWN_SIZE)
    assert NO_SIZE_YET.size is None


def test_a_listing_says_sizes_and_that_there_is_none_yet() -> None:
    assert size_field(5) == 5 and size_field(None) == (1 << 64) - 1
    assert is_size_field(0) and is_size_field(FILE_BYTES_MAX) and is_size_field(size_field(None))
    assert not is_size_field(FILE_BYTES_MAX + 1) and not is_size_field(UNKNOWN_SIZE - 1)
    sizes = array("Q", [3, UNKNOWN_SIZE, 0, 4, UNKNOWN_SIZE])
    assert known_bytes(sizes) == 7 and n_unknown(sizes) == 2


def test_a_run_is_as_long_as_it_may_be() -> None:
    assert list(runs_of(3, 9, 4)) == [(3, 4), (7, 4), (11, 1)]
    assert list(runs_of(0, 4, 4)) == [(0, 4)]
    assert list(runs_of(5, 0, 4)) == []


def test_only_a_full_chunk_need_not_be_the_last() -> None:
    assert is_full_chunk(CHUNK_BYTES) and not is_full_chunk(CHUNK_BYTES - 1)
    assert n_whole_chunks(2 * CHUNK_BYTES - 1) == 1


def test_a_file_of_one_chunk_is_handed_on_as_it_is() -> None:
    data = bytes(CHUNK_BYTES)
    (chunk,) = chunks_of(data)
    assert chunk is data


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
