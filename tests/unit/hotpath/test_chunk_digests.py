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
