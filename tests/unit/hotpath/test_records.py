"""Records of a link: lengths sealed and opened, packets brought together, and the end of it."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from wraith.hotpath import RECORD_HEADER_BYTES
from wraith.testing.rng import SeededRng

KEY = bytes(range(32))
LARGEST = 16_384


def packets(*sizes: int) -> list[bytes]:
    rng = SeededRng(f"packets {sizes}")
    return [rng.public_bytes(n) for n in sizes]


def stream(hotpath: ModuleType, sent: list[bytes]) -> bytes:
    sealer = hotpath.RecordSealer(KEY)
    return b"".join(sealer.seal(len(packet), len(packet)) + packet for packet in sent)


def cut(buffer: bytearray, runs: list[tuple[int, int, int]]) -> list[bytes]:
    """The packets of ``runs``, which are copied."""
    return [
        bytes(buffer[i : min(i + size, at + n)])
        for at, n, size in runs
        for i in range(at, at + n, size)
    ]


def read_in_pieces(reader: Any, data: bytes, piece: int) -> list[bytes]:
    waiting, found = bytearray(), []
    for i in range(0, len(data), piece):
        waiting += data[i : i + piece]
        runs, rest = reader.read(waiting)
        found += cut(waiting, runs)
        del waiting[:rest]
        assert len(waiting) <= RECORD_HEADER_BYTES + LARGEST
    return found


@pytest.mark.spec("CA-8")
def test_a_header_is_the_sealed_length_under_a_counting_nonce(hotpath: ModuleType) -> None:
    sealer = hotpath.RecordSealer(KEY)
    cipher = ChaCha20Poly1305(KEY)
    first, second = sealer.seal(2 * 1400 + 90, 1400), sealer.seal(33, 33)
    expected = [
        cipher.encrypt(bytes(4) + i.to_bytes(8, "big"), n.to_bytes(2, "big"), None)
        for i, n in enumerate((1400, 1400, 90, 33))
    ]
    assert first == b"".join(expected[:3]) and second == expected[3]
    assert all(len(header) == RECORD_HEADER_BYTES for header in expected)


@pytest.mark.parametrize(
    ("data_bytes", "segment_bytes"),
    [
        (1, 0),
        (0, 0),
        (32, 32),
        (100, 90),
        (16_385, 16_385),
        (33, -1),
        (33 * 65_537, 33),
        (1 << 62, 1400),
    ],
)
@pytest.mark.spec("CA-9")
def test_a_size_that_no_packet_has_is_refused_and_spends_no_number(
    hotpath: ModuleType, data_bytes: int, segment_bytes: int
) -> None:
    sealer = hotpath.RecordSealer(KEY)
    with pytest.raises(ValueError):
        sealer.seal(data_bytes, segment_bytes)
    assert sealer.seal(80, 40) == hotpath.RecordSealer(KEY).seal(80, 40)
    assert sealer.seal(0, 40) == b""


@pytest.mark.parametrize("piece", [1, 17, 18, 19, 51, 52, 1000, 16_402, 100_000])
@pytest.mark.spec("CA-10")
def test_packets_come_back_however_the_stream_is_cut(hotpath: ModuleType, piece: int) -> None:
    sent = packets(40, 40, 33, 40, 1400, LARGEST, LARGEST, 50)
    reader = hotpath.RecordReader(KEY)
    assert read_in_pieces(reader, stream(hotpath, sent), piece) == sent
    assert reader.is_open and reader.expects_header


@pytest.mark.spec("CA-10")
def test_equal_packets_make_one_run_that_a_shorter_one_ends(hotpath: ModuleType) -> None:
    sent = packets(40, 40, 33, 33, 50, 50, 50)
    buffer = bytearray(stream(hotpath, sent))
    runs, rest = hotpath.RecordReader(KEY).read(buffer)
    assert runs == [(0, 113, 40), (113, 33, 33), (146, 150, 50)]
    assert rest == len(buffer) and cut(buffer, runs) == sent


def test_half_a_record_waits(hotpath: ModuleType) -> None:
    data = stream(hotpath, packets(40, 300))
    reader = hotpath.RecordReader(KEY)
    buffer = bytearray(data[: 58 + 18 + 299])
    assert reader.read(buffer) == ([(0, 40, 40)], 58 + 18)
    assert not reader.expects_header, "the length is known, the packet is not there"
    buffer = buffer[76:] + data[-1:]
    assert reader.read(buffer) == ([(0, 300, 300)], 300)
    assert reader.expects_header
    assert reader.read(bytearray()) == ([], 0)


@pytest.mark.spec("CA-11")
def test_any_wrong_bit_of_a_length_ends_it_for_good(hotpath: ModuleType) -> None:
    sent = packets(40, 60)
    right = stream(hotpath, sent)
    for bit in range(8 * RECORD_HEADER_BYTES):
        wrong = bytearray(right)
        wrong[58 + bit // 8] ^= 1 << bit % 8
        reader = hotpath.RecordReader(KEY)
        runs, rest = reader.read(wrong)
        assert cut(wrong, runs) == sent[:1], "what came before it counts"
        assert rest == len(wrong) and not reader.is_open
        buffer = bytearray(right)
        assert reader.read(buffer) == ([], len(right)) and buffer == right


@pytest.mark.parametrize("length", [0, 1, 32, 16_385, 65_535])
@pytest.mark.spec("CA-9", "CA-11")
def test_a_length_out_of_range_ends_it_though_it_opens(hotpath: ModuleType, length: int) -> None:
    header = ChaCha20Poly1305(KEY).encrypt(bytes(12), length.to_bytes(2, "big"), None)
    reader = hotpath.RecordReader(KEY)
    assert reader.read(bytearray(header + bytes(70_000)))[0] == []
    assert not reader.is_open


def test_a_record_again_or_out_of_order_ends_it(hotpath: ModuleType) -> None:
    data = stream(hotpath, packets(40, 60))
    first, second = data[:58], data[58:]
    for order in (first + first, second + first):
        reader = hotpath.RecordReader(KEY)
        reader.read(bytearray(order))
        assert not reader.is_open


def test_a_closed_one_is_of_no_use(hotpath: ModuleType) -> None:
    data = stream(hotpath, packets(40))
    sealer, reader = hotpath.RecordSealer(KEY), hotpath.RecordReader(KEY)
    sealer.close()
    reader.close()
    assert sealer.seal(40, 40) != data[:18]
    assert reader.read(bytearray(data)) == ([], len(data)) and not reader.is_open


def test_a_key_of_another_size_is_refused(hotpath: ModuleType) -> None:
    for make in (hotpath.RecordSealer, hotpath.RecordReader):
        with pytest.raises(ValueError):
            make(bytes(31))


def test_what_cannot_be_written_to_is_refused(hotpath: ModuleType) -> None:
    with pytest.raises((BufferError, TypeError)):
        hotpath.RecordReader(KEY).read(stream(hotpath, packets(40)))
