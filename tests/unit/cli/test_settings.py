"""``config.toml``: what it may set, what it may not, and what stands above it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from wraith.aio.disk.home_folder import HomeFolder
from wraith.cli.main import main
from wraith.cli.receive import receive
from wraith.cli.send import send
from wraith.cli.settings import KEYS, parse, read_settings
from wraith.errors import ConfigError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    for name in list(os.environ):
        if name.startswith("WRAITH_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("WRAITH_HOME", str(folder))
    return folder


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, out, err


def given(command: click.Command, *arguments: str) -> dict[str, object]:
    """The values that ``command`` gets from these arguments."""
    with command.make_context(command.name, list(arguments)) as context:
        return dict(context.params)


def test_every_key_is_the_default_of_its_option(home: Path) -> None:
    (home / "config.toml").write_text(
        'out = "/srv/inbox"\nport = 4242\nlimit = "2.5M"\naccept-from = "anna"\nsuite = "B"\n'
    )
    received, sent = given(receive, "wr1"), given(send, "x")
    assert (received["out"], received["from_name"]) == ("/srv/inbox", "anna")
    assert sent["limit"] == 2_500_000.0
    for values in (received, sent):
        assert (values["port"], values["suite"]) == (4242, "B")


def test_the_file_accepts_nothing_by_itself(home: Path) -> None:
    (home / "config.toml").write_text('accept-from = "anna"\n')
    assert given(receive, "wr1")["yes"] is False


def test_the_environment_stands_above_the_file_and_an_option_above_both(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "config.toml").write_text('port = 4242\naccept-from = "anna"\n')
    monkeypatch.setenv("WRAITH_PORT", "5353")
    monkeypatch.setenv("WRAITH_FROM", "bert")
    values = given(receive, "wr1")
    assert (values["port"], values["from_name"]) == (5353, "bert")
    values = given(receive, "wr1", "--port", "6464", "--from", "cleo")
    assert (values["port"], values["from_name"]) == (6464, "cleo")


def test_listen_stands_above_a_port_of_the_file(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "config.toml").write_text("port = 4242\n")
    missing = str(home / "missing")
    code, _, err = run(["send", "--listen", "127.0.0.1:0", missing], capsys)
    assert "--port" not in err and code == 1
    code, _, err = run(["send", "--listen", "127.0.0.1:0", "--port", "99", missing], capsys)
    assert "--port" in err and code == 2


def test_an_alias_has_the_same_defaults(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "config.toml").write_text('accept-from = "nobody-knows"\n')
    code, _, err = run(["recv", "--yes", "wr1aaaa"], capsys)
    assert code == 2  # the code is no code; the file was accepted
    (home / "config.toml").write_text("yes = true\n")
    code, _, err = run(["recv", "--yes", "wr1aaaa"], capsys)
    assert code == 2 and "config.toml, line 1" in err


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("yes = true", 1, "loosen"),
        ("# mine\n\nno-require-pq = true", 3, "loosen"),
        ("port = 1\nrequire-pq = false", 2, "loosen"),
        ("overwrite = true", 1, "loosen"),
        ("max-datagram = 65507", 1, "loosen"),
        ('port = 4242\nsuite = "D"', 2, "post-quantum"),
        ("colour = 1", 1, "unknown"),
        ("port = 4242\n[receive]\nout = '/x'", 2, "unknown"),
        ("limits.port = 1", 1, "unknown"),
        ('out = "inbox"', 1, "from / or ~"),
        ("out = 5", 1, "from / or ~"),
        ("port = 0", 1, "65535"),
        ("port = true", 1, "65535"),
        ('port = "80"', 1, "65535"),
        ("limit = 'fast'", 1, "rate"),
        ("limit = 10", 1, "rate"),
        ("accept-from = ['a', 'b']", 1, "a name"),
        ("accept-from = ' '", 1, "a name"),
    ],
)
def test_what_is_not_accepted_is_named_with_its_line(text: str, line: int, word: str) -> None:
    with pytest.raises(ConfigError, match=rf"config\.toml, line {line}: ") as refused:
        parse(text)
    assert word in str(refused.value)
    assert refused.value.exit_code == 2


def test_what_is_no_toml_is_named_with_its_line() -> None:
    with pytest.raises(ConfigError, match="at line 2"):
        parse("port = 1\nport = = 2\n")


@pytest.mark.parametrize("command", ["send", "receive", "config"])
def test_a_file_that_others_may_write_stops_the_command(
    command: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = home / "config.toml"
    file.write_text("port = 4242\n")
    file.chmod(0o620)
    code, out, err = run([command, *(["x"] if command != "config" else [])], capsys)
    assert (code, out) == (2, "")
    assert "others may write it" in err and "chmod go-w" in err and str(file) in err
    assert file.stat().st_mode & 0o777 == 0o620, "nothing is mended in silence"


def test_a_link_is_not_followed(home: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("port = 4242\n")
    (home / "config.toml").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="is a link"):
        read_settings(HomeFolder(home))


def test_help_is_shown_whatever_is_in_the_file(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "config.toml").write_text("yes = true\n")
    code, out, _ = run(["receive", "--help"], capsys)
    assert code == 0 and "Usage:" in out
    code, out, _ = run(["--help"], capsys)
    assert code == 0 and "config" in out


def test_config_shows_values_and_where_they_are_from(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "config.toml").write_text('# here\nport = 4242\nout = "/srv/inbox"\n')
    monkeypatch.setenv("WRAITH_OUT", "/tmp")
    code, out, _ = run(["config", "show", "--json"], capsys)
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert {row["name"]: (row["value"], row["origin"]) for row in rows} == {
        "out": ("/tmp", "WRAITH_OUT"),
        "port": (4242, "config.toml, line 2"),
        "limit": (None, "default"),
        "accept-from": (None, "default"),
        "suite": (None, "default"),
    }
    code, out, _ = run(["config"], capsys)
    assert code == 0 and [line.split()[0] for line in out.splitlines()] == list(KEYS)


def test_config_path_and_check(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "path"], capsys) == (0, f"{home}/config.toml\n", "")
    code, _, err = run(["config", "check"], capsys)
    assert code == 0 and "nothing is set" in err
    (home / "config.toml").write_text("port = 4242\nsuite = 'A'\n")
    code, _, err = run(["config", "check"], capsys)
    assert code == 0 and "2 settings, all accepted" in err
    (home / "config.toml").write_text("port = 4242\ncolour = 1\n")
    code, _, err = run(["config", "check"], capsys)
    assert code == 2 and "line 2: colour" in err


def test_a_home_without_the_file_loads_no_parser(home: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from wraith.aio.disk.home_folder import HomeFolder; "
        "from wraith.cli.settings import read_settings; "
        f"assert read_settings(HomeFolder(Path({str(home)!r}))) == {{}}; print(*sys.modules)"
    )
    path = os.pathsep.join(filter(None, sys.path))
    loaded = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": path},
    ).stdout.split()
    assert "wraith.cli.settings" in loaded and "tomllib" not in loaded
