"""Names that a person should see before they say yes."""

from __future__ import annotations

import time

import pytest

from wraith.transfer.listing import Entry, Kind
from wraith.transfer.marks import Marking


def file(path: bytes, mode: int = 0o644) -> Entry:
    return Entry(Kind.FILE, mode, 0, 1, path)


@pytest.mark.spec("TR-106")
def test_hidden_names_programs_and_links_are_marked_at_any_depth() -> None:
    marking = Marking()
    marking.see(
        [
            file(b".profile"),
            Entry(Kind.FOLDER, 0o755, 0, 0, b"a"),
            Entry(Kind.FOLDER, 0o755, 0, 0, b"a/.git"),
            file(b"a/.git/hooks", 0o755),
            Entry(Kind.LINK, 0, 0, 0, b"a/l", b"x"),
            file(b"a/plain.txt"),
        ]
    )
    marks = marking.marks()
    assert marks.hidden.first == (b".profile", b"a/.git")
    assert marks.executable.first == (b"a/.git/hooks",)
    assert marks.links.first == (b"a/l",)
    assert marks.n_unseen == 0


@pytest.mark.spec("TR-106")
def test_the_first_ten_by_their_bytes_are_kept_in_whatever_order_they_come() -> None:
    marking = Marking()
    paths = [b"d%02d/.x" % i for i in range(40)]
    marking.see(file(path) for path in [*paths[20:], *paths[:20]])
    marks = marking.marks()
    assert marks.hidden.first == tuple(paths[:10]) and marks.hidden.n == 40
    assert marks.n_unseen == 30


def test_a_million_entries_take_no_more_than_two_seconds() -> None:
    page = [file(b"some/folder/of/a/tree/.name%04d" % i, 0o755) for i in range(2_000)]
    marking = Marking()
    began = time.process_time()
    for _ in range(500):
        marking.see(page)
    assert time.process_time() - began <= 2.0
    assert marking.marks().hidden.n == 1_000_000
