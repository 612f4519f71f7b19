"""Rough treatment, by seeds: closed and full streams, homes that are none, full and read-only
disks, signals at any moment. Whatever comes, it is an exit code and a sentence, and never a
traceback."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wraith.errors import NoSpace
from wraith.testing.mounts import NotMounted, mounted

COMMANDS = (
    ("send", "a.txt"),
    ("send", "--text", "hello", "--once"),
    ("receive", "--listen"),
    ("receive", "--list"),
    ("receive", "--discard", "all"),
    ("id",),
    ("peers",),
    ("history",),
    ("config",),
    ("doctor",),
    ("help", "exit-codes"),
    ("completion", "bash"),
    (),
)
HOMES = (
    "home", "/proc/nope", "/dev/null", "/dev/null/x", "\n", "a\tb", "x" * 300, "~", "",
    "full/home", "full", "read-only/home",
)  # fmt: skip
FOLDERS = (".", ".", ".", "full", "read-only")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
BEFORE_US = re.compile(
    rb"Traceback \(most recent call last\):\n(  File \"<frozen [^\n]*\n)+KeyboardInterrupt\n"
)
"""A SIGINT while Python itself starts, before a line of ours has run."""
SEEDS = 60
IN_SHORT = 12


def _play(work: Path, seed: int) -> None:
    draw = random.Random(seed)
    arguments = draw.choice(COMMANDS)
    home = draw.choice(HOMES)
    closed = draw.choice(
        ("", "", "<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full")
    )
    shell = f'exec "$0" -m wraith "$@" {closed}'
    folder = draw.choice(FOLDERS)
    if folder != ".":
        home = os.path.join(work, home) if home in ("home", "full/home") else home
    environ = os.environ | {"WRAITH_HOME": home, "WRAITH_LISTEN": "127.0.0.1:0"}
    process = subprocess.Popen(
        ["sh", "-c", shell, sys.executable, *arguments],
        cwd=work / folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    number = draw.choice(SIGNALS)
    time.sleep(draw.uniform(0.02, 1.5))
    process.send_signal(number)
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(f"seed {seed}: {arguments} {home!r} {closed} hangs") from None
    told = f"seed {seed}: {arguments} {home!r} in {folder} {closed} {number.name}\n{err.decode()}"
    err = BEFORE_US.sub(b"", err)
    assert b"Traceback" not in out + err, told
    assert b"Exception ignored" not in err, told
    assert process.returncode in {
        0,
        1,
        2,
        11,
        NoSpace.exit_code,
        130,
        *(-each for each in SIGNALS),
    }, told


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param(range(IN_SHORT), id="short"),
        pytest.param(
            range(IN_SHORT, SEEDS), id="all", marks=[pytest.mark.slow, pytest.mark.timeout(1_200)]
        ),
    ],
)
def test_rough_treatment_ends_in_a_sentence(tmp_path: Path, seeds: range) -> None:
    (tmp_path / "a.txt").write_bytes(b"a")
    with contextlib.ExitStack() as stack:
        for folder in ("full", "read-only"):
            try:
                stack.enter_context(mounted(tmp_path / folder, "size=64k"))
                is_mounted = True
            except NotMounted:  # the folder is there, as an ordinary one
                is_mounted = False
            (tmp_path / folder / "a.txt").write_bytes(b"a")
            if not is_mounted:
                continue
            if folder == "full":
                _fill(tmp_path / folder)
            else:
                remount = ["mount", "-o", "remount,ro", str(tmp_path / folder)]
                subprocess.run(remount, check=True)
        for seed in seeds:
            _play(tmp_path, seed)


def _fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_gives_its_number_to_nobody(tmp_path: Path, closed: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -m wraith id {closed}', sys.executable],
        env=os.environ | {"WRAITH_HOME": str(tmp_path / "home")},
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b""), done.stderr
    assert all(b"wraith:" not in path.read_bytes() for path in (tmp_path / "home").iterdir())
