"""Partial data that an earlier run left: read again, or named as not read."""

from __future__ import annotations

from pathlib import Path

import pytest

from wraith.testing.demo import Command
from wraith.testing.two_homes import TwoHomes, code_of, finish, number

MIB = 1 << 20


def half_received(homes: TwoHomes, *, n_bytes: int = 12 * MIB) -> tuple[Path, Command, str]:
    """The source, a sender that goes on waiting, its code; 4 MiB and more are here."""
    path = homes.file("a.bin", n_bytes)
    sender = homes.send("--limit", "8M", path)
    code = code_of(sender)
    receiver = homes.receive(code)
    while number(receiver.wait_event("progress"), "bytes_done") < 4 * MIB:
        pass
    receiver.kill()
    return path, sender, code


def flip_a_byte(homes: TwoHomes, at: int) -> None:
    (state,) = homes.leftovers()
    with (state / "data" / "a.bin").open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1]))


@pytest.mark.spec("TR-137")
def test_a_byte_that_flipped_between_two_runs_does_not_arrive(homes: TwoHomes) -> None:
    path, sender, code = half_received(homes)
    flip_a_byte(homes, 3 * MIB + 5)
    receiver = homes.receive(code)
    assert finish(receiver, sender) == (0, 0)
    assert (homes.out / "a.bin").read_bytes() == path.read_bytes()
    damaged = receiver.last("damaged")
    assert (damaged["chunks"], damaged["bytes"]) == (1, 256 * 1024)
    for command in (receiver, sender):
        assert command.last("done")["bytes_unread"] == 0
    assert homes.leftovers() == []


@pytest.mark.spec("TR-53")
def test_without_reading_again_both_sides_say_how_much_was_not(homes: TwoHomes) -> None:
    _, sender, code = half_received(homes)
    receiver = homes.receive(code, "--no-verify")
    assert finish(receiver, sender) == (0, 0)
    done = receiver.last("done")
    assert number(done, "bytes_unread") == number(done, "bytes_reused") >= 4 * MIB - MIB
    assert sender.last("done")["bytes_unread"] == done["bytes_unread"]
