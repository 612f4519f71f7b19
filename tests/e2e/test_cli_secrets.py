"""Secrets stay where they belong, questions reach a person, and the JSON is what the docs say."""

from __future__ import annotations

import json
import os
import pty
import select
import stat
import sys
import time
from pathlib import Path

import pytest

from wraith.testing.json_events import undocumented
from wraith.testing.two_homes import TwoHomes, code_of, finish, number
from wraith.transfer.code import decode_code

MIB = 1 << 20
REFERENCE = Path(__file__).parents[2] / "docs/reference/json-events.md"


def test_a_code_on_stdin_or_in_the_environment_is_not_in_the_process_list(
    homes: TwoHomes,
) -> None:
    sender = homes.send("--keep", "--limit", "1M", homes.file("a.bin", MIB))
    code = code_of(sender)
    by_stdin = homes.receive(code, out=homes.work / "one")
    by_stdin.wait_event("accepted")
    arguments = Path(f"/proc/{by_stdin.process.pid}/cmdline").read_bytes()
    assert b"receive" in arguments and code[:20].encode() not in arguments
    assert by_stdin.wait_exit() == 0
    by_environment = homes.start(
        *("receive", "--json", "--yes", "--out", str(homes.work / "two")),
        home="home-receiver",
        environment={"WRAITH_CODE": code},
    )
    assert by_environment.wait_exit() == 0, by_environment.story()


def test_no_secret_in_logs_nor_in_files_that_others_may_read(homes: TwoHomes) -> None:
    path = homes.file("a.bin", 300_000)
    environment = {"WRAITH_LOG": "debug"}
    sender = homes.start(
        *("send", "--json", "-v", "--listen", "127.0.0.1:0", str(path)),
        home="home-sender",
        environment=environment,
    )
    text = code_of(sender)
    code = decode_code(text)
    (kept,) = (homes.work / "home-sender" / "sends").iterdir()
    stored = json.loads((kept / "code.json").read_text())
    for private in [kept / "code.json", *kept.glob("replay-*.log")]:
        assert stat.S_IMODE(private.stat().st_mode) == 0o600, private
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    receiver = homes.start(
        *("receive", "--json", "-v", "--yes", "--out", str(homes.out), "-"),
        home="home-receiver",
        stdin=text,
        environment=environment,
    )
    assert finish(receiver, sender) == (0, 0)
    logs = sender.stderr() + receiver.stderr()
    assert logs.count("\n") > 3, "logging is on"
    psk = code.access_psk.reveal()
    for secret in (text, text[3:60], psk.hex(), stored["secret"], repr(psk), "127.0.0.1"):
        assert secret not in logs
    assert json.dumps(receiver.events).count(text[:40]) == 0
    assert not (kept / "code.json").exists()  # spent


def _terminal_session(
    homes: TwoHomes, command: list[str], answers: list[tuple[str, str]], stdin_code: str | None
) -> tuple[str, int]:
    """Runs ``command`` on a terminal of its own and answers when it is asked.

    Returns what the terminal showed, and the exit code.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["WRAITH_HOME"] = str(homes.work / "home-receiver")
        if stdin_code is not None:
            reader, writer = os.pipe()
            os.write(writer, stdin_code.encode())
            os.close(writer)
            os.dup2(reader, 0)
        os.execv(sys.executable, [sys.executable, "-m", "wraith", *command])
    shown = ""
    until = time.monotonic() + 60
    seen = 0
    readable = select.poll()  # takes any descriptor, not only the first 1,024
    readable.register(terminal, select.POLLIN)
    try:
        while time.monotonic() < until:
            if readable.poll(500):
                try:
                    data = os.read(terminal, 65_536)
                except OSError:
                    break
                if not data:
                    break
                shown += data.decode(errors="replace")
            if answers and answers[0][0] in shown[seen:]:
                seen = len(shown)
                os.write(terminal, answers.pop(0)[1].encode())
    finally:
        os.close(terminal)
    _, status = os.waitpid(pid, 0)
    return shown, os.waitstatus_to_exitcode(status)


@pytest.mark.parametrize("on_stdin", [False, True])
def test_the_question_is_asked_on_the_terminal(homes: TwoHomes, on_stdin: bool) -> None:
    homes.file("tree/one.txt", b"1")
    sender = homes.send(homes.source / "tree")
    code = code_of(sender)
    shown, exit_code = _terminal_session(
        homes,
        ["receive", "--out", str(homes.out), "-" if on_stdin else code],
        [("accept?", "l\n"), ("accept?", "y\n")],
        code if on_stdin else None,
    )
    assert exit_code == 0, shown
    assert "tree/one.txt" in shown  # the whole list, before the answer
    assert "post-quantum" in shown
    sender.wait_event("deciding")
    assert sender.wait_exit() == 0
    assert (homes.out / "tree" / "one.txt").read_bytes() == b"1"


def test_no_is_an_answer(homes: TwoHomes) -> None:
    sender = homes.send(homes.file("a.txt", b"a"))
    shown, exit_code = _terminal_session(
        homes,
        ["receive", "--out", str(homes.out), code_of(sender)],
        [("accept?", "n\n")],
        None,
    )
    assert exit_code == 16, shown
    assert sender.wait_event("error")["code"] == "offer-refused"
    assert list(homes.out.iterdir()) == []


def test_without_a_terminal_nobody_is_dialled(homes: TwoHomes) -> None:
    sender = homes.send(homes.file("a.txt", b"a"))
    code = code_of(sender)
    receiver = homes.start("receive", "--json", "--out", str(homes.out), code, home="home-receiver")
    error = receiver.wait_event("error")
    assert error["code"] == "usage" and "--yes" in str(error["message"])
    assert receiver.wait_exit() == 2
    assert [e["event"] for e in sender.events] == ["waiting"]


def test_every_event_is_what_the_reference_says(homes: TwoHomes) -> None:
    homes.file("tree/a.bin", 8 * MIB)
    homes.file("tree/b.txt", b"b")
    sender = homes.send("--limit", "2M", homes.source / "tree")
    code = code_of(sender)
    looker = homes.receive(code, "--list-only")
    looker.wait_exit()
    receiver = homes.receive(code)
    while number(receiver.wait_event("progress"), "bytes_done") < MIB:
        pass
    busy = homes.receive(code, home="home-3", out=homes.work / "out-3")
    busy.wait_exit()
    sender.kill()
    again = homes.send(homes.source / "tree")
    assert finish(receiver, again) == (0, 0)
    text = homes.send("--text", "hello")
    reader = homes.receive(code_of(text))
    assert finish(text, reader) == (0, 0)
    assert reader.last("done")["text"] == "hello"
    seen: set[str] = set()
    for command in homes.commands:
        assert undocumented(REFERENCE, command.events) == []
        seen |= {str(event["event"]) for event in command.events}
    assert seen >= {"waiting", "connected", "deciding", "offer", "entry", "accepted", "progress"}
    assert seen >= {"turned_away", "done", "error"}
