"""The line with the code that a command which waits shows, for the machine on the other side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from wraith.aio.disk.kept_code import KeptCode
from wraith.aio.files.reaching import code_addresses
from wraith.aio.files.waiting import Announcement, Waits, announce
from wraith.aio.road_choice import names_of
from wraith.aio.transports.routes import is_loopback, wait_until
from wraith.cli.handover import copy_code, show_qr
from wraith.cli.output import Output
from wraith.cli.screen import BOLD, CYAN
from wraith.errors import WraithError
from wraith.types import Address, Carrier

if TYPE_CHECKING:
    from wraith.aio.files.events import EntryEvent, Event

#: Carriers whose port a firewall must let in.
PORTS: Final = (Carrier.UDP, Carrier.TCP)


@dataclass(frozen=True, slots=True)
class Invitation:
    """The words of a command that waits for its code: ``line`` is what to run on the machine that
    ``where`` speaks of."""

    where: str
    line: str
    is_new_line: str
    is_old_line: str | None
    maker_receives: bool


def invite(
    invitation: Invitation,
    output: Output,
    waiting: Waits,
    local: Address,
    kept: KeptCode | None,
    *,
    copies: bool = False,
    as_qr: bool = False,
    left_out: Sequence[str] | None = None,
) -> None:
    """Shows the code of ``waiting``, which does so at ``local``. ``kept`` notes what the code
    names; what is ``left_out`` stands in the event too."""
    addresses = code_addresses(local, waiting.port)
    announced = announce(waiting, addresses, kept, maker_receives=invitation.maker_receives)
    if output.json_events:
        tell(output, announced.event(left_out))
    if announced.is_changed:
        output.say(invitation.is_new_line)
    elif announced.is_resumed and invitation.is_old_line is not None:
        output.say(invitation.is_old_line)
    output.say(invitation.where)
    output.result(invitation.line.format(code=announced.code), BOLD, CYAN)
    if as_qr:
        show_qr(output, announced.code)
    if copies:
        copy_code(output, announced.code)
    where, reached = ", ".join(announced.addresses), announced.reached
    for carrier in reached.missing:
        port = announced.port + (carrier is Carrier.QUIC and reached.udp)
        left = names_of(reached.carriers)
        output.say(f"{carrier.name} port {port} is taken: this code leads here over {left} alone")
    output.say(f"waiting at {where} ({_carriers_text(announced)}){_to_let_in(announced)}")


def _carriers_text(announced: Announcement) -> str:
    reached = announced.reached
    if reached.quic_port in (None, announced.port):
        return names_of(reached.carriers)
    others = names_of(each for each in reached.carriers if each is not Carrier.QUIC)
    return f"{others}; QUIC at port {reached.quic_port}"


def _to_let_in(announced: Announcement) -> str:
    reached = announced.reached
    ports = [f"{each.name} port {announced.port}" for each in reached.carriers if each in PORTS]
    if all(each in reached.carriers for each in PORTS):
        ports = [f"UDP and TCP port {announced.port}"]
    if reached.quic_port is not None:
        ports.append(f"UDP port {reached.quic_port} (QUIC)")
    return f"; a firewall must let {' and '.join(ports)} in" if ports else ""


def tell(output: Output, event: Event | EntryEvent) -> None:
    """One line of JSON, where they are wanted."""
    if output.json_events:
        from wraith.aio.files.events import fields_of, name_of  # people are told words

        output.event(name_of(event), **fields_of(event))


async def find_address(
    local: Address, port: int, no_address: Callable[[], WraithError | None], *, waits: bool
) -> None:
    """Looks whether a code could name an address of this machine; ``waits`` for one. While somebody
    waits, its own loopback address is none.

    Raises:
        WraithError: what ``no_address`` returns, which is told that there is none.
    """

    def found() -> tuple[Address, ...]:
        return code_addresses(local, port)

    if any(local.ip):
        return  # it was named
    if found() and not (waits and all(is_loopback(each) for each in found())):
        return
    error = no_address()
    if error is not None:
        raise error
    await wait_until(lambda: not all(is_loopback(each) for each in found()))
