"""The main job, shown: a real file and a real folder cross between two separate processes, and a
file goes on over TCP when its network blocks UDP.

``transfer_between_processes`` is also the heart of the end-to-end tests: two homes, two commands,
a UDP relay between them that shapes the link and counts what a network would see, ``--json`` read
line by line with a deadline on every wait, and the trees compared at the end.

Run by hand: ``python -m wraith.testing.demo [--rate MBIT] [--loss PERCENT] [--suite A|B|D]``.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import queue
import random
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from wraith.testing.netem import LinkConfig
from wraith.testing.relay import UdpRelay
from wraith.transfer.code import decode_code, encode_code
from wraith.types import Address

EVENT_DEADLINE_S = 60.0
FILE_MIB = 64
SWITCH_MIB = 16
LOOPBACK = bytes([127, 0, 0, 1])


class DemoFailed(Exception):
    """What was expected did not happen; the message holds both processes' words."""


class Command:
    """One ``wraith`` process whose NDJSON events are read as they come.

    Args:
        home: its ``WRAITH_HOME``.
        stdin: what it reads there; nothing when ``None``. ``keep_stdin`` leaves it open.
        prelude: Python that runs in the process before the command does, to break something at an
            exact place.
        under: a program and its options that runs it, ``strace`` for one.
        program: another installed ``wraith`` than that of this interpreter.
    """

    def __init__(
        self,
        arguments: list[str],
        *,
        home: Path,
        stdin: str | bytes | None = None,
        keep_stdin: bool = False,
        environment: dict[str, str] | None = None,
        prelude: str = "",
        under: Sequence[str] = (),
        program: Sequence[str] = (),
    ) -> None:
        self.arguments = arguments
        self.events: list[dict[str, object]] = []
        self.stderr_path = home / f"stderr-{time.monotonic_ns()}.txt"
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._stderr = self.stderr_path.open("wb")
        self._queue: queue.Queue[dict[str, object] | None] = queue.Queue()
        if prelude:
            code = f"{prelude}\nfrom wraith.cli.main import main\nmain()"
            program = [sys.executable, "-c", code]
        self.process = subprocess.Popen(
            [*under, *(program or [sys.executable, "-m", "wraith"]), *arguments],
            env={**os.environ, "WRAITH_HOME": str(home), **(environment or {})},
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
        )
        if stdin is not None:
            self.feed(stdin, end=not keep_stdin)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def feed(self, data: str | bytes, *, end: bool = False) -> None:
        """Writes to its stdin, in a thread: a process reads when it wants to."""
        raw = data.encode() if isinstance(data, str) else data
        threading.Thread(target=self._feed, args=(raw, end), daemon=True).start()

    def _feed(self, data: bytes, end: bool) -> None:
        stdin = self.process.stdin
        assert stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it has ended meanwhile
            stdin.write(data)
            stdin.flush()
            if end:
                stdin.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                event = {"event": "text", "line": line.decode(errors="replace")}
            self.events.append(event)
            self._queue.put(event)
        self._queue.put(None)

    def wait_event(self, *names: str, deadline_s: float = EVENT_DEADLINE_S) -> dict[str, object]:
        """The next event with one of ``names``; others pass by.

        Raises:
            DemoFailed: none came in time, or the process ended first.
        """
        until = time.monotonic() + deadline_s
        while True:
            try:
                event = self._queue.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                raise DemoFailed(f"no {names} within {deadline_s} s\n{self.story()}") from None
            if event is None:
                raise DemoFailed(f"ended before {names}\n{self.story()}")
            if event["event"] in names:
                return event

    def wait_exit(self, *, deadline_s: float = EVENT_DEADLINE_S) -> int:
        """The exit code."""
        try:
            code = self.process.wait(timeout=deadline_s)
        except subprocess.TimeoutExpired:
            raise DemoFailed(f"still running after {deadline_s} s\n{self.story()}") from None
        self._reader.join(timeout=5)
        return code

    def last(self, name: str) -> dict[str, object]:
        """The newest event called ``name`` so far. Raises ``DemoFailed`` if there was none."""
        for event in reversed(self.events):
            if event["event"] == name:
                return event
        raise DemoFailed(f"no {name} so far\n{self.story()}")

    def stderr(self) -> str:
        return self.stderr_path.read_text(errors="replace")

    def story(self) -> str:
        """What this process said, for a failure message. Codes are left out."""
        shown = [
            {k: v for k, v in e.items() if k != "code" or e["event"] == "error"}
            for e in self.events
        ]
        lines = [json.dumps(event) for event in shown[-12:]]
        return "\n".join([f"$ wraith {self.arguments[0]} …", *lines, self.stderr()[-2000:]])

    def kill(self) -> None:
        """As ``kill -9`` does it."""
        self.process.kill()
        self.process.wait()
        self._reader.join(timeout=5)

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()
        if self.process.stdin is not None and not self.process.stdin.closed:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._stderr.close()

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(slots=True)
class DemoReport:
    """What one transfer showed."""

    connected: dict[str, object] = field(default_factory=dict)
    offer: dict[str, object] = field(default_factory=dict)
    done: dict[str, object] = field(default_factory=dict)
    datagrams_to_sender: int = 0
    datagrams_to_receiver: int = 0
    bytes_on_wire: int = 0
    first_sizes: tuple[list[int], list[int]] = ([], [])
    hello_sizes: list[int] = field(default_factory=list)
    response_sizes: list[int] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)


def through_relay(code: str, relay: UdpRelay) -> str:
    """The same code with the relay's address in place of the sender's."""
    host, port = relay.address
    address = Address(socket.inet_aton(host), port)
    return encode_code(replace(decode_code(code), addresses=(address,)))


def sender_port(waiting: dict[str, object]) -> int:
    """The UDP port in the addresses of a ``waiting`` event."""
    addresses = waiting["addresses"]
    assert isinstance(addresses, list)
    return int(str(addresses[0]).rsplit(":", 1)[1])


def transfer_between_processes(
    sources: list[Path],
    work: Path,
    *,
    link: LinkConfig | None = None,
    suite: str | None = None,
    send_options: tuple[str, ...] = (),
    receive_options: tuple[str, ...] = (),
    seed: int = 1,
) -> DemoReport:
    """Sends ``sources`` from one process to another through a relay and compares what arrived.

    ``work`` holds both homes and the destination ``work/out``.

    Raises:
        DemoFailed: anything but a complete transfer on both sides.
    """
    out = work / "out"
    out.mkdir(parents=True, exist_ok=True)
    options = ["--suite", suite] if suite else []
    report = DemoReport()
    send = [
        "send",
        "--json",
        "--listen",
        "127.0.0.1:0",
        *options,
        *send_options,
        *map(str, sources),
    ]
    with Command(send, home=work / "home-sender") as sender:
        waiting = sender.wait_event("waiting")
        code = str(waiting["code"])
        with UdpRelay(("127.0.0.1", sender_port(waiting)), link=link, seed=seed) as relay:
            receive = [
                "receive",
                "--json",
                "--yes",
                "--out",
                str(out),
                *options,
                *receive_options,
                "-",
            ]
            with Command(
                receive, home=work / "home-receiver", stdin=through_relay(code, relay)
            ) as receiver:
                report.connected = receiver.wait_event("connected", "error")
                if report.connected["event"] == "error":
                    raise DemoFailed(receiver.story())
                report.offer = receiver.wait_event("offer", "error")
                report.done = receiver.wait_event("done", "error", deadline_s=600)
                codes = (receiver.wait_exit(), sender.wait_exit())
                if codes != (0, 0):
                    raise DemoFailed(f"exit codes {codes}\n{receiver.story()}\n{sender.story()}")
            report.datagrams_to_sender = relay.to_target.datagrams
            report.datagrams_to_receiver = relay.to_client.datagrams
            report.bytes_on_wire = relay.to_target.bytes + relay.to_client.bytes
            report.hello_sizes, report.response_sizes = _flights(relay)
            report.first_sizes = (relay.to_target.sizes[:8], relay.to_client.sizes[:8])
    for source in sources:
        report.differences += compare_trees(source, out / source.name)
    return report


def _flights(relay: UdpRelay) -> tuple[list[int], list[int]]:
    """What the relay saw before the first answer, and of the answer before the next reply."""
    to_target, to_client = relay.to_target, relay.to_client
    answered = to_client.times[0]
    hello = [n for n, at in zip(to_target.sizes, to_target.times, strict=True) if at < answered]
    replied = next((at for at in to_target.times if at > answered), answered)
    response = [n for n, at in zip(to_client.sizes, to_client.times, strict=True) if at < replied]
    return hello, response


def compare_trees(expected: Path, actual: Path) -> list[str]:
    """Every difference in bytes, kinds, permissions, modification times and link targets."""
    found: list[str] = []
    pairs = [(expected, actual)]
    while pairs:
        left, right = pairs.pop()
        if not (right.exists() or right.is_symlink()):
            found.append(f"{right} is missing")
            continue
        a, b = left.lstat(), right.lstat()
        if stat.S_IFMT(a.st_mode) != stat.S_IFMT(b.st_mode):
            found.append(f"{right} is of another kind")
        elif left.is_symlink():
            if os.readlink(left) != os.readlink(right):
                found.append(f"{right} points elsewhere")
            continue
        elif left.is_dir():
            wanted = {p.name for p in left.iterdir()}
            pairs += [(left / name, right / name) for name in sorted(wanted)]
            extra = {p.name for p in right.iterdir()} - wanted
            found += [f"{right / name} should not be there" for name in sorted(extra)]
        elif digest(left) != digest(right):
            found.append(f"{right} has other bytes")
        if stat.S_IMODE(a.st_mode) & 0o777 != stat.S_IMODE(b.st_mode) & 0o777:
            found.append(f"{right} has mode {stat.S_IMODE(b.st_mode):o}")
        if left.is_file() and abs(a.st_mtime_ns - b.st_mtime_ns) > 0:
            found.append(f"{right} has another modification time")
    return found


def digest(path: Path) -> str:
    """SHA-256 of a file: not the hash that the transfer itself used."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_tree(folder: Path, seed: int) -> None:
    """A folder with what folders have: empty files, deep paths, odd names, links, modes, times."""
    draw = random.Random(seed)
    (folder / "empty folder").mkdir(parents=True)
    (folder / "a" / "deep" / "path").mkdir(parents=True)
    (folder / "empty.txt").touch()
    (folder / "a" / "deep" / "path" / "notes.md").write_text("# notes\n" * 100, encoding="utf-8")
    (folder / "photo (1).raw").write_bytes(draw.randbytes(3_000_000))
    (folder / "naïve – ünïcode.txt").write_text("ü" * 1000, encoding="utf-8")
    script = folder / "a" / "run.sh"
    script.write_text("#!/bin/sh\necho hello\n", encoding="utf-8")
    script.chmod(0o755)
    (folder / "a" / "link").symlink_to("run.sh")
    small = folder / "many"
    small.mkdir()
    for i in range(200):
        (small / f"{i:03}.bin").write_bytes(draw.randbytes(draw.randrange(0, 6_000)))
    os.utime(folder / "empty.txt", ns=(10**18, 10**18))


def show(title: str, report: DemoReport) -> None:
    """One transfer in a few lines for people."""
    done, card = report.done, report.connected
    total = int(str(done["bytes_total"]))
    seconds = float(str(done["seconds"]))
    kind = "post-quantum" if card["post_quantum"] else "classical"
    print(f"\n{title}")
    print(f"  peer          {card['peer']}")
    print(f"  key exchange  {card['key_exchange']} ({kind})")
    print(f"  suite         {card['suite']}")
    print(
        f"  content       {total / 1e6:.1f} MB in {seconds:.2f} s, {total / seconds / 1e6:.1f} MB/s"
    )
    print(
        f"  network saw   {report.datagrams_to_receiver} datagrams one way, "
        f"{report.datagrams_to_sender} the other, {report.bytes_on_wire / 1e6:.1f} MB; "
        f"first sizes {report.first_sizes[0][:3]} and {report.first_sizes[1][:2]}"
    )
    if report.differences:
        print("  verification  FAILED: " + "; ".join(report.differences[:5]))
    else:
        print("  verification  every byte, mode, time and link is equal (compared with SHA-256)")


def show_switch(work: Path, mib: int) -> None:
    """A transfer that loses UDP in the middle, where this machine lets us make such a network.

    Raises:
        DemoFailed: it did not complete, or a byte crossed or was hashed twice.
    """
    # These two stand on this module.
    from wraith.testing.crossing import crossing
    from wraith.testing.netns import refusal

    print("\nOne file, and UDP blocked in the middle")
    if why := refusal():
        print(f"  not shown     {why}")
        return
    n_bytes = mib << 20
    with crossing(work) as run:
        run.start(n_bytes, limit=f"{n_bytes // 2}")
        run.wait_bytes(n_bytes // 3)
        over_udp = run.n_bytes_over("udp")
        run.net.drop_udp()
        print(
            f"  blocked       after {over_udp / 1e6:.1f} MB over UDP, without a word to either side"
        )
        run.finish()
        print(f"  went on       over TCP, {run.n_bytes_over('tcp') / 1e6:.1f} MB")
    print("  verification  the file is equal; every byte crossed once and was hashed once")


def main() -> int:
    parser = argparse.ArgumentParser(description="send a file and a folder between two processes")
    parser.add_argument("--rate", type=float, help="limit the link to this many Mbit/s")
    parser.add_argument("--loss", type=float, default=0.0, help="lose this share, in per cent")
    parser.add_argument("--latency", type=float, default=0.0, help="one-way latency in ms")
    parser.add_argument("--suite", choices=["A", "B"], help="cipher suite (default: negotiated)")
    parser.add_argument("--mib", type=int, default=FILE_MIB, help="size of the file")
    options = parser.parse_args()
    link = LinkConfig(
        latency_s=options.latency / 1000,
        loss=options.loss / 100,
        rate_bps=options.rate * 1e6 if options.rate else None,
        queue_bytes=500_000 if options.rate else None,
    )
    with tempfile.TemporaryDirectory(prefix="wraith-demo-") as folder:
        work = Path(folder)
        big = work / "holiday.mov"
        big.write_bytes(random.Random(1).randbytes(options.mib << 20))
        tree = work / "project"
        make_tree(tree, 2)
        print("Two processes, two identities, UDP through a relay that counts datagrams.")
        failed = 0
        for title, source in (("One file", big), ("One folder of 205 files", tree)):
            try:
                report = transfer_between_processes(
                    [source], work / f"run-{source.name}", link=link, suite=options.suite
                )
            except DemoFailed as error:
                print(f"\n{title}\n  failed: {error}")
                return 1
            show(title, report)
            failed += len(report.differences)
        try:
            show_switch(work / "switch", min(options.mib, SWITCH_MIB))
        except DemoFailed as error:
            print(f"  failed: {error}")
            return 1
    print("\nBetween your own two machines: wraith send PATH, then run the line that it prints.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
