"""``wraith receive``: takes what a code offers, asking first."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from functools import partial

import click

from wraith.aio.disk.home_folder import HomeFolder
from wraith.aio.disk.store_worker import (
    ExistsPolicy,
    Leftover,
    PipeTarget,
    discard,
    leftovers,
)
from wraith.aio.entropy import OsRng
from wraith.aio.files.answering import Answering
from wraith.aio.files.reaching import routed
from wraith.aio.files.taking import Taking, Target, code_of_sender
from wraith.aio.files.telling import entry_event
from wraith.aio.road_choice import RoadChoice
from wraith.aio.transfers import Transfer
from wraith.aio.transports.addresses import parse_address
from wraith.cli.acquaintances import Acquaintances
from wraith.cli.consent import Consent
from wraith.cli.handover import ask_code, pasted_code, require_qr
from wraith.cli.history import Recorder
from wraith.cli.invitation import Invitation, find_address, invite
from wraith.cli.narrator import Narrator, entry_line
from wraith.cli.output import Output, printable, size
from wraith.cli.running import PARTLY_DONE, conclude, find_route, run, shown_events
from wraith.cli.settings import SettingsCommand
from wraith.cli.suggestions import folders, leftover_ids, peer_names
from wraith.cli.transfer_options import (
    EXIT_CODES,
    CommonOptions,
    Duration,
    common_options,
    local_address,
)
from wraith.config import EndpointConfig
from wraith.errors import OfferRefused, TransferError
from wraith.node.codes import record_of
from wraith.node.config import NodeConfig
from wraith.node.events import Finished
from wraith.transfer.code import Code
from wraith.transfer.events import OfferReceived, Placed
from wraith.transfer.messages import Reason
from wraith.transfer.path_rules import display_path
from wraith.types import Address, PeerKey

STDIN = "-"
STDOUT = "-"
ANY_PORT = ":0"
NO_TERMINAL = (
    "there is no terminal to ask on: give --yes to accept whatever is offered, or --list-only"
)
NOTHING_UNFINISHED = "there is no unfinished transfer here"

INVITATION = Invitation(
    where="on the machine that sends run:",
    line="wraith send --to {code} PATH...",
    is_new_line="the address or port is not the one of before: use this new line",
    is_old_line=None,
    maker_receives=True,
)


@dataclass(frozen=True, slots=True)
class ReceivePlan:
    """The values that the options ask for, checked."""

    code: Code | None
    out: str
    policy: ExistsPolicy
    verify: bool | None
    yes: bool
    list_only: bool
    ask_on: str | None
    peer_name: str | None
    local: Address
    choice: RoadChoice
    config: EndpointConfig
    node: NodeConfig
    new_code: bool
    waits_for_network: bool
    copies: bool
    as_qr: bool
    history: bool
    verbose: bool

    @property
    def asks_existing(self) -> bool:
        """A person is asked about names that exist."""
        is_asked = not self.yes and not self.list_only and self.out != STDOUT
        return is_asked and self.policy is ExistsPolicy.REFUSE


@click.command(
    "receive",
    cls=SettingsCommand,
    epilog="""\b
Examples:
  wraith receive wr1...                    asks, then receives into this folder
  wraith receive - --yes < code.txt        the code is not in the process list
  wraith receive --listen --out inbox      prints a line for the machine that sends
  wraith receive wr1... --out - | tar x    one file or stream to stdout

"""
    + EXIT_CODES,
)
@click.argument("code", nargs=-1, envvar="WRAITH_CODE")
@click.option(
    "--out",
    default=".",
    show_default=True,
    envvar="WRAITH_OUT",
    show_envvar=True,
    metavar="DIR",
    shell_complete=folders,
    help="Where to put it; '-' writes a single file to stdout.",
)
@click.option("-y", "--yes", is_flag=True, help="Accept without asking.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@click.option("--rename", is_flag=True, help="Give new files another name where one exists.")
@click.option("--skip", is_flag=True, help="Leave files that exist as they are.")
@click.option(
    "--verify/--no-verify",
    default=None,
    help="Read again what an earlier run has left: first, or not at all. "
    "[default: while new data arrive, as far as there is time]",
)
@click.option(
    "--from",
    "--only",
    "from_name",
    metavar="NAME",
    envvar="WRAITH_FROM",
    show_envvar=True,
    shell_complete=peer_names,
    help="Accept nobody but this named peer.",
)
@click.option(
    "--listen",
    "--bind",
    "listen",
    is_flag=False,
    flag_value=ANY_PORT,
    metavar="[HOST:PORT]",
    help="Without a code: wait for a sender to dial, and print `wraith send --to CODE PATH...`. "
    "With a code: the address to dial from.",
)
@click.option("--paste", is_flag=True, help="Take the code from the clipboard.")
@click.option(
    "--copy", is_flag=True, help="With --listen: put the code into the clipboard (OSC 52)."
)
@click.option(
    "--qr", "as_qr", is_flag=True, help="With --listen: show the code for a camera; needs segno."
)
@click.option("--new-code", is_flag=True, help="With --listen: forget the code used before.")
@click.option("--list", "list_leftovers", is_flag=True, help="Show unfinished transfers in DIR.")
@click.option(
    "--discard",
    metavar="ID|all",
    shell_complete=leftover_ids,
    help="Remove an unfinished transfer from DIR.",
)
@click.option("--list-only", is_flag=True, help="Show what is offered and take nothing.")
@click.option(
    "--wait",
    "wait_s",
    type=Duration(),
    default="10m",
    show_default=True,
    envvar="WRAITH_WAIT",
    show_envvar=True,
    help="How long to go on after the sender vanished.",
)
@common_options
def receive(
    code: tuple[str, ...],
    out: str,
    yes: bool,
    overwrite: bool,
    rename: bool,
    skip: bool,
    verify: bool | None,
    from_name: str | None,
    listen: str | None,
    paste: bool,
    copy: bool,
    as_qr: bool,
    new_code: bool,
    list_leftovers: bool,
    discard: str | None,
    list_only: bool,
    wait_s: float,
    common: CommonOptions,
) -> int:
    """Receive what CODE offers.

    Without CODE it is asked for, and not shown. It may be given as an argument, as '-' to read it
    from stdin, or in WRAITH_CODE; all but the argument keep it out of the process list and of the
    shell's history. Interrupted or killed, the same command goes on.
    """
    output = common.output()
    if overwrite + rename + skip > 1:
        raise click.UsageError("--overwrite, --rename and --skip exclude each other")
    if list_leftovers:
        return _list_leftovers(out, output)
    if discard is not None:
        return _discard(out, discard, output)
    if out == STDOUT and common.json_events:
        raise click.UsageError("stdout cannot hold both the file and JSON lines")
    if out == STDOUT and listen is not None and not code:
        raise click.UsageError("stdout cannot hold both the file and the line with the code")
    source = click.get_current_context().get_parameter_source("code")
    if listen is not None and source is not click.core.ParameterSource.COMMANDLINE:
        code = ()  # a code in the environment is meant for a receive that dials
    if paste and (code or listen is not None):
        raise click.UsageError("--paste takes the code from the clipboard: give no other one")
    if as_qr:
        require_qr(output)
    config = common.endpoint_config()
    if paste:
        code = (pasted_code(),)
    elif not code and listen is None and not common.json_events and _is_terminal_input():
        code = (ask_code(),)
    ask_on = None if yes or list_only else _terminal(code == (STDIN,))
    dialled = _code(code, listen)
    plan = ReceivePlan(
        code=dialled,
        out=out,
        policy=_policy(overwrite, rename, skip),
        verify=verify,
        yes=yes,
        list_only=list_only,
        ask_on=ask_on,
        peer_name=from_name,
        local=local_address(
            parse_address(listen) if listen not in (None, ANY_PORT) else None, common.port
        ),
        choice=common.choice(dials=dialled is not None),
        config=config,
        node=common.node_config(wait_s=wait_s),
        new_code=new_code,
        waits_for_network=common.wait_for_network,
        copies=copy,
        as_qr=as_qr,
        history=common.history,
        verbose=common.verbose,
    )
    return run(_Receiving(plan, output).run())


def _policy(overwrite: bool, rename: bool, skip: bool) -> ExistsPolicy:
    if overwrite:
        return ExistsPolicy.OVERWRITE
    if rename:
        return ExistsPolicy.RENAME
    return ExistsPolicy.SKIP if skip else ExistsPolicy.REFUSE


def _code(words: tuple[str, ...], listen: str | None) -> Code | None:
    """The code to dial, from the address ``listen`` if there is one; ``None`` to listen."""
    if not words and listen is None:
        raise click.UsageError("give a code, '-' to read it from stdin, or --listen")
    if not words:
        return None
    if listen == ANY_PORT:
        raise click.UsageError("--listen waits for a sender to dial: it takes no code")
    return code_of_sender(sys.stdin.read() if words == (STDIN,) else "".join(words))


def _is_terminal_input() -> bool:
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()


def _terminal(stdin_has_code: bool) -> str | None:
    """The terminal to ask on; found before anyone is dialled.

    Raises:
        click.UsageError: nowhere.
    """
    if not stdin_has_code and _is_terminal_input():
        return None
    if stdin_has_code:
        try:
            os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
        except OSError:
            raise click.UsageError(NO_TERMINAL) from None
        return "/dev/tty"
    raise click.UsageError(NO_TERMINAL)


class _Receiving:
    """One run of the command."""

    def __init__(self, plan: ReceivePlan, output: Output) -> None:
        self._plan = plan
        self._output = output
        self._home = HomeFolder.default()
        self._output.note(self._home.note)
        self._peers = Acquaintances(self._home)
        self._answering: Answering | None = None

    async def run(self) -> int:
        plan = self._plan
        expected = self._expected_peer()
        allowed = None if expected is None else frozenset({expected})
        identity = self._home.identity(OsRng())
        node_config = replace(plan.node, expected_peers=allowed)
        taking = Taking(
            self._home, plan.config, node_config, out=plan.out, code=plan.code, choice=plan.choice
        )
        try:
            if plan.code is None:
                taking.keep_code(new_code=plan.new_code)
            target = taking.target = self._open_target(taking)
            narrator = Narrator(
                self._output,
                other="the sender",
                name_of=self._peers.name_of,
                verbose=plan.verbose,
            )
            transfer = await taking.open(identity=identity, local=plan.local)
            consent = Consent(
                target.entries,
                self._output,
                ask_on=plan.ask_on,
                choose=partial(setattr, target, "choices") if plan.asks_existing else None,
            )
            self._answering = Answering(
                transfer, None if plan.yes else consent.ask, on_gone=self._output.say
            )
            return await self._take(taking, transfer, target, narrator)
        finally:
            if self._answering is not None:
                self._answering.close()
            await taking.close()

    def _expected_peer(self) -> PeerKey | None:
        plan = self._plan
        if plan.peer_name is None:
            return None
        if plan.code is not None:
            self._peers.check_pin(plan.peer_name, plan.code.peer)
        return self._peers.pinned(plan.peer_name)

    def _open_target(self, taking: Taking) -> Target:
        plan = self._plan
        if plan.out == STDOUT:
            return PipeTarget(sys.stdout.fileno())
        return taking.open_target(
            policy=plan.policy,
            asks=plan.asks_existing,
            list_only=plan.list_only,
            verify=plan.verify,
        )

    # --- while it runs --------------------------------------------------------------------------

    async def _take(
        self, taking: Taking, transfer: Transfer, target: Target, narrator: Narrator
    ) -> int:
        code = self._plan.code
        if code is not None:
            record, choice = record_of(code), self._plan.choice
            roads = choice.roads(record)
            narrator.dialling(roads, proxy=choice.proxies.sentence)
            await find_route(routed(roads), narrator, waits=self._plan.waits_for_network)
            transfer.start(record)
        else:
            waits = self._plan.waits_for_network
            no_address = partial(narrator.no_address, waits=waits)
            await find_address(self._plan.local, transfer.port, no_address, waits=waits)
            invite(
                INVITATION,
                self._output,
                transfer,
                self._plan.local,
                taking.kept,
                copies=self._plan.copies,
                as_qr=self._plan.as_qr,
            )
            transfer.start()
        recorder = Recorder(self._home) if self._plan.history else None
        finished: Finished | None = None
        async for event in shown_events(transfer, narrator, self._peers, recorder):
            match event:
                case OfferReceived():
                    self._on_offer(event, transfer, target, narrator)
                case Placed():
                    self._output.note(target.note)
                    self._output.note(taking.on_event(event))
                    self._on_placed(event)
                case Finished():
                    finished = event
                case _:
                    pass
        assert finished is not None, "events end with Finished"
        return self._conclude(taking, finished, narrator)

    def _on_offer(
        self, event: OfferReceived, transfer: Transfer, target: Target, narrator: Narrator
    ) -> None:
        if self._plan.list_only:
            for entry in target.entries():
                narrator.tell(entry_event(entry))
                self._output.result(entry_line(entry, display_path(entry.path)))
            transfer.decline(Reason.LIST_ONLY)
        elif self._answering is not None:
            self._answering.on_offer(event)

    def _on_placed(self, event: Placed) -> None:
        if event.text is None:
            for path in event.placed:
                where = "written to standard output" if path == STDOUT else f"received {path}"
                self._output.say(printable(where))
            return
        text = event.text.decode("utf-8", "replace")
        if sys.stdout.isatty():
            text = "\n".join(printable(line) for line in text.split("\n"))
        self._output.result(text)

    def _conclude(self, taking: Taking, finished: Finished, narrator: Narrator) -> int:
        if self._answering is not None and self._answering.failure is not None:
            raise self._answering.failure
        note = taking.completed_earlier(finished)
        if note is not None:
            narrator.complete_already(note)
            return PARTLY_DONE if note.n_failed else 0
        if self._plan.list_only and isinstance(finished.error, OfferRefused):
            return 0  # our own refusal, after the list
        file_ids = narrator.placed.file_ids if narrator.placed is not None else ()
        return conclude(finished, narrator, self._plan.node.connect_timeout_s, file_ids)


def _list_leftovers(out: str, output: Output) -> int:
    """``receive --list``."""
    found = list(leftovers(out))
    for leftover in found:
        total = leftover.bytes_total
        output.event(
            "leftover",
            id=_id(leftover),
            path=str(leftover.path),
            peer=str(leftover.peer) if leftover.peer is not None else None,
            names=list(leftover.names),
            bytes_done=leftover.bytes_done,
            bytes_total=total,
            complete=leftover.is_complete,
            in_use=leftover.is_in_use,
        )
        of = "unknown size" if total is None else size(total)
        state = "in use" if leftover.is_in_use else "complete" if leftover.is_complete else ""
        names = ", ".join(leftover.names[:3]) or "?"
        output.result(f"{_id(leftover)}  {size(leftover.bytes_done)} of {of}  {names}  {state}")
    if not found:
        output.say(NOTHING_UNFINISHED)
    return 0


def _discard(out: str, wanted: str, output: Output) -> int:
    """``receive --discard ID`` or ``all``.

    Raises:
        TransferError: there is no such leftover.
        Busy: it is in use.
    """
    found = list(leftovers(out))
    in_use = [each for each in found if each.is_in_use] if wanted == "all" else []
    chosen = [
        each
        for each in found
        if (wanted == "all" and not each.is_in_use) or (wanted and _id(each).startswith(wanted))
    ]
    if len(chosen) > 1 and wanted != "all":
        raise TransferError(f"{wanted} fits {len(chosen)} of them", hint="give more of the id")
    if not chosen and wanted != "all":
        raise TransferError(
            f"no unfinished transfer here is called {wanted}", hint="`wraith receive --list`"
        )
    for leftover in chosen:
        discard(leftover)
        output.event("discarded", id=_id(leftover), bytes=leftover.bytes_done)
        output.say(f"removed {_id(leftover)}: {', '.join(leftover.names[:3])}")
    for leftover in in_use:
        output.say(f"{_id(leftover)} stays: a process works in it")
    if not found:
        output.say(NOTHING_UNFINISHED)
    return 0


def _id(leftover: Leftover) -> str:
    return leftover.path.name.removeprefix(".wraith-")


__all__ = ["receive"]
