"""Writes vectors/wire/: layouts of 100 sessions, and sealed packets of every kind.

The values come from ``wraith.testing.packets``, which composes ``crypto`` and ``wire`` step by
step; the tests compare them with both implementations of the hot path.

Usage: make_wire_vectors.py [FOLDER]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from blake3 import blake3

from wraith.testing.packets import PacketSession
from wraith.types import StreamId
from wraith.wire.format import WireFormatSpec
from wraith.wire.frames import Ack, Data, Ping, encode_frame

FIRST = [b"\x42" * 32, bytes(32), bytes(range(32))]
PNS = [0, 1, 255, 256, 1000, 65_537]


def secrets() -> list[bytes]:
    return FIRST + [blake3(b"wraith wire vector %d" % i).digest() for i in range(97)]


def wire_format() -> dict[str, object]:
    cases = []
    for secret in secrets():
        spec = WireFormatSpec.derive(secret)
        cases.append(
            {
                "session_secret": secret.hex(),
                "order": [field.id.name for field in spec.fields],
                "d1": spec.d1,
                "d2": spec.d2,
                "packed": spec.pack().hex(),
                "cid_offset": spec.cid_offset,
                "fixed_overhead": spec.fixed_overhead,
            }
        )
    return {"about": "docs/spec/wire-format.md, section 2", "cases": cases}


def packets() -> dict[str, object]:
    cases = []
    payloads = [
        encode_frame(Ping(7)),
        encode_frame(Ack(0, 9, 3, ((8, 9), (1, 5))))
        + encode_frame(Data(StreamId(0x40000001), 1 << 33, b"stream bytes", True)),
        bytes(4),
    ]
    for n, (secret, aead) in enumerate((s, a) for s in secrets()[:8] for a in (1, 2)):
        session = PacketSession(aead, secret, direction=n // 2 % 2)
        for i, pn in enumerate(PNS):
            epoch, cid_index, form = (n + i) % 6, i, (n + i) % 2
            frames = payloads[(n + i) % 3]
            d = session.spec.d1 + session.spec.d2
            dummies = blake3(secret + bytes((i,))).digest(length=d)
            cases.append(
                {
                    "aead": aead,
                    "direction": session.direction,
                    "session_secret": secret.hex(),
                    "format": session.spec.pack().hex(),
                    "hp_key": session.hp_key.hex(),
                    "cid_key": session.cid_key.hex(),
                    "hmk": session.hmk.hex(),
                    "epoch": epoch,
                    "root": session.root(epoch).hex(),
                    "pn": pn,
                    "cid_index": cid_index,
                    "form": form,
                    "frames": frames.hex(),
                    "dummies": dummies.hex(),
                    "datagram": session.packet(
                        pn, frames, epoch=epoch, cid_index=cid_index, form=form, dummies=dummies
                    ).hex(),
                }
            )
    return {"about": "docs/spec/wire-format.md and docs/spec/ratchet.md", "cases": cases}


def main() -> int:
    default = Path(__file__).resolve().parent.parent / "vectors" / "wire"
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    for name, content in (("wire_format.json", wire_format()), ("packets.json", packets())):
        (folder / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
