"""``config.toml`` in ``WRAITH_HOME``: defaults of options that are the same every day.

A setting stands below the environment, and that below the options: ``SettingsCommand`` hands the
file to click as its map of defaults. The file must not decide what a person has to decide each
time: a key that would accept, overwrite or weaken anything is refused, as are unknown keys and a
file that somebody else may write. Each refusal names the line.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from wraith.aio.disk.failures import told
from wraith.aio.disk.home_folder import HOME_HINT, HomeFolder
from wraith.aio.disk.private_folder import PrivateFolder, UntrustedPath
from wraith.cli.transfer_options import Rate
from wraith.errors import ConfigError

FILE: Final = "config.toml"
_BYTES_MAX: Final = 64 * 1024
_WRITABLE_BY_OTHERS: Final = 0o022
_DECIDED_EACH_TIME: Final = (
    "this would loosen what protects you, so no file can set it; give the option each time"
)
_LOOSENING: Final = frozenset(
    {
        "yes",
        "require-pq",
        "no-require-pq",
        "overwrite",
        "rename",
        "skip",
        "verify",
        "no-verify",
        "keep",
        "skip-unreadable",
        "max-datagram",
        "key-log",
        "policy",
    }
)


@dataclass(frozen=True, slots=True)
class Key:
    """One thing that can be set: the option of ``commands`` that it is the default of."""

    parameter: str
    commands: tuple[str, ...]
    variable: str
    accepted: str
    check: Callable[[Any], object | None]
    """The value as the option takes it; ``None`` if it is none."""


def _folder(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    path = os.path.expanduser(value)
    return path if os.path.isabs(path) else None


def _port(value: Any) -> int | None:
    return value if type(value) is int and 1 <= value <= 65_535 else None


def _rate(value: Any) -> float | None:
    if type(value) is not int and not isinstance(value, str):
        return None
    try:
        return Rate().convert(str(value), None, None)
    except click.BadParameter:
        return None


def _name(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _suite(value: Any) -> str | None:
    return value if value in ("A", "B") else None


KEYS: Final[Mapping[str, Key]] = {
    "out": Key(
        "out",
        ("receive",),
        "WRAITH_OUT",
        'a folder, named from / or ~, such as "~/inbox"',
        _folder,
    ),
    "port": Key("port", ("send", "receive"), "WRAITH_PORT", "a number from 1 to 65535", _port),
    "limit": Key("limit", ("send",), "WRAITH_LIMIT", 'a rate such as "2.5M" or "1MiB"', _rate),
    "accept-from": Key(
        "from_name",
        ("receive",),
        "WRAITH_FROM",
        "a name that `wraith peers name` gave; nobody else is let in then",
        _name,
    ),
    "suite": Key(
        "suite",
        ("send", "receive"),
        "WRAITH_SUITE",
        '"A" or "B": D is not post-quantum, so no file can set it',
        _suite,
    ),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the file, checked."""

    name: str
    value: object
    line: int


def settings_path(environ: Mapping[str, str] | None = None) -> Path:
    """The path of the file, which need not exist."""
    return HomeFolder.default(environ).home / FILE


def read_settings(home: HomeFolder) -> dict[str, Setting]:
    """Reads what the file of ``home`` sets; empty if there is no file.

    Raises:
        ConfigError: it holds something that is not accepted, or others may write it.
        DiskFailed: it cannot be read.
    """
    with (
        told(home.home / FILE, HOME_HINT),
        PrivateFolder.open(home.home, hint=HOME_HINT, disk=home.disk) as folder,
    ):
        text = _read(folder)
    return {} if text is None else parse(text)


def _read(folder: PrivateFolder) -> str | None:
    name = FILE.encode()
    where = f"{os.fsdecode(folder.path)}/{FILE}"
    try:
        info = folder.disk.stat(name, dir_fd=folder.fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    mode = stat.S_IMODE(info.st_mode)
    if folder.has_modes and stat.S_ISREG(info.st_mode) and mode & _WRITABLE_BY_OTHERS:
        raise ConfigError(
            where, f"mode {mode:04o}", f"others may write it; if nobody did: chmod go-w '{where}'"
        )
    try:
        data = folder.read(name, _BYTES_MAX + 1)
        if len(data) > _BYTES_MAX:
            raise ConfigError(where, f"more than {_BYTES_MAX} bytes", "a short file of settings")
        return data.decode("utf-8")
    except UntrustedPath as exc:
        raise ConfigError(where, "this file", str(exc)) from None
    except UnicodeDecodeError as exc:
        raise ConfigError(where, "this file", f"UTF-8 ({exc})") from None


def parse(text: str) -> dict[str, Setting]:
    """The settings in ``text``.

    Raises:
        ConfigError: it is no TOML, or holds what is not accepted; with the line.
    """
    import tomllib  # most homes have no such file

    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(FILE, "this file", f"TOML ({exc})") from None
    found: dict[str, Setting] = {}
    for name, value in table.items():
        line = _line_of(name, text)
        place = f"{FILE}, line {line}: {name}"
        if name in _LOOSENING:
            raise ConfigError(place, value, _DECIDED_EACH_TIME)
        key = KEYS.get(name)
        if key is None:
            raise ConfigError(place, value, f"unknown; the keys are {', '.join(KEYS)}")
        checked = key.check(value)
        if checked is None:
            raise ConfigError(place, value, key.accepted)
        found[name] = Setting(name, checked, line)
    return found


def _line_of(name: str, text: str) -> int:
    """The line of ``text`` on which ``name`` stands, as a key or as the name of a table."""
    quoted = re.escape(name)
    pattern = re.compile(rf"""\s*\[*\s*["']?{quoted}["']?\s*[\].=]""")
    for number, line in enumerate(text.splitlines(), 1):
        if pattern.match(line):
            return number
    return 1


class SettingsCommand(click.Command):
    """A command whose options have their defaults in ``config.toml``.

    The file is read for a command that runs, and not for its help or a shell's completion: a person
    who is told that the file is wrong can still ask how the command is used.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        is_asked = ctx.resilient_parsing or set(ctx.help_option_names).intersection(args)
        if not is_asked:
            settings = read_settings(HomeFolder.default())
            ctx.default_map = dict(defaults_of(self.name or "", settings))
        return super().parse_args(ctx, args)


def defaults_of(command: str, settings: Mapping[str, Setting]) -> Iterator[tuple[str, object]]:
    """The parameters of ``command`` that ``settings`` have a value for."""
    for name, setting in settings.items():
        if command in KEYS[name].commands:
            yield KEYS[name].parameter, setting.value
