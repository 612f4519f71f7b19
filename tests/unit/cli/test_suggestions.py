"""What a shell gets for a value that is begun."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from wraith.aio.disk.home_folder import HomeFolder
from wraith.cli.main import cli
from wraith.types import PeerKey

ANNA, BERT = PeerKey(bytes(range(32))), PeerKey(bytes(range(1, 33)))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HomeFolder:
    monkeypatch.setenv("WRAITH_HOME", str(tmp_path / "home"))
    home = HomeFolder.default()
    home.name_peer("anna", ANNA)
    home.peer_seen(BERT, 1.0)
    return home


def _completed(*words: str) -> list[tuple[str, str]]:
    shell = ShellComplete(cli, {}, "wraith", "_WRAITH_COMPLETE")
    return [(item.value, item.type) for item in shell.get_completions(list(words[:-1]), words[-1])]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("send", "--to", ""), ["anna"]),
        (("send", "--to", "b"), []),
        (("receive", "--from", "a"), ["anna"]),
        (("peers", "forget", ""), ["anna", str(BERT)]),
        (("peers", "name", "bert", ""), ["last", str(ANNA), str(BERT)]),
        (("help", "ex"), ["exit-codes"]),
        (("help", "s"), ["send"]),
        (("sen",), ["send"]),
    ],
)
def test_names_keys_and_pages(words: tuple[str, ...], expected: list[str]) -> None:
    assert sorted(value for value, _ in _completed(*words)) == sorted(expected)


def test_folders_are_left_to_the_shell() -> None:
    assert _completed("receive", "--out", "in") == [("in", "dir")]


def test_ids_of_unfinished_transfers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert _completed("receive", "--discard", "") == []


@pytest.mark.parametrize("broken", ["/proc/nope", "/dev/null/x"])
def test_a_broken_home_suggests_nothing(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRAITH_HOME", broken)
    assert _completed("send", "--to", "") == []


def test_below_quic_nothing_needs_the_extra() -> None:
    assert {value for value, _ in _completed("quic", "")} == {"dial", "listen", "ping"}
    assert isinstance(cli, click.Group)
