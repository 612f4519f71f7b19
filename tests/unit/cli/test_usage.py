"""Mistakes on the command line: exit 2, one message, nothing started."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wraith.cli.main import main


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("WRAITH_HOME", str(home))
    monkeypatch.delenv("WRAITH_CODE", raising=False)
    return home


def _run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, out, err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["send", "--suite", "D", "x"], "--no-require-pq"),
        (["send"], "paths"),
        (["send", "--text", "a", "x"], "--text"),
        (["send", "-", "x"], "standard input"),
        (["send", "x", "--name", "y"], "--name"),
        (["send", "--to", "-", "-"], "WRAITH_TO"),
        (["send", "--to", "wr1aaaa", "x"], "character"),
        (["send", "--listen", "127.0.0.1:0", "--port", "5000", "x"], "--port"),
        (["send", "--listen", "no-such-place", "x"], "HOST:PORT"),
        (["send", "--limit", "fast", "x"], "rate"),
        (["receive", "--yes"], "code"),
        (["receive", "--overwrite", "--skip", "wr1"], "exclude"),
        (["receive", "--suite", "D", "--yes", "wr1"], "--no-require-pq"),
        (["receive", "--yes", "--out", "-", "--listen", "127.0.0.1:0"], "stdout"),
        (["receive", "--yes", "wr1aaaa", "--listen"], "takes no code"),
        (["receive", "wr1aaaa"], "--yes"),
        (["receive", "--yes", "hello"], "wr1"),
    ],
)
def test_a_mistake_is_named(
    arguments: list[str], word: str, capsys: pytest.CaptureFixture[str], _home: Path
) -> None:
    exit_code, out, err = _run(arguments, capsys)
    assert exit_code == 2
    assert out == ""
    assert err.startswith("wraith: ")
    assert word in err
    assert "Traceback" not in err
    assert not (_home / "sends").exists()


def test_with_json_the_mistake_is_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    exit_code, out, err = _run(["receive", "--json", "--yes", "--out", "-", "wr1"], capsys)
    event = json.loads(out)
    assert (exit_code, err) == (2, "")
    assert (event["event"], event["code"], event["exit_code"]) == ("error", "usage", 2)


def test_nothing_to_list_is_no_failure(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    exit_code, out, err = _run(["receive", "--list", "--out", str(tmp_path)], capsys)
    assert (exit_code, out) == (0, "")
    assert "no unfinished transfer" in err


def test_an_unknown_leftover_cannot_be_discarded(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    exit_code, _, err = _run(["receive", "--discard", "abc", "--out", str(tmp_path)], capsys)
    assert exit_code == 1
    assert "--list" in err


def test_a_peer_that_nobody_named(capsys: pytest.CaptureFixture[str]) -> None:
    exit_code, _, err = _run(["send", "--to", "nobody", "x"], capsys)
    assert exit_code == 1
    assert "peers name" in err


def test_a_spelling_mistake_is_forgiven(capsys: pytest.CaptureFixture[str]) -> None:
    exit_code, out, _ = _run(["recieve", "--help"], capsys)
    assert exit_code == 0
    assert "Receive what CODE offers" in out
