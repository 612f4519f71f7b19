"""``wraith id`` and ``wraith peers``: who this node is, and whom it knows."""

from __future__ import annotations

import time

import click

from wraith.aio.disk.home_folder import HomeFolder, PeerEntry
from wraith.aio.entropy import OsRng
from wraith.cli.helping import Helped
from wraith.cli.output import Output, printable
from wraith.cli.suggestions import known_keys, peer_names_and_keys
from wraith.errors import ConfigError, TransferError
from wraith.types import PeerKey


@click.command("id")
@click.option("--json", "json_events", is_flag=True, help="One JSON object on stdout.")
def show_id(json_events: bool) -> None:
    """Show this node's identity, which others may pin with `wraith peers name`."""
    output = Output(json_events=json_events, quiet=False)
    home = HomeFolder.default()
    output.note(home.note)
    key = home.identity(OsRng()).public
    output.event("id", key=str(key), home=str(home.home))
    output.result(str(key))


@click.group("peers", cls=Helped, invoke_without_command=True)
@click.option("--json", "json_events", is_flag=True, help="One JSON object per peer on stdout.")
@click.pass_context
def peers(ctx: click.Context, json_events: bool) -> None:
    """List known peers. A named peer is pinned: a changed key stops a transfer."""
    if ctx.invoked_subcommand is not None:
        return
    output = Output(json_events=json_events, quiet=False)
    entries = HomeFolder.default().peers()
    for entry in entries:
        output.event(
            "peer",
            key=str(entry.key),
            name=entry.name,
            pinned=entry.pinned,
            last_seen=entry.last_seen,
        )
        seen = time.strftime("%Y-%m-%d %H:%M", time.gmtime(entry.last_seen))
        output.result(f"{entry.key}  {printable(entry.name) or '-':20}  {seen} UTC")
    if not entries:
        output.say("no peers are known yet; a transfer records whom it met")


@peers.command("name")
@click.argument("name")
@click.argument("key", shell_complete=known_keys)
def name_peer(name: str, key: str) -> None:
    """Pin KEY (or `last`, the peer met last) under NAME."""
    home = HomeFolder.default()
    entry = home.name_peer(name, _find_key(home, key))
    Output(json_events=False, quiet=False).say(f"{name} is now {entry.key}")


@peers.command("forget")
@click.argument("name_or_key", shell_complete=peer_names_and_keys)
def forget_peer(name_or_key: str) -> None:
    """Forget a peer and its name."""
    home = HomeFolder.default()
    known = home.find_peer(name_or_key)
    key = known.key if known else _key_of(home, name_or_key)
    if key is None or not home.forget_peer(key):
        raise TransferError(
            f"no peer is called {printable(name_or_key)}",
            hint="`wraith peers` lists names and keys",
        )
    Output(json_events=False, quiet=False).say(f"forgot {key}")


def _find_key(home: HomeFolder, text: str) -> PeerKey:
    key = _key_of(home, text)
    if key is None:
        raise ConfigError("key", text, "the 52 characters that `wraith id` prints")
    return key


def _key_of(home: HomeFolder, text: str) -> PeerKey | None:
    if text == "last":
        entries: list[PeerEntry] = home.peers()
        if not entries:
            raise ConfigError("key", text, "a peer that was met; none is known yet")
        return entries[0].key
    try:
        return PeerKey.parse(text)
    except ValueError:
        return None
