"""Runs of packets, sealed and opened in pure Python: the reference of the native part.

One call takes a whole run: a burst that one kernel call sends, or what one kernel call received.
Inside, a packet costs a fixed handful of C calls (ratchet 2, mask 1, AEAD 2, copies) and everything
else is bound to locals before the loop; that is why the two loops are long and hold what elsewhere
would be small functions. Rare work (a new block, a gap, a late packet) is in ``_ratchet``.

It has no I/O, no clock and no randomness (all are arguments), and decides nothing about sending.
A bad packet is a count, never an exception; a wrong argument is ``ValueError`` before anything
changes.

Not thread-safe: one session's loop owns its sealer and its opener.

Spec: wire-format §3-§6, ratchet.
"""

from __future__ import annotations

from wraith.hotpath._digests import blake3_chunks, blake3_chunks_of
from wraith.hotpath._opener import Opener, OpenResult
from wraith.hotpath._records import RECORD_HEADER_BYTES, RecordReader, RecordSealer
from wraith.hotpath._sealer import Sealer

__all__ = [
    "RECORD_HEADER_BYTES",
    "OpenResult",
    "Opener",
    "RecordReader",
    "RecordSealer",
    "Sealer",
    "blake3_chunks",
    "blake3_chunks_of",
]
