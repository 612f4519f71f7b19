"""``wraith send``: offers files, folders, a stream or a text and waits for who takes them."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from wraith.aio.disk.home_folder import HomeFolder
from wraith.aio.entropy import OsRng
from wraith.aio.files.offering import Offering
from wraith.aio.files.reaching import routed
from wraith.aio.road_choice import RoadChoice
from wraith.cli.acquaintances import Acquaintances
from wraith.cli.handover import require_qr
from wraith.cli.invitation import Invitation, find_address, invite
from wraith.cli.output import Output, size
from wraith.cli.running import conclude, find_route, run, shown_events
from wraith.cli.settings import SettingsCommand
from wraith.cli.suggestions import peer_names
from wraith.cli.transfer_options import (
    EXIT_CODES,
    CommonOptions,
    Duration,
    LocalAddress,
    Rate,
    common_options,
    local_address,
)
from wraith.config import EndpointConfig
from wraith.errors import OfferRefused, WraithError
from wraith.node.codes import record_of
from wraith.node.config import NodeConfig
from wraith.transfer.code import PREFIX, Code
from wraith.transfer.path_rules import display_path
from wraith.types import Address

if TYPE_CHECKING:  # the code is shown before what answers there is loaded
    from wraith.aio.disk.kept_code import KeptCode
    from wraith.aio.files.offering import Source
    from wraith.aio.ports import WaitingPort
    from wraith.aio.transfers import Transfer
    from wraith.cli.narrator import Narrator
    from wraith.node.events import Finished

STDIN = "-"
PROBLEMS_SHOWN = 20
LEFT_OUT_MAX = 1_000

INVITATION = Invitation(
    where="on the other machine run:",
    line="wraith receive {code}",
    is_new_line="the address or port is not the one of before: a receiver that waits on the old "
    "line must be started again with this one; what it has is kept",
    is_old_line="offering the unfinished transfer again, under the same code",
    maker_receives=False,
)


@dataclass(frozen=True, slots=True)
class SendPlan:
    """The values that the options ask for, checked."""

    paths: tuple[str, ...]
    text: str | None
    name: str | None
    code: Code | None
    peer_name: str | None
    local: Address
    choice: RoadChoice
    config: EndpointConfig
    node: NodeConfig
    new_code: bool
    exclude: tuple[str, ...]
    skip_unreadable: bool
    waits_for_network: bool
    copies: bool
    as_qr: bool
    history: bool
    verbose: bool

    @property
    def refusal_hint(self) -> str:
        """The advice after a refusal that has ended this command."""
        if self.code is not None:
            return "they have to wait again (`wraith receive --listen`) before you send again"
        if self.is_repeatable:
            return "this command has ended; run again it offers the same under the same code"
        return "this command has ended, and its code with it; run again it shows a new one"

    @property
    def is_stream(self) -> bool:
        return self.paths == (STDIN,)

    @property
    def is_repeatable(self) -> bool:
        """The same command can offer the same again: its code is worth keeping."""
        return self.code is None and self.text is None and not self.is_stream


@click.command(
    "send",
    cls=SettingsCommand,
    epilog="""\b
Examples:
  wraith send photos/ notes.txt            prints one line to run on the other machine
  tar c . | wraith send - --name all.tar   sends a stream
  wraith send --text 'meet at noon'        sends a short text
  wraith send --to - disk.img              to a machine that ran `wraith receive --listen`

"""
    + EXIT_CODES,
)
@click.argument("paths", nargs=-1, metavar="PATH...", type=click.Path())
@click.option("--text", help="Send this text instead of files (anyone on this host may see it).")
@click.option("--name", help="What a stream or a text is called. [default: stdin, text]")
@click.option(
    "--to",
    "--dial",
    "--only",
    "to",
    metavar="CODE|NAME",
    envvar="WRAITH_TO",
    show_envvar=True,
    shell_complete=peer_names,
    help="Dial the code that `wraith receive --listen` printed ('-': read it from stdin), or "
    "accept nobody but this named peer. The three are one option.",
)
@click.option(
    "--listen",
    "--bind",
    "listen",
    type=LocalAddress(),
    metavar="HOST:PORT",
    envvar="WRAITH_LISTEN",
    show_envvar=True,
    help="Address to use; the code names it alone. Port 0 takes any. [default: all interfaces]",
)
@click.option("--keep", is_flag=True, help="Go on after a complete receiver; the code stays good.")
@click.option(
    "--once",
    is_flag=True,
    help="End when a receiver refuses, as without a terminal; else wait for the next one.",
)
@click.option("--copy", is_flag=True, help="Put the code into the terminal's clipboard (OSC 52).")
@click.option("--qr", "as_qr", is_flag=True, help="Show the code for a camera; needs segno.")
@click.option("--new-code", is_flag=True, help="Forget the code of an unfinished earlier send.")
@click.option(
    "--exclude", multiple=True, metavar="GLOB", help="Leave out names or paths that match."
)
@click.option("--skip-unreadable", is_flag=True, help="Go on without what cannot be read.")
@click.option(
    "--congestion",
    type=click.Choice(["cubic", "newreno", "bbr"], case_sensitive=False),
    default="cubic",
    show_default=True,
    envvar="WRAITH_CONGESTION",
    show_envvar=True,
    help="Congestion control over UDP. bbr keeps its speed on links that lose datagrams.",
)
@click.option(
    "--limit",
    type=Rate(),
    metavar="RATE",
    envvar="WRAITH_LIMIT",
    show_envvar=True,
    help="Bytes per second at most: 500k, 2.5M, 1MiB.",
)
@click.option(
    "--wait",
    "wait_s",
    type=Duration(),
    default="forever",
    show_default=True,
    help="How long to wait for a receiver that vanished.",
)
@common_options
def send(
    paths: tuple[str, ...],
    text: str | None,
    name: str | None,
    to: str | None,
    listen: Address | None,
    keep: bool,
    once: bool,
    copy: bool,
    as_qr: bool,
    new_code: bool,
    exclude: tuple[str, ...],
    skip_unreadable: bool,
    congestion: str,
    limit: float | None,
    wait_s: float,
    common: CommonOptions,
) -> int:
    """Send files, folders, standard input or a text.

    Prints one line on stdout, `wraith receive CODE`, for the other machine, and waits. The code is
    a secret. Interrupted or killed, the same command goes on under the same code.
    """
    if (text is not None) + bool(paths) != 1:
        raise click.UsageError("give either paths, or - for standard input, or --text")
    if STDIN in paths and len(paths) > 1:
        raise click.UsageError("standard input cannot be sent together with files")
    if name is not None and text is None and paths != (STDIN,):
        raise click.UsageError("--name is for a stream or a text; files keep their names")
    if keep and once:
        raise click.UsageError("--keep and --once exclude each other")
    if to == STDIN and paths == (STDIN,):
        raise click.UsageError("stdin cannot hold both the code and the content; set WRAITH_TO")
    config = replace(common.endpoint_config(), congestion=congestion.lower())
    output = common.output()
    if as_qr:
        require_qr(output)
    code, peer_name = _destination(to)
    # Who dials has one receiver, and a program that waits for the exit code has no Ctrl-C.
    is_watched = output.is_terminal and not common.json_events and not once
    ends_refused = code is not None or not (keep or is_watched)
    plan = SendPlan(
        paths=paths,
        text=text,
        name=name,
        code=code,
        peer_name=peer_name,
        local=local_address(listen, common.port),
        choice=common.choice(dials=code is not None),
        config=config,
        node=replace(
            common.node_config(wait_s=wait_s),
            keep=keep,
            end_on_decline=ends_refused,
            limit_bytes_per_s=limit,
        ),
        new_code=new_code,
        exclude=exclude,
        skip_unreadable=skip_unreadable,
        waits_for_network=common.wait_for_network,
        copies=copy,
        as_qr=as_qr,
        history=common.history,
        verbose=common.verbose,
    )
    return run(_Sending(plan, output).run())


def _destination(to: str | None) -> tuple[Code | None, str | None]:
    """A code to dial, or the name of the only peer that may come."""
    if to is None:
        return None, None
    if to != STDIN and not to.strip().lower().startswith(PREFIX):
        return None, to
    from wraith.aio.files.taking import code_of_receiver

    return code_of_receiver(sys.stdin.read() if to == STDIN else to), None


class _Sending:
    """One run of the command."""

    def __init__(self, plan: SendPlan, output: Output) -> None:
        self._plan = plan
        self._output = output
        self._home = HomeFolder.default()
        self._output.note(self._home.note)
        self._peers = Acquaintances(self._home)
        self._left_out: tuple[tuple[bytes, str], ...] = ()
        self._source: Source | None = None

    async def run(self) -> int:
        plan = self._plan
        expected = self._peers.pinned(plan.peer_name) if plan.peer_name is not None else None
        identity = self._home.identity(OsRng())
        allowed = None if expected is None else frozenset({expected})
        node_config = replace(plan.node, expected_peers=allowed)
        offering = Offering(self._home, plan.config, node_config, plan.choice)
        try:
            if plan.is_repeatable:
                offering.keep_code(plan.paths, new_code=plan.new_code)
            source = offering.source = self._source = self._open_source(offering)
            total = source.outgoing.index.total_bytes
            what = "size unknown" if total is None else size(total)
            self._output.say(f"sending {display_path(source.outgoing.name)}, {what}")
            if plan.code is None:
                waiting = await offering.bind(identity=identity, local=plan.local)
                await self._show_code(waiting, offering.kept)
            # What answers the other machine loads while somebody types the code there.
            narrator = self._narrator(source)
            transfer = await offering.open(
                identity=identity, local=plan.local, dials=plan.code is not None
            )
            return await self._offer(offering, transfer, source, narrator)
        finally:
            await offering.close()

    async def _show_code(self, waiting: WaitingPort, kept: KeptCode | None) -> None:
        """Shows the line for the other machine."""
        plan = self._plan
        await find_address(plan.local, waiting.port, self._no_address, waits=plan.waits_for_network)
        invite(
            INVITATION,
            self._output,
            waiting,
            plan.local,
            kept,
            copies=plan.copies,
            as_qr=plan.as_qr,
            left_out=self._left_out_names(),
        )

    def _no_address(self) -> WraithError | None:
        assert self._source is not None, "a source is opened before the port is"
        return self._narrator(self._source).no_address(waits=self._plan.waits_for_network)

    def _narrator(self, source: Source) -> Narrator:
        from wraith.cli.narrator import Narrator

        plan = self._plan
        return Narrator(
            self._output,
            other="the receiver",
            name_of=self._peers.name_of,
            verbose=plan.verbose,
            waits_after_refusal=not plan.node.end_on_decline,
            is_text=plan.text is not None,
            what=display_path(source.outgoing.name),
            n_files=source.outgoing.index.n_files,
        )

    def _open_source(self, offering: Offering) -> Source:
        plan = self._plan
        if plan.text is not None:
            from wraith.transfer.memory_store import MemorySource

            return MemorySource.text(plan.text, name=plan.name or "text")
        if plan.is_stream:
            from wraith.aio.disk.pipes import StreamSource

            return StreamSource(sys.stdin.fileno(), plan.name or "stdin")
        source = offering.scan(
            plan.paths, exclude=plan.exclude, skip_unreadable=plan.skip_unreadable
        )
        self._left_out = source.left_out + source.problems
        for path, why in self._left_out[:PROBLEMS_SHOWN]:
            self._output.say(f"left out: {display_path(path)}: {why}")
        if len(self._left_out) > PROBLEMS_SHOWN:
            self._output.say(f"left out: {len(self._left_out) - PROBLEMS_SHOWN} more")
        return source

    # --- while it runs --------------------------------------------------------------------------

    async def _offer(
        self, offering: Offering, transfer: Transfer, source: Source, narrator: Narrator
    ) -> int:
        from wraith.cli.history import Recorder
        from wraith.node.events import Finished
        from wraith.transfer.events import Done

        plan = self._plan
        if plan.code is not None:
            record = record_of(plan.code)
            roads = plan.choice.roads(record)
            proxy = plan.choice.proxies.sentence
            narrator.dialling(roads, proxy=proxy, left_out=self._left_out_names())
            await find_route(routed(roads), narrator, waits=plan.waits_for_network)
            transfer.start(record)
        else:
            transfer.start()
        recorder = (
            Recorder(self._home, source.outgoing.offer(), offering.file_ids)
            if plan.history
            else None
        )
        finished: Finished | None = None
        async for event in shown_events(transfer, narrator, self._peers, recorder):
            self._output.note(offering.on_event(event))
            match event:
                case Done() if plan.node.keep:
                    narrator.done(event)
                case Finished():
                    finished = event
                case _:
                    pass
        assert finished is not None, "events end with Finished"
        if isinstance(finished.error, OfferRefused):
            finished.error.hint = plan.refusal_hint
        return conclude(finished, narrator, plan.node.connect_timeout_s, offering.file_ids())

    def _left_out_names(self) -> list[str]:
        return [display_path(path) for path, _ in self._left_out[:LEFT_OUT_MAX]]


__all__ = ["send"]
