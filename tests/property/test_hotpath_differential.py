"""The native part against its Python twin: the same bytes out, the same results in, on anything."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wraith.errors import NonceExhausted
from wraith.hotpath import _python
from wraith.testing.packets import PacketSession
from wraith.wire.frames import Ack, Close, Ping, encode_frame

native: Any = pytest.importorskip("wraith_native", reason="the native part is not installed")

secrets = st.binary(min_size=32, max_size=32)
#: A seed, not a drawn generator: these tests draw thousands of numbers per example.
seeds = st.integers(0, 1 << 32)
LEADS = (
    b"",
    encode_frame(Ping(7)),
    encode_frame(Ack(0, 9, 3, ((8, 9), (1, 5)))),
    encode_frame(Close(2, "why")) + encode_frame(Ping(1)) * 40,
    bytes((0x7F, 0, 0, 3)) + b"abc",
    bytes((0x01, 0, 0, 5)) + b"short",
    bytes((0x05, 0, 9, 9)) + b"long",
)


def outcome(sealer: Any, arguments: dict[str, Any]) -> Any:
    """The result of ``seal_run``, or the class of what it raised."""
    try:
        return sealer.seal_run(**arguments)
    except (ValueError, OverflowError):
        return ValueError
    except NonceExhausted:
        return NonceExhausted


@settings(max_examples=150)
@given(data=st.data())
def test_the_same_runs_are_sealed(data: st.DataObject) -> None:
    session = PacketSession(
        data.draw(st.sampled_from([1, 2])), data.draw(secrets), data.draw(st.integers(0, 1))
    )
    sealers = [session.sealer(module, 0, 5) for module in (_python, native)]
    rng = Random(data.draw(seeds))
    for _ in range(6):
        segments = [rng.randbytes(rng.choice([0, 1, 40, 3000])) for _ in range(rng.randint(0, 4))]
        arguments = {
            "epoch": rng.choice([0, 5, 5, 6]),
            "cid_index": rng.choice([0, 1, 7, (1 << 32) - 1]),
            "form": rng.randint(0, 1),
            "lead": rng.choice(LEADS),
            "sid": rng.choice([0, 0x40000001, (1 << 32) - 1]),
            "offset": rng.choice([0, 1000, (1 << 63), (1 << 64) - 5]),
            "data": segments,
            "fin": rng.random() < 0.3,
            "datagram_bytes": rng.choice(
                [40, 52, 61, 62, 63, 80, 120, 600, 1200, 1400, 9000, 65_507, 65_508]
            ),
            "n_max": rng.choice([1, 2, 46, 64]),
            "random": rng.randbytes(rng.choice([0, 15, 40, 64 * 16])),
        }
        room, at = rng.choice([30, 1199, 5000, 65_536]), rng.choice([0, 0, 17])
        outs = [bytearray(b"\xcc" * room) for _ in sealers]
        results = [
            outcome(sealer, {**arguments, "out": out, "at": at})
            for sealer, out in zip(sealers, outs, strict=True)
        ]
        assert results[0] == results[1], arguments
        n = results[0][0] if isinstance(results[0], tuple) else 0
        assert outs[0][: at + n] == outs[1][: at + n]
        if rng.random() < 0.5:
            epoch = rng.choice([0, 5])
            assert sealers[0].skip(epoch) == sealers[1].skip(epoch)
        for epoch in (0, 5):
            assert sealers[0].next_pn(epoch) == sealers[1].next_pn(epoch)


@pytest.mark.parametrize(
    "wrong",
    [
        {"datagram_bytes": 65_508},
        {"datagram_bytes": 65_535},
        {"datagram_bytes": 65_536},
        {"datagram_bytes": 0},
        {"datagram_bytes": -1},
        {"n_max": 0},
        {"n_max": -1},
        {"epoch": 1},
        {"epoch": -1},
        {"cid_index": -1},
        {"cid_index": 1 << 32},
        {"form": 2},
        {"sid": -1},
        {"sid": 1 << 32},
        {"offset": -1},
        {"offset": 1 << 64},
        {"offset": (1 << 64) - 100},
        {"data": []},
        {"datagram_bytes": 60, "lead": encode_frame(Ping(1)) * 9},
        {"random": b""},
        {"at": -1},
        {"at": 70_001},
    ],
    ids=str,
)
def test_the_same_arguments_are_refused(wrong: dict[str, Any]) -> None:
    """Each by both, with nothing spent; beside it the good call, by both."""
    good: dict[str, Any] = {
        "epoch": 0,
        "cid_index": 0,
        "form": 0,
        "lead": b"",
        "sid": SID,
        "offset": 0,
        "data": [bytes(100)],
        "fin": False,
        "datagram_bytes": 65_507,
        "n_max": 64,
        "random": bytes(16 * 64),
    }
    session = PacketSession(1, bytes(range(32)))
    for module in (_python, native):
        sealer = session.sealer(module, 0, 5)
        assert outcome(sealer, {**good, "out": bytearray(70_000), **wrong}) is ValueError, module
        assert sealer.next_pn(0) == 0
        assert sealer.seal_run(**good, out=bytearray(70_000))[1] == 1


@settings(max_examples=150)
@given(data=st.data())
def test_the_same_bursts_are_opened(data: st.DataObject) -> None:
    """Loss, order, repetition, corruption, strange frames, expiry, epochs: equal throughout."""
    session = PacketSession(data.draw(st.sampled_from([1, 2])), data.draw(secrets))
    rng = Random(data.draw(seeds))
    window = rng.choice([256, 1024])
    openers = [session.opener(module, 0, 1, window=window) for module in (_python, native)]
    sealer = session.sealer(_python, 0, 1)
    size = rng.choice([80, 300])
    out = bytearray(65_536)
    pool: list[bytes] = []
    now = 0.0
    for _ in range(14):
        for _ in range(rng.choice([1, 5, 5, 30])):
            lead = rng.choice([lead for lead in LEADS if len(lead) < 30])
            written, *_ = sealer.seal_run(
                epoch=rng.randint(0, 1),
                cid_index=rng.randint(0, 9),
                form=rng.randint(0, 1),
                lead=lead,
                sid=rng.choice([SID, SID + 1]),
                offset=rng.randint(0, 3) * 10,
                data=[rng.randbytes(10)],
                fin=rng.random() < 0.1,
                datagram_bytes=size,
                n_max=9,
                random=rng.randbytes(200),
                out=out,
            )
            pool.append(bytes(out[:written]).ljust(size, b"\x00")[:size])
            # As sent (short), filled up (does not authenticate), or exactly of the common size.
            pool[-1] = bytes(out[:written]) if rng.random() < 0.9 else pool[-1]
        batch = [rng.choice(pool[-60:]) for _ in range(rng.randint(1, 12))]
        for i in range(len(batch)):
            if rng.random() < 0.1:
                broken = bytearray(batch[i])
                broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
                batch[i] = bytes(broken)
        for buf, segment in [(d, len(d)) for d in batch] + [(b"".join(batch), size)]:
            assert openers[0].claims(buf[:segment]) == openers[1].claims(buf[:segment])
            assert openers[0].fits(buf[:segment]) == openers[1].fits(buf[:segment])
            if rng.random() < 0.5:
                continue
            targets = [bytearray(len(buf)) for _ in openers]
            results = [
                opener.open_run(buf, segment, target, now)
                for opener, target in zip(openers, targets, strict=True)
            ]
            assert tuple(results[0]) == tuple(results[1])
            n = results[0].stream_bytes
            assert targets[0][:n] == targets[1][:n]
        now += rng.choice([0.0, 1.0, 5.0])
        if rng.random() < 0.2:
            ttl = rng.choice([0.5, 4.5])
            for opener in openers:
                opener.expire(now, ttl)
        if rng.random() < 0.1:
            low, n = rng.randint(0, 4), rng.randint(1, 16)
            for opener in openers:
                opener.set_cids(low, low + n - 1)


SID = 0x40000001


def test_both_have_the_same_surface() -> None:
    for name in ("Sealer", "Opener"):
        ours = {m for m in dir(getattr(_python, name)) if not m.startswith("_")}
        theirs = {m for m in dir(getattr(native, name)) if not m.startswith("_")}
        assert ours - theirs <= {"state_digest"} and theirs <= ours
    assert native.OpenResult._fields == _python.OpenResult._fields


@settings(max_examples=4)
@given(aead=st.sampled_from([1, 2]), seed=seeds)
def test_a_busy_epoch_stays_the_same(aead: int, seed: int) -> None:
    """Thousands of packets in runs, disturbed: past all that the native part computes ahead."""
    rng = Random(seed)
    session = PacketSession(aead, rng.randbytes(32))
    sealers = [session.sealer(module, 0) for module in (_python, native)]
    openers = [session.opener(module, 0, window=1024) for module in (_python, native)]
    size, outs = 80, [bytearray(80 * 46) for _ in sealers]
    now, late = 0.0, b""
    while sealers[0].next_pn(0) < 9000:
        n = rng.choice([1, 3, 16, 46, 46, 46])
        for sealer, out in zip(sealers, outs, strict=True):
            result = sealer.seal_run(
                epoch=0,
                cid_index=0,
                form=0,
                lead=b"",
                sid=SID,
                data=[bytes(4000)],
                datagram_bytes=size,
                n_max=n,
                random=bytes(16 * n),
                out=out,
            )
            assert result[1] == n
        assert outs[0] == outs[1]
        if rng.random() < 0.2:
            assert sealers[0].skip(0) == sealers[1].skip(0)
        datagrams = [bytes(outs[0][at : at + size]) for at in range(0, n * size, size)]
        event = rng.randrange(12)
        if event == 0:
            datagrams = []
        elif event == 1:
            rng.shuffle(datagrams)
        elif event == 2:
            late = datagrams.pop(rng.randrange(n))
        elif event == 3:
            datagrams.append(late or datagrams[0])
        elif event == 4:
            at = rng.randrange(n)
            broken = bytearray(datagrams[at])
            broken[rng.randrange(30, 60)] ^= 4
            datagrams.insert(at, bytes(broken))
        buf = b"".join(datagrams)
        results = [opener.open_run(buf, size, bytearray(len(buf)), now) for opener in openers]
        assert tuple(results[0]) == tuple(results[1])
        now += rng.choice([0.0, 0.01, 0.01, 1.5])
        if rng.random() < 0.02:
            for opener in openers:
                opener.expire(now, 2.0)


@given(
    parts=st.lists(st.binary(max_size=40), max_size=8),
    chunk_bytes=st.integers(-1, 90),
)
def test_the_same_chunks_are_digested(parts: list[bytes], chunk_bytes: int) -> None:
    results = []
    for module in (_python, native):
        try:
            results.append(module.blake3_chunks_of(parts, chunk_bytes))
        except ValueError:
            results.append(ValueError)
    assert results[0] == results[1]
    if chunk_bytes > 0:
        assert results[0] == _python.blake3_chunks(b"".join(parts), chunk_bytes)


@pytest.mark.spec("WF-17")
@settings(max_examples=60)
@given(data=st.data())
def test_the_same_payloads_are_sealed(data: st.DataObject) -> None:
    """Of any size, in one call: equal on both, and each as a run with that lead alone."""
    session = PacketSession(
        data.draw(st.sampled_from([1, 2])), data.draw(secrets), data.draw(st.integers(0, 1))
    )
    sealers = [session.sealer(module, 0, 5) for module in (_python, native)]
    alone = session.sealer(_python, 0, 5)
    rng = Random(data.draw(seeds))
    for _ in range(6):
        sizes = [0, 1, 3, 4, 5, 17, 200, 1_400, 65_400, 65_507]
        weights = [1, 9, 9, 9, 9, 9, 9, 9, 1, 1]
        n_payloads = rng.choice([0, 1, 2, 5, 64, 65])
        chosen = rng.choices(sizes, weights, k=n_payloads)
        payloads = [rng.randbytes(size) for size in chosen]
        call: dict[str, Any] = {
            "epoch": rng.choice([0, 5, 5, 6]),
            "cid_index": rng.choice([0, 1, (1 << 32) - 1]),
            "form": rng.randint(0, 1),
            "payloads": payloads,
            "random": rng.randbytes(rng.choice([0, 64 * 16, 65 * 16])),
            "at": rng.choice([0, 0, 17]),
        }
        room = rng.choice([30, 1_199, 5_000, 120_000])
        outs = [bytearray(b"\xcc" * room) for _ in sealers]
        results = []
        for sealer, out in zip(sealers, outs, strict=True):
            try:
                results.append(sealer.seal_frames(**call, out=out))
            except ValueError:
                results.append(None)
        assert results[0] == results[1], call
        assert outs[0] == outs[1]
        assert [s.next_pn(5) for s in sealers] == [sealers[0].next_pn(5)] * 2
        if results[0] is None:
            assert outs[0] == b"\xcc" * room
            continue
        n_bytes, n = results[0]
        again, at, dummies = bytearray(b"\xcc" * room), call["at"], sealers[0].dummy_bytes
        for i, payload in enumerate(payloads[:n]):
            at += alone.seal_run(
                epoch=call["epoch"],
                cid_index=call["cid_index"],
                form=call["form"],
                lead=payload,
                datagram_bytes=1_500 if len(payload) < 1_401 else 65_507,
                n_max=1,
                random=call["random"][i * dummies : (i + 1) * dummies],
                out=again,
                at=at,
            )[0]
        assert (again, at) == (outs[0], call["at"] + n_bytes)


@settings(max_examples=150)
@given(seed=seeds, key=secrets)
def test_the_same_records_are_sealed_and_read(seed: int, key: bytes) -> None:
    """Lengths of any kind, a stream cut anywhere, and now and then a byte that is wrong."""
    rng = Random(seed)
    sealers = [module.RecordSealer(key) for module in (_python, native)]
    sent = bytearray()
    for _ in range(rng.randint(1, 8)):
        segment_bytes = rng.choice([0, 20, 33, 40, 1400, 9000, 16_384, 16_385])
        n = rng.choice([0, 1, 33, segment_bytes, 3 * segment_bytes, rng.randint(0, 40_000)])
        headers = []
        for sealer in sealers:
            try:
                headers.append(sealer.seal(n, segment_bytes))
            except ValueError:
                headers.append(None)
        assert headers[0] == headers[1], (n, segment_bytes)
        for i in range(0, len(headers[0] or b""), 18):
            sent += headers[0][i : i + 18]
            sent += rng.randbytes(min(segment_bytes, n - i // 18 * segment_bytes))
    if sent and rng.random() < 0.4:
        sent[rng.randrange(len(sent))] ^= 1 << rng.randrange(8)
    readers = [module.RecordReader(key) for module in (_python, native)]
    waiting = [bytearray(), bytearray()]
    at = 0
    while at < len(sent):
        piece = sent[at : at + rng.choice([1, 18, 500, 20_000, 200_000])]
        at += len(piece)
        results = []
        for reader, buffer in zip(readers, waiting, strict=True):
            buffer += piece
            results.append(reader.read(buffer))
        assert results[0] == results[1] and waiting[0] == waiting[1]
        for buffer in waiting:
            del buffer[: results[0][1]]
        assert readers[0].is_open == readers[1].is_open
        assert readers[0].expects_header == readers[1].expects_header
