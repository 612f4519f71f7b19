"""Recognising files, running them, printing, exit status.

Exit status: 0 all is well; 1 a case failed; 2 a named file is unknown, malformed or has no case
that passed, or a folder holds a malformed file or no case at all that passed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wraith.testing.vectors import (
    blake3,
    elligator2,
    hpke,
    mlkem,
    mls,
    mls_passive,
    noise,
    own,
    wycheproof,
    xwing,
)
from wraith.testing.vectors.report import Malformed, Report

FAILURES_SHOWN = 10

#: In this order: the first whose content fits takes the file.
_JSON_FAMILIES: tuple[tuple[Callable[[object], bool], Callable[[object, Report], None]], ...] = (
    (mlkem.recognises_acvp, mlkem.run_acvp),
    (mlkem.recognises_wycheproof, mlkem.run_wycheproof),
    (mlkem.recognises_cctv_accumulated, mlkem.run_cctv_accumulated),
    (wycheproof.recognises, wycheproof.run),
    (noise.recognises_xxhfs, noise.run_xxhfs),
    (noise.recognises, noise.run),
    (elligator2.recognises_monocypher, elligator2.run_monocypher),
    (elligator2.recognises_kleshni, elligator2.run_kleshni),
    (elligator2.recognises_rfc9380, elligator2.run_rfc9380),
    (blake3.recognises, blake3.run),
    (blake3.recognises_bao, blake3.run_bao),
    (xwing.recognises, xwing.run),
    (own.recognises, own.run),
    (hpke.recognises, hpke.run),
    (mls_passive.recognises_treekem, mls_passive.run_treekem),
    (mls_passive.recognises_passive, mls_passive.run_passive),
    *mls.FAMILIES,
)
_TEXT_FAMILIES: tuple[tuple[Callable[[str], bool], Callable[[str, Report], None]], ...] = (
    (mlkem.recognises_cctv_modulus, mlkem.run_cctv_modulus),
    (mlkem.recognises_cctv_text, mlkem.run_cctv_text),
)


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What became of one file: a report, or what is wrong with the file."""

    path: Path
    report: Report | None = None
    unknown: bool = False
    malformed: str = ""

    def __str__(self) -> str:
        if self.report is not None:
            return f"{self.path}: {self.report}"
        return f"{self.path}: " + (
            "unknown format, nothing was run" if self.unknown else f"malformed: {self.malformed}"
        )


def run_file(path: Path) -> FileOutcome:
    """Run every case of one file. Never raises for what the file contains."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        return FileOutcome(path, malformed=error.strerror or str(error))
    report = Report()
    try:
        known = _run(mlkem.gunzip(raw) if raw[:2] == b"\x1f\x8b" else raw, path, report)
    except Malformed as error:
        return FileOutcome(path, malformed=str(error))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        # Outside a case: the structure around the cases is not what the family has.
        return FileOutcome(path, malformed=f"{type(error).__name__}: {error}")
    return FileOutcome(path, report) if known else FileOutcome(path, unknown=True)


def _run(raw: bytes, path: Path, report: Report) -> bool:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        if path.suffix == ".json":
            raise Malformed("not UTF-8") from None
        return False
    if text.lstrip()[:1] in ("{", "[") or path.suffix == ".json":
        try:
            data: object = json.loads(text)
        except (ValueError, RecursionError) as error:
            if path.suffix == ".json" or text.lstrip()[:1] == "{":
                raise Malformed(f"not JSON: {error}") from None
            return False
        for recognises, run in _JSON_FAMILIES:
            if recognises(data):
                run(data, report)
                return True
        return False
    for recognises_text, run_text in _TEXT_FAMILIES:
        if recognises_text(text):
            run_text(text, report)
            return True
    return False


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def main(arguments: Sequence[str]) -> int:
    """The command. Returns the exit status."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: python -m wraith.testing.vectors PATH...   (files or folders)")
        return 0 if arguments else 2
    failed = unusable = False
    n_files = n_passed = n_failed = n_skipped = 0
    for argument in arguments:
        path = Path(argument)
        in_folder = path.is_dir()
        for file in _files(path) if in_folder else (path,):
            outcome = run_file(file)
            print(outcome, flush=True)
            report = outcome.report
            if report is None:
                unusable |= not (in_folder and outcome.unknown)
                continue
            for failure in report.failures[:FAILURES_SHOWN]:
                print(f"    {failure}")
            if len(report.failures) > FAILURES_SHOWN:
                print(f"    and {len(report.failures) - FAILURES_SHOWN} more")
            failed |= bool(report.failures)
            n_files += 1
            n_passed += report.passed
            n_failed += len(report.failures)
            n_skipped += report.n_skipped
            if not in_folder and not report.passed and not report.failures:
                print("    no case of this file can be passed", file=sys.stderr)
                unusable = True
    if n_files > 1:
        print(f"{n_files} files: {n_passed} passed, {n_failed} failed, {n_skipped} skipped")
    if failed:
        return 1
    return 2 if unusable or not n_passed else 0
