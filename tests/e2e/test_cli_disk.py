"""Sources that change, disks that fill, data that rots: said plainly, and nothing half-written."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from wraith.testing.demo import through_relay
from wraith.testing.mounts import NotMounted, mounted
from wraith.testing.netem import LinkConfig
from wraith.testing.relay import UdpRelay
from wraith.testing.two_homes import TwoHomes, code_of, finish, number

MIB = 1 << 20


def test_a_file_that_changes_fails_alone_and_both_sides_exit_with_3(homes: TwoHomes) -> None:
    homes.file("tree/a.txt", b"small")
    changing = homes.file("tree/b.bin", 24 * MIB)  # more than is read ahead
    homes.file("tree/c.txt", b"also small")
    sender = homes.send("--limit", "12M", homes.source / "tree")
    receiver = homes.receive(code_of(sender))
    while number(receiver.wait_event("progress"), "bytes_done") < MIB // 2:
        pass
    with changing.open("ab") as file:
        file.write(b"more")
    assert finish(receiver, sender) == (3, 3)
    for command in (receiver, sender):
        failed = command.last("file_failed")
        assert (failed["path"], failed["reason"]) == ("tree/b.bin", "source_changed")
        assert command.last("done")["failed"] == 1
    assert (homes.out / "tree" / "a.txt").read_bytes() == b"small"
    assert (homes.out / "tree" / "c.txt").read_bytes() == b"also small"
    assert not (homes.out / "tree" / "b.bin").exists()


@pytest.mark.spec("TR-141")
def test_a_source_that_is_touched_while_the_receiver_is_away_loses_nothing(
    homes: TwoHomes,
) -> None:
    path = homes.file("a.bin", 8 * MIB)
    sender = homes.send("--limit", "8M", path)
    code = code_of(sender)
    receiver = homes.receive(code)
    while number(receiver.wait_event("progress"), "bytes_done") < 2 * MIB:
        pass
    receiver.kill()
    path.touch()
    again = homes.receive(code)
    assert finish(again, sender) == (0, 0)
    assert number(again.last("done"), "bytes_reused") >= MIB
    assert (homes.out / "a.bin").read_bytes() == path.read_bytes()


@pytest.mark.spec("TR-141")
def test_a_source_that_is_changed_with_its_old_time_does_not_arrive_mixed(
    homes: TwoHomes,
) -> None:
    path = homes.file("a.bin", 8 * MIB)
    sender = homes.send("--limit", "8M", path)
    code = code_of(sender)
    receiver = homes.receive(code)
    while number(receiver.wait_event("progress"), "bytes_done") < 2 * MIB:
        pass
    receiver.kill()
    info = path.stat()
    with path.open("r+b") as file:
        file.write(b"!!")
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert finish(homes.receive(code), sender) == (3, 3)
    assert not (homes.out / "a.bin").exists()


def test_what_cannot_be_read_is_named_before_a_code_is_shown(homes: TwoHomes) -> None:
    homes.file("tree/good.txt", b"g")
    os.mkfifo(homes.source / "tree" / "pipe")
    (homes.source / "tree" / "out").symlink_to("/etc/passwd")
    sender = homes.send(homes.source / "tree", homes.source / "missing")
    error = sender.wait_event("error")
    assert error["code"] == "source-unreadable"
    for name in ("tree/pipe", "tree/out", "missing"):
        assert name in str(error["message"])
    assert "--skip-unreadable" in str(error["hint"])
    assert sender.wait_exit() == 1
    assert [e["event"] for e in sender.events] == ["error"]


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_without_permission_is_named(homes: TwoHomes) -> None:
    homes.file("tree/secret.txt", b"g").chmod(0)
    sender = homes.send(homes.source / "tree")
    assert "permission denied" in str(sender.wait_event("error")["message"])
    assert sender.wait_exit() == 1


def test_the_rest_goes_on_when_asked(homes: TwoHomes) -> None:
    homes.file("tree/good.txt", b"g")
    os.mkfifo(homes.source / "tree" / "pipe")
    sender = homes.send("--skip-unreadable", homes.source / "tree")
    assert finish(homes.receive(code_of(sender)), sender) == (0, 0)
    assert [p.name for p in (homes.out / "tree").iterdir()] == ["good.txt"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    try:
        with mounted(tmp_path / "small", "size=4m"):
            yield tmp_path / "small"
    except NotMounted as exc:
        pytest.skip(str(exc))


def test_too_little_space_is_found_before_anything_is_sent(
    homes: TwoHomes, small_disk: Path
) -> None:
    sender = homes.send(homes.file("a.bin", 6 * MIB))
    code = code_of(sender)
    receiver = homes.receive(code, out=small_disk)
    error = receiver.wait_event("error")
    assert error["code"] == "no-space" and receiver.wait_exit() == 19
    assert str(6 * MIB) in str(error["message"]).replace(",", "")
    assert sender.wait_event("error")["code"] == "offer-refused"
    assert sender.wait_exit() == 16
    assert list(small_disk.iterdir()) == []


def test_a_disk_that_fills_up_leaves_nothing_half_written(
    homes: TwoHomes, small_disk: Path
) -> None:
    """A stream has no size, so nobody could know before."""
    sender = homes.send("-", stdin=os.urandom(6 * MIB))
    code = code_of(sender)
    receiver = homes.receive(code, out=small_disk)
    assert receiver.wait_event("error")["code"] == "no-space"
    assert receiver.wait_exit() == 19
    assert sender.wait_event("gave_up")["reason"] == "no_space"
    assert all(p.name.startswith(".wraith-") for p in small_disk.iterdir())
    # With room again the same command finishes what it began.
    subprocess.run(["mount", "-o", "remount,size=32m", str(small_disk)], check=True)
    again = homes.receive(code, out=small_disk)
    assert finish(again, sender) == (0, 0)
    assert number(again.last("done"), "bytes_reused") > MIB
    assert (small_disk / "stdin").stat().st_size == 6 * MIB


def test_a_file_size_limit_is_an_error_of_the_disk(homes: TwoHomes) -> None:
    path = homes.file("a.bin", 6 * MIB)
    sender = homes.send("--limit", "5M", path)
    code = code_of(sender)
    receiver = homes.receive(code)
    receiver.wait_event("accepted")
    resource.prlimit(receiver.process.pid, resource.RLIMIT_FSIZE, (2 * MIB, 2 * MIB))
    error = receiver.wait_event("error")
    assert error["code"] == "disk-error" and os.strerror(errno.EFBIG).lower() in str(
        error["message"]
    )
    assert receiver.wait_exit() == 1
    assert not (homes.out / "a.bin").exists()
    assert finish(homes.receive(code), sender) == (0, 0)
    assert (homes.out / "a.bin").read_bytes() == path.read_bytes()


def test_data_that_rots_between_two_runs_is_found_by_verify(homes: TwoHomes) -> None:
    path = homes.file("a.bin", 4 * MIB)
    sender = homes.send("--limit", "4M", path)
    code = code_of(sender)
    receiver = homes.receive(code)
    while number(receiver.wait_event("progress"), "bytes_done") < 2 * MIB:
        pass
    receiver.kill()
    (state,) = homes.leftovers()
    with (state / "data" / "a.bin").open("r+b") as file:
        file.seek(300_000)
        byte = file.read(1)
        file.seek(300_000)
        file.write(bytes([byte[0] ^ 1]))
    again = homes.receive(code, "--verify")
    before = number(receiver.last("progress"), "bytes_done")
    reused = number(again.wait_event("accepted"), "bytes_reused")
    assert before - MIB <= reused + 256 * 1024
    assert reused % (256 * 1024) == 0
    assert finish(again, sender) == (0, 0)
    assert (homes.out / "a.bin").read_bytes() == path.read_bytes()


def test_a_listing_that_changed_is_shown_again_and_keeps_what_is_the_same(
    homes: TwoHomes,
) -> None:
    big = homes.file("tree/big.bin", 3 * MIB)
    sender = homes.send("--limit", "3M", homes.source / "tree")
    code = code_of(sender)
    receiver = homes.receive(code)
    while number(receiver.wait_event("progress"), "bytes_done") < 2 * MIB:
        pass
    receiver.kill()
    sender.kill()
    homes.file("tree/new.txt", b"new")
    again = homes.send(homes.source / "tree")
    assert code_of(again) == code
    resumed = homes.receive(code)
    assert resumed.wait_event("offer")["files"] == 2
    assert finish(resumed, again) == (0, 0)
    assert number(resumed.last("done"), "bytes_reused") >= MIB
    assert (homes.out / "tree" / "big.bin").read_bytes() == big.read_bytes()
    assert (homes.out / "tree" / "new.txt").read_bytes() == b"new"


def test_leftovers_are_listed_and_discarded(homes: TwoHomes) -> None:
    sender = homes.send("--limit", "2M", homes.file("a.bin", 64 * MIB))
    receiver = homes.receive(code_of(sender))
    while number(receiver.wait_event("progress"), "bytes_done") < MIB:
        pass
    listing = ("receive", "--json", "--out", str(homes.out))
    in_use = homes.start(*listing, "--list", home="home-receiver").wait_event("leftover")
    assert (in_use["names"], in_use["in_use"]) == (["a.bin"], True)
    busy = homes.start(*listing, "--discard", str(in_use["id"]), home="home-receiver")
    assert busy.wait_event("error")["code"] == "busy" and busy.wait_exit() == 17
    receiver.kill()
    left = homes.start(*listing, "--list", home="home-receiver").wait_event("leftover")
    assert left["in_use"] is False and number(left, "bytes_done") >= MIB
    assert homes.start(*listing, "--discard", "all", home="home-receiver").wait_exit() == 0
    assert homes.leftovers() == []


def test_modes_and_times_arrive_without_dangerous_bits(homes: TwoHomes) -> None:
    path = homes.file("tool", b"#!/bin/sh\n")
    path.chmod(0o6755)
    os.utime(path, ns=(10**18, 10**18 + 123_456_789))
    sender = homes.send(path)
    assert finish(homes.receive(code_of(sender)), sender) == (0, 0)
    arrived = (homes.out / "tool").stat()
    assert arrived.st_mode & 0o7777 == 0o755
    assert arrived.st_mtime_ns == 10**18 + 123_456_789


def test_many_small_files_are_quick(homes: TwoHomes) -> None:
    """No round trip per file: 2,000 of them over a path of 40 ms."""
    for i in range(2_000):
        homes.file(f"tree/{i % 20}/{i:05}", 600, seed=i)
    sender = homes.send(homes.source / "tree")
    waiting = sender.wait_event("waiting")
    link = LinkConfig(latency_s=0.02)
    with UdpRelay(("127.0.0.1", number(waiting, "port")), link=link) as relay:
        started = time.monotonic()
        receiver = homes.receive(through_relay(str(waiting["code"]), relay))
        assert finish(receiver, sender) == (0, 0)
        assert time.monotonic() - started < 2_000 * 0.04 / 4
    assert len(list((homes.out / "tree").rglob("*"))) == 2_020
