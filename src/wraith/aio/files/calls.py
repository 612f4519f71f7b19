"""What ``wraith.send`` and ``wraith.receive`` have in common: who this side is, where it binds, and
where it keeps what lets the same call go on later.

Behaviour: docs/reference/api.md, "send" and "receive".
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wraith.aio.argument_kinds import check_identity
from wraith.aio.disk.home_folder import HomeFolder
from wraith.aio.entropy import OsRng
from wraith.aio.files.reaching import code_addresses
from wraith.aio.road_choice import RoadChoice, choose, choose_listening, web_place
from wraith.aio.sessions.policy import effective_config
from wraith.aio.transports.local import LocalAddress, local_address
from wraith.config import EndpointConfig
from wraith.connection.handshake.node_record import NodeRecord
from wraith.connection.roads.proxies import AUTO
from wraith.crypto.ed25519 import Identity
from wraith.errors import ConfigError
from wraith.types import Address, PeerKey, Road, SuiteId

if TYPE_CHECKING:
    from wraith.aio.running import RunningNode

STILL_TRYING_S: Final = 3.0
"""So long after the first hello somebody who dials hears that nobody has answered yet."""

StrPath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Call:
    """The checked arguments of one call. ``identity`` and ``choice`` (of carriers and proxy) are
    ``None`` at a node that has them."""

    home: HomeFolder
    identity: Identity | None
    config: EndpointConfig
    local: Address
    choice: RoadChoice | None
    at: RunningNode | None

    @classmethod
    def checked(
        cls,
        *,
        identity: Identity | None,
        require_pq: bool,
        suites: tuple[SuiteId, ...] | None,
        config: EndpointConfig | None,
        local: LocalAddress | None,
        carriers: Sequence[str] | None,
        proxy: str,
        ws: str | None = None,
        ws_listen: LocalAddress | None = None,
        dials: bool,
        at: RunningNode | None,
        state: StrPath | None,
    ) -> Call:
        """Reads the state folder, which it makes if it is missing.

        Args:
            dials: this side goes to the other one, and does not wait for it.
        Raises:
            ConfigError: what ``at`` has of its own was given too, or a value is of another kind.
            MissingExtra: a carrier or a proxy needs what is not installed.
            PolicyRefused: suite D together with ``require_pq``.
            UntrustedPath, DiskFailed, NoSpace: the state folder cannot be used.
        """
        check_identity(identity)
        if at is not None:
            _check_node(at)
        own = {
            "identity": identity,
            "suites": suites,
            "config": config,
            "local": local,
            "carriers": carriers,
            "proxy": proxy if proxy != AUTO else None,
            "ws": ws,
            "ws_listen": ws_listen,
        }
        for name, value in own.items():
            if at is not None and value is not None:
                raise ConfigError(
                    name, "given with at", "nothing: the node that is there has its own"
                )
        chosen = effective_config(
            at.node.endpoint.config if at is not None else config,
            require_pq=require_pq,
            suites=suites,
        )
        choice: RoadChoice | None = None
        if at is None:
            web = web_place(ws, None if ws_listen is None else local_address(ws_listen))
            if dials and web is not None:
                raise ConfigError("ws", ws, "nothing where this side dials")
            if dials:
                choice = choose(carriers, proxy)
            else:
                choice = choose_listening(carriers, proxy, web=web)
        home = HomeFolder.default() if state is None else HomeFolder(Path(state))
        if identity is None and at is None:
            identity = home.identity(OsRng())
        return cls(home, identity, chosen, local_address(local), choice, at)

    def addresses(self, port: int) -> tuple[Address, ...]:
        """What a code names when ``port`` is bound."""
        return self.at.addresses if self.at is not None else code_addresses(self.local, port)

    def roads(self, record: NodeRecord) -> tuple[Road, ...]:
        """The roads that may be tried. Raises as ``RoadChoice.roads``."""
        return record.roads if self.choice is None else self.choice.roads(record)

    def name_of(self, key: PeerKey) -> str:
        """The name that a person gave to a key; empty for most."""
        return next((entry.name for entry in self.home.peers() if entry.key == key), "")


def path_text(name: str, path: object) -> str:
    """The text of a path.

    Raises:
        ConfigError: it is none, or one of bytes.
    """
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(text, str) or "\0" in text:
        raise ConfigError(name, path, "a path, as text or os.PathLike")
    return text


def _check_node(at: object) -> None:
    from wraith.aio.running import RunningNode

    if not isinstance(at, RunningNode):
        raise ConfigError("at", at, "what wraith.aio.open_node opened")
