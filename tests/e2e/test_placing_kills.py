"""Killed at any system call of placing, the same command goes on and ends with equal trees.

strace stops the receiver at every single write-like call, from the first record that says where
things will go to the last call of the clean-up.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from wraith.aio.disk.existing import ExistsPolicy
from wraith.aio.disk.file_source import FileSource
from wraith.aio.disk.file_target import FileTarget
from wraith.errors import WraithError
from wraith.testing.transfer_pipe import TransferPipe
from wraith.transfer.journal_records import RecordType
from wraith.transfer.wishes import AnswerT, Complete, Store, Wish

CALLS = (
    "write,pwrite64,pwritev,pwritev2,rename,renameat,renameat2,link,linkat,unlink,unlinkat,rmdir,"
    "mkdir,mkdirat,symlink,symlinkat,chmod,fchmod,fchmodat,utimensat,ftruncate,fallocate,fsync,"
    "fdatasync,syncfs"
)
WITHOUT_RENAMEAT2 = "rename, without renameat2"
"""As where the kernel or the file system has no such call."""
RUN = Path(__file__).with_name("placing_run.py")
ENVIRONMENT = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "WRAITH_PURE_PYTHON": "1"}


class Stopped(Exception):
    """The template is ready."""


class UntilComplete(Store):
    """A target that has everything and is not asked to place it."""

    def __init__(self, target: FileTarget) -> None:
        self.target = target

    def fulfil(self, wish: Wish[AnswerT]) -> AnswerT | WraithError:
        if isinstance(wish, Complete):
            raise Stopped
        return self.target.fulfil(wish)


class Ground:
    """A source, a target where all is received and nothing placed, and what must come out."""

    def __init__(self, root: Path, mode: str) -> None:
        self.refused = ("renameat2",) if mode == WITHOUT_RENAMEAT2 else ()
        mode = mode.partition(",")[0]
        self.mode = mode
        self.policy = ExistsPolicy.REFUSE if mode == "new" else ExistsPolicy.OVERWRITE
        if mode in ("rename", "skip"):
            self.policy = ExistsPolicy(mode)
        self.out, self.template = root / "out", root / "template"
        self.home = root / "home"
        self.home.mkdir(mode=0o700)
        self.source = self._make_source(root / "source")
        self.out.mkdir()
        self._make_old()
        target = FileTarget(self.out, policy=self.policy)
        with pytest.raises(Stopped):
            TransferPipe(FileSource.scan(self.source), UntilComplete(target)).run()
        target.close()
        shutil.copytree(self.out, self.template, symlinks=True)
        assert self.run().returncode == 0
        self.wanted = picture(self.out)

    def _make_source(self, root: Path) -> list[Path]:
        tree = root / "tree"
        (tree / "sub").mkdir(parents=True)
        (tree / "empty").mkdir()
        (tree / "a").write_bytes(b"a" * 300_000)
        (tree / "sub" / "b.txt").write_text("b")
        (tree / "sub" / "c").write_text("c")
        (tree / "link").symlink_to("a")
        (root / "top.txt").write_text("top")
        for path in (tree / "sub", tree / "empty", tree):
            os.utime(path, ns=(10**18, 10**18))
        return [root / "top.txt", tree]

    def _make_old(self) -> None:
        """What is at the target before."""
        if self.mode == "new":
            return
        (self.out / "tree" / "sub").mkdir(parents=True)
        (self.out / "tree" / "mine").write_text("mine")
        if self.mode != "merge":
            (self.out / "tree" / "a").write_text("OLD")
            (self.out / "tree" / "sub" / "b.txt").write_text("OLD")
            (self.out / "top.txt").write_text("OLD")

    def lay_out(self) -> None:
        shutil.rmtree(self.out)
        shutil.rmtree(self.home)
        self.home.mkdir(mode=0o700)
        shutil.copytree(self.template, self.out, symlinks=True)

    def run(
        self, *, traced: str = "", trace: str = os.devnull, kill: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """One receiver; under strace if there is anything to trace or to refuse.

        Args:
            traced: the calls that go into the file ``trace``.
            kill: the call that it is killed at, and which one of them: ``rename:when=2``.
        """
        calls = ",".join(filter(None, (traced, kill.partition(":")[0], *self.refused)))
        under = ["strace", "-qq", "-y", "-s", "8", "-o", trace, "-e", f"trace={calls}"]
        for call in self.refused:
            under += ["-e", f"inject={call}:error=ENOSYS"]
        if kill:
            call, _, when = kill.partition(":")
            under += ["-e", f"inject={call}:signal=SIGKILL:{when}"]
        sources = ":".join(map(str, self.source))
        program = [sys.executable, str(RUN), sources, str(self.out), str(self.home)]
        command = [*(under if calls else ()), *program, self.policy.value]
        return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)


def picture(root: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        info = path.lstat()
        what: object = path.read_bytes() if path.is_file() else None
        if path.is_symlink():
            what = os.readlink(path)
        is_ours = path.name not in ("mine",) and not path.is_dir()
        found[str(path.relative_to(root))] = (info.st_mode, is_ours and info.st_mtime_ns, what)
    return found


def traced(ground: Ground, trace: Path) -> list[str]:
    """The write-like calls of a whole run, one a line."""
    ground.lay_out()
    run = ground.run(traced=CALLS, trace=str(trace))
    assert run.returncode == 0, run.stdout + run.stderr
    return [line for line in trace.read_text().splitlines() if re.match(r"\w+\(", line)]


def may_trace() -> bool:
    try:
        run = subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], capture_output=True)
    except OSError:
        return False
    return run.returncode == 0


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "mode",
    [
        "new",
        "rename",
        WITHOUT_RENAMEAT2,
        "merge",
        "skip",
        "overwrite",
    ],
)
def test_killed_at_every_call_it_goes_on_and_ends_equal(tmp_path: Path, mode: str) -> None:
    if not may_trace():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("strace may trace nothing here")
    ground = Ground(tmp_path, mode)
    calls = traced(ground, tmp_path / "trace")
    assert picture(ground.out) == ground.wanted
    placing = f'"\\{RecordType.PLACING:o}'
    first = next(
        i for i, call in enumerate(calls) if "/journal>" in call and f", {placing}" in call
    )
    n_killed = 0
    for index in range(first, len(calls)):
        name = calls[index].partition("(")[0]
        if name in ground.refused:
            continue  # it does nothing
        ground.lay_out()
        nth = sum(call.startswith(f"{name}(") for call in calls[: index + 1])
        killed = ground.run(kill=f"{name}:when={nth}")
        where = f"call {index + 1} of {len(calls)}, {calls[index]}"
        assert killed.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), where
        n_killed += 1
        again = ground.run()
        assert again.returncode == 0, f"{where}: {again.stdout} {again.stderr}"
        assert picture(ground.out) == ground.wanted, where
    print(f"{mode}: killed at {n_killed} calls, {first + 1} to {len(calls)}")
    assert n_killed > 20
