"""What starting costs: processor time of whole commands and of imports, beside what they stand on.

    python bench/startup.py [--quick] [--runs N]

Each command is a process of its own, its byte code ready; the processes take turns, and every round
begins with the next one. Counted is the processor time of the whole process, user and system, from
its start to its end. ``wraith send`` is killed when it has printed the line with the code; the home
and its identity are there before, the code is new each time.

Bounds are ratios in one run: `--help` to an interpreter that does nothing, the rest to the imports
that no such program can do without. The names of the library load what is behind them when they are
used; a row without a bound says what that costs.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from harness import PeerFailed, rounded, spread
from report import Report

RUNS = 25
NOTHING = "python -c pass"
NEEDED = "import asyncio, click, cryptography.hazmat.primitives.ciphers.aead, blake3"


@dataclass(frozen=True)
class Start:
    """One line of the table. ``is_ready``: the text on stdout after which it is killed; a command
    without one ends by itself. ``at_most``: its bound, as a ratio to ``beside``."""

    name: str
    command: tuple[str, ...]
    is_ready: str = ""
    beside: str = ""
    at_most: float = 0.0


def program(code: str) -> tuple[str, ...]:
    return sys.executable, "-c", code


def starts(source: Path) -> list[Start]:
    """What is measured; ``source`` is a file to send."""
    wraith = (sys.executable, "-m", "wraith")
    send = (*wraith, "send", "--new-code", str(source))
    use = "import wraith; wraith.connect; wraith.send"
    machine = f"{use}; wraith.Session; wraith.Sending"
    return [
        Start(NOTHING, program("pass")),
        Start("import asyncio", program("import asyncio")),
        Start(NEEDED, program(NEEDED)),
        Start("import aioquic.asyncio", program("import aioquic.asyncio")),
        Start("import wraith", program("import wraith")),
        Start(use, program(use), beside=NEEDED, at_most=1.6),
        Start(machine, program(machine)),
        Start("wraith --help", (*wraith, "--help"), beside=NOTHING, at_most=3.5),
        Start("wraith send FILE, to the code", send, "wraith receive wr1", NEEDED, 2.0),
    ]


def cpu_ms(start: Start, environment: dict[str, str]) -> float:
    """Processor time of one run, in milliseconds.

    Raises:
        PeerFailed: it ended badly, or without the text that it should print.
    """
    process = subprocess.Popen(
        start.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None and process.stderr is not None
    with process.stdout, process.stderr:
        if start.is_ready:
            is_right = start.is_ready in process.stdout.readline()
            os.kill(process.pid, signal.SIGKILL)  # Popen.kill would take its account away
        else:
            process.stdout.read()
            is_right = True
        words = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if not is_right or (process.returncode != 0 and not start.is_ready):
        raise PeerFailed(f"{start.name}: exit {process.returncode}: {words.strip()[-300:]}")
    return (used.ru_utime + used.ru_stime) * 1000


def turns(
    parties: Sequence[Start], n: int, environment: dict[str, str], left_out: list[str]
) -> dict[str, list[float]]:
    """``n`` runs of each, in rounds that begin with the next one each time; before them one that
    is not counted. What fails is left out."""
    present = []
    for party in parties:
        try:
            cpu_ms(party, environment)
            present.append(party)
        except PeerFailed as error:
            left_out.append(str(error))
    runs: dict[str, list[float]] = {party.name: [] for party in present}
    for number in range(n):
        first = number % len(present)
        for party in (*present[first:], *present[:first]):
            runs[party.name].append(cpu_ms(party, environment))
    return runs


def run(*, quick: bool, n: int | None = None) -> Report:
    n = n if n is not None else 3 if quick else RUNS
    report = Report(
        "startup",
        "Start-up",
        f"Processor time of whole processes, {n} runs of each in turn, every round begun by the "
        "next one. Byte code is ready. `wraith send` is counted until it has printed its code.",
    )
    with tempfile.TemporaryDirectory(prefix="wraith-bench-") as folder:
        source = Path(folder) / "notes.txt"
        source.write_text("a line\n", "utf-8")
        environment = {**os.environ, "WRAITH_HOME": str(Path(folder) / "home")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program has its byte code
        subprocess.run(
            [sys.executable, "-m", "wraith", "id"], env=environment, check=True, capture_output=True
        )
        parties = starts(source)
        runs = turns(parties, n, environment, report.left_out)
    middle = {name: statistics.median(each) for name, each in runs.items()}
    report.add(
        f"Processor time, n = {n}",
        ("", "ms", "lowest–highest", f"× `{NOTHING}`", "× what it needs"),
        [
            (
                f"`{name}`",
                middle[name],
                spread(runs[name]),
                middle[name] / middle[NOTHING],
                middle[name] / middle[NEEDED],
            )
            for name in runs
        ],
    )
    report.data = {"median_ms": middle, "runs_ms": rounded(runs)}
    for party in parties:
        if party.beside and party.name in middle:
            what = f"`{party.name}` beside `{party.beside}`"
            ratio = middle[party.name] / middle[party.beside]
            report.need(what, ratio, party.at_most, "×", at_most=True)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description="What starting costs")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--runs", type=int, help="of each command")
    arguments = parser.parse_args()
    print(run(quick=arguments.quick, n=arguments.runs).text())


if __name__ == "__main__":
    main()
