"""Writes this protocol's own test vectors into ``vectors/wraith``.

Inputs are fixed or drawn from one fixed seed, so that a second run changes nothing unless the
protocol did. The outputs are the product's own; ``tests/vectors/test_own_vectors.py`` recomputes
them from the specification without importing the product.

Run: ``python tools/generate_vectors.py [--check]``
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from wraith.testing.rng import SeededRng
from wraith.testing.vectors import own

FOLDER = Path(__file__).parents[1] / "vectors" / "wraith"


def _drawn(label: str, n: int = 32) -> str:
    return SeededRng(f"wraith vectors: {label}").secret_bytes(n).hex()


def _cases() -> dict[str, list[dict[str, object]]]:
    prologue = b"WRAITHv2\x02".hex()
    return {
        "combiner": [
            {
                "c_ss": c_ss,
                "pq_ss": pq_ss,
                "c_pk": _drawn(f"c_pk {i}"),
                "pq_pk": _drawn(f"pq_pk {i}", 1184),
                "c_ct": _drawn(f"c_ct {i}"),
                "pq_ct": _drawn(f"pq_ct {i}", 1088),
                "info": info,
            }
            for i, (c_ss, pq_ss, info) in enumerate(
                (
                    ("11" * 32, "22" * 32, ""),
                    ("22" * 32, "11" * 32, b"group 1".hex()),
                    (_drawn("c_ss"), _drawn("pq_ss"), _drawn("info", 300)),
                )
            )
        ],
        "key-schedule": [
            {
                **inputs,
                "s": _drawn(f"s {i}"),
                "init": _drawn(f"init {i}", 1222),
                "resp": _drawn(f"resp {i}", 1126),
                "sample": "000102030405060708090a0b0c0d0e0f",
                "export_label": "example",
            }
            for i, inputs in enumerate(
                (
                    {"session_secret": "42" * 32},
                    {"session_secret": "00" * 32},
                    {"session_secret": bytes(range(32)).hex()},
                    {"ck": _drawn("ck"), "h": _drawn("h")},
                )
            )
        ],
        "ratchet": [
            {"root": "33" * 32, "epoch": 0, "sender": "i"},
            {"root": "33" * 32, "epoch": 0, "sender": "r"},
            {"root": _drawn("root"), "epoch": 7, "sender": "i"},
            {"root": _drawn("root"), "epoch": 2**32 - 1, "sender": "r"},
        ],
        "siv": [
            {"k_mac": _drawn("k_mac"), "k_enc": _drawn("k_enc"), "plaintext": _drawn("pt", n)}
            for n in (0, 1, 63, 64, 65, 1128)
        ],
        "veil": [
            {
                "ak": _drawn(f"ak {i}"),
                "e_seed": _drawn(f"e {i}"),
                "access_psk": psk,
                "plaintext": _drawn(f"hello {i}", 600),
            }
            for i, psk in enumerate(("", _drawn("access psk")))
        ],
        "link": [
            {
                "ak": _drawn(f"link ak {i}"),
                "e_seed": _drawn(f"link e {i}"),
                "access_psk": psk,
                "carrier": carrier,
                "timestamp": timestamp,
                "packet_bytes": "1200 33 16384 1400 1400 40",
            }
            for i, (psk, carrier, timestamp) in enumerate(
                (
                    ("", 1, 1_800_000_000),
                    (_drawn("access psk"), 1, 0),
                    (_drawn("access psk"), 2, 2**32),
                    ("", 3, 2**63),
                )
            )
        ],
        "ident": [
            {
                "seed": _drawn("identity"),
                "static_public": _drawn("static"),
                "not_after": 1_800_000_000,
            }
        ],
        "ticket": [
            {
                "resumption": _drawn(f"resumption {i}"),
                "id": _drawn(f"ticket id {i}", 16),
                "kid": _drawn(f"kid {i}", 4),
                "stek": _drawn(f"stek {i}"),
                "suite": suite,
                "issued": 1_800_000_000 + i,
                "expires": 1_800_086_400 + i,
                "full": 1_799_900_000,
                "not_after": 2**63,
                "peer": _drawn(f"peer {i}"),
                "extensions": extensions,
            }
            for i, (suite, extensions) in enumerate(
                (
                    ("A", "000100000005000000100002ffff0014000101"),
                    ("B", "0001000000050000"),
                    ("D", "00050000"),
                )
            )
        ],
        "handshake": [
            {
                "suite": suite,
                "prologue": prologue + code + _drawn("AK"),
                "s_i": _drawn(f"s_i {i}"),
                "s_r": _drawn(f"s_r {i}"),
                "e_i_seed": _drawn(f"e_i {i}"),
                "e_r_seed": _drawn(f"e_r {i}"),
                "kem_seed": _drawn(f"kem {i}", 64),
                "kem_m": _drawn(f"m {i}"),
                "psk": psk,
                "payloads": [_drawn(f"payload {i} {j}", n) for j, n in enumerate(sizes)],
            }
            for i, (suite, code, psk, sizes) in enumerate(
                (
                    ("A", "01", "", (40, 148, 165)),
                    ("B", "02", "", (40, 148, 165)),
                    ("D", "04", "", (0, 1, 0)),
                    ("A", "01", _drawn("resume psk"), (94, 41)),
                    ("B", "02", _drawn("resume psk"), (94, 41)),
                )
            )
        ],
        "control-message": _control_messages(),
    }


def _control_messages() -> list[dict[str, object]]:
    digest = _drawn("listing digest")
    offer = {"message": "OFFER", "entries": 7, "files": 4, "pages": 2, "listing_bytes": 70_000}
    offer |= {"digest": digest, "total_unknown": False}
    receipt = {"message": "RECEIPT", "digest": digest, "files": 4, "failed": 1}
    ranges = ["0+3", "5+1", "4294967000+296"]
    return [
        {**offer, "kind": 0, "total": 2**40, "name": b"photos, notes.txt".hex()},
        {**offer, "kind": 1, "total_unknown": True, "name": b"stdin".hex()},
        {**offer, "kind": 2, "total": 0, "name": ""},
        {"message": "PAGE", "data": _drawn("page", 100)},
        {"message": "DROP", "entries": ["0", "70000", "999999"]},
        {"message": "START"},
        {"message": "FAILED", "entry": 70_000, "reason": 6},
        {"message": "END", "entry": 0, "size": 2**40 + 1},
        {"message": "ALL_SENT", "failed": 3},
        {"message": "RECEIPT_OK"},
        {"message": "ANSWER", "accepted": True, "reason": 0},
        {"message": "ANSWER", "accepted": False, "reason": 11},
        {"message": "HAVE", "entry": 5, "ranges": ranges, "digest": digest, "twice": False},
        {"message": "HAVE", "entry": 5, "ranges": ["1+1"], "digest": digest, "twice": True},
        {"message": "HAVE_END"},
        {"message": "SKIP", "ranges": ranges},
        {"message": "PROGRESS", "verified": 2**33, "finished": 2, "consumed": 2**34},
        {**receipt, "bytes": 2**40, "unread": 0},
        {**receipt, "bytes": 2**40, "unread": 2**33 + 5},
        {"message": "ABORT", "reason": 5, "text": "kein Platz für alles"},
    ]


def _text(kind: str, cases: list[dict[str, object]]) -> str:
    done = [{**case, "out": own.outputs(kind, case)} for case in cases]
    return json.dumps({"wraith_vectors": kind, "cases": done}, indent=1) + "\n"


def main(arguments: list[str]) -> int:
    differing = []
    FOLDER.mkdir(parents=True, exist_ok=True)
    for kind, cases in _cases().items():
        path = FOLDER / f"{kind.replace('-', '_')}.json"
        text = _text(kind, cases)
        if "--check" in arguments:
            if not path.exists() or path.read_text() != text:
                differing.append(path.name)
        else:
            path.write_text(text)
    if differing:
        print(f"differ from what the code computes: {', '.join(differing)}")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
