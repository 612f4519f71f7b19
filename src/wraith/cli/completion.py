"""``wraith completion SHELL``: the script that makes a shell complete wraith's words."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from wraith.cli.output import Output


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script; for bash: eval "$(wraith completion bash)"."""
    from wraith.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None, "click knows the three shells that the argument allows"
    script = kind(cli, {}, "wraith", "_WRAITH_COMPLETE").source()
    Output(json_events=False, quiet=False).result(script)
