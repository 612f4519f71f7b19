"""Sizes and limits of the transport packet. Constants of the protocol: both ends share them.

::

     front (permuted per session)            back (permuted per session)
    +--------+-----------------+----------+ +-------------------------+--------+-----------+
    | CID 8  | HDR 5           | DUMMY1   | | PAYLOAD (ciphertext)    | TAG 16 | DUMMY2    |
    | masked | flags 1 · pn 4  | 0-8      | | 4 bytes or more         |        | 0-8       |
    |        | masked          | random   | |                         |        | random    |
    +--------+-----------------+----------+ +-------------------------+--------+-----------+

Spec: wire-format §1, §3 [WF-2, WF-3, WF-6].
"""

from __future__ import annotations

from typing import Final

from wraith.crypto.session_keys import CID_BYTES

HDR_BYTES: Final = 5
TAG_BYTES: Final = 16
#: The header mask is computed from the last 16 bytes of the datagram as sent.
SAMPLE_BYTES: Final = 16
DUMMY_BYTES_MAX: Final = 8
#: Bytes of a datagram that are neither payload nor dummy.
FIXED_OVERHEAD_MIN: Final = CID_BYTES + HDR_BYTES + TAG_BYTES
#: Keeps the sample inside the back group, whatever the layout.
PAYLOAD_BYTES_MIN: Final = 4

#: Bits 5-0 of the flags byte are zero on every packet; bits 7-6 are the epoch mod 4.
RESERVED_BITS: Final = 0x3F
EPOCH_SHIFT: Final = 6

#: Packet numbers per epoch are ``0 .. PN_BOUND - 1``. [WF-6]
PN_BOUND: Final = 1 << 21

#: At most so many CID indices are accepted at once.
CID_INDICES_MAX: Final = 16

FORM_A: Final = 0
FORM_B: Final = 1
