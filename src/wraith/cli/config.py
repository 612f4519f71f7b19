"""``wraith config``: what ``config.toml`` and the environment set, and where each value is from."""

from __future__ import annotations

import os
from collections.abc import Mapping

import click

from wraith.aio.disk.home_folder import HomeFolder
from wraith.cli.helping import Helped
from wraith.cli.output import Output, printable
from wraith.cli.settings import FILE, KEYS, Setting, read_settings, settings_path

_JSON = click.option("--json", "json_events", is_flag=True, help="JSON lines on stdout.")


@click.group("config", cls=Helped, invoke_without_command=True)
@click.pass_context
def config(ctx: click.Context) -> None:
    """Show the settings of this user, and where each is from.

    They stand in config.toml in WRAITH_HOME: out, port, limit, accept-from, suite. Environment
    variables stand above the file, options above both.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(show)


@config.command("show")
@_JSON
def show(json_events: bool = False) -> None:
    """Show each setting, its value, and where it is from."""
    output = Output(json_events=json_events, quiet=False)
    settings = read_settings(HomeFolder.default())
    for name in KEYS:
        value, origin = _effective(name, settings, os.environ)
        output.event("setting", name=name, value=value, origin=origin)
        shown = "-" if value is None else printable(str(value))
        output.result(f"{name:12} {shown:24} {origin}")


@config.command("path")
def path() -> None:
    """Print where config.toml is, or would be."""
    Output(json_events=False, quiet=False).result(str(settings_path()))


@config.command("check")
def check() -> None:
    """Say whether config.toml is accepted; exit 2 with the line if it is not."""
    output = Output(json_events=False, quiet=False)
    home = HomeFolder.default()
    settings = read_settings(home)
    n = len(settings)
    found = f"{n} setting{'' if n == 1 else 's'}, all accepted" if n else "nothing is set"
    output.say(f"{home.home / FILE}: {found}")


def _effective(
    name: str, settings: Mapping[str, Setting], environ: Mapping[str, str]
) -> tuple[object, str]:
    """The value that a command without options takes, and its origin."""
    variable = KEYS[name].variable
    if environ.get(variable):
        return environ[variable], variable
    if name in settings:
        setting = settings[name]
        return setting.value, f"{FILE}, line {setting.line}"
    return None, "default"


__all__ = ["config"]
