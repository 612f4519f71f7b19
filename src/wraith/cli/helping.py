"""``wraith help``: the help of a command, or a page that comes with the package.

A topic is a text file in ``topics/``; an installed wraith has no ``docs/``, so what an error or a
help page refers to stands here.
"""

from __future__ import annotations

from typing import Any

import click

from wraith.cli.output import Output
from wraith.cli.styling import styled

TOPICS = {
    "exit-codes": "what the exit status of a command means",
    "environment": "the environment variables that are looked at",
}


def topic(name: str) -> str:
    """The text of one of ``TOPICS``."""
    from importlib.resources import files  # every other command starts without it

    return files("wraith.cli").joinpath("topics", f"{name}.txt").read_text("utf-8").rstrip("\n")


class Helped(click.Group):
    """A group that shows its help where no command is named, and suggests near names of
    commands. It and its commands have ``--color`` and ``--plain``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        styled(self)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        super().add_command(styled(cmd), name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            if not ctx.resilient_parsing:
                raise click.exceptions.NoSuchCommand(
                    args[0], possibilities=self.list_commands(ctx), ctx=ctx
                )
            return None, None, args[1:]
        return super().resolve_command(ctx, args)


def _suggested(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of commands and pages."""
    del param
    root = ctx.find_root()
    known = root.command.list_commands(root) if isinstance(root.command, click.Group) else []
    return [word for word in (*known, *TOPICS) if word.startswith(incomplete)]


@click.command(
    "help",
    epilog="\b\nTopics:\n" + "".join(f"  {name:12} {what}\n" for name, what in TOPICS.items()),
)
@click.argument("words", nargs=-1, metavar="[COMMAND...|TOPIC]", shell_complete=_suggested)
@click.pass_context
def help_command(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Show the help of a command, or a topic."""
    output = Output(json_events=False, quiet=False)
    if len(words) == 1 and words[0] in TOPICS:
        output.result(topic(words[0]))
        return
    root = ctx.find_root()
    if not words:
        output.result(root.get_help())
        return
    context, command = root, root.command
    for word in words:
        if not isinstance(command, click.Group):
            raise click.UsageError(f"{context.command_path} has no commands of its own", root)
        _, found, _ = command.resolve_command(context, [word])
        assert found is not None, "an unknown command is an error"
        command = found
        context = click.Context(command, info_name=command.name, parent=context)
    output.result(context.get_help())


@click.command("version")
def version() -> None:
    """Show the version."""
    import wraith

    Output(json_events=False, quiet=False).result(f"wraith {wraith.__version__}")


__all__ = ["TOPICS", "Helped", "help_command", "topic", "version"]
