"""Listings: pages, their order, their limits, what is wrong with them."""

from __future__ import annotations

import pytest

from wraith.content.chunking import FILE_BYTES_MAX, UNKNOWN_SIZE
from wraith.errors import DecodeError, LimitExceeded
from wraith.transfer import listing as listing_module
from wraith.transfer.listing import (
    PAGE_BYTES_MAX,
    Entry,
    Kind,
    ListingReader,
    ListingWriter,
    decode_page,
    encode_entry,
)
from wraith.transfer.path_rules import PathRules

POSIX = PathRules()


def file(path: str | bytes, size: int = 1) -> Entry:
    raw = path.encode() if isinstance(path, str) else path
    return Entry(Kind.FILE, 0o644, 123, size, raw)


def folder(path: str) -> Entry:
    return Entry(Kind.FOLDER, 0o755, 5, 0, path.encode())


def link(path: str, target: str) -> Entry:
    return Entry(Kind.LINK, 0, 5, 0, path.encode(), target.encode())


TREE = [folder("a"), folder("a/b"), file("a/b/x"), link("a/l", "b"), file("a.txt", 9), file("z", 0)]


def page_of(*entries: Entry) -> bytes:
    return b"".join(encode_entry(entry) for entry in entries)


def test_the_layout_is_fixed() -> None:
    entry = Entry(Kind.LINK, 0, -2, 0, b"a/l", b"b")
    assert encode_entry(entry).hex() == (
        "03" + "0000" + "fffffffffffffffe" + "00" * 8 + "0003" + "0001" + "612f6c" + "62"
    )
    assert decode_page(encode_entry(entry)) == [entry]


def test_both_ends_come_to_the_same_index() -> None:
    writer = ListingWriter()
    assert [writer.add(entry) for entry in TREE] == [None] * len(TREE)
    page = writer.finish()
    assert page is not None and writer.finish() is None
    reader = ListingReader(POSIX)
    assert reader.add_page(page) == TREE
    for index in (writer.index, reader.index):
        assert (index.n_files, index.n_folders, index.n_links) == (3, 2, 1)
        assert index.total_bytes == 10 and index.n_entries == 6
        assert list(index.sizes) == [0, 0, 1, 0, 9, 0]
    assert writer.index.digest() == reader.index.digest()
    assert [top.path for top in reader.tops] == [b"a", b"a.txt", b"z"]
    assert reader.problems == []


def test_pages_are_cut_at_entries_and_found_again() -> None:
    writer = ListingWriter()
    entries = [file(f"f{i:06}" + "x" * 100) for i in range(2000)]
    pages = [page for entry in entries if (page := writer.add(entry)) is not None]
    last = writer.finish()
    assert last is not None
    pages.append(last)
    assert len(pages) > 3 and all(len(page) <= PAGE_BYTES_MAX for page in pages)
    assert [e for page in pages for e in decode_page(page)] == entries
    for i in (0, 1, 500, 1999):
        number = writer.index.page_of(i)
        assert decode_page(pages[number])[i - writer.index.page_first[number]] == entries[i]
    at = writer.index.page_at
    assert [at[i + 1] - at[i] for i in range(len(pages))] == [len(page) for page in pages]


def test_the_digest_does_not_depend_on_the_pages() -> None:
    one, two = ListingReader(POSIX), ListingReader(POSIX)
    one.add_page(page_of(*TREE))
    two.add_page(page_of(*TREE[:3]))
    two.add_page(page_of(*TREE[3:]))
    assert one.index.digest() == two.index.digest()


@pytest.mark.parametrize("cut", range(1, len(page_of(file("abc")))))
def test_a_page_that_is_cut_off_is_refused(cut: int) -> None:
    with pytest.raises(DecodeError):
        decode_page(page_of(file("abc"))[:cut])


@pytest.mark.parametrize(
    "entry",
    [
        Entry(9, 0, 0, 0, b"a"),  # type: ignore[arg-type]
        Entry(Kind.FILE, 0o1000, 0, 0, b"a"),
        Entry(Kind.FILE, 0, 0, 0, b"a", b"target"),
        Entry(Kind.LINK, 0, 0, 0, b"a/b"),
        Entry(Kind.LINK, 0o644, 0, 0, b"a/b", b"t"),
        Entry(Kind.FOLDER, 0, 0, 5, b"a"),
        Entry(Kind.FILE, 0, 0, 0, b""),
        Entry(Kind.FILE, 0, 0, 0, b"a" * 4097),
        Entry(Kind.FILE, 0, 0, UNKNOWN_SIZE - 1, b"a"),
    ],
    ids=[
        "kind",
        "setuid",
        "file target",
        "no target",
        "link mode",
        "folder size",
        "no path",
        "long path",
        "size",
    ],
)
def test_fields_that_this_kind_does_not_have_are_refused(entry: Entry) -> None:
    with pytest.raises(DecodeError):
        decode_page(encode_entry(entry))


@pytest.mark.spec("TR-15")
@pytest.mark.parametrize(
    "entries",
    [
        [file("b"), file("a")],
        [file("a"), file("a")],
        [file("a/x")],
        [file("a"), file("a/x")],
        [folder("a"), link("a/l", "."), file("a/l/x")],
        [folder("a"), folder("b"), file("a/x")],
        [folder("a"), file("a/x"), folder("a")],
        [folder("a"), file("a/x/y")],
    ],
    ids=[
        "order",
        "twice",
        "no parent",
        "parent is a file",
        "parent is a link",
        "left folder",
        "folder twice",
        "missing level",
    ],
)
def test_what_no_walk_would_yield_is_refused(entries: list[Entry]) -> None:
    with pytest.raises(DecodeError):
        ListingReader(POSIX).add_page(page_of(*entries))


@pytest.mark.spec("TR-20")
@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/etc/passwd", "absolute"),
        ("/x", "absolute"),
        ("..", "leaves"),
        ("../../x", "leaves"),
        ("a/../../x", "leaves"),
        ("a//b", "empty"),
        (".wraith-1", "itself"),
        ("a\nb", "control"),
    ],
)
def test_unsafe_paths_are_named_with_their_reason(path: str, why: str) -> None:
    reader = ListingReader(POSIX)
    reader.add_page(page_of(file(path)))
    assert [p for p, _ in reader.problems] == [path.encode()]
    assert why in reader.problems[0][1]


def test_all_problems_are_collected() -> None:
    reader = ListingReader(POSIX)
    reader.add_page(page_of(folder("a"), file("a/x\ny"), link("a/z", "/etc"), link("a/zz", "..")))
    assert [path for path, _ in reader.problems] == [b"a/x\ny", b"a/z", b"a/zz"]


@pytest.mark.spec("TR-22")
def test_names_that_collide_here_are_all_listed() -> None:
    entries = [
        file("A"),
        folder("B"),
        file("B/x"),
        file("a"),
        folder("b"),
        file("b/X"),
        file("b/x"),
    ]
    rules = PathRules(case_insensitive=True)
    reader = ListingReader(rules)
    reader.add_page(page_of(*entries))
    assert [path for path, _ in reader.problems] == [b"a", b"b", b"b/x"]
    plain = ListingReader(POSIX)
    plain.add_page(page_of(*entries))
    assert plain.problems == []


@pytest.mark.spec("TR-13")
def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing_module, "MAX_ENTRIES", 3)
    reader = ListingReader(POSIX)
    reader.add_page(page_of(file("a"), file("b")))
    with pytest.raises(LimitExceeded):
        reader.add_page(page_of(file("c"), file("d")))
    writer = ListingWriter()
    for name in "abc":
        writer.add(file(name))
    with pytest.raises(LimitExceeded):
        writer.add(file("d"))


@pytest.mark.spec("TR-13")
def test_the_size_of_a_listing_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing_module, "LISTING_BYTES_MAX", 60)
    reader = ListingReader(POSIX)
    reader.add_page(page_of(file("a"), file("b")))
    with pytest.raises(LimitExceeded):
        reader.add_page(page_of(file("c")))


def test_a_stream_makes_the_total_unknown() -> None:
    reader = ListingReader(POSIX)
    reader.add_page(page_of(file("a", 5), file("b", UNKNOWN_SIZE)))
    assert reader.index.total_bytes is None


@pytest.mark.parametrize("refused", [False, True])
def test_files_that_are_together_larger_than_any_disk_are_refused(
    refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = 3 * FILE_BYTES_MAX
    monkeypatch.setattr(listing_module, "TOTAL_BYTES_MAX", total - refused)
    page = page_of(*(file(name, FILE_BYTES_MAX) for name in "abc"))
    reader = ListingReader(POSIX)
    if refused:
        with pytest.raises(LimitExceeded, match="any disk"):
            reader.add_page(page)
    else:
        assert len(reader.add_page(page)) == 3
