"""Fuzzes the decoders of frames and of the records on stream 0.

    python tests/fuzz/fuzz_frames.py tests/fuzz/corpus/frames
    python tests/fuzz/fuzz_frames.py --write-corpus      (renews the committed seeds)

Needs atheris (`pip install atheris`); without it the program mutates the corpus for a minute with
a printed seed instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wraith.testing.fuzz_targets import frames
from wraith.testing.fuzzing import main
from wraith.types import StreamId
from wraith.wire import control_records as r
from wraith.wire import frames as f

CORPUS = Path(__file__).parent / "corpus" / "frames"
SID = StreamId(0x40000001)


def samples() -> Iterator[bytes]:
    """One of each kind, and one packet with many."""
    every: list[f.Frame] = [
        f.Data(SID, 1 << 40, b"bytes of a stream", True),
        f.Ack(1, 10, 3, ((9, 10), (7, 7), (0, 4))),
        f.Ping(7),
        f.Pong(7),
        f.Close(0x1000, "bye"),
        f.Pad(b"\0\0", True),
        f.StreamOpen(SID, 1 << 20, 128, f.QosMode.PARTIALLY_RELIABLE, 3),
        f.StreamClose(SID, 99),
        f.Reset(SID, 5, 99),
        f.Stop(SID, 5),
        f.WindowUpdate(StreamId(0), 1 << 33),
        f.PathChallenge(b"8 random"),
        f.PathResponse(b"8 random"),
        f.MtuProbe(),
        f.QosUpdate(SID, f.QosMode.UNRELIABLE_ORDERED, 20),
        f.Priority(SID, 0),
        f.DatagramFrame(0, 1, b"a message"),
        f.Timestamp(1),
        f.MaxStreams(2, 128),
        f.ExtensionFrame(0x3F, b"?"),
        f.Roads(7, ((0x04, bytes((192, 0, 2, 1, 17, 81))), (0x16, bytes(range(1, 19))), (9, b""))),
        f.RoadTried((b"8 random", b"8 others")),
        f.RoadSeen(((b"8 random", True), (b"8 others", False))),
        f.PathUse(3, 9, f.PathRole.ACTIVE),
    ]
    yield from map(f.encode_frame, every)
    yield b"".join(map(f.encode_frame, every)) + bytes(9)
    records: list[r.Record] = [
        r.HandshakeConfirm(bytes(32)),
        r.NewTicket(0, bytes(16), 1 << 31, b"parameters"),
        r.TicketRequest(4),
        r.RekeyInit(1, bytes(range(32)), bytes(1184), 0),
        r.RekeyResp(1, bytes(range(32)), bytes(1088), 0),
        r.RekeyRequest(2),
        r.Goaway(SID, 0),
    ]
    yield from map(r.encode_record, records)
    yield b"".join(map(r.encode_record, records))


if __name__ == "__main__":
    main(frames, CORPUS, samples)
