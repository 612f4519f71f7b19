"""Laws of runs on both implementations: loss, order, repetition, forgery, window."""

from __future__ import annotations

import importlib
from random import Random
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wraith.testing.packets import PacketSession, open_all
from wraith.wire.frames import Ping, encode_frame

PING = encode_frame(Ping(7))
SESSION = PacketSession(2, bytes(range(32)))
SID = 0x40000001
#: A seed, not a drawn generator: these tests draw thousands of numbers per example.
seeds = st.integers(0, 1 << 32)


def implementation(name: str) -> ModuleType:
    if name == "python":
        return importlib.import_module("wraith.hotpath._python")
    module: ModuleType = pytest.importorskip(
        "wraith_native", reason="the native part is not installed"
    )
    return module


BOTH = pytest.mark.parametrize("name", ["python", "native"])


def sealed(module: ModuleType, n: int, session: PacketSession = SESSION) -> list[bytes]:
    """``n`` small packets with consecutive numbers."""
    sealer, out = session.sealer(module), bytearray(200)
    packets = []
    for _ in range(n):
        written, *_ = sealer.seal_run(
            epoch=0,
            cid_index=0,
            form=0,
            lead=PING,
            datagram_bytes=200,
            n_max=1,
            random=bytes(16),
            out=out,
        )
        packets.append(bytes(out[:written]))
    return packets


PACKETS = sealed(implementation("python"), 2600)


def pns(results: list[Any]) -> list[int]:
    return [r.received[0][1] for r in results if r.received]


@pytest.mark.spec("RT-3", "RT-4")
@BOTH
@settings(max_examples=40)
@given(data=st.data())
def test_what_is_delivered_inside_the_window_opens_exactly_once(
    name: str, data: st.DataObject
) -> None:
    """Any loss, reordering with displacement below the window, and repetition."""
    opener = SESSION.opener(implementation(name), window=256)
    rng = Random(data.draw(seeds))
    loss = data.draw(st.sampled_from([0.0, 0.05, 0.5, 0.95]))
    reach = data.draw(st.sampled_from([0, 3, 60, 250]))
    numbers = [pn for pn in range(data.draw(st.integers(1, 900))) if rng.random() >= loss]
    order = sorted(numbers, key=lambda pn: pn + rng.uniform(0, reach))
    delivered = [pn for pn in order for _ in range(1 + (rng.random() < 0.2))]
    got = pns(open_all(opener, [PACKETS[pn] for pn in delivered]))
    assert sorted(got) == sorted(numbers) and len(set(got)) == len(got)


@pytest.mark.spec("RT-4", "RT-5")
@BOTH
@pytest.mark.parametrize("window", [256, 1024, 2048])
@settings(max_examples=25)
@given(data=st.data())
def test_the_window_is_a_set_of_what_was_seen(name: str, window: int, data: st.DataObject) -> None:
    """Model: a number opens iff it is new and above ``highest - window``."""
    opener = SESSION.opener(implementation(name), window=window)
    rng = Random(data.draw(seeds))
    seen: set[int] = set()
    highest = -1
    for _ in range(120):
        jump = rng.choice([1, 1, 1, 2, -1, -3, 40, -200, 300, -window, -window - 1, window // 2])
        pn = min(max(highest + jump, 0), len(PACKETS) - 1)
        result = open_all(opener, [PACKETS[pn]])[0]
        want = pn > highest - window and pn not in seen
        assert bool(result.received) is want and result.dropped == int(not want)
        if want:
            seen.add(pn)
            highest = max(highest, pn)


@pytest.mark.spec("RT-4", "RT-5")
@pytest.mark.parametrize("window", [256, 1024, 2048, 8192, 65_536])
@settings(max_examples=30)
@given(seed=seeds)
def test_the_twins_window_is_a_set_at_every_size(window: int, seed: int) -> None:
    from wraith.hotpath._ratchet import ReceiveChain

    rng = Random(seed)
    chain = ReceiveChain(2, 0, 0, bytes(32), window)
    seen: set[int] = set()
    highest = -1
    for _ in range(150):
        jump = rng.choice([1, 1, 2, -5, 300, -300, window, -window, 1 - window, 3 * window])
        pn = max(0, min(highest + jump, (1 << 21) - 1))
        candidate = chain.find(pn)
        assert (candidate is not None) is (pn > highest - window and pn not in seen)
        if candidate is not None:
            chain.commit(candidate, 0.0)
            seen.add(pn)
            highest = max(highest, pn)
            assert chain.highest == highest


@pytest.mark.spec("RT-3", "WF-10")
@BOTH
@settings(max_examples=40)
@given(data=st.data())
def test_forgeries_leave_no_trace(name: str, data: st.DataObject) -> None:
    """Flipped bits, cuts and foreign bytes between genuine packets change nothing that follows."""
    module = implementation(name)
    plain, attacked = SESSION.opener(module), SESSION.opener(module)
    rng = Random(data.draw(seeds))
    order = sorted(range(60), key=lambda pn: pn + rng.uniform(0, 20))
    for pn in order:
        for _ in range(rng.randint(0, 3)):
            forged = bytearray(PACKETS[rng.choice([pn, 59, 300, 2000])])
            for _ in range(rng.randint(1, 3)):
                bit = rng.randrange(8 * len(forged))
                forged[bit // 8] ^= 1 << bit % 8
            if forged == PACKETS[pn] or bytes(forged) in PACKETS:
                continue
            before = attacked.state_digest() if name == "python" else None
            result = open_all(attacked, [bytes(forged)])[0]
            assert result.received == [] and result.dropped + len(result.unclaimed) == 1
            assert before is None or attacked.state_digest() == before
        assert open_all(attacked, [PACKETS[pn]]) == open_all(plain, [PACKETS[pn]])


@BOTH
@settings(max_examples=40)
@given(data=st.data())
def test_a_stream_survives_loss_order_and_any_batching(name: str, data: st.DataObject) -> None:
    """What the runs say about ``out`` is true, whatever arrives in one call."""
    module = implementation(name)
    secret = data.draw(st.binary(min_size=32, max_size=32))
    session = PacketSession(
        data.draw(st.sampled_from([1, 2])), secret, data.draw(st.integers(0, 1))
    )
    sealer, opener = session.sealer(module), session.opener(module)
    rng = Random(data.draw(seeds))
    stream = rng.randbytes(rng.randint(1, 12_000))
    cut = rng.randint(0, len(stream))
    size = rng.choice([120, 600, 1200])
    out = bytearray(65_536)
    datagrams: list[bytes] = []
    at = 0
    while at < len(stream):
        rest = [stream[at : max(at, cut)], stream[max(at, cut) :]]
        written, n, taken, _ = sealer.seal_run(
            epoch=0,
            cid_index=2,
            form=rng.randint(0, 1),
            lead=PING,
            sid=SID,
            offset=at,
            data=rest,
            fin=True,
            datagram_bytes=size,
            n_max=rng.randint(2, 9),
            random=rng.randbytes(200),
            out=out,
        )
        assert taken > 0
        datagrams += [bytes(out[i : min(i + size, written)]) for i in range(0, written, size)]
        at += taken
        assert sealer.next_pn(0) == len(datagrams) and n
    rng.shuffle(datagrams)
    lost = rng.randint(0, len(datagrams) // 3)
    arrived = sorted(datagrams[lost:], key=len, reverse=True)
    full = [d for d in arrived if len(d) == size]
    got = bytearray(len(stream))
    covered = 0
    for batch in [full, *([d] for d in arrived if len(d) != size)]:
        if not batch:
            continue
        buf = b"".join(batch)
        target = bytearray(len(buf))
        result = opener.open_run(buf, len(batch[0]), target, 0.0)
        assert result.dropped == 0 and sum(run[3] for run in result.runs) == result.stream_bytes
        for sid, offset, begin, n, fin in result.runs:
            assert sid == SID and fin is (fin and offset + n == len(stream))
            got[offset : offset + n] = target[begin : begin + n]
            covered += n
            assert target[begin : begin + n] == stream[offset : offset + n]
    if not lost:
        assert bytes(got) == stream and covered == len(stream)
