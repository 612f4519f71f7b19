"""What a send is made of, for the command and for programs: a source, the code that is kept for it
and the transfer that offers it.

    offering = Offering(home, endpoint_config, node_config)
    offering.keep_code(paths)                    # only what can be offered again
    offering.source = offering.scan(paths)
    waiting = await offering.bind(identity=...)  # not needed; its code can be shown before ``open``
    transfer = await offering.open(identity=...)
    offering.on_event(event)                     # each event of the transfer
    await offering.close()

It asks and tells nobody anything.

Behaviour: docs/reference/cli.md, "Again after a crash".
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wraith.aio.clock import SystemClock
from wraith.aio.disk.file_source import FileSource
from wraith.aio.disk.home_folder import HomeFolder
from wraith.aio.disk.kept_code import KeptCode, remove_old_codes, send_folder
from wraith.aio.entropy import OsRng
from wraith.aio.ports import WaitingPort, bind_preferred
from wraith.aio.road_choice import RoadChoice, choose_listening
from wraith.config import EndpointConfig
from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.crypto.ed25519 import Identity
from wraith.errors import WraithError
from wraith.node.config import NodeConfig
from wraith.types import ANY_ADDRESS, Address

if TYPE_CHECKING:  # the machine loads with ``open``, after the code was shown
    from wraith.aio.disk.store_worker import MemorySource, StreamSource
    from wraith.aio.files.telling import FileIds
    from wraith.aio.running import RunningNode
    from wraith.aio.transfers import Transfer
    from wraith.node.events import NodeEvent

    Source = FileSource | StreamSource | MemorySource


class Offering:
    """See the module. Belongs to one event loop; what was opened before ``close`` is closed by it.

    Attributes:
        source: what is offered; set it before ``open``.
        kept: the code that outlives the process, if there is one.
        transfer: after ``open``.
        place: as in ``following.Holder``.
    """

    def __init__(
        self,
        home: HomeFolder,
        endpoint_config: EndpointConfig,
        node_config: NodeConfig,
        choice: RoadChoice | None = None,
    ) -> None:
        self.source: Source | None = None
        self.kept: KeptCode | None = None
        self.transfer: Transfer | None = None
        self.place = ""
        self._home = home
        self._endpoint_config = endpoint_config
        self._node_config = node_config
        self._choice = choice if choice is not None else choose_listening()
        self._preparing: asyncio.Future[FileSource] | None = None
        self._waiting: WaitingPort | None = None

    def keep_code(
        self, paths: Sequence[str | os.PathLike[str]], *, new_code: bool = False
    ) -> KeptCode:
        """Takes the code under which these paths were offered before, else a new one.

        Raises:
            WraithError: as ``KeptCode.open``.
        """
        remove_old_codes(self._home, SystemClock())
        self.kept = KeptCode.open(
            send_folder(self._home, [Path(path) for path in paths]),
            OsRng(),
            SystemClock(),
            max_clock_skew_s=self._endpoint_config.max_clock_skew_s,
            new_code=new_code,
        )
        return self.kept

    def scan(
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        exclude: Sequence[str] = (),
        skip_unreadable: bool = False,
    ) -> FileSource:
        """Walks the paths. Blocks; any thread.

        Raises:
            WraithError: as ``FileSource.scan``; a code that was never shown is forgotten then.
        """
        try:
            return FileSource.scan(
                [os.fspath(path) for path in paths],
                exclude=tuple(exclude),
                skip_unreadable=skip_unreadable,
                state_dir=self.kept.private if self.kept is not None else None,
                home=self._home.home,
            )
        except BaseException:
            if self.kept is not None and not self.kept.is_resumed:
                self.kept.spend()  # it was never shown
            raise

    async def prepare(
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        keeps_code: bool,
        new_code: bool,
        exclude: Sequence[str],
        skip_unreadable: bool,
    ) -> None:
        """``keep_code``, if it is asked for, and ``scan``, in a thread: both may take long.
        Cancelled, the thread goes on, and ``close`` waits for it."""

        def work() -> FileSource:
            if keeps_code:
                self.keep_code(paths, new_code=new_code)
            return self.scan(paths, exclude=exclude, skip_unreadable=skip_unreadable)

        self._preparing = asyncio.ensure_future(asyncio.to_thread(work))
        self.source = await asyncio.shield(self._preparing)

    async def bind(self, *, identity: Identity, local: Address = ANY_ADDRESS) -> WaitingPort:
        """Binds the port at which ``open``, given the same, is going to listen.

        Raises:
            TransportError: the address cannot be bound.
        """
        kept = self.kept
        preferred = kept.port if kept is not None else 0
        choice = self._choice
        sockets = await bind_preferred(local, preferred, choice)
        self._waiting = WaitingPort(
            sockets,
            choice.reached(sockets),
            identity.public,
            self._endpoint_config.suites,
            kept.access if kept is not None else AccessKey.generate(OsRng(), with_psk=True),
        )
        return self._waiting

    async def open(
        self,
        *,
        identity: Identity | None,
        local: Address = ANY_ADDRESS,
        dials: bool = False,
        at: RunningNode | None = None,
    ) -> Transfer:
        """Makes the transfer, which waits for ``Transfer.start``. It listens unless it ``dials``.

        Raises:
            WraithError: as ``Transfer.open``.
        """
        from wraith.aio.road_memory import RoadMemory
        from wraith.aio.transfers import Transfer

        kept, waiting = self.kept, self._waiting
        if waiting is not None:
            access: AccessKey | None = waiting.access
        elif kept is not None:
            access = kept.access
        else:
            access = None if dials else AccessKey.generate(OsRng(), with_psk=True)
        self.transfer = await Transfer.open(
            source=self.source,
            identity=identity,
            endpoint_config=self._endpoint_config if at is None else None,
            node_config=replace(
                self._node_config, bound_to=kept.bound_to if kept is not None else None
            ),
            access=access,
            replay=kept.replay if kept is not None else None,
            local=local,
            preferred_port=kept.port if kept is not None else 0,
            sockets=waiting.sockets if waiting is not None else None,
            at=at,
            choice=self._choice,
            memory=RoadMemory(self._home, OsRng(), SystemClock()),
        )
        self._waiting = None  # the sockets are the transfer's
        return self.transfer

    def on_event(self, event: NodeEvent) -> str:
        """Keeps what must outlive the process: whom the code belongs to, and that it is spent.

        Returns what a person should be told; empty most of the time.
        """
        kept, transfer = self.kept, self.transfer
        if kept is None or transfer is None:
            return ""
        from wraith.node.events import Bound
        from wraith.transfer.events import Declined, Done

        try:
            match event:
                case Bound(peer):
                    kept.bind(peer)
                case Declined():
                    kept.bind(transfer.service.bound_to)
                case Done() if self._node_config.keep:
                    kept.bind(None)
                case Done():
                    return kept.spend()
                case _:
                    pass
        except WraithError as error:
            # A code that forgot whose it is would serve somebody else after a crash.
            transfer.stop(error)
        return ""

    def file_ids(self) -> FileIds:
        """The ids of files that were sent by themselves, once no wish is under way."""
        return self.source.file_ids() if isinstance(self.source, FileSource) else ()

    async def close(self) -> None:
        """Closes the transfer, the source and the code, in this order."""
        if self._preparing is not None and self.source is None:
            with contextlib.suppress(WraithError, OSError):
                self.source = await self._preparing
        try:
            if self.transfer is not None:
                await self.transfer.close()
        except BaseException:
            # Whoever waits is cancelled: what the disk's thread has begun is waited for all the
            # same, because it must not write into files that are closed under it.
            if self.transfer is None or self.transfer.abandon():
                self._close_files()
            raise
        self._close_files()

    def _close_files(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.sockets.close()
        source, self.source = self.source, None
        kept, self.kept = self.kept, None
        try:
            if source is not None:
                source.close()
        finally:
            if kept is not None:
                kept.close()
