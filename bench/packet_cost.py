"""What one packet costs to seal and to open, and where the time goes. CPU time, best of several.

The parts are measured alone, with the calls that the Python twin makes; what is left is frames,
copies, layout and the loop. ``--hotpath`` chooses the implementation whose totals are shown.

The stream bytes come again and again from one chunk, which the processor's cache holds; with
``--region`` from as many MiB in turn, as those of a file that was read a while ago.

Usage: packet_cost.py [--hotpath python|native] [--datagram 1400] [--region 64]
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from collections.abc import Callable

import monocypher
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from wraith.testing.packets import PacketSession

RUN = 46
SID = 0x40000001


def best(call: Callable[[], object], n: int, repeat: int = 7) -> float:
    """Microseconds of CPU per call."""
    figures = []
    for _ in range(repeat):
        start = time.process_time()
        for _ in range(n):
            call()
        figures.append((time.process_time() - start) / n * 1e6)
    return min(figures)


def totals(
    module: object, session: PacketSession, datagram: int, region_bytes: int = 0
) -> tuple[float, float]:
    """``(seal, open)`` per packet, over runs of one stream whose bytes come from a region."""
    sealer, opener = session.sealer(module), session.opener(module)
    run = min(RUN, 65_000 // datagram)
    chunk_bytes = run * datagram
    region = memoryview(os.urandom(max(region_bytes, chunk_bytes)))
    at = 0
    random = os.urandom(run * 16)
    out, target = bytearray(65_536), bytearray(65_536)
    seals, opens, offset = [], [], 0
    for _ in range(max(300, 2 * region_bytes // chunk_bytes)):
        chunk = region[at : at + chunk_bytes]
        at = at + chunk_bytes if at + 2 * chunk_bytes <= len(region) else 0
        start = time.process_time()
        n_bytes, n, taken, _ = sealer.seal_run(
            epoch=0,
            cid_index=0,
            form=0,
            lead=b"",
            sid=SID,
            offset=offset,
            data=[chunk],
            datagram_bytes=datagram,
            n_max=run,
            random=random,
            out=out,
        )
        middle = time.process_time()
        result = opener.open_run(memoryview(out)[:n_bytes], datagram, target, 0.0)
        end = time.process_time()
        assert result.stream_bytes == taken and result.dropped == 0
        seals.append((middle - start) / n * 1e6)
        opens.append((end - middle) / n * 1e6)
        offset += taken
    return sorted(seals)[len(seals) // 4], sorted(opens)[len(opens) // 4]


def parts(aead: int, datagram: int) -> dict[str, float]:
    """The twin's calls per packet, by part."""
    key, nonce, aad, n = os.urandom(32), bytes(12), bytes(20), 20_000
    text = os.urandom(datagram - 36)
    hasher = blake3(key=key)

    def ratchet() -> None:
        blake3(b"\x04\0\0\0\0", key=key).digest()
        blake3(b"\x03", key=key).digest()

    def mask() -> None:
        hasher.reset()
        hasher.update(text[-16:])
        hasher.digest(13)

    def cipher() -> AESGCM | ChaCha20Poly1305:
        if aead == 2:
            return AESGCM(key)
        return ChaCha20Poly1305(monocypher.chacha20_h(key, bytes(16)))

    sealed = cipher().encrypt(nonce, text, aad)
    return {
        "ratchet": best(ratchet, n),
        "mask": best(mask, n),
        "AEAD seal": best(lambda: cipher().encrypt(nonce, text, aad), n),
        "AEAD open": best(lambda: cipher().decrypt(nonce, sealed, aad), n),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--hotpath", choices=["python", "native"], default="python")
    parser.add_argument("--datagram", type=int, default=1400)
    parser.add_argument(
        "--region", type=int, default=0, metavar="MIB", help="stream bytes from so many MiB"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args()
    names = {"python": "wraith.hotpath._python", "native": "wraith_native"}
    module = importlib.import_module(names[options.hotpath])
    report: dict[str, dict[str, float]] = {}
    for suite, aead in (("A", 1), ("B", 2)):
        session = PacketSession(aead, b"\x42" * 32)
        seal, open_ = totals(module, session, options.datagram, options.region << 20)
        rows = {"seal": seal, "open": open_}
        if options.hotpath == "python":
            rows |= parts(aead, options.datagram)
            shared = rows["ratchet"] + rows["mask"]
            rows["rest of seal"] = seal - shared - rows["AEAD seal"]
            rows["rest of open"] = open_ - shared - rows["AEAD open"]
        report[suite] = {name: round(value, 2) for name, value in rows.items()}
    if options.json:
        print(json.dumps({"hotpath": options.hotpath, "us_per_packet": report}))
    else:
        print(f"{options.hotpath}, {options.datagram}-byte datagrams, microseconds per packet")
        for name in report["A"]:
            print(f"  {name:14}  A {report['A'][name]:6.2f}   B {report['B'][name]:6.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
