"""Which names of an offer exist at the target, and the choices for them in the journal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from wraith.aio.disk.existing import Choices, ExistsPolicy, existing
from wraith.aio.disk.safe_tree import SafeTree
from wraith.transfer.journal_records import EVERY_ENTRY, Choice, OnExists
from wraith.transfer.listing import Entry, Kind


def entry(path: str, kind: Kind = Kind.FILE) -> Entry:
    size = 4 if kind is Kind.FILE else 0
    return Entry(kind, 0o644, 0, size, os.fsencode(path), b"to" if kind is Kind.LINK else b"")


OFFERED = [
    entry("a", Kind.FOLDER),
    entry("a/file"),
    entry("a/link", Kind.LINK),
    entry("a/sub", Kind.FOLDER),
    entry("a/sub/deep"),
    entry("b"),
    entry("c", Kind.FOLDER),
    entry("c/below"),
]


def met(out: Path, *, replaced: frozenset[bytes] = frozenset()) -> list[tuple[int, bool]]:
    tree = SafeTree(os.fsencode(out))
    tops = [each for each in OFFERED if b"/" not in each.path]
    found = existing(
        tree, tops, lambda: iter(enumerate(OFFERED)), lambda path, there: path in replaced
    )
    try:
        return [(each.number, each.is_merge) for each in found]
    finally:
        tree.close()


def test_tops_and_what_is_below_folders_that_meet_folders(tmp_path: Path) -> None:
    (tmp_path / "a/sub").mkdir(parents=True)
    for name in ("a/file", "a/sub/deep", "b", "a/mine"):
        (tmp_path / name).write_text("old")
    (tmp_path / "a/link").symlink_to("nowhere")
    assert met(tmp_path) == [(0, True), (1, False), (2, False), (4, False), (5, False)]


def test_nothing_below_a_folder_that_meets_a_file_is_met(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("old")
    assert met(tmp_path) == [(6, False)]


def test_what_a_run_whose_disk_failed_has_put_there_is_not_met(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/file").write_text("old")
    (tmp_path / "b").write_text("old")
    assert met(tmp_path, replaced=frozenset([b"b", b"a/file"])) == [(0, True)]


def test_the_listing_is_not_read_where_no_top_name_exists(tmp_path: Path) -> None:
    def entries() -> Iterator[tuple[int, Entry]]:
        raise AssertionError("read")

    tree = SafeTree(os.fsencode(tmp_path))
    assert list(existing(tree, OFFERED[:1], entries, lambda path, there: False)) == []
    tree.close()


@pytest.mark.spec("TR-72", "TR-107")
def test_choices_are_what_their_records_say() -> None:
    choices = Choices(ExistsPolicy.SKIP, {7: ExistsPolicy.OVERWRITE, 2: ExistsPolicy.RENAME})
    records = list(choices.records())
    assert records[0] == OnExists(EVERY_ENTRY, Choice.SKIP), "it takes back what stands before it"
    assert Choices.of_journal({each.entry: each.choice for each in records}) == choices
    assert (choices[7], choices[2], choices[0]) == (
        ExistsPolicy.OVERWRITE,
        ExistsPolicy.RENAME,
        ExistsPolicy.SKIP,
    )


def test_without_a_choice_nothing_is_noted() -> None:
    assert not Choices() and list(Choices().records()) == []
    assert Choices(single={1: ExistsPolicy.SKIP}) and ExistsPolicy.REFUSE in Choices()
