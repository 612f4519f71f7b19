"""The one line at the bottom of a terminal that says how far a transfer is, and the colours.

A ``View`` is what the line shows; ``fitted`` makes one line of it that is never wider than the
terminal, since a line that wraps cannot be drawn over. ``Screen`` draws it, takes it away before
anything else is written and puts it back. There is one ``Screen`` per stream, whoever writes.

It decides nothing and knows no transfer.
"""

from __future__ import annotations

import contextlib
import os
import unicodedata
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TextIO

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
COLUMNS_MIN: Final = 10
COLUMNS_UNKNOWN: Final = 80
BAR_CELLS_MIN: Final = 8
BAR_CELLS_MAX: Final = 40
NAME_CELLS_MIN: Final = 8
NAME_CELLS_MAX: Final = 32
GAP: Final = "  "
CLEAR_LINE: Final = "\r\x1b[K"

BOLD: Final = "1"
DIM: Final = "2"
RED: Final = "31"
GREEN: Final = "32"
YELLOW: Final = "33"
CYAN: Final = "36"

#: Programs that draw ``OSC 9;4`` as progress. Others show its text as a message, so it is not sent
#: to a terminal that is not known.
_PROGRESS_PROGRAMS: Final = frozenset({"ghostty", "WezTerm", "rio", "ConEmu"})
_VTE_WITH_PROGRESS: Final = 7_900


def size(n_bytes: float) -> str:
    """``n_bytes`` for people, as in 3.2 MiB."""
    value = float(n_bytes)
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


def duration(seconds: float) -> str:
    """``seconds`` for people, as in 1:05 or 2:03:09."""
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02}"
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def cells(text: str) -> int:
    """The columns that ``text`` takes: two for a wide character, none for a combining one."""
    n = 0
    for char in text:
        if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
            continue
        n += 2 if unicodedata.east_asian_width(char) in "WF" else 1
    return n


def cut(text: str, columns: int) -> str:
    """``text`` in at most so many columns; what is missing at its end is shown as ``…``."""
    if cells(text) <= columns:
        return text
    kept, n = "", 0
    for char in text:
        n += cells(char)
        if n > columns - 1:
            break
        kept += char
    return kept + "…" if columns > 0 else ""


@dataclass(frozen=True, slots=True)
class View:
    """The values that a progress line shows.

    Attributes:
        name: what is sent, safe to show.
        bytes_total: ``None`` where nobody knows.
        n_files: of the whole; 0 where nobody knows.
        rate: bytes per second.
        seconds_left: ``None`` where nobody can say.
        post_quantum: what the handshake reached; ``None`` before there was one.
        silent: the words for a peer that is silent, or nothing.
        over: the words for a carrier that is not UDP, or nothing.
    """

    name: str = ""
    bytes_done: int = 0
    bytes_total: int | None = None
    n_files_done: int = 0
    n_files: int = 0
    rate: float = 0.0
    seconds_left: float | None = None
    post_quantum: bool | None = None
    silent: str = ""
    over: str = ""

    @property
    def percent(self) -> int | None:
        """0 to 100; ``None`` where nobody knows how much there is."""
        if self.bytes_total is None:
            return None
        return 100 * self.bytes_done // self.bytes_total if self.bytes_total else 100

    @property
    def _speed(self) -> str:
        return f"{size(self.rate)}/s {self.over}".rstrip()

    @property
    def sentence(self) -> str:
        """The same in words, for a log and for a screen reader."""
        if self.silent:
            return f"{size(self.bytes_done)} done; {self.silent}"
        if self.bytes_total is None:
            return f"{size(self.bytes_done)}, {self._speed}"
        parts = [f"{self.percent} % of {size(self.bytes_total)}"]
        if self.n_files > 1:
            parts.append(f"{self.n_files_done:,} of {self.n_files:,} files")
        parts.append(self._speed)
        if self.seconds_left is not None:
            parts.append(f"{duration(self.seconds_left)} left")
        return ", ".join(parts)


class Palette:
    """Paints, or leaves everything as it is."""

    def __init__(self, *, is_on: bool, is_unicode: bool = True) -> None:
        self.is_on = is_on
        self.is_unicode = is_unicode

    def __call__(self, text: str, *styles: str) -> str:
        if not self.is_on or not styles or not text:
            return text
        return f"\x1b[{';'.join(styles)}m{text}\x1b[0m"


def fitted(view: View, columns: int, palette: Palette) -> str:
    """One line of at most ``columns`` cells. What does not fit is left out: first the bar, then
    the name, the files, the carrier, the badge, the time that is left, the rate."""
    columns = max(COLUMNS_MIN, columns)
    if view.silent:
        return palette(cut(f"{size(view.bytes_done)}  {view.silent}", columns), YELLOW)
    percent = view.percent
    done = size(view.bytes_done) if percent is None else f"{percent:3} %"
    badge = {True: "PQ", False: "not PQ", None: ""}[view.post_quantum]
    files = f"{view.n_files_done:,} of {view.n_files:,} files" if view.n_files > 1 else ""
    left = f"{duration(view.seconds_left)} left" if view.seconds_left is not None else ""
    rate = f"{size(view.rate)}/s"
    room = columns - cells(done)
    # By what people miss most; shown in another order.
    kept: dict[str, str] = {}
    for name, text in (
        ("rate", rate), ("left", left), ("badge", badge), ("over", view.over), ("files", files)
    ):  # fmt: skip
        if text and room >= cells(text) + len(GAP):
            kept[name] = text
            room -= cells(text) + len(GAP)
    called = ""
    if view.name and room >= NAME_CELLS_MIN + len(GAP):
        space = room - len(GAP)
        if percent is not None and space >= NAME_CELLS_MIN + BAR_CELLS_MIN + len(GAP):
            space = max(NAME_CELLS_MIN, min(NAME_CELLS_MAX, space - BAR_CELLS_MIN - len(GAP)))
        called = cut(view.name, min(space, NAME_CELLS_MAX))
        room -= cells(called) + len(GAP)
    bar = ""
    if percent is not None and room >= BAR_CELLS_MIN + len(GAP):
        bar = _bar(percent, min(BAR_CELLS_MAX, room - len(GAP)), palette)
    pq = (GREEN,) if view.post_quantum else (RED, BOLD)
    parts = [
        palette(called, BOLD),
        bar,
        done,
        kept.get("files", ""),
        palette(kept.get("rate", ""), CYAN),
        kept.get("over", ""),
        kept.get("left", ""),
        palette(kept.get("badge", ""), *pq),
    ]
    return GAP.join(part for part in parts if part)


def _bar(percent: int, n: int, palette: Palette) -> str:
    full = n * percent // 100
    whole, rest = ("━", "─") if palette.is_unicode else ("#", "-")
    return palette(whole * full, GREEN) + palette(rest * (n - full), DIM)


class Screen:
    """One stream for people: its width, its colours and the line at its bottom.

    ``is_live``: a line can be drawn over. Without a terminal, with ``TERM=dumb`` and for a screen
    reader (``plain``) it cannot.
    """

    def __init__(self, stream: TextIO, environ: Mapping[str, str] | None = None) -> None:
        self._stream = stream
        self._environ = os.environ if environ is None else environ
        self._view: View | None = None
        self._is_drawn = False
        self._has_told = False
        self.is_terminal = _is_terminal(stream)
        self.is_plain = False
        self._color = "auto"
        #: For a stream that has no descriptor to ask.
        self.columns_fixed: int | None = None
        encoding = (getattr(stream, "encoding", None) or "utf-8").lower()
        self.palette = Palette(is_on=False, is_unicode=encoding.startswith("utf"))
        self.configure()

    def configure(self, *, color: str | None = None, plain: bool | None = None) -> None:
        """Takes ``--color`` and ``--plain``; ``None`` leaves what was said before. NO_COLOR is
        asked where ``color`` is ``auto``."""
        self._color = self._color if color is None else color
        self.is_plain = self.is_plain if plain is None else plain
        if self._color == "auto":
            is_dumb = self._environ.get("TERM") == "dumb"
            wanted = self.is_terminal and not is_dumb and not self._environ.get("NO_COLOR")
            self.palette.is_on = wanted and not self.is_plain
        else:
            self.palette.is_on = self._color == "always"

    @property
    def is_live(self) -> bool:
        """True where a line can be drawn over."""
        return self.is_terminal and not self.is_plain and self._environ.get("TERM") != "dumb"

    @property
    def columns(self) -> int:
        """The width of the terminal now; 80 where the system does not know it."""
        if self.columns_fixed is not None:
            return self.columns_fixed
        with contextlib.suppress(OSError, ValueError, AttributeError):
            return os.get_terminal_size(self._stream.fileno()).columns or COLUMNS_UNKNOWN
        return COLUMNS_UNKNOWN

    def draw(self, view: View) -> str:
        """The text that draws ``view`` over the line there. The last column stays free: a character
        in it makes some terminals begin a new line."""
        self._view, self._is_drawn = view, True
        return CLEAR_LINE + fitted(view, self.columns - 1, self.palette) + self._told(view.percent)

    def lifted(self) -> str:
        """The text that takes the line away; ``put_back`` draws it again."""
        if not self._is_drawn:
            return ""
        self._is_drawn = False
        return CLEAR_LINE

    def put_back(self) -> str:
        """The text that draws the last line again; empty where there was none."""
        return "" if self._view is None else self.draw(self._view)

    def forget(self) -> str:
        """The text that takes the line away for good."""
        self._view = None
        return self.lifted() + self._told(None)

    def _told(self, percent: int | None) -> str:
        """Progress for the terminal's own window (``OSC 9;4``); ``None`` ends it."""
        if percent is None:
            ended, self._has_told = self._has_told, False
            return "\x1b]9;4;0;\x1b\\" if ended else ""
        if not self._draws_progress:
            return ""
        self._has_told = True
        return f"\x1b]9;4;1;{percent};\x1b\\"

    @property
    def _draws_progress(self) -> bool:
        environ = self._environ
        vte = environ.get("VTE_VERSION", "")
        return (
            "WT_SESSION" in environ
            or environ.get("ConEmuANSI") == "ON"
            or environ.get("TERM_PROGRAM") in _PROGRESS_PROGRAMS
            or (vte.isascii() and vte.isdigit() and int(vte) >= _VTE_WITH_PROGRESS)
        )


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


_screens: weakref.WeakKeyDictionary[TextIO, Screen] = weakref.WeakKeyDictionary()


def screen_of(stream: TextIO) -> Screen:
    """The screen of ``stream``: the same for everybody who writes to it."""
    screen = _screens.get(stream)
    if screen is None:
        screen = _screens[stream] = Screen(stream)
    return screen


__all__ = [
    "BOLD",
    "CLEAR_LINE",
    "CYAN",
    "DIM",
    "GREEN",
    "RED",
    "YELLOW",
    "Palette",
    "Screen",
    "View",
    "cells",
    "cut",
    "duration",
    "fitted",
    "screen_of",
    "size",
]
