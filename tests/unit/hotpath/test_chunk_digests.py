"""Digests of chunks, on both implementations."""

from __future__ import annotations

from types import ModuleType

import pytest
from blake3 import blake3


def test_each_chunk_has_its_own_digest(hotpath: ModuleType) -> None:
    data = bytes(range(256)) * 5
    want = [blake3(data[at : at + 500]).digest() for at in range(0, len(data), 500)]
    assert len(want) == 3
    for buf in (data, bytearray(data), memoryview(data)):
        assert hotpath.blake3_chunks(buf, 500) == b"".join(want)


def test_nothing_has_no_digest(hotpath: ModuleType) -> None:
    assert hotpath.blake3_chunks(b"", 1) == b""


@pytest.mark.parametrize("chunk_bytes", [0, -1])
def test_chunks_have_bytes(hotpath: ModuleType, chunk_bytes: int) -> None:
    with pytest.raises(ValueError):
        hotpath.blake3_chunks(b"abc", chunk_bytes)
    with pytest.raises(ValueError):
        hotpath.blake3_chunks_of([b"abc"], chunk_bytes)


def test_a_chunk_may_lie_in_several_parts(hotpath: ModuleType) -> None:
    data = bytes(range(256)) * 5
    want = hotpath.blake3_chunks(data, 500)
    for cuts in ((0,), (1280,), (500, 1000), (1, 2, 499, 501), (700, 700), (3, 1279)):
        bounds = [*zip((0, *cuts), (*cuts, None), strict=True)]
        parts = [memoryview(data)[a:b] for a, b in bounds]
        assert hotpath.blake3_chunks_of(parts, 500) == want
        assert hotpath.blake3_chunks_of(tuple(map(bytearray, parts)), 500) == want


def test_no_parts_have_no_digest(hotpath: ModuleType) -> None:
    for parts in ([], [b""], [b"", bytearray()]):
        assert hotpath.blake3_chunks_of(parts, 500) == b""


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ([b"abc", "text"], TypeError),
        ([b"abc", None], TypeError),
        (None, TypeError),
        ([b"abc", memoryview(bytes(8))[::2]], BufferError),
    ],
)
def test_parts_are_buffers(hotpath: ModuleType, parts: list[bytes], error: type[Exception]) -> None:
    with pytest.raises(error):
        hotpath.blake3_chunks_of(parts, 2)
