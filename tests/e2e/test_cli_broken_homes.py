"""A home, a destination or a temporary folder that cannot be used: one sentence, the exit code of
the pages, an `error` event, never a traceback."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wraith.aio.disk.home_folder import HomeFolder
from wraith.aio.disk.state_folder import state_path
from wraith.aio.entropy import OsRng
from wraith.cli.main import main
from wraith.testing.demo import Command
from wraith.testing.mounts import NotMounted, mounted
from wraith.testing.two_homes import TwoHomes, code_of, finish

NOBODY = 65534
KEY = "a" * 52
NO_ANSWER_S = 20.0


@contextlib.contextmanager
def disk(folder: Path, options: str) -> Iterator[None]:
    """A small file system of its own; without options none."""
    try:
        with mounted(folder, options) if options else contextlib.nullcontext():
            yield
    except NotMounted as exc:
        pytest.skip(str(exc))


def _plain_file(tmp: Path) -> Path:
    (tmp / "file").write_text("not a folder")
    return tmp / "file"


def _below_a_plain_file(tmp: Path) -> Path:
    return _plain_file(tmp) / "home"


def _link_to_nowhere(tmp: Path) -> Path:
    (tmp / "link").symlink_to(tmp / "gone")
    return tmp / "link"


def _others_may_write(tmp: Path) -> Path:
    (tmp / "open").mkdir()
    (tmp / "open").chmod(0o777)
    return tmp / "open"


def _of_somebody_else(tmp: Path) -> Path:
    if os.geteuid():
        pytest.skip("only the superuser can give a folder away")
    (tmp / "theirs").mkdir()
    os.chown(tmp / "theirs", NOBODY, NOBODY)
    return tmp / "theirs"


def _read_only(tmp: Path) -> Path:
    return tmp / "disk" / "home"


def _full(tmp: Path) -> Path:
    with contextlib.suppress(OSError), (tmp / "disk" / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return tmp / "disk" / "home"


def _read_only_with_an_identity(tmp: Path) -> Path:
    home = tmp / "disk" / "home"
    HomeFolder(home).identity(OsRng())
    subprocess.run(["mount", "-o", "remount,ro", str(tmp / "disk")], check=True)
    return home


#: name -> (how it is made, options of a disk of its own, code, exit, what the sentence says)
HOMES: dict[str, tuple[Callable[[Path], Path], str, str, int, str]] = {
    "impossible": (lambda _: Path("/proc/nope"), "", "disk-error", 1, "no such file"),
    "plain file": (_plain_file, "", "disk-error", 1, "not a directory"),
    "below a plain file": (_below_a_plain_file, "", "disk-error", 1, "not a directory"),
    "link to nowhere": (_link_to_nowhere, "", "disk-error", 1, "no such file"),
    "others may write": (_others_may_write, "", "untrusted-path", 1, "others may write"),
    "somebody else's": (_of_somebody_else, "", "untrusted-path", 1, "belongs to"),
    "read-only": (_read_only, "ro", "disk-error", 1, "read-only file system"),
    "full": (_full, "size=64k", "no-space", 19, "no space left"),
    "read-only, with an identity": (
        _read_only_with_an_identity,
        "size=1m",
        "disk-error",
        1,
        "read-only file system",
    ),
}

COMMANDS: dict[str, tuple[str, ...]] = {
    "id": ("id", "--json"),
    "id, for people": ("id",),
    "peers": ("peers", "--json"),
    "peers name": ("peers", "name", "alice", KEY),
    "peers forget": ("peers", "forget", KEY),
    "send": ("send", "--json", "--listen", "127.0.0.1:0", "FILE"),
    "send, for people": ("send", "--listen", "127.0.0.1:0", "FILE"),
    "send --text": ("send", "--json", "--listen", "127.0.0.1:0", "--text", "hello"),
    "receive --listen": ("receive", "--json", "--yes", "--listen", "127.0.0.1:0", "--out", "OUT"),
    "quic listen": ("quic", "listen", "--json"),
}
#: Reading a list that is not there, or from a disk that can be read, needs no room: what is said
#: then is about the list.
OTHERWISE = {
    ("peers", "full"): 0,
    ("peers", "read-only, with an identity"): 0,
    ("peers forget", "full"): 1,
}


def said(
    arguments: tuple[str, ...], tmp: Path, capfd: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    """Runs a command in this process; its exit status, stdout and stderr."""
    (tmp / "file-to-send").write_text("x")
    words = [
        {"FILE": str(tmp / "file-to-send"), "OUT": str(tmp / "out")}.get(a, a) for a in arguments
    ]

    def too_long(*_: object) -> None:
        raise AssertionError("it waits for somebody, so it did not notice")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, NO_ANSWER_S)
    try:
        with pytest.raises(SystemExit) as stopped:
            main(words)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    out, err = capfd.readouterr()
    code = stopped.value.code
    assert isinstance(code, int)
    return code, out, err


@pytest.mark.spec("TR-127")
@pytest.mark.parametrize("home", HOMES)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_broken_home_is_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    command: str,
    home: str,
) -> None:
    if command.startswith("quic"):
        pytest.importorskip("aioquic")
    make, options, code, exit_code, words = HOMES[home]
    with disk(tmp_path / "disk", options):
        monkeypatch.setenv("WRAITH_HOME", str(make(tmp_path)))
        status, out, err = said(COMMANDS[command], tmp_path, capfd)
    assert "Traceback" not in out + err
    if (command, home) in OTHERWISE:
        assert status == OTHERWISE[command, home]
        return
    assert status == exit_code
    if "--json" in COMMANDS[command]:
        assert err == ""
        (line,) = out.splitlines()
        error = json.loads(line)
        assert (error["event"], error["code"], error["exit_code"]) == ("error", code, exit_code)
        assert words in error["message"]
        assert "WRAITH_HOME" in error["hint"] or "chmod" in error["hint"]
    else:
        assert out == ""
        sentence, hint = err.splitlines()
        assert sentence.startswith("wraith: ") and words in sentence
        assert hint.startswith("wraith: hint: ")


@pytest.mark.spec("TR-127")
@pytest.mark.parametrize("home", ["impossible", "plain file", "others may write"])
def test_the_doctor_names_a_broken_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], home: str
) -> None:
    make, _, _, _, words = HOMES[home]
    monkeypatch.setenv("WRAITH_HOME", str(make(tmp_path)))
    status, out, err = said(("doctor", "--json"), tmp_path, capfd)
    assert status == 1 and err == ""
    findings = {line["name"]: line for line in map(json.loads, out.splitlines())}
    assert findings["home"]["ok"] is False and words in findings["home"]["detail"]


SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

/* What FAIL names fails with EIO for files whose path holds AT, once the file WHEN is there. */
static int fails(const char *what, int fd) {
    const char *fail = getenv("FAIL"), *at = getenv("AT"), *when = getenv("WHEN");
    char link[64], path[4096];
    if (!fail || strcmp(fail, what) || access(when, F_OK)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return strstr(path, at) != NULL;
}

int fsync(int fd) {
    if (fails("fsync", fd)) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}

ssize_t write(int fd, const void *from, size_t n) {
    if (fails("write", fd)) { errno = EIO; return -1; }
    return ((ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write"))(fd, from, n);
}

ssize_t pread64(int fd, void *to, size_t n, off64_t at) {
    if (fails("pread", fd)) { errno = EIO; return -1; }
    return ((ssize_t (*)(int, void *, size_t, off64_t))dlsym(RTLD_NEXT, "pread64"))(fd, to, n, at);
}

ssize_t pread(int fd, void *to, size_t n, off_t at) { return pread64(fd, to, n, at); }

/* With FAIL=modes no permission bit can be taken away, as on exFAT. */
static int widened(int result, struct stat *info) {
    const char *fail = getenv("FAIL");
    if (!result && fail && !strcmp(fail, "modes")) info->st_mode |= 0777;
    return result;
}

int fstat(int fd, struct stat *info) {
    return widened(((int (*)(int, struct stat *))dlsym(RTLD_NEXT, "fstat"))(fd, info), info);
}

int fstat64(int fd, struct stat64 *info) { return fstat(fd, (struct stat *)info); }

int fstatat(int dir, const char *name, struct stat *info, int flags) {
    int (*real)(int, const char *, struct stat *, int) = dlsym(RTLD_NEXT, "fstatat");
    return widened(real(dir, name, info, flags), info);
}

int fstatat64(int dir, const char *name, struct stat64 *info, int flags) {
    return fstatat(dir, name, (struct stat *)info, flags);
}
"""


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that lets single calls of the C library fail; loaded before it."""
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    built = subprocess.run(
        ["cc", "-shared", "-fPIC", "-o", str(folder / "shim.so"), str(folder / "shim.c"), "-ldl"],
        capture_output=True,
        check=False,
    )
    if built.returncode:
        pytest.skip(f"a C compiler is needed: {built.stderr.decode()[-200:]}")
    return folder / "shim.so"


def failing(shim: Path, what: str, at: str = "", when: Path = Path("/")) -> dict[str, str]:
    """The environment in which calls fail."""
    return {"LD_PRELOAD": str(shim), "FAIL": what, "AT": at, "WHEN": str(when)}


@pytest.mark.spec("TR-127")
@pytest.mark.parametrize("at", ["identity.key", "code.json", "replay-1.log"])
def test_a_home_whose_disk_fails_to_flush_is_one_sentence(
    homes: TwoHomes, shim: Path, at: str
) -> None:
    path = homes.file("f", b"x")
    sender = homes.start(
        *("send", "--json", "--listen", "127.0.0.1:0", str(path)),
        home="home-sender",
        environment=failing(shim, "fsync", at),
    )
    error = sender.wait_event("error")
    assert error["code"] == "disk-error" and "input/output error" in str(error["message"])
    assert sender.wait_exit() == 1
    assert [e["event"] for e in sender.events] == ["error"] and sender.stderr() == ""


#: What fails while a sender runs -> (call, file, where it shows first).
LATER = {
    "its pages cannot be read": ("pread", "(deleted)"),
    "who called cannot be recorded": ("write", "replay-1.log"),
    "whom the code belongs to cannot be noted": ("fsync", "code.json"),
}


@pytest.mark.spec("TR-127")
@pytest.mark.parametrize("what", LATER)
def test_a_disk_that_fails_while_a_sender_runs_ends_it_with_a_sentence(
    homes: TwoHomes, shim: Path, what: str
) -> None:
    """The other side is told as soon as anybody may be answered."""
    call, at = LATER[what]
    now = homes.work / "now"
    path = homes.file("f", 4 << 20)
    sender = homes.start(
        *("send", "--json", "--listen", "127.0.0.1:0", "--limit", "1M", str(path)),
        home="home-sender",
        environment=failing(shim, call, at, now),
    )
    code = code_of(sender)
    now.touch()
    receiver = homes.receive(code, "--connect-timeout", "5")
    error = sender.wait_event("error")
    assert error["code"] == "disk-error" and "input/output error" in str(error["message"])
    assert sender.wait_exit() == 1
    assert sender.stderr() == "" and sender.events[-1] == error
    heard = receiver.wait_event("error")
    if what == "who called cannot be recorded":
        assert (heard["code"], receiver.wait_exit()) == ("handshake-timeout", 12)
    else:
        assert (heard["code"], receiver.wait_exit()) == ("peer-aborted", 1)
    assert not (homes.out / "f").exists()


@pytest.mark.spec("TR-122")
def test_a_file_system_without_modes_is_said_in_one_line(homes: TwoHomes, shim: Path) -> None:
    """The owner alone counts there: every home would look open to others."""
    command = homes.start("id", home="home-sender", environment=failing(shim, "modes"))
    assert command.wait_exit() == 0
    (line,) = command.stderr().splitlines()
    assert "without permission bits" in line and str(homes.work / "home-sender") in line
    path = homes.file("f", b"x" * 1000)
    sender = homes.start(
        *("send", "--listen", "127.0.0.1:0", str(path)),
        home="home-sender",
        environment=failing(shim, "modes"),
    )
    code = str(sender.wait_event("text")["line"]).split()[-1]
    receiver = homes.start(
        *("receive", "--yes", "--out", str(homes.out), "-"),
        home="home-receiver",
        stdin=code,
        environment=failing(shim, "modes"),
    )
    assert finish(receiver, sender) == (0, 0)
    assert (homes.out / "f").read_bytes() == path.read_bytes()
    said_of = [line for line in receiver.stderr().splitlines() if "permission bits" in line]
    assert len(said_of) == 2, "of the home and of the state folder"


LISTENING = ("--listen", "127.0.0.1:0")
#: A superuser who may not open what permissions forbid.
BOUND_BY_MODES = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
NO_TEMPORARY_FOLDER = "import tempfile; tempfile._candidate_tempdir_list = lambda: ['/nowhere']"


def one_sentence(command: Command, *, exit_code: int = 1, code: str = "disk-error") -> str:
    """What a command says that fails at once: one sentence, and perhaps a hint; with ``--json`` an
    event that says the same."""
    assert command.wait_exit() == exit_code, command.story()
    err = command.stderr()
    if "--json" in command.arguments:
        assert err == ""
        (event,) = command.events
        assert (event["event"], event["code"], event["exit_code"]) == ("error", code, exit_code)
        return str(event["message"])
    assert command.events == []
    sentence, *hints = err.splitlines()
    assert sentence.startswith("wraith: ") and len(hints) <= 1, err
    assert all(line.startswith("wraith: hint: ") for line in hints), err
    return sentence


def _plain_out(out: Path) -> None:
    out.rmdir()
    out.write_text("not a folder")


#: name -> (how it is made, what is said of it)
DESTINATIONS: dict[str, tuple[Callable[[Path], None], str]] = {
    "may not be opened": (lambda out: out.chmod(0), "permission denied"),
    "read-only": (lambda out: out.chmod(0o555), "permission denied"),
    "plain file": (_plain_out, "file exists"),
}
SPOKEN = pytest.mark.parametrize("json_events", [("--json",), ()], ids=["json", "people"])


@pytest.mark.spec("TR-127")
@SPOKEN
@pytest.mark.parametrize("destination", DESTINATIONS)
def test_a_broken_destination_is_one_sentence(
    homes: TwoHomes, json_events: tuple[str, ...], destination: str
) -> None:
    make, words = DESTINATIONS[destination]
    make(homes.out)
    command = homes.start(
        *("receive", *json_events, "--yes", *LISTENING, "--out", str(homes.out)),
        home="home-receiver",
        under=BOUND_BY_MODES if os.geteuid() == 0 else (),
    )
    assert one_sentence(command).endswith(f"{homes.out}: {words}")


@pytest.mark.spec("TR-127")
@SPOKEN
def test_a_plain_file_in_place_of_the_state_folder_is_one_sentence(
    homes: TwoHomes, json_events: tuple[str, ...]
) -> None:
    sender = homes.send(homes.file("f", b"x"))
    code = code_of(sender)
    peer = HomeFolder(homes.work / "home-sender").identity(OsRng()).public
    state = Path(os.fsdecode(state_path(os.fsencode(homes.out), peer, [b"f"])))
    state.write_text("not a folder")
    command = homes.start(
        *("receive", *json_events, "--quiet", "--yes", "--out", str(homes.out), "-"),
        home="home-receiver",
        stdin=code,
    )
    assert command.wait_exit() == 1
    last = command.events[-1]["message"] if json_events else command.stderr().splitlines()[0]
    assert str(last).endswith(f"{state}: not a directory")
    assert "Traceback" not in command.stderr() and state.read_text() == "not a folder"


@pytest.mark.spec("TR-127")
@pytest.mark.parametrize("what", [("--json", "--list"), ("--discard", "all")], ids=" ".join)
@pytest.mark.parametrize("destination", ["may not be opened", "plain file"])
def test_leftovers_that_cannot_be_looked_for_are_not_called_none(
    homes: TwoHomes, what: tuple[str, ...], destination: str
) -> None:
    DESTINATIONS[destination][0](homes.out)
    command = homes.start(
        *("receive", *what, "--out", str(homes.out)),
        home="home-receiver",
        under=BOUND_BY_MODES if os.geteuid() == 0 else (),
    )
    said_of = one_sentence(command)
    words = {"may not be opened": "permission denied", "plain file": "not a directory"}
    assert said_of.endswith(f"{homes.out}: {words[destination]}")


@pytest.mark.spec("TR-127")
@SPOKEN
@pytest.mark.parametrize("what", ["file", "-"])
def test_no_folder_for_temporary_files_is_one_sentence(
    homes: TwoHomes, json_events: tuple[str, ...], what: str
) -> None:
    path = homes.file("f", b"x")
    command = homes.start(
        *("send", *json_events, *LISTENING, str(path) if what == "file" else what),
        home="home-sender",
        stdin=b"content",
        prelude=NO_TEMPORARY_FOLDER,
    )
    assert one_sentence(command).endswith("temporary files: no folder for them can be written")
