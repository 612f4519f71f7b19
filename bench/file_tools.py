"""The programs that ``files.py`` compares: how each is started, and what it used.

A tool is a context manager that may start helpers of its own (an ssh daemon, a relay) in a folder
that is thrown away, and moves one path into a folder with ``transfer``.
"""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from child import Child, cpu_with_children, free_port, wait_for_port
from cli_transfer import cli_transfer
from harness import BUILT

JUMBO_BYTES = 8_972
HUGE_BYTES = 65_507
"""Only the loopback carries it: what is left when there are hardly any packets."""
WORMHOLE = BUILT / "wormhole" / "bin"
SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


@dataclass(frozen=True)
class FileFigure:
    """``seconds`` of the whole receiving (or only) command; ``own_seconds`` where a tool says how
    long the bytes took; CPU of both sides, helpers that only pass bytes on left out."""

    seconds: float
    cpu_s: float
    own_seconds: float | None = None


class Tool:
    """One line of the table."""

    name = ""
    runs_full = 3
    """How many of the runs with large files it takes part in: slow ones once."""
    for_small = True
    """Whether many small files can be waited for."""
    in_memory_only = False
    """A disk would hide what it shows."""

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
    """``datagram_bytes``: the largest that it may use; Ethernet's by default."""

    def __init__(
        self, suite: str, *, twin: bool = False, datagram_bytes: int | None = None
    ) -> None:
        self.suite = suite
        self.name = f"wraith {suite}"
        self.environment = {}
        if twin:
            self.name += " (pure Python)"
            self.environment["WRAITH_PURE_PYTHON"] = "1"
        if datagram_bytes is not None:
            self.name += f", {datagram_bytes} B datagrams"
            self.in_memory_only = True
            self.environment["WRAITH_MAX_DATAGRAM"] = str(datagram_bytes)

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
    """Through a relay on this host, as croc always needs one; its CPU is not counted. Without
    compression, which it has on by default: random content gains nothing by it, and nobody else
    here compresses."""

    name = "croc --no-compress"
    program = BUILT / "croc"

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
        common += ["--overwrite", "--disable-clipboard", "--no-compress"]
        home = work / "croc"
        home.mkdir(exist_ok=True)
        environment = {"CROC_SECRET": secret, "HOME": str(home)}
        sender = Child([*common, "send", "--no-local", str(source)], environment=environment)
        try:
            sender.wait_line("Code is")
            start = time.perf_counter()
            cpu = Child([*common, "--out", str(out)], environment=environment).end()
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


class Wormhole(Tool):
    """magic-wormhole with a mailbox server and a transit relay of our own. Timed like the others:
    from the start of the receiver, when the sender has shown its code and waits."""

    name = "magic-wormhole"

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
        sender = Child([*base, "send", "--hide-progress", "--code", code, str(source)])
        try:
            sender.wait_line("Wormhole code is")
            start = time.perf_counter()
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
        Wraith("A", datagram_bytes=JUMBO_BYTES),
        Wraith("B", datagram_bytes=JUMBO_BYTES),
        Wraith("B", datagram_bytes=HUGE_BYTES),
        Wraith("B", twin=True),
        Sendme(),
        Croc(),
        OverSsh("scp"),
        OverSsh("rsync over ssh"),
        Wormhole(),
        Copy(),
    ]
