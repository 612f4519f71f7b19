"""Files without asyncio, and between a program and the command."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

import wraith
from wraith import events
from wraith.errors import LocalProtocolError, OfferRefused
from wraith.testing.two_homes import TwoHomes, code_of, number

pytestmark = pytest.mark.timeout(120)
LOCAL = "127.0.0.1:0"
MIB = 1 << 20


def in_thread(function: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Runs it; what it returned or raised stands in the list afterwards."""
    result: list[object] = []

    def run() -> None:
        try:
            result.append(function())
        except BaseException as exc:
            result.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, result


def test_files_without_asyncio(tmp_path: Path) -> None:
    source, out = tmp_path / "a.bin", tmp_path / "in"
    source.write_bytes(os.urandom(2 * MIB))
    out.mkdir()
    asked: list[str] = []

    def accept(offer: events.OfferEvent) -> bool:
        asked.append(threading.current_thread().name)
        return [entry.path for entry in offer.entries()] == ["a.bin"]

    threads: set[str] = set()
    with wraith.sync.send(source, local=LOCAL, state=tmp_path / "s") as sending:
        code = sending.code
        assert code not in repr(sending)
        receiver, result = in_thread(
            lambda: wraith.sync.receive(
                code,
                out,
                accept=accept,
                state=tmp_path / "r",
                on_event=lambda event: threads.add(threading.current_thread().name),
            )
        )
        seen = list(sending)
        done = sending.done(timeout_s=10)
        receiver.join(30)
    assert seen[-1] == done and done.files == 1
    (received,) = result
    assert isinstance(received, events.DoneEvent) and received.file_ids == done.file_ids
    assert (out / "a.bin").read_bytes() == source.read_bytes()
    assert threads == {"wraith-loop"} and "wraith-loop" not in asked


def test_errors_and_time_limits_come_through(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with wraith.sync.send(text="x", local=LOCAL, state=tmp_path / "s") as sending:
        with pytest.raises(TimeoutError):
            sending.done(timeout_s=0.05)
        with pytest.raises(OfferRefused):
            wraith.sync.receive(
                sending.code, tmp_path / "in", accept=lambda offer: False, state=tmp_path / "r"
            )
        with pytest.raises(OfferRefused):
            sending.done()
    with wraith.sync.send(text="x", local=LOCAL, state=tmp_path / "s") as sending:
        pass
    with pytest.raises(LocalProtocolError, match="closed before"):
        sending.done()


def test_a_time_limit_ends_a_receive_that_goes_on_later(tmp_path: Path) -> None:
    source, out = tmp_path / "a.bin", tmp_path / "in"
    source.write_bytes(os.urandom(8 * MIB))
    out.mkdir()
    seen: list[int] = []

    def on_event(event: events.Event) -> None:
        if isinstance(event, events.ProgressEvent):
            seen.append(event.bytes_done)

    with wraith.sync.send(
        source, local=LOCAL, state=tmp_path / "s", limit_bytes_per_s=4e6
    ) as sending:
        with pytest.raises(TimeoutError):
            wraith.sync.receive(
                sending.code,
                out,
                accept=True,
                state=tmp_path / "r",
                timeout_s=1.0,
                on_event=on_event,
            )
        before = seen[-1]
        done = wraith.sync.receive(sending.code, out, accept=True, state=tmp_path / "r")
    assert before > 0 and done.bytes_reused >= before - MIB


PROGRAM = """
import sys, wraith
def on_event(event):
    if isinstance(event, wraith.events.ProgressEvent):
        print(event.bytes_done, flush=True)
done = wraith.sync.receive(sys.stdin.read(), sys.argv[1], accept=True, state=sys.argv[2],
                           on_event=on_event)
print("reused", done.bytes_reused, flush=True)
"""


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill"])
def test_a_program_that_is_ended_goes_on_when_it_runs_again(
    tmp_path: Path, ending: signal.Signals
) -> None:
    source, out = tmp_path / "a.bin", tmp_path / "in"
    source.write_bytes(os.urandom(8 * MIB))
    out.mkdir()

    def start(code: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(out), str(tmp_path / "r")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        assert process.stdin is not None
        process.stdin.write(code)
        process.stdin.close()
        process.stdin = None
        return process

    told: list[events.Event] = []
    with wraith.sync.send(
        source, local=LOCAL, state=tmp_path / "s", limit_bytes_per_s=4e6, on_event=told.append
    ) as sending:
        process = start(sending.code)
        assert process.stdout is not None
        while (before := int(process.stdout.readline())) < MIB:
            pass
        process.send_signal(ending)
        said, err = process.communicate(timeout=30)
        assert process.returncode != 0 and sending.code not in err
        before = max([before, *map(int, said.split())])
        if ending is signal.SIGINT:
            assert err.rstrip().endswith("KeyboardInterrupt"), err
            assert any(isinstance(event, events.GaveUpEvent) for event in told)
        said, err = start(sending.code).communicate(timeout=60)
    assert int(said.rpartition("reused ")[2]) >= before - MIB, err


# --- between a program and the command --------------------------------------------------------


def event_of(row: dict[str, object]) -> object:
    """The fact that a line of JSON says, with exactly its fields."""
    values = dict(row)
    name = "".join(part.title() for part in str(values.pop("event")).split("_")) + "Event"
    kind = getattr(events, name)
    known = {each.name: each.metadata for each in fields(kind)}
    optional = {name for name, metadata in known.items() if metadata.get("optional")}
    python_only = {name for name, metadata in known.items() if not metadata.get("json", True)}
    assert set(known) - optional - python_only <= set(values) <= set(known) - python_only, name
    return kind(**values)


def test_the_command_receives_from_a_program_in_the_same_words(homes: TwoHomes) -> None:
    path = homes.file("a.bin", 2 * MIB)
    with wraith.sync.send(path, local=LOCAL, state=homes.work / "s") as sending:
        receiver = homes.receive(sending.code)
        done = sending.done(timeout_s=60)
        assert receiver.wait_exit() == 0
    said = [event_of(row) for row in receiver.events]
    assert [type(each) for each in said if not isinstance(each, events.ProgressEvent)] == [
        events.WaitingEvent,
        events.ConnectedEvent,
        events.OfferEvent,
        events.AcceptedEvent,
        events.DoneEvent,
    ]
    last = said[-1]
    assert isinstance(last, events.DoneEvent) and last.file_ids == done.file_ids


def test_a_program_receives_from_the_command(homes: TwoHomes) -> None:
    sender = homes.send(homes.file("a.bin", MIB))
    done = wraith.sync.receive(
        code_of(sender), homes.out, accept=True, state=homes.work / "r", timeout_s=60
    )
    assert sender.wait_exit() == 0 and done.bytes_total == MIB
    assert number(sender.events[-1], "bytes_total") == MIB
    for row in sender.events:
        event_of(row)


def test_a_program_sends_to_a_command_that_listens(homes: TwoHomes) -> None:
    listening = homes.start(
        *("receive", "--json", "--yes", "--out", str(homes.out), "--listen", LOCAL),
        home="home-receiver",
    )
    code = code_of(listening)

    async def send() -> events.DoneEvent:
        opening = wraith.send(homes.file("a.bin", MIB), to=code, state=homes.work / "s")
        async with opening as sending:
            with pytest.raises(LocalProtocolError, match="this side dials"):
                _ = sending.code
            return await sending.done()

    assert asyncio.run(send()).files == 1
    assert listening.wait_exit() == 0
    assert (homes.out / "a.bin").stat().st_size == MIB
