"""The two-level hash ratchet of one epoch: the sending chain, and the receiving chain with its
window.

::

    C[0] ──01──▶ C[1] ──01──▶ C[2] ...          one link per block of 256 packets
      │02,b        │02,b
      ▼            ▼
    P[b,0] ─03─▶ P[b,1] ─03─▶ ... P[b,255]      one link per packet
      │04,pn       │04,pn
      ▼            ▼
     MK[pn]       MK[pn+1]                      used for one packet, then forgotten

Every arrow is one keyed BLAKE3 hash of the byte (and number) beside it. Nothing derived before the
AEAD has verified a packet is stored: ``find`` works on copies, ``commit`` comes after. The one
exception is the table of look-ahead links, a cache that says nothing ``C[current]`` does not say.

Forgetting means dropping the last reference: CPython cannot promise that the bytes are wiped.

Spec: ratchet §1-§5 [RT-1 … RT-9].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from blake3 import blake3

from wraith.crypto.kdf import Label, derive_key
from wraith.types import Buffer
from wraith.wire.packet import PN_BOUND

BLOCK: Final = 256
#: Blocks between two look-ahead links: bounds the walk from one to any block at 63 hashes.
AHEAD: Final = 64

NEXT_CHAIN: Final = b"\x01"
BLOCK_KEY: Final = b"\x02"
NEXT_STEP: Final = b"\x03"
MESSAGE_KEY: Final = b"\x04"

#: By direction (0 = the initiator sends, 1 = the responder sends).
_CHAIN_LABELS = (Label.CHAIN_I2R, Label.CHAIN_R2I)
_IV_LABELS = (Label.IV_I2R, Label.IV_R2I)
_NEVER: Final = 2 * PN_BOUND

AEAD_XCHACHA: Final = 1
AEAD_AES_GCM: Final = 2


def keyed(key: bytes, message: bytes) -> bytes:
    """One link: keyed BLAKE3, 32 bytes."""
    return blake3(message, key=key).digest()


def first_chain(direction: int, epoch: int, root: Buffer) -> tuple[bytes, bytes]:
    """``(C[0] 32, iv 24)`` of an epoch. ``root`` has 32 bytes. [RT-1]"""
    if len(root) != 32:
        raise ValueError("an epoch's root has 32 bytes")
    if not 0 <= epoch < 1 << 32:
        raise ValueError("an epoch is a u32")
    material = bytes(root) + epoch.to_bytes(4, "big")
    return (
        derive_key(_CHAIN_LABELS[direction], material),
        derive_key(_IV_LABELS[direction], material, 24),
    )


def nonce_base(aead: int, iv: bytes) -> tuple[int, bytes]:
    """``(base, prefix)``: the 12-byte nonce of packet ``pn`` is ``base ^ pn``, big-endian.

    AES-256-GCM takes the first 12 bytes of the iv. XChaCha20-Poly1305 is ChaCha20-Poly1305 under
    ``HChaCha20(MK, prefix)``; as pn touches the last 8 of the 24 bytes only, the 16-byte prefix is
    the same for the whole epoch. [WF-8]
    """
    if aead == AEAD_AES_GCM:
        return int.from_bytes(iv[:12], "big"), b""
    return int.from_bytes(iv[16:], "big"), iv[:16]


class SendChain:
    """The state of one epoch for sending. ``step`` is ``P`` of ``next_pn``; the sealer advances
    it."""

    __slots__ = ("epoch", "next_pn", "chain", "step", "nonce_base", "nonce_prefix", "flags")

    def __init__(self, aead: int, direction: int, epoch: int, root: Buffer) -> None:
        self.epoch = epoch
        self.next_pn = 0
        self.chain, iv = first_chain(direction, epoch, root)
        self.step = b""
        self.nonce_base, self.nonce_prefix = nonce_base(aead, iv)
        self.flags = (epoch & 3) << 6

    def begin_block(self, block: int) -> bytes:
        """``P[block, 0]``; the chain moves on and forgets. Blocks are begun in order."""
        step = keyed(self.chain, BLOCK_KEY + block.to_bytes(4, "big"))
        self.chain = keyed(self.chain, NEXT_CHAIN)
        return step

    def wipe(self) -> None:
        self.chain = self.step = self.nonce_prefix = b""
        self.nonce_base = 0


@dataclass(slots=True)
class _Block:
    """Keys that are left of one block: those skipped below ``expected``, and ``step`` = ``P`` of
    ``expected``, from which the rest of the block follows. Read through: ``expected`` = its end."""

    expected: int
    end: int
    step: bytes
    #: When a packet above this block was first authenticated (meaningless for the newest block).
    since: float
    #: pn -> (message key, when a higher packet was first authenticated), ascending.
    skipped: dict[int, tuple[bytes, float]] = field(default_factory=dict)


class Candidate(NamedTuple):
    """A key derived on copies; becomes state only through ``ReceiveChain.commit``."""

    pn: int
    key: bytes
    #: ``P`` from the block's ``expected`` up to ``pn``; empty if the key was a skipped one.
    steps: tuple[bytes, ...]
    #: ``C`` of a block that has not been begun, else empty.
    chain: bytes


class ReceiveChain:
    """The state of one epoch for receiving: chain, skipped keys, replay window.

    The opener's fast path handles the packet that follows the highest one in the same block by
    itself: it reads ``head.step`` and writes ``head.step`` and ``head.expected``. ``find`` and
    ``commit`` do all the rest.
    """

    __slots__ = (
        "epoch",
        "window",
        "nonce_base",
        "nonce_prefix",
        "head",
        "prune_at",
        "_chain",
        "_next_block",
        "_blocks",
        "_ahead",
        "_seen",
        "_run_first",
    )

    def __init__(self, aead: int, direction: int, epoch: int, root: Buffer, window: int) -> None:
        self.epoch = epoch
        self.window = window
        #: ``C`` of ``_next_block``, the first block that has not been begun.
        self._chain, iv = first_chain(direction, epoch, root)
        self._next_block = 0
        self.nonce_base, self.nonce_prefix = nonce_base(aead, iv)
        #: The newest block. ``head.expected - 1`` is the highest packet number authenticated so
        #: far.
        self.head = _Block(0, 0, b"", 0.0)
        #: Older blocks with keys left, and the newest one, ascending.
        self._blocks: dict[int, _Block] = {}
        #: Once the highest packet number reaches this, something has left the window.
        self.prune_at = _NEVER
        #: Look-ahead links: block number (a multiple of AHEAD) -> C, ascending.
        self._ahead: dict[int, bytes] = {}
        #: Second line against replays: per block, a bit per packet seen. What was received in order
        #: since the last commit here, ``_run_first .. highest``, is entered by the next one.
        self._seen: dict[int, int] = {}
        self._run_first = 0

    @property
    def highest(self) -> int:
        """Highest packet number authenticated, -1 before the first."""
        return self.head.expected - 1

    def is_below_window(self, pn: int) -> bool:
        """This number has left the window: who sent it may know nothing of that."""
        return pn <= self.highest - self.window

    def find(self, pn: int) -> Candidate | None:
        """The key of ``pn``, on copies, or ``None``: below the window, seen, or its key is gone.

        At most 63 + 1 + 255 + 1 hashes once the look-ahead links exist. [RT-3, RT-4, RT-5, RT-6]
        """
        highest = self.highest
        if pn <= highest and (self.is_below_window(pn) or self._was_seen(pn)):
            return None
        number = pn // BLOCK
        block = self._blocks.get(number)
        chain = b""
        if block is not None:
            if pn < block.expected:
                kept = block.skipped.get(pn)
                return None if kept is None else Candidate(pn, kept[0], (), b"")
            expected, step = block.expected, block.step
        elif number < self._next_block:
            return None
        else:
            chain = self._chain_at(number)
            expected = number * BLOCK
            step = keyed(chain, BLOCK_KEY + number.to_bytes(4, "big"))
        steps = [step]
        for _ in range(pn - expected):
            step = keyed(step, NEXT_STEP)
            steps.append(step)
        return Candidate(pn, keyed(step, MESSAGE_KEY + pn.to_bytes(4, "big")), tuple(steps), chain)

    def commit(self, candidate: Candidate, now: float) -> None:
        """Take over what ``find`` derived for a packet that has been authenticated. [RT-3]

        At most 63 + 2 * (window / 256 + 1) + 255 hashes.
        """
        pn, key, steps, chain = candidate
        del key
        self._mark_seen(pn)
        if steps:
            if chain:
                self._begin_block(candidate, now)
            block = self._blocks[pn // BLOCK]
            since = now if block is self.head else block.since
            for skipped, step in zip(range(block.expected, pn), steps, strict=False):
                message_key = keyed(step, MESSAGE_KEY + skipped.to_bytes(4, "big"))
                block.skipped[skipped] = (message_key, since)
            block.expected = pn + 1
            block.step = keyed(steps[-1], NEXT_STEP) if pn + 1 < block.end else b""
        else:
            block = self._blocks[pn // BLOCK]
            del block.skipped[pn]
        if block is not self.head and not block.skipped and block.expected == block.end:
            del self._blocks[pn // BLOCK]
        self._run_first = self.head.expected
        self._plan_prune()
        if self.highest >= self.prune_at:
            self.prune()

    def prune(self) -> None:
        """Erase what has left the window: keys at or below ``highest - window``. [RT-8]"""
        low = self.highest - self.window
        for number, block in list(self._blocks.items()):
            # The newest block lies inside the window as a whole: a window has 256 packets or more.
            if block is self.head or number * BLOCK > low:
                break
            skipped = block.skipped
            while skipped and (first := next(iter(skipped))) <= low:
                del skipped[first]
            if block.end - 1 <= low or (not skipped and block.expected == block.end):
                del self._blocks[number]
        self._plan_prune()

    def expire(self, now: float, ttl_s: float) -> None:
        """Erase keys of packets that have been overtaken for ``ttl_s`` or longer. [RT-7]"""
        for number, block in list(self._blocks.items()):
            skipped = block.skipped
            for pn in [pn for pn, (_, since) in skipped.items() if since + ttl_s <= now]:
                del skipped[pn]
            if block is self.head:
                break
            if block.since + ttl_s <= now:
                block.expected, block.step = block.end, b""
            if not skipped and block.expected == block.end:
                del self._blocks[number]
        self._plan_prune()

    def wipe(self) -> None:
        self._chain = self.nonce_prefix = self.head.step = b""
        self.nonce_base = 0
        self._blocks.clear()
        self._ahead.clear()

    def digest(self) -> bytes:
        """A hash of the whole state but the look-ahead cache: for tests of transactionality."""
        blocks = [
            (number, block.expected, block.step, sorted(block.skipped.items()))
            for number, block in self._blocks.items()
        ]
        state = (self._chain, self._next_block, blocks, self.highest, self._seen, self._run_first)
        return blake3(repr(state).encode()).digest()

    def _chain_at(self, number: int) -> bytes:
        """``C[number]`` for a block not yet begun, from the nearest link at or below it.

        Fills the look-ahead table up to there first: 8,192 hashes in an epoch in all, however many
        forged packets ask, because what was computed is kept until the chain passes it. [RT-6]
        """
        anchor = number - number % AHEAD
        at, key = self._next_block, self._chain
        if anchor > at:
            if self._ahead:
                at, key = next(reversed(self._ahead.items()))
            while at < anchor:
                key = keyed(key, NEXT_CHAIN)
                at += 1
                if at % AHEAD == 0:
                    self._ahead[at] = key
            at, key = anchor, self._ahead[anchor]
        for _ in range(number - at):
            key = keyed(key, NEXT_CHAIN)
        return key

    def _begin_block(self, candidate: Candidate, now: float) -> None:
        """Make the candidate's block the newest; keep keys of untouched blocks inside the
        window."""
        number = candidate.pn // BLOCK
        low_block = max(self._next_block, (candidate.pn - self.window + 1) // BLOCK)
        head = self.head
        head.since = now
        if not head.skipped and head.expected == head.end:
            self._blocks.pop(self._next_block - 1, None)
        if low_block < number:
            chain = self._chain_at(low_block)
            for between in range(low_block, number):
                first = between * BLOCK
                key = keyed(chain, BLOCK_KEY + between.to_bytes(4, "big"))
                self._blocks[between] = _Block(first, first + BLOCK, key, now)
                chain = keyed(chain, NEXT_CHAIN)
        first = number * BLOCK
        self.head = self._blocks[number] = _Block(first, first + BLOCK, candidate.steps[0], now)
        self._chain = keyed(candidate.chain, NEXT_CHAIN)
        self._next_block = number + 1
        while self._ahead and next(iter(self._ahead)) <= self._next_block:
            del self._ahead[next(iter(self._ahead))]
        low = candidate.pn - self.window
        for old in [old for old in self._seen if (old + 1) * BLOCK - 1 <= low]:
            del self._seen[old]

    def _was_seen(self, pn: int) -> bool:
        if pn >= self._run_first:
            return True
        return bool(self._seen.get(pn // BLOCK, 0) >> (pn % BLOCK) & 1)

    def _mark_seen(self, pn: int) -> None:
        """Enter the run received in order (it never leaves the newest block), then ``pn``."""
        seen, first = self._seen, self._run_first
        if n := self.head.expected - first:
            number = first // BLOCK
            seen[number] = seen.get(number, 0) | ((1 << n) - 1) << first % BLOCK
        seen[pn // BLOCK] = seen.get(pn // BLOCK, 0) | 1 << pn % BLOCK

    def _plan_prune(self) -> None:
        """The lowest packet number that still has a key decides when to prune next."""
        for block in self._blocks.values():
            if block.skipped:
                self.prune_at = next(iter(block.skipped)) + self.window
                return
            if block is not self.head:
                self.prune_at = block.end - 1 + self.window
                return
        self.prune_at = _NEVER
