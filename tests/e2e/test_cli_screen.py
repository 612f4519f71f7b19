"""The screen of a real command on a real terminal, read by an emulator."""

from __future__ import annotations

import signal

import pyte
import pytest

from wraith.testing.terminal import TerminalCommand
from wraith.testing.two_homes import TwoHomes, code_of


def _lines(written: bytes, columns: int) -> list[str]:
    screen = pyte.HistoryScreen(columns, 60, history=1_000)
    stream = pyte.ByteStream(screen)
    stream.feed(written)
    assert not screen.history.top, "something flooded the screen"
    return [line.rstrip() for line in screen.display if line.strip()]


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_progress_takes_one_line_and_leaves_none_behind(homes: TwoHomes, columns: int) -> None:
    sender = homes.send("--limit", "600k", homes.file("a.bin", 1 << 20))
    receiver = TerminalCommand(
        *("receive", code_of(sender), "--yes", "--out", homes.out),
        home=homes.work / "home-receiver",
        columns=columns,
        rows=60,
    )
    try:
        receiver.wait_for("B/s")
        receiver.wait_for("B/s")
        during = _lines(receiver.written, columns)
        assert sum("B/s" in line for line in during) == 1, during
        assert receiver.wait_exit() == 0
        after = _lines(receiver.written, columns)
        assert [line for line in after if " %" in line] == [], after
        assert "".join(after).count("done:") == 1
    finally:
        receiver.close()


def test_ctrl_c_leaves_no_piece_of_the_line(homes: TwoHomes) -> None:
    sender = homes.send("--limit", "600k", homes.file("a.bin", 4 << 20))
    receiver = TerminalCommand(
        *("receive", code_of(sender), "--yes", "--out", homes.out),
        home=homes.work / "home-receiver",
        columns=80,
    )
    try:
        receiver.wait_for("B/s")
        receiver.process.send_signal(signal.SIGINT)
        assert receiver.wait_exit() == 130
        lines = _lines(receiver.written, 80)
        assert [line for line in lines if " %" in line] == []
        assert "wraith: interrupted" in lines
    finally:
        receiver.close()
