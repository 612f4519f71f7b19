"""Pictures of the screen for the documents, made from what the commands really write.

Events of a transfer go through the narrator of the command line, with a clock of our own; what it
writes goes into a terminal emulator (pyte), and the emulator's cells become an SVG, character for
character. Nothing is drawn by hand.

``python -m wraith.testing.pictures docs/reference/screens --write`` makes them anew.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Final

import pyte

from wraith.cli.narrator import Narrator
from wraith.cli.output import Output
from wraith.cli.screen import screen_of
from wraith.node.events import Connected
from wraith.transfer.answers import SurveyResult
from wraith.transfer.events import Accepted, Done, OfferReceived, Progress
from wraith.transfer.listing import Entry, Kind
from wraith.transfer.messages import Offer, OfferKind
from wraith.types import Address, Carrier, PeerKey, Road, SecurityInfo, SuiteId

MIB: Final = 1 << 20
ROWS: Final = 10
CELL: Final = (8, 18)
_COLOURS: Final = {
    "default": "#d0d0d0",
    "red": "#ff6b6b",
    "green": "#5fd787",
    "brown": "#ffd75f",
    "cyan": "#5fd7ff",
}
_PEER: Final = PeerKey(bytes(range(32)))
_SECURITY: Final = SecurityInfo(
    "X25519+ML-KEM-768", True, SuiteId.A, "XChaCha20-Poly1305", _PEER, 0, "static-key"
)


class EmulatedTerminal(io.StringIO):
    """A stream that is a terminal of so many columns, shown by an emulator."""

    encoding = "utf-8"

    def __init__(self, columns: int, rows: int = ROWS) -> None:
        super().__init__()
        self.screen = pyte.HistoryScreen(columns, rows, history=1_000)
        self.screen.set_mode(pyte.modes.LNM)
        self._parser = pyte.Stream(self.screen)

    def isatty(self) -> bool:
        """It is."""
        return True

    def write(self, text: str) -> int:
        """Shows ``text``."""
        self._parser.feed(text)
        return super().write(text)

    @property
    def lines(self) -> list[str]:
        """What stands on the screen, without blanks at the end of lines and empty lines below."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip("\n").split("\n")

    @property
    def n_scrolled(self) -> int:
        """How many lines have left the screen at its top."""
        return len(self.screen.history.top)


@contextmanager
def narrated(columns: int, *, color: str = "always") -> Iterator[tuple[EmulatedTerminal, Narrator]]:
    """A narrator that writes to a terminal of so many columns."""
    terminal = EmulatedTerminal(columns)
    screen = screen_of(terminal)
    screen.columns_fixed = columns
    output = Output(
        json_events=False, quiet=False, color=color, stdout=io.StringIO(), stderr=terminal
    )
    yield terminal, Narrator(output, other="the sender", name_of=lambda _: "anna")


def receiving(narrator: Narrator, tick: Callable[[float], None], *, is_done: bool) -> None:
    """The events of a receiver, to the middle of the transfer or to its end."""
    total = 512 * MIB
    album = Entry(Kind.FOLDER, 0o755, 0, 0, b"photos")
    offer = Offer(OfferKind.FILES, 13, 12, total, 1, 300, bytes(32), b"photos")
    narrator.dialling((Road(Carrier.UDP, Address(bytes([192, 0, 2, 2]), 46276)),))
    narrator.show(Connected(_PEER, _SECURITY, False, Address(bytes([192, 0, 2, 2]), 46276), False))
    narrator.show(OfferReceived(offer, (album,), 1, 0, SurveyResult(place="/srv/inbox")))
    narrator.show(Accepted(0, total))
    for step in range(6 if not is_done else 13):
        narrator.show(Progress(step * 42 * MIB, total, step))
        tick(1.0)
        narrator.redraw()
    if is_done:
        narrator.done(Done(12, total, total, 0, 0))


def picture(columns: int, *, is_done: bool = False) -> str:
    """The SVG of a receiver's terminal of so many columns."""
    now = [100.0]
    real, time.monotonic = time.monotonic, lambda: now[0]

    def tick(seconds: float) -> None:
        now[0] += seconds

    try:
        with narrated(columns) as (terminal, narrator):
            receiving(narrator, tick, is_done=is_done)
    finally:
        time.monotonic = real
    return svg(terminal.screen)


def svg(screen: pyte.Screen) -> str:
    """The cells of ``screen``, as far down as something stands."""
    n_rows = max((y for y in range(screen.lines) if screen.display[y].strip()), default=0) + 1
    width, height = screen.columns * CELL[0] + 16, n_rows * CELL[1] + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">',
        f'<rect width="{width}" height="{height}" rx="6" fill="#1c1c1c"/>',
        '<g font-family="monospace" font-size="13" xml:space="preserve">',
    ]
    for y in range(n_rows):
        parts += _row(screen, y)
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _row(screen: pyte.Screen, y: int) -> Iterator[str]:
    """Runs of cells that look alike."""
    x = 0
    while x < screen.columns:
        cell = screen.buffer[y][x]
        end = x
        text = ""
        while end < screen.columns and _look(screen.buffer[y][end]) == _look(cell):
            text += screen.buffer[y][end].data
            end += 1
        if text.strip():
            weight = ' font-weight="bold"' if cell.bold else ""
            yield (
                f'<text x="{8 + x * CELL[0]}" y="{8 + y * CELL[1] + 13}" '
                f'textLength="{(end - x) * CELL[0]}" fill="{_COLOURS.get(cell.fg, "#d0d0d0")}"'
                f"{weight}>{escape(text)}</text>"
            )
        x = end


def _look(cell: pyte.screens.Char) -> tuple[str, bool]:
    return cell.fg, cell.bold


PICTURES: Final = {
    "receive-80.svg": (80, False),
    "receive-40.svg": (40, False),
    "received-100.svg": (100, True),
}


def main(folder: Path, *, is_written: bool) -> int:
    """Compares the pictures in ``folder`` with what they are now, or writes them; the exit code."""
    stale = []
    for name, (columns, is_done) in PICTURES.items():
        path, now = folder / name, picture(columns, is_done=is_done)
        if is_written:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(now, "utf-8")
        elif not path.exists() or path.read_text("utf-8") != now:
            stale.append(name)
    if stale:
        print(f"not what the commands show: {', '.join(stale)}; --write makes them anew")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), is_written="--write" in sys.argv))
