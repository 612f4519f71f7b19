"""BLAKE3 (three modes, extended output) and Bao (its root hash only)."""

from __future__ import annotations

from blake3 import blake3 as _library

from wraith.crypto.kdf import blake3, keyed_hash
from wraith.testing.vectors.report import ORACLE, CaseSkipped, Fields, Report, equal

_BAO = "Bao encodings, which the product does not make yet"


def recognises(data: object) -> bool:
    return isinstance(data, dict) and {"cases", "context_string", "key"} <= data.keys()


def run(data: object, report: Report) -> None:
    top = Fields(data)
    key, context = top.text("key").encode(), top.text("context_string")
    for case in top.objects("cases"):
        n = case.number("input_len")
        name = f"input_len {n}"
        message = (bytes(range(251)) * (n // 251 + 1))[:n]
        report.run(f"{name} hash", lambda c=case, m=message: _hash(c, m))  # type: ignore[misc]
        report.run(f"{name} keyed", lambda c=case, m=message: _keyed(c, key, m))  # type: ignore[misc]
        report.run(f"{name} derive", lambda c=case, m=message: _derive(c, context, m))  # type: ignore[misc]


def _hash(case: Fields, message: bytes) -> None:
    want = case.hex("hash")
    equal("hash", blake3(message, len(want)), want)
    equal("hash of 32", blake3(message), want[:32])


def _keyed(case: Fields, key: bytes, message: bytes) -> None:
    want = case.hex("keyed_hash")
    equal("keyed hash", keyed_hash(key, message, len(want)), want)
    equal("keyed hash of 32", keyed_hash(key, message), want[:32])


def _derive(case: Fields, context: str, message: bytes) -> None:
    # The product derives only under its own labels, so the file's context meets the library alone.
    want = case.hex("derive_key")
    got = _library(message, derive_key_context=context).digest(length=len(want))
    equal("library", got, want)
    raise CaseSkipped(ORACLE)


def recognises_bao(data: object) -> bool:
    return isinstance(data, dict) and {"hash", "encode", "outboard", "slice"} <= data.keys()


def run_bao(data: object, report: Report) -> None:
    top = Fields(data)
    for case in top.objects("hash"):
        n = case.number("input_len")
        report.run(f"hash {n}", lambda c=case, m=n: _bao_hash(c, m))  # type: ignore[misc]
    for name in ("encode", "outboard", "seek", "slice"):
        report.skipped[_BAO] += sum(1 for _ in top.objects(name))


def _bao_hash(case: Fields, n: int) -> None:
    words = (i.to_bytes(4, "little") for i in range(1, n // 4 + 2))
    equal("hash", blake3(b"".join(words)[:n]), case.hex("bao_hash"))
