"""How much the native part brings, out of ``bench/results``, in one line.

    python tools/native_gain.py [--write]

``make setup`` prints it and the README holds it; ``--write`` renews it there after a measurement.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
RESULTS = ROOT / "bench" / "results"
LINE = re.compile(r"The native part makes one stream about \d+ times as fast[^.]*\.")


def line(results: Path = RESULTS) -> str | None:
    """The sentence; ``None`` where there are no results."""
    try:
        streams = _data(results, "throughput")["1400"]
        stream = _ratio(streams, "wraith A", "mb_per_s")
        [disk] = [each for title, each in _data(results, "files").items() if _is_one_file(title)]
        file = 1 / _ratio(disk, "wraith B", "seconds")
    except (OSError, KeyError, ValueError):
        return None
    return (
        f"The native part makes one stream about {stream:.0f} times as fast, "
        f"and a file of 1 GiB about {file:.0f} times."
    )


def _data(results: Path, name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((results / f"{name}.json").read_text("utf-8"))["data"]
    return data


def _is_one_file(title: str) -> bool:
    return title.startswith("One file") and "disk" in title


def _ratio(parties: dict[str, Any], name: str, figure: str) -> float:
    """Native to pure: both medians of the same run."""
    return float(parties[name][figure]) / float(parties[f"{name} (pure Python)"][figure])


def main() -> int:
    sentence = line()
    if sentence is None:
        print("bench/results has no figures for it: make bench ONLY=throughput,files")
        return 1
    if sys.argv[1:] == ["--write"]:
        text = README.read_text("utf-8")
        README.write_text(LINE.sub(sentence, text), "utf-8")
    print(sentence)
    return 0


if __name__ == "__main__":
    sys.exit(main())
