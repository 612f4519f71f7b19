"""``--color`` and ``--plain``: options of every command, since every command writes for people.

A group gives them to itself and to each command in it, so that none can be forgotten. What is given
before the name of a command holds for it, too; what is given behind it is stronger. They configure
the screens of stdout and stderr, and no command gets to see them.
"""

from __future__ import annotations

import sys
from typing import Any

import click
from click.core import ParameterSource

from wraith.cli.screen import screen_of


def styled(command: click.Command) -> click.Command:
    """``command`` with the two options; the same object."""
    known = {parameter.name for parameter in command.params}
    command.params += [option for option in _options() if option.name not in known]
    return command


def _options() -> list[click.Option]:
    return [
        click.Option(
            ["--color"],
            type=click.Choice(["auto", "always", "never"]),
            default="auto",
            show_default=True,
            envvar="WRAITH_COLOR",
            show_envvar=True,
            is_eager=True,
            expose_value=False,
            callback=_restyle,
            help="Colours: auto on a terminal, unless NO_COLOR is set.",
        ),
        click.Option(
            ["--plain"],
            is_flag=True,
            envvar="WRAITH_PLAIN",
            show_envvar=True,
            is_eager=True,
            expose_value=False,
            callback=_restyle,
            help="No colour and no line that is drawn over, for screen readers.",
        ),
    ]


def _restyle(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    assert param.name is not None, "an option has a name"
    if ctx.resilient_parsing:
        return
    noted = f"wraith.cli.{param.name}"  # in what a command and its groups have in common
    is_typed = ctx.get_parameter_source(param.name) is ParameterSource.COMMANDLINE
    if is_typed or noted not in ctx.meta:
        ctx.meta[noted] = value
        for stream in (sys.stdout, sys.stderr):
            screen_of(stream).configure(**{param.name: value})


__all__ = ["styled"]
