"""What a handshake costs: time, CPU of both sides, bytes, and how many a responder can answer.

    python bench/handshake.py [--quick]

Two processes over loopback, one handshake after the other, each timed from the call until the
session is usable (for WRAITH: until the responder's keys are confirmed). WRAITH's is the hybrid
one of suites A and B, in full and by ticket; aioquic's and quinn's are classical. Budgets against
strangers are raised in the responder, because one address makes all of the handshakes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import regression
from harness import BUILT, PEERS, PeerFailed, cpu_of, finished, percentile, rounded, started
from report import Report

from wraith.crypto.mlkem import MlKem768
from wraith.testing.endpoints import linked, watch
from wraith.testing.netem import LinkConfig

ROUNDS = 5


@dataclass(frozen=True)
class Party:
    """One line of the table: how to start the responder and how to dial it."""

    name: str
    serve: tuple[str, ...]
    connect: tuple[str, ...]
    tail: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figure:
    ms: list[float]
    responder_cpu_ms: float
    initiator_cpu_ms: float | None


def parties() -> list[Party]:
    ours = (sys.executable, str(PEERS / "wraith_connect.py"))
    aioquic = (sys.executable, str(PEERS / "aioquic_connect.py"))
    quinn = str(BUILT / "quinn-bulk")
    found = [Party(f"wraith {s}", (*ours, "serve", s), (*ours, "connect"), (s,)) for s in "AB"]
    for s in "AB":
        resuming = (*ours, "resume")
        found.append(Party(f"wraith {s}, by ticket", (*ours, "serve", s), resuming, (s,)))
    found.append(Party("aioquic (classical)", (*aioquic, "serve"), (*aioquic, "connect")))
    found.append(Party("quinn (classical)", (quinn, "recv"), (quinn, "connect")))
    return found


def measure(party: Party, n: int) -> Figure:
    """``n`` handshakes in a row after ten that warm up.

    Raises:
        PeerFailed: either side ended badly.
    """
    with started(party.serve) as responder:
        port = str(responder.line()["port"])
        finished([*party.connect, port, "10", *party.tail])
        before = cpu_of(responder.pid)
        dialled = finished([*party.connect, port, str(n), *party.tail])
        cpu = cpu_of(responder.pid) - before
    if dialled.get("n_resumed", n) != n and "resume" in party.connect:
        raise PeerFailed(f"{party.name}: only {dialled['n_resumed']} of {n} were by ticket")
    own = dialled.get("cpu_s")
    return Figure(dialled["ms"], cpu / n * 1000, own / n * 1000 if own is not None else None)


def cpu_of_both(figure: Figure) -> float:
    """Milliseconds for one handshake, the initiator's and the responder's together."""
    return figure.responder_cpu_ms + (figure.initiator_cpu_ms or 0.0)


def joined(rounds: list[Figure]) -> Figure:
    """All times, and the middle of each round's CPU."""
    own = [each.initiator_cpu_ms for each in rounds if each.initiator_cpu_ms is not None]
    return Figure(
        [ms for each in rounds for ms in each.ms],
        statistics.median(each.responder_cpu_ms for each in rounds),
        statistics.median(own) if own else None,
    )


def flights(n: int) -> list[tuple[list[int], list[int]]]:
    """Sizes of the datagrams of ``n`` handshakes: the first flight, the answer to it."""
    seen = []
    for seed in range(1, n + 1):
        pair = linked(seed=seed, link=LinkConfig(latency_s=0.05), kem=MlKem768())
        out, back = watch(pair.a_to_b), watch(pair.b_to_a)
        pair.dial()
        pair.run(seconds=0.099)  # hello at 0, answer at 50 ms; FINISH only after 100 ms
        seen.append(([len(d) for d in out], [len(d) for d in back]))
    return seen


def run(*, quick: bool) -> Report:
    n, n_rounds = (20, 1) if quick else (500, ROUNDS)
    report = Report(
        "handshake",
        "Handshake",
        f"{n} handshakes over loopback, one after the other, in {n_rounds} rounds that alternate, "
        "two processes; CPU is the middle of the rounds. WRAITH with X25519+ML-KEM-768, the others "
        "with X25519. The responder's budgets against strangers are raised for this.",
    )
    ready: list[Party] = []
    for party in parties():
        if not Path(party.serve[0]).exists():
            report.left_out.append(f"{party.name}: not built")
            continue
        ready.append(party)
    # In turns: one that was measured alone would be judged by what else the machine did just then.
    rounds: dict[str, list[Figure]] = {}
    for _ in range(n_rounds):
        for party in list(ready):
            try:
                rounds.setdefault(party.name, []).append(measure(party, n // n_rounds))
            except PeerFailed as error:
                report.left_out.append(f"{party.name}: {error}")
                ready.remove(party)
    figures = {name: joined(each) for name, each in rounds.items() if each}
    rows = []
    for name, figure in figures.items():
        middle = statistics.median(figure.ms)
        rows.append(
            (
                name,
                middle,
                percentile(figure.ms, 0.95),
                figure.initiator_cpu_ms,
                figure.responder_cpu_ms,
                round(1000 / figure.responder_cpu_ms) if figure.responder_cpu_ms else None,
            )
        )
        report.data[name] = {
            "median_ms": middle,
            "p95_ms": percentile(figure.ms, 0.95),
            "medians_of_rounds_ms": [round(statistics.median(r.ms), 3) for r in rounds[name]],
            **rounded({"all_ms": figure.ms}),
            "responder_cpu_ms": figure.responder_cpu_ms,
            "initiator_cpu_ms": figure.initiator_cpu_ms,
        }
    headers = (
        "",
        "median ms",
        "p95 ms",
        "CPU ms, initiator",
        "CPU ms, responder",
        "per s and core",
    )
    report.add("Time and CPU", headers, rows)
    sizes(report, 5 if quick else 50)
    needs(report, figures)
    return report


def sizes(report: Report, n: int) -> None:
    seen = flights(n)
    hello = [sum(out) for out, _ in seen]
    answer = [sum(back) for _, back in seen]
    longest = max(max(out + back) for out, back in seen)
    factors = [b / a for a, b in zip(hello, answer, strict=True)]
    report.add(
        f"Bytes of UDP payload over {n} handshakes on the simulated link",
        ("", "fewest", "median", "most"),
        [
            ("first flight", min(hello), int(statistics.median(hello)), max(hello)),
            ("answer", min(answer), int(statistics.median(answer)), max(answer)),
            ("answer / first flight", min(factors), statistics.median(factors), max(factors)),
        ],
    )
    report.need("longest datagram of both flights", longest, 1200, "B", at_most=True)
    report.need("answer to first flight, at most", max(factors), 3, "×", at_most=True)
    report.need("answers seen", sum(1 for _, back in seen if back), n)


def needs(report: Report, figures: dict[str, Figure]) -> None:
    ours, quinn = figures.get("wraith B"), figures.get("quinn (classical)")
    if ours is not None and quinn is not None:
        ratio = statistics.median(ours.ms) / statistics.median(quinn.ms)
        regression.need(report, regression.HANDSHAKE, ratio)
    for suite in "AB":
        ours, resumed = figures.get(f"wraith {suite}"), figures.get(f"wraith {suite}, by ticket")
        if ours is None:
            continue
        if resumed is not None:
            full_ms, resumed_ms = cpu_of_both(ours), cpu_of_both(resumed)
            what = f"suite {suite}, CPU of both sides by ticket, to a full handshake"
            report.need(what, resumed_ms / full_ms, 0.8, "×", at_most=True)
        middle = statistics.median(ours.ms)
        report.need(f"suite {suite}, median", middle, 40, "ms", at_most=True)
        other = figures.get("aioquic (classical)")
        if other is not None:
            classical = statistics.median(other.ms)
            report.need(
                f"suite {suite}, median to aioquic's classical one",
                middle,
                classical,
                "ms",
                at_most=True,
            )
            what = f"suite {suite}, handshakes per second and core of the responder, to aioquic's"
            report.need(what, other.responder_cpu_ms / ours.responder_cpu_ms, 1.0, "×")


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of a handshake")
    parser.add_argument("--quick", action="store_true")
    print(run(quick=parser.parse_args().quick).text())


if __name__ == "__main__":
    main()
