"""What ``open_run`` reports, and what it must not let through."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from wraith.testing.packets import PacketSession, open_all
from wraith.types import StreamId
from wraith.wire.frames import (
    Ack,
    Close,
    Data,
    Pad,
    PathRole,
    PathUse,
    Ping,
    Pong,
    Roads,
    RoadSeen,
    RoadTried,
    decode_frames,
    encode_frame,
)
from wraith.wire.packet import PN_BOUND

SID = StreamId(0x40000001)
OTHER = StreamId(0x40000002)
PING = encode_frame(Ping(7))
ACK = encode_frame(Ack(0, 5, 0, ((5, 5),)))
ROAD_FRAMES = b"".join(
    encode_frame(frame)
    for frame in (
        Roads(1, ((0x04, bytes((192, 0, 2, 1, 17, 81))),)),
        RoadTried((b"8 random",)),
        RoadSeen(((b"8 random", True),)),
        PathUse(2, 1, PathRole.ACTIVE),
    )
)
SESSION = PacketSession(2, b"\x42" * 32)


def data(offset: int, n: int, fin: bool = False, sid: StreamId = SID) -> bytes:
    """A DATA frame whose bytes say where they belong."""
    return encode_frame(Data(sid, offset, bytes((offset + i) & 0xFF for i in range(n)), fin))


def open_run(opener: Any, datagrams: list[bytes], now: float = 0.0) -> tuple[Any, bytes]:
    """All datagrams in one call; they have one size but the last, which may be shorter."""
    buf = b"".join(datagrams)
    out = bytearray(len(buf))
    result = opener.open_run(buf, len(datagrams[0]), out, now)
    return result, bytes(out[: result.stream_bytes])


@pytest.mark.parametrize("secret", [b"\x42" * 32, bytes(32), bytes(range(32)), b"\x0b" * 32])
@pytest.mark.parametrize("aead", [1, 2])
def test_a_burst_comes_back_as_one_run(hotpath: ModuleType, secret: bytes, aead: int) -> None:
    session = PacketSession(aead, secret)
    sealer, opener = session.sealer(hotpath), session.opener(hotpath)
    payload = bytes(i * 31 & 0xFF for i in range(40_000))
    out = bytearray(65_536)
    n_bytes, n, taken, _ = sealer.seal_run(
        epoch=0,
        cid_index=5,
        form=0,
        lead=PING,
        sid=SID,
        offset=1000,
        data=[payload],
        fin=True,
        datagram_bytes=1400,
        n_max=46,
        random=bytes(1024),
        out=out,
    )
    received = bytearray(65_536)
    result = opener.open_run(memoryview(out)[:n_bytes], 1400, received, 0.0)
    assert received[: result.stream_bytes] == payload and taken == len(payload)
    assert result.runs == [(SID, 1000, 0, len(payload), True)]
    assert result.others == [(0, 0, PING)]
    assert result.received == [(0, 0, n - 1, True)]
    assert (result.n_eliciting, result.unclaimed, result.dropped) == (n, [], 0)
    assert (result.highest, result.cid_index, result.form_b) == ((0, n - 1), 5, False)
    assert result.authenticated_bytes == n_bytes


def test_runs_are_joined_across_packets_where_they_touch(hotpath: ModuleType) -> None:
    packets = [
        data(0, 100),
        data(100, 100),
        data(300, 100),
        data(0, 100, sid=OTHER),
        data(400, 100, fin=True),
        data(500, 100),
    ]
    datagrams = [SESSION.packet(pn, frames) for pn, frames in enumerate(packets)]
    result, got = open_run(SESSION.opener(hotpath), datagrams)
    assert result.runs == [
        (SID, 0, 0, 200, False),
        (SID, 300, 200, 100, False),
        (OTHER, 0, 300, 100, False),
        (SID, 400, 400, 100, True),
        (SID, 500, 500, 100, False),
    ]
    for _sid, offset, at, n, _fin in result.runs:
        assert got[at : at + n] == bytes((offset + i) & 0xFF for i in range(n))


def test_an_empty_data_frame_ends_a_run(hotpath: ModuleType) -> None:
    frames = data(0, 50) + data(50, 0, fin=True) + data(9, 0, sid=OTHER)
    result, _ = open_run(SESSION.opener(hotpath), [SESSION.packet(0, frames)])
    assert result.runs == [(SID, 0, 0, 50, True), (OTHER, 9, 50, 0, False)]


@pytest.mark.spec("FR-1", "FR-2", "FR-4")
def test_other_frames_come_back_as_they_stand(hotpath: ModuleType) -> None:
    unknown = bytes((0x7F, 9, 0, 2, 1, 2))
    for frames, want in (
        (ACK + data(0, 3) + PING + bytes(20), ACK + PING),
        (data(0, 3) + unknown + data(3, 3), unknown),
        (data(0, 3) + ROAD_FRAMES + data(3, 3), ROAD_FRAMES),
        (data(0, 3) + b"\x00" + PING, None),
        (bytes(4), None),
        (PING + b"\x05\x00", PING + b"\x05\x00"),
        (PING + b"\x05\x00\x00\x09" + bytes(8), PING + b"\x05\x00\x00\x09" + bytes(8)),
        (PING + data(0, 5)[:-1], PING + data(0, 5)[:-1]),
        (PING + b"\x01\x00\x00\x0b" + bytes(11), PING + b"\x01\x00\x00\x0b" + bytes(11)),
    ):
        opener = SESSION.opener(hotpath)
        result, _ = open_run(opener, [SESSION.packet(0, frames)])
        assert result.others == ([] if want is None else [(0, 0, want)]), frames
        assert result.dropped == 0


@pytest.mark.spec("FR-7")
@pytest.mark.parametrize(
    "frame, eliciting",
    [
        (ACK, False),
        (encode_frame(Close(2, "bye")), False),
        (encode_frame(Pad(b"xx")), False),
        (encode_frame(Pad(b"xx", True)), True),
        (bytes((0x08, 0xFE, 0, 0)), False),
        (PING, True),
        (encode_frame(Pong(1)), True),
        (bytes((0x20, 0, 0, 0)), True),
        (data(0, 0), True),
        (b"\x05\x00\x00\x09", False),
        (bytes(4), False),
    ],
)
def test_which_packets_ask_for_an_acknowledgement(
    hotpath: ModuleType, frame: bytes, eliciting: bool
) -> None:
    result, _ = open_run(SESSION.opener(hotpath), [SESSION.packet(0, frame)])
    assert result.received == [(0, 0, 0, eliciting)] and result.n_eliciting == int(eliciting)


def test_received_numbers_are_merged_and_ascend(hotpath: ModuleType) -> None:
    opener = SESSION.opener(hotpath, 0, 1)
    order = [(0, 7), (0, 2), (1, 0), (0, 3), (0, 1), (0, 8), (1, 2)]
    datagrams = [
        SESSION.packet(pn, ACK if (epoch, pn) == (1, 2) else PING + bytes(2), epoch=epoch)
        for epoch, pn in order
    ]
    result, _ = open_run(opener, datagrams)
    assert result.received == [
        (0, 1, 3, True),
        (0, 7, 8, True),
        (1, 0, 0, True),
        (1, 2, 2, False),
    ]
    assert result.highest == (1, 2) and result.n_eliciting == 6
    assert [(epoch, pn) for epoch, pn, _ in result.others] == order


@pytest.mark.spec("RT-4", "RT-3")
def test_a_packet_opens_once(hotpath: ModuleType) -> None:
    opener = SESSION.opener(hotpath)
    datagrams = [SESSION.packet(pn, PING) for pn in (0, 1, 4, 3)]
    assert [r.dropped for r in open_all(opener, datagrams * 2)] == [0] * 4 + [1] * 4
    result, _ = open_run(opener, [SESSION.packet(2, PING)] * 2)
    assert (result.dropped, result.received) == (1, [(0, 2, 2, True)])


@pytest.mark.spec("RT-5")
@pytest.mark.parametrize("window", [256, 1024])
def test_what_has_left_the_window_is_refused(hotpath: ModuleType, window: int) -> None:
    opener = SESSION.opener(hotpath, window=window)
    highest = window + 300
    for pn, dropped in (
        (highest, 0),
        (highest - window + 1, 0),
        (highest - window, 1),
        (0, 1),
        (highest - window + 2, 0),
        (highest + 1, 0),
        (highest - 7, 0),
    ):
        assert open_all(opener, [SESSION.packet(pn, PING)])[0].dropped == dropped, pn


@pytest.mark.spec("RT-11")
@pytest.mark.parametrize("gap", [1, 255, 256, 257, 16_384, 20_000, 100_000])
def test_any_gap_recovers(hotpath: ModuleType, gap: int) -> None:
    opener = SESSION.opener(hotpath)
    opened: set[int] = set()
    for pn in (0, gap, gap + 1, gap - 1, 2 * gap + 77, 2 * gap + 5):
        result = open_all(opener, [SESSION.packet(pn, PING)])[0]
        assert result.dropped == int(pn in opened), pn
        opened.add(pn)


@pytest.mark.spec("RT-3", "WF-7", "WF-10")
@pytest.mark.parametrize("aead", [1, 2])
def test_no_flipped_bit_gets_through_or_does_harm(hotpath: ModuleType, aead: int) -> None:
    session = PacketSession(aead, bytes(range(32)))
    opener = session.opener(hotpath)
    genuine = [session.packet(pn, PING) for pn in range(4)]
    assert open_all(opener, genuine[:1])[0].dropped == 0
    for bit in range(8 * len(genuine[1])):
        forged = bytearray(genuine[1])
        forged[bit // 8] ^= 1 << bit % 8
        result = open_all(opener, [bytes(forged)])[0]
        assert result.received == [] and result.dropped + len(result.unclaimed) == 1
        assert (result.highest, result.cid_index, result.others) == (None, -1, [])
    assert [r.dropped for r in open_all(opener, genuine)] == [1, 0, 0, 0]


@pytest.mark.spec("CN-90")
@pytest.mark.parametrize("aead", [1, 2])
def test_what_no_link_brings_by_itself_is_counted(hotpath: ModuleType, aead: int) -> None:
    session = PacketSession(aead, bytes(range(32)))
    opener = session.opener(hotpath, 1, window=256)
    genuine = session.packet(300, PING, epoch=1)
    assert open_all(opener, [genuine])[0].broken == 0
    forged = bytearray(session.packet(301, PING + bytes(32), epoch=1))
    forged[session.spec.back_offsets(len(PING) + 32).payload] ^= 1
    stranger = session.packet(302, PING, epoch=1, cid_index=99)
    for datagram in (bytes(forged), genuine, stranger):
        result = open_all(opener, [datagram])[0]
        assert (result.dropped, result.broken) == (1, 1)
    below = session.packet(300 - 256, PING, epoch=1)
    erased = session.packet(300, PING, epoch=0)
    for datagram in (below, erased):
        result = open_all(opener, [datagram])[0]
        assert (result.dropped, result.broken) == (1, 0)
    result, _ = open_run(opener, [genuine, below, genuine])
    assert (result.dropped, result.broken) == (3, 2)


@pytest.mark.spec("WF-10")
def test_truncated_extended_and_empty_datagrams_are_counts(hotpath: ModuleType) -> None:
    opener = SESSION.opener(hotpath)
    genuine = SESSION.packet(0, PING)
    for end in range(1, len(genuine)):
        result = open_all(opener, [genuine[:end]])[0]
        assert result.received == [] and result.dropped + len(result.unclaimed) == 1
        if end < SESSION.spec.fixed_overhead + 4:
            assert result.unclaimed == [0] and not opener.claims(genuine[:end])
    assert open_all(opener, [genuine + b"\x00"])[0].received == []
    assert opener.open_run(b"", 1200, bytearray(0), 0.0).received == []
    assert open_all(opener, [genuine])[0].dropped == 0


@pytest.mark.spec("WF-3")
def test_foreign_datagrams_are_unclaimed_by_position(hotpath: ModuleType) -> None:
    opener, foreign = SESSION.opener(hotpath), PacketSession(2, b"\x43" * 32)
    own = [SESSION.packet(pn, PING + bytes(24)) for pn in range(2)]
    size = len(own[0])
    strange = foreign.packet(0, PING + bytes(size - foreign.spec.fixed_overhead - 12))
    result, _ = open_run(opener, [own[0], strange, own[1], own[1][:10]])
    assert result.unclaimed == [1, 3] and result.received == [(0, 0, 1, True)]
    assert opener.claims(own[0]) and not opener.claims(strange)


@pytest.mark.spec("WF-6", "WF-3")
@pytest.mark.parametrize("flags, pn", [(0x01, 0), (0x20, 0), (0x00, PN_BOUND), (0, 0xFFFFFFFF)])
def test_reserved_bits_and_numbers_beyond_the_bound_are_not_claimed(
    hotpath: ModuleType, flags: int, pn: int
) -> None:
    spec = SESSION.spec
    datagram = bytearray(SESSION.packet(0, PING))
    # XOR on the masked header is XOR on the header: no key is needed to ask for any number.
    for i, byte in enumerate(bytes((flags,)) + pn.to_bytes(4, "big")):
        datagram[spec.hdr_offset + i] ^= byte
    opener = SESSION.opener(hotpath)
    result = open_all(opener, [bytes(datagram)])[0]
    assert result.unclaimed == [0] and not opener.claims(datagram) and not opener.fits(datagram)


@pytest.mark.spec("WF-9")
def test_only_accepted_cids_in_either_form(hotpath: ModuleType) -> None:
    opener = SESSION.opener(hotpath)
    opener.set_cids(3, 5)
    pn = 0
    for index in range(8):
        for form in (0, 1):
            datagram = SESSION.packet(pn, PING, cid_index=index, form=form)
            accepted = 3 <= index <= 5
            assert opener.fits(datagram) is accepted and opener.claims(datagram)
            result = open_all(opener, [datagram])[0]
            assert result.dropped == int(not accepted)
            assert result.cid_index == (index if accepted else -1)
            assert result.form_b is (accepted and form == 1)
            pn += 1
    opener.set_hmk([b"\x01" * 32])
    datagram = SESSION.packet(pn, PING, cid_index=4, form=1)
    assert open_all(opener, [datagram])[0].dropped == 1 and not opener.fits(datagram)
    opener.set_hmk([b"\x01" * 32, SESSION.hmk])
    assert open_all(opener, [datagram])[0].form_b


def test_nothing_opens_before_cids_are_set(hotpath: ModuleType) -> None:
    opener = hotpath.Opener(2, 0, SESSION.spec.pack(), SESSION.hp_key, SESSION.cid_key, 8192)
    opener.add_epoch(0, SESSION.root(0))
    assert open_all(opener, [SESSION.packet(0, PING)])[0].dropped == 1
    for low, high in ((1, 0), (-1, 3), (0, 16)):
        with pytest.raises((ValueError, OverflowError)):
            opener.set_cids(low, high)
    opener.set_cids(0, 15)
    assert open_all(opener, [SESSION.packet(0, PING, cid_index=15)])[0].cid_index == 15


@pytest.mark.spec("RT-9")
def test_epochs_have_windows_of_their_own_and_end(hotpath: ModuleType) -> None:
    opener = SESSION.opener(hotpath, 3)
    old = [SESSION.packet(pn, PING, epoch=3) for pn in range(3)]
    new = [SESSION.packet(pn, PING, epoch=4) for pn in range(3)]
    assert [r.dropped for r in open_all(opener, [old[0], new[0]])] == [0, 1]
    opener.add_epoch(4, SESSION.root(4))
    with pytest.raises(ValueError):
        opener.add_epoch(8, SESSION.root(4))
    results = open_all(opener, [new[0], old[1], new[1]])
    assert [r.highest for r in results] == [(4, 0), (3, 1), (4, 1)]
    opener.drop_epoch(7)
    opener.drop_epoch(3)
    opener.drop_epoch(3)
    assert [r.dropped for r in open_all(opener, [old[2], new[2]])] == [1, 0]
    opener.close()
    assert open_all(opener, [SESSION.packet(3, PING, epoch=4)])[0].received == []


@pytest.mark.spec("RT-7")
def test_keys_of_missing_packets_expire_and_count_as_seen(hotpath: ModuleType) -> None:
    opener = SESSION.opener(hotpath)

    def dropped(pn: int, now: float) -> int:
        return int(open_all(opener, [SESSION.packet(pn, PING)], now)[0].dropped)

    assert dropped(10, 1.0) == 0
    assert dropped(700, 3.0) == 0
    opener.expire(3.5, 2.6)
    assert dropped(3, 3.5) == 0, "overtaken 2.5 s ago"
    opener.expire(4.0, 2.6)
    assert dropped(4, 4.0) == 1, "overtaken 3 s ago"
    assert dropped(11, 4.0) == 0, "overtaken 1 s ago, in an old block"
    assert dropped(300, 4.0) == 0, "overtaken 1 s ago, in a block of its own"
    opener.expire(5.7, 2.6)
    assert dropped(260, 5.7) == 1, "skipped at 4.0, but overtaken at 3.0"
    assert [dropped(pn, 5.7) for pn in (12, 301, 699)] == [1, 1, 1]
    assert [dropped(pn, 9.0) for pn in (701, 702, 1000)] == [0, 0, 0]


def test_a_wrong_argument_is_refused(hotpath: ModuleType) -> None:
    opener = SESSION.opener(hotpath)
    datagram = SESSION.packet(0, PING)
    with pytest.raises(ValueError):
        opener.open_run(datagram, 0, bytearray(100), 0.0)
    with pytest.raises(ValueError):
        opener.open_run(datagram, 100, bytearray(len(datagram) - 1), 0.0)
    with pytest.raises((ValueError, TypeError, BufferError)):
        opener.open_run(datagram, 100, bytes(100), 0.0)
    with pytest.raises(ValueError):
        opener.set_hmk([bytes(32)] * 3)
    with pytest.raises(ValueError):
        opener.add_epoch(1, bytes(31))
    for window in (0, 128, 300, 131_072):
        with pytest.raises(ValueError):
            SESSION.opener(hotpath, window=window)
    assert open_all(opener, [datagram])[0].dropped == 0


def test_what_an_endpoint_needs_to_find_the_session(hotpath: ModuleType) -> None:
    for secret in (b"\x42" * 32, bytes(32), bytes(range(32))):
        session = PacketSession(2, secret)
        opener = session.opener(hotpath)
        assert opener.cid_offset == session.spec.cid_offset
        assert opener.fixed_overhead == session.spec.fixed_overhead


def test_the_result_is_a_tuple_in_this_order(hotpath: ModuleType) -> None:
    result, _ = open_run(SESSION.opener(hotpath), [SESSION.packet(0, data(0, 5))])
    assert tuple(result) == (
        5,
        [(SID, 0, 0, 5, False)],
        [],
        [(0, 0, 0, True)],
        1,
        [],
        (0, 0),
        0,
        result.authenticated_bytes,
        0,
        0,
        False,
    )
    assert decode_frames(PING) == [Ping(7)]
