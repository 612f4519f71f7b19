"""What stands on the screen while a transfer runs, in a terminal emulator of several widths."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

from wraith.cli.narrator import Narrator
from wraith.cli.output import STEADY_S, Output
from wraith.cli.screen import Palette, Screen, View, cells, cut, fitted, screen_of
from wraith.node.events import LinkLost
from wraith.testing.pictures import PICTURES, EmulatedTerminal, main, narrated, receiving
from wraith.transfer.events import Accepted, Progress

ROOT = Path(__file__).parents[3]
WIDTHS = (20, 40, 80, 200)
MIB = 1 << 20
FULL = View(
    name="photographs of the summer",
    bytes_done=211 * MIB,
    bytes_total=512 * MIB,
    n_files_done=3,
    n_files=12,
    rate=12.3 * MIB,
    seconds_left=41.0,
    post_quantum=True,
)
NO_COLOUR = Palette(is_on=False)


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("time.monotonic", lambda: self.now)

    def tick(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.mark.parametrize("columns", WIDTHS)
def test_progress_is_one_line_that_is_drawn_over(columns: int, clock: Clock) -> None:
    with narrated(columns) as (terminal, narrator):
        narrator.show(Accepted(0, 100 * MIB))
        for step in range(300):
            narrator.show(Progress(step * MIB // 3, 100 * MIB, 0))
            clock.tick(0.2)
            narrator.redraw()
        assert len(terminal.lines) == 1 and terminal.n_scrolled == 0, terminal.lines
        assert "99 %" in terminal.lines[0]
        assert cells(terminal.lines[0]) < columns


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (20, " 41 %  12.3 MiB/s"),
        (40, " 41 %  12.3 MiB/s  0:41 left  PQ"),
        (
            80,
            "photogra…  ━━━━━━━━━━──────────────   41 %  3 of 12 files  12.3 MiB/s  0:41 left  PQ",
        ),
    ],
)
def test_what_fits_is_shown_and_what_people_miss_most_goes_last(columns: int, shown: str) -> None:
    line = fitted(FULL, columns, NO_COLOUR)
    assert cells(line) <= columns
    words = [word for word in shown.split("  ") if "━" not in word and "…" not in word]
    assert all(word.strip() in line for word in words), line


def test_a_wide_terminal_shows_all_of_it() -> None:
    line = fitted(FULL, 200, NO_COLOUR)
    assert line.startswith("photographs of the summer  ━")
    for word in ("3 of 12 files", "12.3 MiB/s", "0:41 left", "PQ"):
        assert word in line
    assert line.count("━") + line.count("─") == 40 and line.count("━") == 16


def test_a_carrier_stands_behind_the_rate() -> None:
    over = replace(FULL, over="over TCP")
    assert "12.3 MiB/s  over TCP" in fitted(over, 200, NO_COLOUR)
    assert "12.3 MiB/s over TCP" in over.sentence and "over" not in FULL.sentence


@pytest.mark.parametrize("columns", [*range(1, 120), 200])
@pytest.mark.parametrize("name", ["", "a", "写真" * 30, "e\u0301" * 50, "x" * 300])
def test_no_line_is_wider_than_it_may_be(columns: int, name: str) -> None:
    for view in (
        FULL,
        View(name=name, bytes_done=10**15, rate=1e14),
        View(name=name, bytes_total=10**18, n_files=10**6, rate=1e14, seconds_left=1e7),
        View(bytes_done=5, silent="the sender is silent for 1000 s"),
    ):
        assert cells(fitted(view, columns, NO_COLOUR)) <= max(columns, 20)
        coloured = fitted(view, columns, Palette(is_on=True))
        plain = coloured
        for code in ("1", "2", "31;1", "32", "33", "36", "0"):
            plain = plain.replace(f"\x1b[{code}m", "")
        assert plain == fitted(view, columns, NO_COLOUR)


def test_a_cut_name_ends_in_an_ellipsis_and_never_in_half_a_character() -> None:
    assert cut("写真写真", 8) == "写真写真"
    assert cut("写真写真", 7) == "写真写…"
    assert cut("写真写真", 6) == "写真…"
    assert cut("abc", 0) == ""


def test_a_sentence_stands_above_the_line_and_the_line_comes_back(clock: Clock) -> None:
    with narrated(80) as (terminal, narrator):
        narrator.show(Accepted(0, 100 * MIB))
        narrator.show(Progress(10 * MIB, 100 * MIB, 0))
        clock.tick(1)
        narrator.redraw()
        narrator.show(Accepted(5 * MIB, 100 * MIB))  # says what was there
        assert terminal.lines[0] == "wraith: going on after 5.0 MiB that arrived earlier"
        assert " 10 %" in terminal.lines[1]
        narrator.show(LinkLost("silent", None))
        assert [line for line in terminal.lines if "%" in line] == []


def test_after_a_resize_the_line_fits_at_once(clock: Clock) -> None:
    with narrated(80) as (terminal, narrator):
        narrator.show(Accepted(0, 100 * MIB))
        narrator.show(Progress(10 * MIB, 100 * MIB, 0))
        clock.tick(1)
        narrator.redraw()
        terminal.screen.resize(columns=24)
        screen_of(terminal).columns_fixed = 24
        narrator.resized()
        assert len(terminal.lines) == 1
        assert cells(terminal.lines[0]) < 24 and " 10 %" in terminal.lines[0]


def test_another_voice_takes_the_line_away_before_it_speaks(clock: Clock) -> None:
    """``main`` tells of Ctrl-C with an output of its own, and the terminal has echoed ``^C``."""
    with narrated(80) as (terminal, narrator):
        narrator.show(Accepted(0, 100 * MIB))
        narrator.show(Progress(10 * MIB, 100 * MIB, 0))
        clock.tick(1)
        narrator.redraw()
        terminal.write("^C")
        voice = Output(json_events=False, quiet=False, stdout=io.StringIO(), stderr=terminal)
        voice.failure("interrupted", "interrupted", "", 130)
        assert terminal.lines == ["wraith: interrupted"]


def test_without_a_terminal_a_sentence_comes_every_five_seconds(clock: Clock) -> None:
    heard = io.StringIO()
    output = Output(json_events=False, quiet=False, stdout=io.StringIO(), stderr=heard)
    narrator = Narrator(output, other="the sender", name_of=lambda _: "")
    receiving(narrator, clock.tick, is_done=True)
    steady = [line for line in heard.getvalue().splitlines() if " % of " in line]
    assert len(steady) == 2 and STEADY_S == 5.0
    assert steady[0].startswith("wraith: 32 % of 512.0 MiB, 4 of 12 files, ")
    assert "\r" not in heard.getvalue() and "\x1b" not in heard.getvalue()


@pytest.mark.parametrize(
    ("environ", "color", "is_on"),
    [
        ({}, "auto", True),
        ({"NO_COLOR": "1"}, "auto", False),
        ({"NO_COLOR": ""}, "auto", True),
        ({"NO_COLOR": "1"}, "always", True),
        ({}, "never", False),
        ({"TERM": "dumb"}, "auto", False),
    ],
)
def test_colour_is_what_was_asked_for(environ: dict[str, str], color: str, is_on: bool) -> None:
    screen = Screen(EmulatedTerminal(80), environ)
    screen.configure(color=color)
    assert screen.palette.is_on == is_on


def test_a_pipe_gets_no_colour_unless_it_was_asked_for() -> None:
    screen = Screen(io.StringIO(), {})
    assert not screen.palette.is_on
    screen.configure(color="always")
    assert screen.palette.is_on


def test_plain_draws_nothing_over_and_has_no_colour() -> None:
    screen = Screen(EmulatedTerminal(80), {})
    screen.configure(plain=True)
    assert not screen.is_live and not screen.palette.is_on


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({}, False),
        ({"WT_SESSION": "1"}, True),
        ({"TERM_PROGRAM": "ghostty"}, True),
        ({"TERM_PROGRAM": "iTerm.app"}, False),
        ({"VTE_VERSION": "7900"}, True),
        ({"VTE_VERSION": "6800"}, False),
    ],
)
def test_a_terminal_that_knows_it_hears_of_progress_and_of_its_end(
    environ: dict[str, str], told: bool
) -> None:
    screen = Screen(EmulatedTerminal(80), environ)
    assert ("\x1b]9;4;1;41;\x1b\\" in screen.draw(FULL)) == told
    assert ("\x1b]9;4;0;\x1b\\" in screen.forget()) == told
    assert screen.forget() == ""


def test_the_pictures_of_the_documents_are_what_the_commands_show() -> None:
    assert main(ROOT / "docs/reference/screens", is_written=False) == 0
    page = (ROOT / "docs/reference/cli.md").read_text("utf-8")
    assert all(f"screens/{name}" in page for name in PICTURES)


def test_a_stale_picture_is_noticed(tmp_path: Path) -> None:
    assert main(tmp_path, is_written=True) == 0
    stale = tmp_path / next(iter(PICTURES))
    stale.write_text(stale.read_text("utf-8").replace("%", "&", 1), "utf-8")
    assert main(tmp_path, is_written=False) == 1
