"""``wraith.send``: offers files, folders or a text under a code.

::

    async with wraith.send(["photos", "notes.txt"]) as sending:
        print(sending.code)              # for the other side; a secret
        async for event in sending:      # or not: ``done`` needs nobody to look
            ...
        await sending.done()

The name is here as soon as a program imports it; what is behind it loads with the first offer.
Behaviour: docs/reference/api.md, "send".
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from wraith.aio.opening import Opening

if TYPE_CHECKING:
    from wraith.aio.files.calls import StrPath
    from wraith.aio.files.events import Event
    from wraith.aio.files.sending import Sending
    from wraith.aio.running import RunningNode
    from wraith.aio.transports.local import LocalAddress
    from wraith.config import EndpointConfig
    from wraith.crypto.ed25519 import Identity
    from wraith.types import PeerKey, SuiteId


def send(
    paths: StrPath | Iterable[StrPath] = (),
    *,
    text: str | None = None,
    to: str | None = None,
    allow: Iterable[PeerKey] | None = None,
    keep: bool = False,
    new_code: bool = False,
    exclude: str | Iterable[str] = (),
    skip_unreadable: bool = False,
    limit_bytes_per_s: float | None = None,
    wait_s: float | None = None,
    connect_timeout_s: float = 30.0,
    on_event: Callable[[Event], None] | None = None,
    identity: Identity | None = None,
    require_pq: bool = True,
    suites: tuple[SuiteId, ...] | None = None,
    config: EndpointConfig | None = None,
    local: LocalAddress | None = None,
    carriers: Sequence[str] | None = None,
    proxy: str = "auto",
    ws: str | None = None,
    ws_listen: LocalAddress | None = None,
    at: RunningNode | None = None,
    state: StrPath | None = None,
) -> Opening[Sending]:
    """Offers files and folders: ``async with send(...) as sending`` or ``await send(...)``.

    The offer stands as soon as it is open, and until a receiver has everything, ``close`` is
    called, or the block is left. Ended early, or killed, the same call goes on under the same code
    within a day: what a receiver has is not sent again.

    Args:
        paths: one path or more. ``text``: a short text instead, at most 1 MiB in UTF-8.
        to: the code of a receiver that waits (``wraith receive --listen``): it is dialled.
        allow: the only identities that may receive; ``None`` lets in whoever has the code.
        keep: go on after a complete receiver; a refusal ends nothing then.
        new_code: forget the code of an unfinished earlier call.
        exclude: globs of names or relative paths that are left out.
        skip_unreadable: go on without what cannot be read.
        limit_bytes_per_s: 1,000 or more; ``None`` is as fast as it can be.
        wait_s: how long to wait for a receiver that vanished; ``None`` is without limit.
        connect_timeout_s: with ``to``: how long to try before anybody has answered.
        on_event: called on the loop with each event; what it raises ends the offer.
        identity: who this side is; the one kept in ``state`` when ``None``.
        require_pq, suites, config, local, proxy: as for ``connect``.
        carriers: on what the other side may come, ``("udp", "tcp")`` at one port when ``None``; or,
            with ``to``, over what this side goes there: all that are installed when ``None``.
        ws, ws_listen: as for ``listen``; not with ``to``.
        at: a node that runs already (``wraith.aio.open_node``).
        state: the folder with the identity and unfinished work; ``WRAITH_HOME``, or the platform's
            folder for this user, when ``None``. It is the one of the command ``wraith``.

    Raises:
        SourceUnreadable: something cannot be read; everything that cannot is named.
        CodeInvalid: ``to`` is not the code of a receiver.
        ConnectFailed: this machine has no address that a code could name, or no route.
        TransportError, PolicyRefused, ConfigError, DiskFailed: what they say.
    """

    async def open_() -> Sending:
        from wraith.aio.argument_kinds import peer_keys
        from wraith.aio.files.calls import STILL_TRYING_S, Call
        from wraith.aio.files.following import ended, previous_end
        from wraith.aio.files.offering import Offering
        from wraith.aio.files.sending import Sending
        from wraith.aio.files.taking import code_of_receiver
        from wraith.node.config import NodeConfig
        from wraith.transfer.memory_store import MemorySource

        chosen = _paths(paths, text)
        call = Call.checked(
            identity=identity,
            require_pq=require_pq,
            suites=suites,
            config=config,
            local=local,
            carriers=carriers,
            proxy=proxy,
            ws=ws,
            ws_listen=ws_listen,
            dials=to is not None,
            at=at,
            state=state,
        )
        code = None if to is None else code_of_receiver(to)
        node_config = NodeConfig(
            keep=keep,
            expected_peers=None if allow is None else peer_keys("allow", allow),
            connect_timeout_s=connect_timeout_s,
            still_trying_s=STILL_TRYING_S,
            wait_s=wait_s,
            end_on_decline=not keep,
            limit_bytes_per_s=limit_bytes_per_s,
            require_pq=require_pq,
        )
        offering = Offering(call.home, call.config, node_config, call.choice)
        try:
            if text is not None:
                offering.source = MemorySource.text(text)
            else:
                if code is None:
                    named = sorted(os.path.abspath(path) for path in chosen)
                    offering.place = "\0".join([os.fspath(call.home.home), *named])
                    await previous_end(offering.place)
                await offering.prepare(
                    chosen,
                    keeps_code=code is None,
                    new_code=new_code,
                    exclude=(exclude,) if isinstance(exclude, str) else tuple(exclude),
                    skip_unreadable=skip_unreadable,
                )
            await offering.open(
                identity=call.identity, local=call.local, dials=code is not None, at=at
            )
            return Sending(offering, call, code, node_config, on_event)
        except BaseException:
            await ended(offering, finished=True)
            raise

    return Opening(open_, "wraith.send(...)")


def _paths(paths: StrPath | Iterable[StrPath], text: str | None) -> tuple[str, ...]:
    from wraith.aio.files.calls import path_text
    from wraith.errors import ConfigError

    several: Iterable[object] = (paths,)
    if isinstance(paths, Iterable) and not isinstance(paths, str | bytes | os.PathLike):
        several = paths
    chosen = tuple(path_text("paths", path) for path in several)
    if (text is not None) == bool(chosen):
        raise ConfigError("paths", chosen, "one path or more, or a text, and not both")
    if text is not None:
        _check_text(text)
    return chosen


def _check_text(text: object) -> None:
    """The text may be private: no error shows it."""
    from wraith.errors import ConfigError
    from wraith.transfer.messages import TEXT_BYTES_MAX

    if not isinstance(text, str):
        raise ConfigError("text", f"a value of type {type(text).__name__}", "text")
    try:
        n_bytes = len(text.encode())
    except UnicodeEncodeError:
        raise ConfigError("text", "half of a character", "text that UTF-8 can hold") from None
    if n_bytes > TEXT_BYTES_MAX:
        raise ConfigError("text", f"{n_bytes:,} bytes", "1 MiB in UTF-8; send a file")
