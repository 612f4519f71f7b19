"""The Python twin's ratchet from inside: hashes counted, keys held, forgeries without effect."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blake3 import blake3

from wraith.crypto.ratchet import first_chain as first_chain_reference
from wraith.crypto.ratchet import iv as iv_reference
from wraith.crypto.ratchet import message_key_at
from wraith.hotpath import _python, _ratchet
from wraith.hotpath._ratchet import ReceiveChain, SendChain
from wraith.testing.packets import PacketSession, open_all
from wraith.types import Role
from wraith.wire.frames import Ping, encode_frame
from wraith.wire.packet import PN_BOUND

ROOT = b"\x33" * 32
PING = encode_frame(Ping(7))


class CountingBlake3:
    """Stands in for ``blake3`` and counts keyed hashes."""

    def __init__(self) -> None:
        self.n = 0

    def __call__(self, message: bytes, *, key: bytes) -> blake3:
        self.n += 1
        return blake3(message, key=key)


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[CountingBlake3]:
    counting = CountingBlake3()
    monkeypatch.setattr(_ratchet, "blake3", counting)
    yield counting


def chain(window: int = 8192) -> ReceiveChain:
    return ReceiveChain(2, 0, 0, ROOT, window)


def receive(receiving: ReceiveChain, pn: int, now: float = 0.0) -> bytes | None:
    candidate = receiving.find(pn)
    if candidate is None:
        return None
    receiving.commit(candidate, now)
    return candidate.key


@pytest.mark.spec("RT-1", "RT-2")
def test_published_vectors() -> None:
    sending = SendChain(2, 0, 0, ROOT)
    assert sending.chain.hex() == "298968d042edb13806d52f3c6842468144458b66986c7ba99fbd757fc0a636f8"
    step = sending.begin_block(0)
    assert sending.chain.hex() == "0b7f87455cb11eae244a947631df0ad7526d04a4213ac6f8cf1ac5796e290d50"
    del step
    for pn, want in (
        (0, "1b206c879b789f31e2449ff681ecaed8f0ebf6ef43ce0edc3a0b4e436c488713"),
        (1, "c063a7d11b7a3a87cdfca6f4ef015b1f4260716367edfa852bfbeb39956ff603"),
        (255, "09990e5b07151ea8ad0ceb4448fbb49764779cd5957e2392675c4f4c7d8158bc"),
        (256, "bde3200d9c0f39c35e2edb4b47a3becf088d7be1ba276ce148dc31184b853ce5"),
        (1000, "38a7588c895b40b46f963afe5f3d582de0e17fe9964447b93c3f948d5654e8b0"),
    ):
        key = receive(chain(), pn)
        assert key is not None and key.hex() == want
    base, prefix = sending.nonce_base, sending.nonce_prefix
    assert (base ^ 1000).to_bytes(12, "big").hex() == "2e0eacecd344d3bce581bb59" and prefix == b""
    wide = SendChain(1, 0, 0, ROOT)
    nonce = wide.nonce_prefix + (wide.nonce_base ^ 1000).to_bytes(8, "big")
    assert nonce.hex() == "2e0eacecd344d3bce581b8b1cb6cfcd533fa22dc4ec1f6b6"


@pytest.mark.spec("RT-1")
@pytest.mark.parametrize("direction", [0, 1])
@pytest.mark.parametrize("epoch", [0, 1, 70_000])
def test_direction_and_epoch_separate_chains(direction: int, epoch: int) -> None:
    role = (Role.INITIATOR, Role.RESPONDER)[direction]
    first, iv = _ratchet.first_chain(direction, epoch, ROOT)
    assert first == first_chain_reference(ROOT, epoch, role)
    assert iv == iv_reference(ROOT, epoch, role)
    receiving = ReceiveChain(2, direction, epoch, ROOT, 8192)
    assert receive(receiving, 300) == message_key_at(ROOT, epoch, role, 300)


@pytest.mark.spec("RT-11")
def test_keys_with_and_without_look_ahead_are_equal() -> None:
    plain, ahead = chain(), chain()
    ahead.find(PN_BOUND - 1)
    for pn in (0, 3, 700, 20_000, 19_000, 300_000, 299_999, 1_900_000, PN_BOUND - 1):
        key = receive(plain, pn)
        assert key is not None and receive(ahead, pn) == key
        if pn <= 20_000:
            assert key == message_key_at(ROOT, 0, Role.INITIATOR, pn)


@pytest.mark.spec("RT-6")
@pytest.mark.parametrize("start", [0, 300, 16_384 * 3 + 17])
def test_no_packet_costs_more_than_320_hashes_before_it_is_verified(
    hashes: CountingBlake3, start: int
) -> None:
    receiving = chain()
    receive(receiving, start)
    hashes.n = 0
    receiving.find(PN_BOUND - 1)
    assert hashes.n <= 8192 + 320
    worst = 0
    for bit in range(21):
        for pn in (start + 1 ^ 1 << bit, PN_BOUND - 1 - (1 << bit), (1 << bit) - 1):
            hashes.n = 0
            receiving.find(pn % PN_BOUND)
            worst = max(worst, hashes.n)
    for pn in range(255, PN_BOUND, 255 * 64 + 191):
        hashes.n = 0
        receiving.find(pn)
        worst = max(worst, hashes.n)
    assert 200 < worst <= 320


@pytest.mark.spec("RT-6")
def test_the_look_ahead_is_computed_once(hashes: CountingBlake3) -> None:
    receiving = chain()
    for pn in range(0, PN_BOUND, 65_536 + 255):
        receiving.find(pn)
    hashes.n = 0
    for pn in range(PN_BOUND - 1, 0, -65_536 - 255):
        receiving.find(pn)
    assert hashes.n <= 33 * 320


@pytest.mark.spec("RT-3")
@pytest.mark.parametrize("pn", [5, 6, 4, 259, 20_000, PN_BOUND - 1])
def test_taking_a_packet_over_is_bounded(hashes: CountingBlake3, pn: int) -> None:
    receiving = chain()
    receive(receiving, 5)
    receiving.find(PN_BOUND - 1)
    candidate = receiving.find(pn)
    if candidate is None:
        assert pn == 5
        return
    hashes.n = 0
    receiving.commit(candidate, 0.0)
    assert hashes.n <= 63 + 2 * (8192 // 256 + 1) + 255 + 2


@pytest.mark.spec("RT-3")
def test_finding_changes_nothing() -> None:
    receiving = chain()
    for pn in (0, 1, 2, 9, 700):
        receive(receiving, pn)
    before = receiving.digest()
    for pn in (3, 10, 255, 256, 511, 701, 9_000, 1_000_000, PN_BOUND - 1):
        assert receiving.find(pn) is not None
        assert receiving.digest() == before
    assert receive(receiving, 3) is not None
    assert receiving.digest() != before


@pytest.mark.spec("RT-3")
@pytest.mark.parametrize("aead", [1, 2])
def test_forged_packets_change_no_state(aead: int) -> None:
    session = PacketSession(aead, bytes(range(32)))
    opener = session.opener(_python)
    open_all(opener, [session.packet(pn, PING) for pn in (0, 1, 5, 300)])
    before = opener.state_digest()
    hdr = session.spec.hdr_offset
    for pn in (2, 6, 301, 302, 400, 9000, 1_000_000):
        forged = bytearray(session.packet(301, PING))
        for i, byte in enumerate((pn ^ 301).to_bytes(4, "big")):
            forged[hdr + 1 + i] ^= byte
        forged[len(forged) // 2] ^= 1
        result = open_all(opener, [bytes(forged)])[0]
        assert result.received == [] and opener.state_digest() == before
    open_all(opener, [session.packet(301, PING)])
    assert opener.state_digest() != before


@pytest.mark.spec("RT-8")
def test_skipped_keys_are_erased_when_they_leave_the_window() -> None:
    receiving = chain(256)
    for pn in (4, 9):
        receive(receiving, pn)
    held = receiving._blocks[0].skipped
    assert sorted(held) == [0, 1, 2, 3, 5, 6, 7, 8]
    for pn in range(10, 256 + 2):
        receive(receiving, pn)
    assert sorted(held) == [2, 3, 5, 6, 7, 8]
    receive(receiving, 262)
    assert sorted(held) == [7, 8]
    receive(receiving, 600)
    assert 0 not in receiving._blocks


@pytest.mark.spec("RT-8")
def test_in_order_packets_prune_too() -> None:
    session = PacketSession(2, b"\x42" * 32)
    opener, sealer = session.opener(_python, window=256), session.sealer(_python)
    out = bytearray(65_536)
    datagrams: list[bytes] = []
    for _ in range(300):
        n, *_ = sealer.seal_run(
            epoch=0,
            cid_index=0,
            form=0,
            lead=PING,
            datagram_bytes=1200,
            n_max=1,
            random=bytes(16),
            out=out,
        )
        datagrams.append(bytes(out[:n]))
    open_all(opener, [d for pn, d in enumerate(datagrams[:256]) if pn != 2])
    receiving = opener._by_phase[0]
    assert list(receiving._blocks[0].skipped) == [2]
    open_all(opener, datagrams[256:258])
    assert list(receiving._blocks[0].skipped) == [2]
    open_all(opener, datagrams[258:259])
    assert 0 not in receiving._blocks


@pytest.mark.spec("RT-4")
@pytest.mark.parametrize("last", range(5))
def test_a_used_key_is_held_nowhere(last: int) -> None:
    receiving = chain()
    for pn in (0, 3, 1, 258, 256)[: last + 1]:
        key = receive(receiving, pn)
        assert key is not None
        for block in receiving._blocks.values():
            assert key != block.step
            assert key not in [kept for kept, _ in block.skipped.values()]
    # The window is a second line: without the key nothing opens even if the bit were lost.
    receiving._seen.clear()
    receiving._run_first = 1 << 30
    assert receiving.find(pn) is None


@pytest.mark.spec("RT-4")
def test_the_window_alone_refuses_what_was_seen() -> None:
    receiving = chain()
    for pn in (0, 1, 2, 7):
        receive(receiving, pn)
    receiving._blocks[0].skipped[1] = (bytes(32), 0.0)
    assert receiving.find(1) is None


@pytest.mark.spec("RT-8")
@pytest.mark.parametrize("window", [256, 8192])
def test_memory_is_bounded_by_the_window(window: int) -> None:
    receiving = chain(window)
    for pn in range(0, 40_000, 37):
        receive(receiving, pn)
        keys = sum(len(block.skipped) for block in receiving._blocks.values())
        assert keys <= window and len(receiving._blocks) <= window // 256 + 2
    assert len(receiving._seen) <= window // 256 + 2
