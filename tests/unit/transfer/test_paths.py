"""Which paths may be written."""

from __future__ import annotations

import os

import pytest

from wraith.errors import UnsafePath
from wraith.transfer.path_rules import (
    PathRules,
    check_link,
    check_name,
    check_path,
    display_path,
    fold_name,
    shown_path,
)

POSIX = PathRules()
WINDOWS = PathRules(windows=True, any_bytes=False, case_insensitive=True)
MAC = PathRules(any_bytes=False, case_insensitive=True, normalises=True)


@pytest.mark.parametrize(
    "path",
    [b"a", b"a/b c/d.txt", "é/日本".encode(), b"x\xff\xfe", b"...", b".hidden", b"a\\b", b"-rf"],
)
def test_usual_paths_pass(path: bytes) -> None:
    check_path(path, POSIX)


@pytest.mark.spec("TR-20")
@pytest.mark.parametrize(
    "path",
    [
        b"",
        b"/etc/passwd",
        b"..",
        b"../x",
        b"a/../b",
        b"a/..",
        b"a//b",
        b"a/",
        b"./a",
        b"a/.",
        b"a" * 256,
        b"/".join([b"d"] * 129),
        b"/".join([b"d" * 200] * 21),
    ],
)
def test_paths_that_lead_out_or_are_too_long_are_refused(path: bytes) -> None:
    with pytest.raises(UnsafePath):
        check_path(path, POSIX)


@pytest.mark.spec("TR-21")
@pytest.mark.parametrize(
    "name", [b"a\nb", b"\x1b[2J", b"a\x00b", b"\x7f", "a\u0085b".encode(), b"\xff\x07"]
)
def test_control_characters_are_refused(name: bytes) -> None:
    with pytest.raises(UnsafePath, match="control"):
        check_name(name, POSIX)


@pytest.mark.spec("TR-26")
@pytest.mark.parametrize("path", [b".wraith-0123456789ab", b".wraith-x/journal", b".WRAITH-1"])
def test_our_own_state_folders_cannot_be_offered(path: bytes) -> None:
    with pytest.raises(UnsafePath, match="itself"):
        check_path(path, POSIX)
    check_path(b"below/" + path, POSIX)


@pytest.mark.spec("TR-25")
@pytest.mark.parametrize(
    "name",
    [
        b"CON",
        b"con.txt",
        b"aux",
        b"LPT1",
        b"com9.tar.gz",
        b"a:b",
        b"a\\b",
        b"x?",
        b"end.",
        b"end ",
        b"nul .txt",
        b'"',
        "COM¹".encode(),
    ],
)
def test_windows_names_are_refused_on_windows_alone(name: bytes) -> None:
    check_name(name, POSIX)
    with pytest.raises(UnsafePath):
        check_name(name, WINDOWS)


@pytest.mark.spec("TR-25")
@pytest.mark.parametrize("path", [b"C:/x", b"c:x", b"\\\\host\\share"])
def test_windows_absolute_paths(path: bytes) -> None:
    with pytest.raises(UnsafePath):
        check_path(path, WINDOWS)


@pytest.mark.parametrize("name", [b"console", b"common", b"lpt10", b"a.con", b"nu l"])
def test_names_that_only_look_reserved_pass_on_windows(name: bytes) -> None:
    check_name(name, WINDOWS)


def test_bytes_that_are_no_text_cross_between_posix_hosts_only() -> None:
    check_name(b"\xe9t\xe9", POSIX)
    with pytest.raises(UnsafePath, match="UTF-8"):
        check_name(b"\xe9t\xe9", MAC)


@pytest.mark.spec("TR-23")
@pytest.mark.parametrize(
    ("path", "target"),
    [
        (b"t/l", b"x"),
        (b"t/l", b"."),
        (b"t/a/l", b"../x"),
        (b"t/a/b/l", b"../../x/y"),
        (b"t/a/l", b".."),
        (b"t/l", b"./x"),
    ],
)
def test_links_inside_the_offer_pass(path: bytes, target: bytes) -> None:
    check_link(path, target, POSIX)


@pytest.mark.spec("TR-23")
@pytest.mark.parametrize(
    ("path", "target"),
    [
        (b"t/l", b"/etc/passwd"),
        (b"t/l", b".."),
        (b"t/l", b"../x"),
        (b"t/a/l", b"../../x"),
        (b"t/a/b/l", b"../../../t"),
        (b"t/a/l", b"x/../../.."),
        (b"t/a/b/l", b"link/.."),
        (b"l", b"x"),
        (b"t/l", b""),
        (b"t/l", b"a\nb"),
    ],
)
def test_links_that_could_lead_out_are_refused(path: bytes, target: bytes) -> None:
    with pytest.raises(UnsafePath):
        check_link(path, target, POSIX)


@pytest.mark.spec("TR-23")
def test_a_chain_of_links_that_each_look_harmless_cannot_lead_out(tmp_path: object) -> None:
    """``l -> ../..`` is allowed inside; a second link through it is where text and disk differ."""
    root = os.fsencode(str(tmp_path))
    os.makedirs(root + b"/t/a/b")
    check_link(b"t/a/b/l", b"../..", POSIX)
    os.symlink(b"../..", root + b"/t/a/b/l")
    with pytest.raises(UnsafePath):
        check_link(b"t/a/b/m", b"l/../../x", POSIX)
    os.symlink(b"l/../../x", root + b"/t/a/b/m")
    assert not os.path.realpath(root + b"/t/a/b/m").startswith(os.path.realpath(root) + b"/t")


@pytest.mark.spec("TR-22")
def test_names_that_are_one_on_this_file_system() -> None:
    assert fold_name(b"README", MAC) == fold_name(b"readme", MAC)
    assert fold_name("e\u0301".encode(), MAC) == fold_name("é".encode(), MAC)
    assert fold_name("ẞ".encode(), WINDOWS) == fold_name("ß".encode(), WINDOWS)
    assert fold_name(b"README", POSIX) != fold_name(b"readme", POSIX)
    assert fold_name("e\u0301".encode(), POSIX) != fold_name("é".encode(), POSIX)


def test_what_is_shown_cannot_move_the_cursor_or_hide_text() -> None:
    shown = display_path(b"a\x1b[2J\n\xff" + "\u202egpj.exe".encode())
    assert shown.isprintable()
    assert shown == "a\\u{1b}[2J\\u{a}\\xff\\u{202e}gpj.exe"
    assert display_path("é/日本".encode()) == "é/日本"


def test_a_very_long_path_is_shown_without_its_middle() -> None:
    path = b"n" * 2_000 + b"/" + b"m" * 2_000 + b".sh"
    shown = shown_path(path)
    assert len(shown) == 201 and shown.startswith("nnn") and shown.endswith("m.sh")
    assert shown_path(b"short") == "short"
