"""The ``wraith`` command: finds the command modules and turns every error into one message.

Exit codes are part of the interface (docs/reference/exit-codes.md): 0 done, 1 failed, 2 usage,
3 partly done, 10 and up one per error class, 130 interrupted.
"""

from __future__ import annotations

import errno
import gc
import os
import sys
from importlib import import_module
from typing import Any, NoReturn

import click

import wraith
from wraith.cli.helping import TOPICS, Helped
from wraith.cli.output import Output
from wraith.cli.styling import styled
from wraith.errors import TransportError, WraithError

INTERRUPTED = 130
_NETWORK = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRINUSE, errno.EADDRNOTAVAIL}
)

_TOPICS = " or ".join(TOPICS)

#: command -> (module, attribute, one line of help). The module is imported only when it is used:
#: every command pays for what the shell loads before it starts.
COMMANDS = {
    "send": ("wraith.cli.send", "send", "Send files, folders, text or standard input."),
    "receive": ("wraith.cli.receive", "receive", "Receive what a code offers."),
    "id": ("wraith.cli.identity", "show_id", "Show this node's identity."),
    "peers": ("wraith.cli.identity", "peers", "List, name and forget known peers."),
    "history": ("wraith.cli.history", "history", "List what was sent and received, or clear it."),
    "config": ("wraith.cli.config", "config", "Show the settings, and where each is from."),
    "doctor": ("wraith.cli.doctor", "doctor", "Say what works on this machine, and what does not."),
    "quic": ("wraith.cli.quic", "quic_group", "Post-quantum QUIC for libp2p: listen, dial, ping."),
    "completion": (
        "wraith.cli.completion",
        "completion",
        "Print a shell's completion script.",
    ),
    "help": ("wraith.cli.helping", "help_command", f"Show a command's help, or {_TOPICS}."),
    "version": ("wraith.cli.helping", "version", "Show the version."),
}
ALIASES = {"recieve": "receive", "recv": "receive", "get": "receive", "whoami": "id"}


class LazyGroup(Helped):
    """Lists its commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        entry = COMMANDS.get(ALIASES.get(cmd_name, cmd_name))
        if entry is None:
            return None
        module, attribute, _ = entry
        gc.disable()  # all that is loaded stays: looking through it again and again finds nothing
        try:
            command: click.Command = getattr(import_module(module), attribute)
        finally:
            gc.enable()
        return styled(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry[2]) for name, entry in COMMANDS.items()])


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  wraith send photos/                 prints one line to run on the other machine
  wraith receive wr1...               receives it, asking first
  wraith doctor                       what works here

\b
Exit codes: 0 done, 1 failed, 2 usage, 3 partly done, 10 and up one per kind of error
(`wraith help exit-codes`), 130 interrupted: run the same command again to go on.
""",
)
@click.version_option(wraith.__version__, prog_name="wraith", message="%(prog)s %(version)s")
def cli() -> None:
    """Move files and streams between two machines, safe against today's attackers and against
    quantum computers that open recordings later."""


def _fail(output: Output, error: WraithError) -> NoReturn:
    output.error(error)
    sys.exit(error.exit_code)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Runs one command and exits with its code. ``arguments`` default to the process's own."""
    _hold_standard_streams()
    given = sys.argv[1:] if arguments is None else arguments
    output = Output(json_events="--json" in given, quiet=False)
    try:
        result: Any = cli.main(args=given, prog_name="wraith", standalone_mode=False)
        sys.exit(result if isinstance(result, int) else 0)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.exceptions.NoArgsIsHelpError as nothing_named:
        Output(json_events=False, quiet=False).result(nothing_named.message)
        sys.exit(0)
    except click.UsageError as error:
        hint = f"try: {error.ctx.command_path} --help" if error.ctx else "try: wraith --help"
        output.failure("usage", _sentence(error.format_message()), hint, 2)
        sys.exit(2)
    except click.ClickException as error:
        output.failure("failed", _sentence(error.format_message()), "")
        sys.exit(1)
    except (click.Abort, KeyboardInterrupt):
        hint = "run the same command again to go on where it stopped"
        output.failure("interrupted", "interrupted", hint, INTERRUPTED)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has gone: nothing is left to say
        sys.exit(1)
    except WraithError as error:
        _fail(output, error)
    except OSError as error:
        _fail(output, _system_error(error))


def _hold_standard_streams() -> None:
    """A command that was started with a closed stdin, stdout or stderr gets /dev/null there: else
    the next file or socket has its number, and is read or written as if it were the stream."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is not None:
            continue
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
        stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - for good
        setattr(sys, name, stream)


def _sentence(text: str) -> str:
    """A message of click as one line of ours: its tabs and lines are spaces, its end has no full
    stop."""
    line = " ".join(text.split()).rstrip(".")
    return line[:1].lower() + line[1:] if line[1:2].islower() else line


def _system_error(error: OSError) -> WraithError:
    """The error for a refusal of the system that no command expected: one sentence. [TR-127]"""
    import socket  # no command that goes well pays for it

    if isinstance(error, ConnectionError | socket.gaierror) or error.errno in _NETWORK:
        return TransportError(str(error.strerror or error).lower())
    from wraith.aio.disk.failures import disk_error

    return disk_error(error)


if __name__ == "__main__":
    main()
