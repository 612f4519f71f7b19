"""What leaves ``seal_run``: the bytes of the reference, cut as promised, and nothing on refusal."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from wraith.errors import NonceExhausted
from wraith.testing.packets import PacketSession, open_all
from wraith.types import StreamId
from wraith.wire.frames import Data, Ping, decode_frames, encode_frame
from wraith.wire.packet import PN_BOUND

SID = StreamId(0x40000001)
PING = encode_frame(Ping(7))
#: Secrets whose layouts have the six orders of the back group, and most of the front.
SECRETS = [b"\x42" * 32, bytes(32), b"\x07" * 32, b"\x13" * 32, b"\x01" * 32, b"\x05" * 32]


def seal(sealer: Any, **changes: Any) -> tuple[tuple[int, int, int, int], list[bytes]]:
    """One run with defaults; the result and the datagrams."""
    call: dict[str, Any] = {
        "epoch": 0,
        "cid_index": 0,
        "form": 0,
        "lead": b"",
        "sid": SID,
        "offset": 0,
        "data": [],
        "fin": False,
        "datagram_bytes": 1200,
        "n_max": 64,
        "random": bytes(range(256)) * 4,
    } | changes
    out = bytearray(call.pop("room", 65_536))
    result = sealer.seal_run(**call, out=out)
    n_bytes, n = result[0], result[1]
    size = call["datagram_bytes"]
    return result, [bytes(out[i : min(i + size, n_bytes)]) for i in range(0, n_bytes, size)][:n]


def frames_of(session: PacketSession, hotpath: ModuleType, datagrams: list[bytes]) -> list[Any]:
    """Frames of each datagram, read with an opener; DATA as the opener reports it."""
    opener = session.opener(hotpath)
    found: list[Any] = []
    for datagram in datagrams:
        out = bytearray(len(datagram))
        result = opener.open_run(datagram, len(datagram), out, 0.0)
        assert result.dropped == 0 and result.unclaimed == []
        others = [f for _, _, raw in result.others for f in decode_frames(raw)]
        runs = [
            Data(StreamId(sid), offset, bytes(out[at : at + n]), fin)
            for sid, offset, at, n, fin in result.runs
        ]
        found.append(others + runs)
    return found


@pytest.mark.spec("WF-4", "WF-5", "WF-7", "WF-8", "RT-1", "RT-2")
@pytest.mark.parametrize("aead", [1, 2])
@pytest.mark.parametrize("form", [0, 1])
@pytest.mark.parametrize("secret", SECRETS, ids=lambda secret: secret[:2].hex())
def test_packets_are_those_of_the_reference(
    hotpath: ModuleType, aead: int, form: int, secret: bytes
) -> None:
    session = PacketSession(aead, secret, direction=form)
    sealer = session.sealer(hotpath)
    data = bytes(i & 0xFF for i in range(2500))
    random = bytes(range(100, 164))
    _, datagrams = seal(
        sealer, cid_index=3, form=form, lead=PING, data=[data], fin=True, random=random
    )
    room = 1200 - session.spec.fixed_overhead
    d = session.spec.d1 + session.spec.d2
    first, per = room - len(PING) - 16, room - 16
    cuts = [(0, first), (first, first + per), (first + per, 2500)]
    for pn, (start, end) in enumerate(cuts):
        frames = (PING if pn == 0 else b"") + encode_frame(
            Data(SID, start, data[start:end], fin=pn == 2)
        )
        dummies = random[pn * d : (pn + 1) * d]
        want = session.packet(pn, frames, cid_index=3, form=form, dummies=dummies)
        assert datagrams[pn] == want


@pytest.mark.spec("RT-2")
@pytest.mark.parametrize("aead", [1, 2])
def test_keys_are_those_of_the_reference_across_blocks(hotpath: ModuleType, aead: int) -> None:
    session = PacketSession(aead, b"\x42" * 32)
    sealer = session.sealer(hotpath, 6)
    datagrams: list[bytes] = []
    for _ in range(10):
        _, sealed = seal(
            sealer, epoch=6, data=[bytes(3000)], datagram_bytes=100, n_max=64, room=5200
        )
        datagrams += sealed
    per = 100 - session.spec.fixed_overhead - 16
    for pn in (0, 1, 51, 52, 255, 256, 257, 511, 512):
        offset = pn % 52 * per
        random = bytes(range(256)) * 4
        d = session.spec.d1 + session.spec.d2
        dummies = random[pn % 52 * d : (pn % 52 + 1) * d]
        frames = encode_frame(Data(SID, offset, bytes(per)))
        assert datagrams[pn] == session.packet(pn, frames, epoch=6, dummies=dummies), pn


@pytest.mark.spec("WF-12")
@pytest.mark.parametrize("lead", [b"", PING, PING * 50], ids=["no lead", "short", "long"])
@pytest.mark.parametrize("n_data", [0, 1, 100, 1100, 1139, 1140, 1141, 1142, 5000])
@pytest.mark.parametrize("fin", [False, True])
def test_a_run_is_cut_as_promised(hotpath: ModuleType, lead: bytes, n_data: int, fin: bool) -> None:
    session = PacketSession(2, b"\x42" * 32)
    sealer = session.sealer(hotpath)
    if not lead and not n_data and not fin:
        with pytest.raises(ValueError):
            seal(sealer)
        return
    data = bytes(i * 7 & 0xFF for i in range(n_data))
    segments = [data[:5], data[5:900], b"", data[900:]]
    result, datagrams = seal(sealer, lead=lead, data=segments, fin=fin, offset=77)
    n_bytes, n, taken, first = result
    assert n == len(datagrams) and n_bytes == sum(map(len, datagrams)) and taken == n_data
    assert {len(datagram) for datagram in datagrams[:-1]} <= {1200}
    assert len(datagrams[-1]) <= 1200 and sealer.next_pn(0) == n
    found = frames_of(session, hotpath, datagrams)
    assert [f for f in found[0] if isinstance(f, Ping)] == [Ping(7)] * (len(lead) // len(PING))
    pieces = [f for frames in found for f in frames if isinstance(f, Data)]
    assert b"".join(piece.data for piece in pieces) == data
    at = 77
    for piece in pieces:
        assert (piece.sid, piece.offset) == (SID, at)
        at += len(piece.data)
    assert [piece.fin for piece in pieces] == [False] * (len(pieces) - 1) + [fin] * bool(pieces)
    assert first == sum(len(f.data) for f in found[0] if isinstance(f, Data))
    per_packet = sealer.capacity(1200) - 16
    assert all(len(piece.data) == per_packet for piece in pieces[1:-1])


@pytest.mark.spec("WF-12")
def test_beside_a_lead_stream_bytes_need_64_bytes_of_room(hotpath: ModuleType) -> None:
    session = PacketSession(2, b"\x42" * 32)
    room = session.sealer(hotpath).capacity(1200)
    for n_lead, shared in ((room - 64, 48), (room - 63, 0), (room, 0)):
        lead = encode_frame(Ping(1)) + b"\x08\x00" + (n_lead - 16).to_bytes(2, "big")
        lead += bytes(n_lead - len(lead))
        result, datagrams = seal(session.sealer(hotpath), lead=lead, data=[b"x" * 100])
        assert result[3] == shared and len(datagrams[0]) == 1200
        assert result[2] == 100 and result[1] == 2


@pytest.mark.parametrize("n_max, room", [(3, 65_536), (64, 3 * 1200), (64, 4 * 1200 - 1)])
def test_a_run_that_does_not_fit_has_only_full_datagrams(
    hotpath: ModuleType, n_max: int, room: int
) -> None:
    session = PacketSession(2, b"\x42" * 32)
    sealer = session.sealer(hotpath)
    result, datagrams = seal(sealer, data=[bytes(9000)], fin=True, n_max=n_max, room=room)
    per_packet = sealer.capacity(1200) - 16
    assert result == (3600, 3, 3 * per_packet, per_packet)
    pieces = [f for frames in frames_of(session, hotpath, datagrams) for f in frames]
    assert [piece.fin for piece in pieces] == [False] * 3


def test_the_short_last_datagram_goes_where_a_full_one_would_not_fit(hotpath: ModuleType) -> None:
    session = PacketSession(2, b"\x42" * 32)
    sealer = session.sealer(hotpath)
    per_packet = sealer.capacity(1200) - 16
    result, _ = seal(sealer, data=[bytes(per_packet + 10)], room=1200 + 36 + 26)
    assert result == (1200 + 36 + 26, 2, per_packet + 10, per_packet)


def test_nothing_happens_where_not_one_datagram_fits(hotpath: ModuleType) -> None:
    sealer = PacketSession(2, b"\x42" * 32).sealer(hotpath)
    result, _ = seal(sealer, lead=PING, data=[bytes(5000)], room=1199)
    assert result == (0, 0, 0, 0) and sealer.next_pn(0) == 0


def test_out_is_written_from_at_and_nowhere_else(hotpath: ModuleType) -> None:
    session = PacketSession(2, bytes(32))
    sealer = session.sealer(hotpath)
    out = bytearray(b"\xee" * 3000)
    written, *_ = sealer.seal_run(
        epoch=0,
        cid_index=0,
        form=0,
        lead=PING,
        sid=SID,
        data=[b"abc"],
        datagram_bytes=1200,
        n_max=64,
        random=bytes(64),
        out=memoryview(out)[:2500],
        at=300,
    )
    assert out[:300] == b"\xee" * 300 and out[300 + written :] == b"\xee" * (2700 - written)
    opener = session.opener(hotpath)
    result = opener.open_run(out[300 : 300 + written], written, bytearray(written), 0.0)
    assert result.stream_bytes == 3


def test_a_short_payload_is_filled_to_four_bytes(hotpath: ModuleType) -> None:
    session = PacketSession(2, b"\x42" * 32)
    result, datagrams = seal(session.sealer(hotpath), lead=b"\x00")
    assert result[0] == session.spec.fixed_overhead + 4
    assert open_all(session.opener(hotpath), datagrams)[0].received == [(0, 0, 0, False)]


@pytest.mark.parametrize(
    "changes",
    [
        {"epoch": 1},
        {"form": 2},
        {"lead": bytes(1200)},
        {"datagram_bytes": 40},
        {"datagram_bytes": 65_536},
        {"random": bytes(6)},
        {"sid": -1},
        {"sid": 1 << 32},
        {"offset": (1 << 64) - 2},
        {"n_max": 0},
        {"cid_index": -1},
        {"at": 65_537},
        {"at": -1},
        {"data": []},
    ],
    ids=str,
)
def test_a_wrong_argument_changes_nothing(hotpath: ModuleType, changes: dict[str, Any]) -> None:
    sealer = PacketSession(2, b"\x42" * 32).sealer(hotpath)
    with pytest.raises((ValueError, OverflowError)):
        seal(sealer, **({"data": [b"abc"]} | changes))
    assert sealer.next_pn(0) == 0


def test_a_buffer_that_cannot_be_written_changes_nothing(hotpath: ModuleType) -> None:
    sealer = PacketSession(2, b"\x42" * 32).sealer(hotpath)
    with pytest.raises((ValueError, TypeError, BufferError)):
        sealer.seal_run(
            epoch=0,
            cid_index=0,
            form=0,
            lead=PING,
            sid=SID,
            datagram_bytes=1200,
            n_max=1,
            random=bytes(64),
            out=bytes(1200),
        )
    assert sealer.next_pn(0) == 0


def test_form_b_needs_the_peers_key(hotpath: ModuleType) -> None:
    sealer = PacketSession(2, b"\x42" * 32).sealer(hotpath)
    sealer.set_hmk(None)
    with pytest.raises(ValueError):
        seal(sealer, lead=PING, form=1)
    assert seal(sealer, lead=PING, form=0)[0][1] == 1


@pytest.mark.spec("RT-9", "RT-10")
def test_epochs_count_for_themselves_and_a_dropped_one_is_gone(hotpath: ModuleType) -> None:
    session = PacketSession(1, b"\x42" * 32)
    sealer = session.sealer(hotpath, 0, 1)
    seal(sealer, lead=PING)
    _, datagrams = seal(sealer, lead=PING, epoch=1, random=bytes(64))
    assert (sealer.next_pn(0), sealer.next_pn(1)) == (1, 1)
    assert datagrams[0] == session.packet(0, PING, epoch=1, dummies=bytes(7))
    with pytest.raises(ValueError):
        sealer.add_epoch(1, bytes(32))
    sealer.drop_epoch(0)
    sealer.drop_epoch(0)
    with pytest.raises(ValueError):
        sealer.next_pn(0)
    sealer.close()
    with pytest.raises(ValueError):
        seal(sealer, lead=PING, epoch=1)


@pytest.mark.spec("WF-6", "RT-10")
def test_the_last_packet_number_is_spent_and_no_other() -> None:
    from wraith.hotpath import _python

    sealer = PacketSession(2, b"\x42" * 32).sealer(_python)
    sealer._epochs[0].next_pn = PN_BOUND - 2
    sealer._epochs[0].step = bytes(32)
    with pytest.raises(NonceExhausted):
        seal(sealer, data=[bytes(3000)])
    assert sealer.next_pn(0) == PN_BOUND - 2
    seal(sealer, data=[bytes(2000)])
    with pytest.raises(NonceExhausted):
        seal(sealer, lead=PING)


@pytest.mark.spec("RT-10", "RT-20")
def test_a_skipped_number_is_spent_without_a_packet(hotpath: ModuleType) -> None:
    session = PacketSession(2, b"\x42" * 32)
    sealer, opener = session.sealer(hotpath), session.opener(hotpath)
    sent: list[bytes] = []
    for n in (
        1,
        254,
        0,
        30,
        226,
        1,
    ):  # the third skip is the last number of a block, the next its first
        if n:
            sent += seal(sealer, data=[bytes(2000 * n)], n_max=n, random=bytes(6000), room=1 << 20)[
                1
            ]
        at = sealer.next_pn(0)
        assert sealer.skip(0) == at and sealer.next_pn(0) == at + 1
    sent += seal(sealer, lead=PING)[1]
    results = open_all(opener, sent)
    assert all(result.dropped == 0 for result in results)
    got = {first for result in results for _, first, _, _ in result.received}
    missing = set(range(sealer.next_pn(0))) - got
    assert missing == {1, 256, 257, 288, 515, 517}
    with pytest.raises(ValueError):
        sealer.skip(1)


@pytest.mark.spec("RT-20")
def test_no_number_is_skipped_beyond_the_bound() -> None:
    from wraith.hotpath import _python

    sealer = PacketSession(2, b"\x42" * 32).sealer(_python)
    sealer._epochs[0].next_pn = PN_BOUND - 1
    sealer._epochs[0].step = bytes(32)
    assert sealer.skip(0) == PN_BOUND - 1
    with pytest.raises(NonceExhausted):
        sealer.skip(0)
    assert sealer.next_pn(0) == PN_BOUND


@pytest.mark.slow
def test_an_epoch_ends_at_its_bound_and_the_far_end_still_opens(hotpath: ModuleType) -> None:
    session = PacketSession(2, b"\x42" * 32)
    sealer, opener = session.sealer(hotpath), session.opener(hotpath)
    out, random = bytearray(65_536), bytes(1024)
    while (left := PN_BOUND - sealer.next_pn(0)) > 64:
        n = min(64, left - 1)
        sealer.seal_run(
            epoch=0,
            cid_index=0,
            form=0,
            lead=b"",
            sid=SID,
            data=[bytes(12 * n)],
            datagram_bytes=64,
            n_max=n,
            random=random,
            out=out,
        )
    while sealer.next_pn(0) < PN_BOUND:
        _, datagrams = seal(sealer, lead=PING)
        assert open_all(opener, datagrams)[0].dropped == 0
    with pytest.raises(NonceExhausted):
        seal(sealer, lead=PING)


@pytest.mark.parametrize(
    "arguments",
    [
        (3, 0, bytes((0, 1, 2, 0, 3, 4, 5, 0)), bytes(32), bytes(32)),
        (2, 2, bytes((0, 1, 2, 0, 3, 4, 5, 0)), bytes(32), bytes(32)),
        (2, 0, bytes((0, 1, 1, 0, 3, 4, 5, 0)), bytes(32), bytes(32)),
        (2, 0, bytes((0, 1, 2, 9, 3, 4, 5, 0)), bytes(32), bytes(32)),
        (2, 0, bytes((0, 1, 2, 0, 3, 4, 5)), bytes(32), bytes(32)),
        (2, 0, bytes((0, 1, 2, 0, 3, 4, 5, 0)), bytes(31), bytes(32)),
        (2, 0, bytes((0, 1, 2, 0, 3, 4, 5, 0)), bytes(32), bytes(33)),
    ],
)
def test_wrong_keys_and_layouts_are_refused(
    hotpath: ModuleType, arguments: tuple[Any, ...]
) -> None:
    with pytest.raises(ValueError):
        hotpath.Sealer(*arguments)
    with pytest.raises(ValueError):
        hotpath.Opener(*arguments, 8192)
