"""What somebody sees who types their first words: help that can be read, and what was meant."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from wraith.cli.helping import TOPICS, topic
from wraith.cli.main import cli, main
from wraith.crypto.secret import Secret
from wraith.transfer.code import Code, encode_code
from wraith.types import Address, PeerKey, SuiteId

ROOT = Path(__file__).parents[3]
CODE_TO_NOBODY = encode_code(
    Code(
        (SuiteId.A,),
        access_key=bytes(range(32)),
        peer=PeerKey(bytes(range(1, 33))),
        access_psk=Secret(bytes(32)),
        addresses=(Address(bytes([127, 0, 0, 1]), 9),),
        maker_receives=True,
    )
)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRAITH_HOME", str(tmp_path / "home"))


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    out, err = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, out, err


@pytest.mark.parametrize("arguments", [(), ("quic",)])
def test_who_names_no_command_reads_the_help(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    exit_code, out, err = _run(capsys, *arguments)
    assert (exit_code, err) == (0, "")
    assert out.startswith("Usage: wraith ") and "\nCommands:\n" in out
    assert (exit_code, out) == _run(capsys, *arguments, "--help")[:2]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [(("sned",), "send"), (("quic", "dail"), "dial"), (("peers", "nmae"), "name")],
)
def test_a_mistyped_command_is_answered_with_the_one_that_was_meant(
    capsys: pytest.CaptureFixture[str], typed: tuple[str, ...], meant: str
) -> None:
    exit_code, out, err = _run(capsys, *typed)
    assert (exit_code, out) == (2, "")
    assert f"Did you mean '{meant}'?" in err


def test_a_word_like_no_command_gets_no_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    exit_code, _, err = _run(capsys, "xyzzy")
    assert exit_code == 2
    assert err == "wraith: no such command 'xyzzy'\nwraith: hint: try: wraith --help\n"


def test_a_missing_word_is_named_on_one_line_of_plain_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    exit_code, _, err = _run(capsys, "completion")
    assert exit_code == 2
    assert "Choose from: bash, zsh, fish" in err.splitlines()[0]
    assert "\N{REPLACEMENT CHARACTER}" not in err and ";" not in err


def test_help_of_a_command_is_that_of_its_option(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("send",), ("quic", "dial"), ("peers", "name")):
        asked = _run(capsys, "help", *words)
        assert asked == _run(capsys, *words, "--help"), words
    assert _run(capsys, "help") == _run(capsys, "--help")
    assert _run(capsys, "help", "sned")[0] == 2
    assert "no commands of its own" in _run(capsys, "help", "send", "x")[2]


def test_version_is_a_command_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(capsys, "version") == _run(capsys, "--version")


@pytest.mark.parametrize("name", TOPICS)
def test_a_topic_is_shown_and_fits_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    exit_code, out, _ = _run(capsys, "help", name)
    assert (exit_code, out) == (0, topic(name) + "\n")
    assert max(len(line) for line in out.splitlines()) <= 80


def test_the_page_of_exit_codes_has_every_word_of_the_reference_under_its_number() -> None:
    page = (ROOT / "docs/reference/exit-codes.md").read_text("utf-8")
    rows = re.findall(r"^\| `\w+` \| (\d+) \| `([\w-]+)` \|", page, re.MULTILINE)
    listed: dict[str, str] = {}
    number = ""
    for line in topic("exit-codes").splitlines()[5:]:
        if found := re.match(r" {0,2}(\d+)   ?(.*)| {6}(.*)", line):
            number = found[1] or number
            listed[number] = listed.get(number, "") + " " + (found[2] or found[3] or "")
    assert set(listed) == {exit_code for exit_code, _ in rows} | {"0"}
    # Errors of groups come from the library alone.
    words = {n: set(re.findall(r"[a-z]+(?:-[a-z]+)*", text)) for n, text in listed.items()}
    missing = [(n, word) for n, word in rows if n != "1" and word not in words[n]]
    assert missing == []
    known = {word for _, word in rows} | {"usage"}
    for text in words.values():
        assert {word for word in text if "-" in word} <= known


def test_no_help_refers_to_a_file_that_an_installed_wraith_has_not() -> None:
    def walk(command: click.Command, context: click.Context) -> None:
        assert "docs/" not in command.get_help(context), command.name
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None
                walk(child, click.Context(child, info_name=name, parent=context))

    walk(cli, click.Context(cli, info_name="wraith"))


WITHOUT_EXTRA = "import sys; sys.modules['aioquic'] = None; from wraith.cli.main import main; main("


@pytest.mark.parametrize(
    ("arguments", "exit_code", "word"),
    [
        (["quic", "--help"], 0, "Commands:"),
        (["quic", "dial", "--help"], 0, "MULTIADDR"),
        (["quic", "ping", "/ip4/127.0.0.1/udp/1/quic-v1"], 2, "optional part"),
    ],
)
def test_the_help_of_an_optional_part_needs_no_part(
    arguments: list[str], exit_code: int, word: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"{WITHOUT_EXTRA}{arguments!r})"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == exit_code, done.stderr
    assert word in done.stdout + done.stderr
    assert not any(line.endswith("...") for line in done.stdout.splitlines()[1:])


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("wr1abc", "incomplete: 6 of 165 or more characters"),
        ("wr1hello!", "holds a character that no code has"),
    ],
)
def test_what_is_wrong_with_a_code_is_named(
    capsys: pytest.CaptureFixture[str], code: str, words: str
) -> None:
    exit_code, _, err = _run(capsys, "receive", "--yes", code)
    assert exit_code == 2
    assert words in err


@pytest.mark.parametrize("key", ["zzz", "01", "", "é", "a" * 51])
def test_what_is_no_key_is_told_in_our_words(key: str) -> None:
    with pytest.raises(ValueError, match="52 characters") as caught:
        PeerKey.parse(key)
    assert type(caught.value) is ValueError


def test_who_is_forgotten_and_known_to_nobody_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    exit_code, _, err = _run(capsys, "peers", "forget", "nobody")
    assert exit_code == 1
    assert "no peer is called nobody" in err


def test_nothing_to_discard_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    exit_code, _, err = _run(capsys, "receive", "--discard", "all", "--out", str(tmp_path))
    assert exit_code == 0
    assert "no unfinished transfer" in err


@pytest.mark.parametrize("n_good", [0, 1])
def test_the_rest_is_offered_only_where_there_is_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, n_good: int
) -> None:
    good = tmp_path / "good"
    good.write_bytes(b"g")
    paths = [str(tmp_path / "none.txt"), *[str(good)] * n_good]
    exit_code, _, err = _run(capsys, "send", *paths)
    assert exit_code == 1
    assert ("--skip-unreadable" in err) == bool(n_good)


def test_the_doctor_tells_what_is_absent_from_what_is_well(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    extras = [line for line in lines if "extra " in line]
    assert len(extras) == 2 and all(line.startswith("··") for line in extras)
    assert next(line for line in lines if "version" in line).startswith("ok")


def test_at_the_level_info_a_log_has_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"a")
    done = subprocess.run(
        [sys.executable, "-m", "wraith", "send", "--to", CODE_TO_NOBODY, str(file)],
        env={
            **os.environ,
            "WRAITH_LOG": "info",
            "WRAITH_HOME": str(tmp_path / "h"),
            "WRAITH_CONNECT_TIMEOUT": "1",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "INFO transfer.event kind=Finished" in done.stderr
    assert "DEBUG" not in done.stderr
