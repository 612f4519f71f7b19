"""The two-level ratchet, written as its definition: one function per arrow.

::

    C_0 ──1──► C_1 ──1──► C_2 …        chains, one step per block of 256 packets
     │2         │2
    B_0        B_1                     block keys
     │= P_0
     ├─3─► P_1 ─3─► P_2 …             steps inside the block
     │4     │4      │4
    MK_0   MK_1    MK_2               message keys, each for one packet

``hotpath`` walks the same arrows inline, on copies, and erases what it passed; it is tested against
this file. Nothing here keeps state.

Spec: crypto §17 [CR-31, CR-32].
"""

from __future__ import annotations

from wraith.crypto.aead import Aead
from wraith.crypto.kdf import Label, derive_key, directed, keyed_hash
from wraith.types import Role

BLOCK = 256
PN_BOUND = 2**21
IV_BYTES = 24


def first_chain(root: bytes, epoch: int, sender: Role) -> bytes:
    """``C_0`` (32 bytes) of packets that ``sender`` sends in ``epoch``."""
    return derive_key(directed(Label.CHAIN_I2R, sender), root + epoch.to_bytes(4, "big"))


def iv(root: bytes, epoch: int, sender: Role) -> bytes:
    """24 bytes; suites with a 12-byte nonce use the first 12."""
    return derive_key(directed(Label.IV_I2R, sender), root + epoch.to_bytes(4, "big"), IV_BYTES)


def next_chain(chain: bytes) -> bytes:
    """``C_{b+1} = KH(C_b, 01)``."""
    return keyed_hash(chain, b"\x01")


def block_key(chain: bytes, block: int) -> bytes:
    """``B_b = KH(C_b, 02 ‖ b u32)``, which is ``P_{b,0}``."""
    return keyed_hash(chain, b"\x02" + block.to_bytes(4, "big"))


def step(position: bytes) -> bytes:
    """``P_{b,j+1} = KH(P_{b,j}, 03)``."""
    return keyed_hash(position, b"\x03")


def message_key(position: bytes, pn: int) -> bytes:
    """``MK_pn = KH(P_{b,j}, 04 ‖ pn u32)`` with pn = 256 b + j; for one packet only."""
    return keyed_hash(position, b"\x04" + pn.to_bytes(4, "big"))


def message_key_at(root: bytes, epoch: int, sender: Role, pn: int) -> bytes:
    """``MK_pn`` from the very beginning. For tests and vectors: it takes pn/256 + pn%256 hashes.

    Raises:
        ValueError: ``pn`` is outside ``0 .. 2^21 - 1``.
    """
    if not 0 <= pn < PN_BOUND:
        raise ValueError("a packet number is below 2^21")
    block, offset = divmod(pn, BLOCK)
    chain = first_chain(root, epoch, sender)
    for _ in range(block):
        chain = next_chain(chain)
    position = block_key(chain, block)
    for _ in range(offset):
        position = step(position)
    return message_key(position, pn)


def packet_nonce(aead: Aead, iv_: bytes, pn: int) -> bytes:
    """``iv ⊕ (0… ‖ pn u64)``, as long as the AEAD's nonce. [CR-32]"""
    n = aead.nonce_bytes
    return (int.from_bytes(iv_[:n], "big") ^ pn).to_bytes(n, "big")
