"""Packets of any size that lie back to back leave in bursts that the kernel can cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.connection.packet_builder import BURST_BYTES_MAX, bursts
from wraith.types import Address, NetworkPath

NETWORK = NetworkPath(Address(bytes(4), 1), Address(bytes(4), 2))


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([100], [(100, 100)]),
        ([100, 100, 100], [(300, 100)]),
        ([100, 100, 60], [(260, 100)]),
        ([100, 60, 60], [(160, 100), (60, 60)]),
        ([60, 100, 100], [(60, 60), (200, 100)]),
        ([60, 100, 60, 100], [(60, 60), (160, 100), (100, 100)]),
    ],
)
def test_equal_packets_and_a_shorter_last_one_are_a_burst(
    sizes: list[int], expected: list[tuple[int, int]]
) -> None:
    found = bursts(memoryview(bytes(sum(sizes))), sizes, NETWORK)
    assert [(len(one.data), one.segment_bytes) for one in found] == expected


@given(st.lists(st.sampled_from([33, 700, 1_472, 9_000]), min_size=1, max_size=64))
def test_the_kernel_cuts_what_was_sealed(sizes: list[int]) -> None:
    data = b"".join(bytes([i]) * size for i, size in enumerate(sizes))
    cut: list[bytes] = []
    for one in bursts(memoryview(data), sizes, NETWORK):
        assert len(one.data) <= BURST_BYTES_MAX
        step = one.segment_bytes
        cut += [bytes(one.data[at : at + step]) for at in range(0, len(one.data), step)]
    assert cut == [bytes([i]) * size for i, size in enumerate(sizes)]
