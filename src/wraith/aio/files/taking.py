"""What a receive is made of, for the command and for programs: where it goes, the code that is
dialled or kept, the note about what an earlier run has completed, and the transfer.

    taking = Taking(home, endpoint_config, node_config, out=out, code=code)
    taking.keep_code()                           # only to listen, without a code
    taking.target = taking.open_target(policy=...)
    transfer = await taking.open(identity=...)
    taking.on_event(event)                       # each event of the transfer
    note = taking.completed_earlier(finished)
    await taking.close()

It asks and tells nobody anything.

Spec: transfer §10 [TR-140].
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Final

from wraith.aio.clock import SystemClock
from wraith.aio.disk.home_folder import HomeFolder
from wraith.aio.disk.kept_code import KeptCode, receive_folder, remove_old_codes
from wraith.aio.disk.seam import OS_DISK
from wraith.aio.disk.store_worker import (
    CompleteNote,
    CompleteNotes,
    ExistsPolicy,
    FileTarget,
    PipeTarget,
    clear_complete,
)
from wraith.aio.entropy import OsRng
from wraith.aio.road_choice import RoadChoice, choose, choose_listening
from wraith.aio.road_memory import RoadMemory
from wraith.aio.running import RunningNode
from wraith.aio.sessions.endpoint import local_for
from wraith.aio.transfers import Transfer
from wraith.config import EndpointConfig
from wraith.connection.handshake.node_record import NodeRecord
from wraith.crypto.ed25519 import Identity
from wraith.errors import CodeInvalid, HandshakeTimeout
from wraith.node.closes import CodeSpent
from wraith.node.codes import record_of
from wraith.node.config import NodeConfig
from wraith.node.events import Finished, NodeEvent
from wraith.transfer.code import Code, decode_code, encode_code
from wraith.transfer.events import Placed
from wraith.types import ANY_ADDRESS, Address

COMPLETE_TIMEOUT_S: Final = 3.0
"""So long is a sender looked for whose transfer an earlier run has completed."""

Target = FileTarget | PipeTarget


def code_of_sender(text: str) -> Code:
    """The code of somebody who sends.

    Raises:
        CodeInvalid: it is none, or the code of somebody who receives.
    """
    code = _decoded(text)
    if code.maker_receives:
        raise CodeInvalid(
            "this code waits for something: it is for `wraith send --to`",
            hint="a code to receive with is printed by `wraith send`",
        )
    return code


def code_of_receiver(text: str) -> Code:
    """The code of somebody who waits for something.

    Raises:
        CodeInvalid: it is none, or the code of somebody who sends.
    """
    code = _decoded(text)
    if not code.maker_receives:
        raise CodeInvalid(
            "this code offers something: it is for `wraith receive`",
            hint="a code to send to is printed by `wraith receive --listen`",
        )
    return code


def _decoded(text: object) -> Code:
    if not isinstance(text, str):  # it may be a secret in another form, and is not shown
        raise CodeInvalid(f"a code is text, and not of type {type(text).__name__}")
    return decode_code(text)


class Taking:
    """See the module. Belongs to one event loop; what was opened before ``close`` is closed by it.

    Attributes:
        code: what is dialled; ``None`` listens.
        target: where it goes; set it before ``open``.
        kept: the code that outlives the process, where one listens.
        transfer: after ``open``.
        place: as in ``following.Holder``.
        real_paths: the top names after the end, as the system has them.
    """

    def __init__(
        self,
        home: HomeFolder,
        endpoint_config: EndpointConfig,
        node_config: NodeConfig,
        *,
        out: str,
        code: Code | None,
        choice: RoadChoice | None = None,
    ) -> None:
        self.code = code
        self.target: Target | None = None
        self.kept: KeptCode | None = None
        self.transfer: Transfer | None = None
        self.real_paths: tuple[str, ...] = ()
        self.place = "\0".join([os.fspath(home.home), os.fsdecode(OS_DISK.realpath(out))])
        self._home = home
        self._endpoint_config = endpoint_config
        self._node_config = node_config
        if choice is None:
            choice = choose_listening() if code is None else choose(None)
        self._choice = choice
        self._out = out
        self._notes = CompleteNotes(home.home)
        self._note: CompleteNote | None = None

    def keep_code(self, *, new_code: bool = False) -> KeptCode:
        """Takes the code under which this folder was offered before, else a new one.

        Raises:
            WraithError: as ``KeptCode.open``.
        """
        remove_old_codes(self._home, SystemClock())
        self.kept = KeptCode.open(
            receive_folder(self._home, Path(self._out)),
            OsRng(),
            SystemClock(),
            max_clock_skew_s=self._endpoint_config.max_clock_skew_s,
            new_code=new_code,
        )
        return self.kept

    def open_target(
        self,
        *,
        policy: ExistsPolicy,
        asks: bool = False,
        list_only: bool = False,
        verify: bool | None = None,
    ) -> FileTarget:
        """The folder ``out``; the arguments are those of ``FileTarget``. An earlier run that has
        completed this code is looked for first, unless the listing is all that is wanted.

        Raises:
            DiskFailed: the folder cannot be made or written.
        """
        if not list_only:
            self._note = self._noted()
        return FileTarget(
            self._out,
            policy=policy,
            asks=asks,
            list_only=list_only,
            verify=verify,
            home=self._home.home,
            on_complete=self._on_complete,
        )

    async def open(
        self,
        *,
        identity: Identity | None,
        local: Address = ANY_ADDRESS,
        at: RunningNode | None = None,
    ) -> Transfer:
        """Makes the transfer, which waits for ``start``.

        Raises:
            WraithError: as ``Transfer.open``.
        """
        kept, limit_s = self.kept, self._node_config.connect_timeout_s
        if self.code is not None and not local.ip and at is None:
            local = local_for(record_of(self.code))._replace(port=local.port)
        self.transfer = await Transfer.open(
            target=self.target,
            identity=identity,
            endpoint_config=self._endpoint_config if at is None else None,
            node_config=replace(
                self._node_config,
                connect_timeout_s=min(limit_s, COMPLETE_TIMEOUT_S) if self._note else limit_s,
            ),
            access=kept.access if kept is not None else None,
            replay=kept.replay if kept is not None else None,
            local=local,
            preferred_port=kept.port if kept is not None else 0,
            at=at,
            choice=self._choice,
            memory=RoadMemory(self._home, OsRng(), SystemClock()),
        )
        return self.transfer

    @property
    def record(self) -> NodeRecord | None:
        """Whom to dial."""
        return record_of(self.code) if self.code is not None else None

    def on_event(self, event: NodeEvent) -> str:
        """Keeps what must outlive the process. Returns what a person should be told; empty most of
        the time."""
        if isinstance(event, Placed) and self.kept is not None:
            return self.kept.spend()
        return ""

    # --- received to the end before [TR-140] ----------------------------------------------------

    def completed_earlier(self, finished: Finished) -> CompleteNote | None:
        """The note of the run that has received everything, if that is why nobody answers now."""
        note = self._note
        if note is None or not isinstance(finished.error, HandshakeTimeout | CodeSpent):
            return None
        clear_complete(note)
        return note

    def _noted(self) -> CompleteNote | None:
        if self.code is None:
            return None
        out = os.fsdecode(OS_DISK.realpath(self._out))
        return self._notes.find(encode_code(self.code), out, SystemClock().unix_time())

    def _on_complete(self, note: CompleteNote) -> None:
        """Called in the thread of the disk."""
        self.real_paths = note.paths
        if self.code is not None:
            self._notes.write(encode_code(self.code), note, SystemClock().unix_time())

    # --- the end --------------------------------------------------------------------------------

    async def close(self) -> None:
        """Closes the transfer, the target and the code, in this order."""
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
        target, self.target = self.target, None
        kept, self.kept = self.kept, None
        try:
            if target is not None:
                target.close()
        finally:
            if kept is not None:
                kept.close()
