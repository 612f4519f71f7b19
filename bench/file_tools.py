"""The programs that ``files.py`` compares: how each is started, and what it used.

A tool is a context manager that may start helpers of its own (an ssh daemon, a relay) in a folder
that is thrown away, and moves one path into a folder with ``transfer``.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli_transfer import cli_transfer
from harness import BUILT, PeerFailed

TOOL_TIMEOUT_S = 120
WORMHOLE = BUILT / "wormhole" / "bin"
SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


@dataclass(frozen=True)
class FileFigure:
    """``seconds`` of the whole receiving (or only) command; ``own_seconds`` where a tool says how
    long the bytes took; CPU of both sides, helpers that only pass bytes on left out."""

    seconds: float
    cpu_s: float
    own_seconds: float | None = None


class Child:
    """A process whose CPU, with that of the children it waited for, is known at its end. What it
    prints goes to a file, so that it never waits for a reader."""

    def __init__(
        self, words: Sequence[str], *, cwd: Path | None = None, **environment: str
    ) -> None:
        self.name = Path(words[0]).name
        self._output = tempfile.TemporaryFile("w+b")  # noqa: SIM115  # lives as long as the process
        self.process = subprocess.Popen(
            list(words),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
        )

    def _said(self) -> str:
        return os.pread(self._output.fileno(), 1 << 20, 0).decode(errors="replace")

    def _last_words(self) -> str:
        return " / ".join(self._said().strip().splitlines()[-2:])

    def wait_line(self, word: str, timeout_s: float = 60) -> str:
        """The first line with ``word`` in it."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for line in self._said().splitlines(keepends=True):
                if word in line and line.endswith("\n"):
                    return line.strip()
            if self.process.returncode is not None:
                break
            time.sleep(0.01)
        raise PeerFailed(f"{self.name} did not say {word!r}: {self._last_words()}")

    def end(self, *, interrupt: bool = False) -> float:
        """Waits (after an interrupt, when asked); CPU seconds. Raises ``PeerFailed`` on failure."""
        if interrupt:
            self.process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + TOOL_TIMEOUT_S
        while True:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > deadline:
                words = self._last_words()
                self.stop()
                raise PeerFailed(f"{self.name} took more than {TOOL_TIMEOUT_S} s: {words}")
            time.sleep(0.005)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        words = self._last_words()
        self._output.close()
        if self.process.returncode and not interrupt:
            raise PeerFailed(f"{self.name} ended with {self.process.returncode}: {words}")
        return usage.ru_utime + usage.ru_stime

    def stop(self) -> None:
        """Kills what is still there."""
        if self.process.returncode is None:
            self.process.kill()
            self.process.wait()
        self._output.close()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise PeerFailed(f"nothing listens on port {port}")


class Tool:
    """One line of the table."""

    name = ""
    runs_full = 3
    """How many of the runs it takes part in: slow ones once."""

    def missing(self) -> str | None:
        """Why it cannot run here, or ``None``."""
        return None

    @contextmanager
    def ready(self, work: Path) -> Iterator[None]:
        """Helpers of its own."""
        yield

    def transfer(self, source: Path, out: Path, work: Path) -> FileFigure:
        raise NotImplementedError


class Wraith(Tool):
    def __init__(self, suite: str, *, twin: bool = False) -> None:
        self.suite = suite
        self.name = f"wraith {suite}" + (" (pure Python)" if twin else "")
        self.environment = {"WRAITH_PURE_PYTHON": "1"} if twin else {}
        self.runs_full = 1 if twin else 3

    def transfer(self, source: Path, out: Path, work: Path) -> FileFigure:
        figure = cli_transfer(
            source, work / "wraith", suite=self.suite, environment=self.environment, out=out
        )
        return FileFigure(figure.command_s, figure.cpu_s, figure.seconds)


class Copy(Tool):
    """The limit: no network and no hash."""

    name = "cp (limit)"

    def transfer(self, source: Path, out: Path, work: Path) -> FileFigure:
        start = time.perf_counter()
        cpu = Child(["cp", "-r", str(source), str(out)]).end()
        return FileFigure(time.perf_counter() - start, cpu)


class Sendme(Tool):
    name = "sendme"
    program = BUILT / "sendme"

    def missing(self) -> str | None:
        return None if self.program.exists() else "not built"

    def transfer(self, source: Path, out: Path, work: Path) -> FileFigure:
        common = ["--relay", "disabled", "--no-progress"]
        place = work / "sendme"
        place.mkdir(exist_ok=True)
        program = str(self.program)
        kind = ["--ticket-type", "addresses"]
        sender = Child([program, "send", *common, *kind, str(source)], cwd=place)
        try:
            ticket = sender.wait_line("sendme receive").split()[-1]
            start = time.perf_counter()
            cpu = Child([program, "receive", *common, ticket], cwd=out).end()
            seconds = time.perf_counter() - start
            cpu += sender.end(interrupt=True)
        finally:
            sender.stop()
        return FileFigure(seconds, cpu)


class Croc(Tool):
    """Through a relay on this host, as croc always needs one; its CPU is not counted."""

    program = BUILT / "croc"
    runs_full = 1

    def __init__(self, *, compress: bool) -> None:
        self.name = "croc" if compress else "croc --no-compress"
        self.options = [] if compress else ["--no-compress"]

    def missing(self) -> str | None:
        return None if self.program.exists() else "not built"

    @contextmanager
    def ready(self, work: Path) -> Iterator[None]:
        ports = [free_port() for _ in range(5)]
        self.relay = f"127.0.0.1:{ports[0]}"
        joined = ",".join(map(str, ports))
        relay = Child([str(self.program), "relay", "--host", "127.0.0.1", "--ports", joined])
        try:
            wait_for_port(ports[0])
            yield
        finally:
            relay.stop()

    def transfer(self, source: Path, out: Path, work: Path) -> FileFigure:
        secret = f"bench-{os.getpid()}-{time.monotonic_ns()}"
        common = [str(self.program), "--relay", self.relay, "--yes", "--ignore-stdin"]
        common += ["--overwrite", "--disable-clipboard", *self.options]
        home = work / "croc"
        home.mkdir(exist_ok=True)
        environment = {"CROC_SECRET": secret, "HOME": str(home)}
        sender = Child([*common, "send", "--no-local", str(source)], **environment)
        try:
            sender.wait_line("Code is")
            start = time.perf_counter()
            cpu = Child([*common, "--out", str(out)], **environment).end()
            seconds = time.perf_counter() - start
            cpu += sender.end()
        finally:
            sender.stop()
        return FileFigure(seconds, cpu)


class OverSsh(Tool):
    """scp or rsync to an ssh daemon of our own on 127.0.0.1 with keys made for the occasion."""

    def __init__(self, name: str) -> None:
        self.name = name

    def missing(self) -> str | None:
        if SSHD is None:
            return "no sshd here"
        return None if shutil.which(self.name.split()[0]) else "not installed"

    @contextmanager
    def ready(self, work: Path) -> Iterator[None]:
        folder = work / "ssh"
        folder.mkdir(mode=0o700)
        for key in ("host", "user"):
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)]
            subprocess.run(words, check=True)
        port = free_port()
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # the daemon insists on it
        (folder / "sshd_config").write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\n"
            f"AuthorizedKeysFile {folder}/user.pub\nStrictModes no\nUsePAM no\n"
            "PasswordAuthentication no\nPermitRootLogin prohibit-password\n"
            "Subsystem sftp internal-sftp\n"
        )
        self.config = folder / "config"
        self.config.write_text(
            f"Host bench\n HostName 127.0.0.1\n Port {port}\n User {getpass.getuser()}\n"
            f" IdentityFile {folder}/user\n IdentitiesOnly yes\n LogLevel ERROR\n"
            " StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n"
        )
        assert SSHD is not None
        daemon = Child([SSHD, "-D", "-f", str(folder / "sshd_config")])
        self.daemon = daemon.process.pid
        try:
            wait_for_port(port)
            yield
        finally:
            daemon.stop()

    def transfer(self, source: Path, out: Path, work: Path) -> FileFigure:
        before = cpu_with_children(self.daemon)
        start = time.perf_counter()
        ssh = f"ssh -F {self.config}"
        if self.name.startswith("rsync"):
            words = ["rsync", "-a", "-e", ssh, str(source), f"bench:{out}/"]
        else:
            words = ["scp", "-q", "-r", "-F", str(self.config), str(source), f"bench:{out}/"]
        cpu = Child(words).end()
        seconds = time.perf_counter() - start
        time.sleep(0.3)  # the daemon's child ends a moment later
        return FileFigure(seconds, cpu + cpu_with_children(self.daemon) - before)


def cpu_with_children(pid: int) -> float:
    """CPU of a process and of the children that it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


class Wormhole(Tool):
    """magic-wormhole with a mailbox server and a transit relay of our own."""

    name = "magic-wormhole"
    runs_full = 1

    def missing(self) -> str | None:
        return None if (WORMHOLE / "wormhole").exists() else "not installed"

    @contextmanager
    def ready(self, work: Path) -> Iterator[None]:
        folder = work / "wormhole"
        folder.mkdir()
        mailbox, transit = free_port(), free_port()
        twist = str(WORMHOLE / "twist")
        where = "interface=127.0.0.1"
        helpers = [
            Child([twist, "wormhole-mailbox", f"--port=tcp:{mailbox}:{where}"], cwd=folder),
            Child([twist, "transitrelay", f"--port=tcp:{transit}:{where}"], cwd=folder),
        ]
        try:
            for port in (mailbox, transit):
                wait_for_port(port)
            self.servers = [
                f"--relay-url=ws://127.0.0.1:{mailbox}/v1",
                f"--transit-helper=tcp:127.0.0.1:{transit}",
            ]
            yield
        finally:
            for helper in helpers:
                helper.stop()

    def transfer(self, source: Path, out: Path, work: Path) -> FileFigure:
        base = [str(WORMHOLE / "wormhole"), *self.servers]
        code = f"{time.monotonic_ns() % 90000 + 10}-bench-bench"
        start = time.perf_counter()
        sender = Child([*base, "send", "--hide-progress", "--code", code, str(source)])
        try:
            taken = ["receive", "--hide-progress", "--accept-file", code]
            cpu = Child([*base, *taken], cwd=out).end()
            seconds = time.perf_counter() - start
            cpu += sender.end()
        finally:
            sender.stop()
        return FileFigure(seconds, cpu)


def all_tools() -> list[Tool]:
    return [
        Wraith("A"),
        Wraith("B"),
        Wraith("B", twin=True),
        Sendme(),
        Croc(compress=True),
        Croc(compress=False),
        OverSsh("scp"),
        OverSsh("rsync over ssh"),
        Wormhole(),
        Copy(),
    ]

