"""The links of one node: what the machine wishes for is opened, what arrives is accepted, and both
are fed to the machine.

::

    machine ──OpenRoad──► task: open_road ──► StreamSocket ─┐
    listener ──a connection──► accept_link ─────────────────┤► link_received, link_room, link_closed
    machine ──CloseLink, DiscardLink, SettleLink──► link ◄──┘

Part of the driver's turn: after each drain it takes the machine's wishes, and what links bring is
fed and drained as datagrams are. Spec: docs/spec/carriers.md, docs/spec/roads.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from wraith.abc import Rng
from wraith.aio.transports.base import LinkDoor, OpenFailed, StreamSocket
from wraith.aio.transports.doorstep import Doorstep
from wraith.connection.links.link import StreamLink
from wraith.connection.links.wishes import (
    CloseLink,
    DiscardLink,
    DropRoad,
    ExplainSilence,
    LinkWish,
    OpenRoad,
    SettleLink,
    ShortenLink,
    WatchNetwork,
)
from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.errors import WraithError
from wraith.types import Buffer, NetworkPath, Transmit

if TYPE_CHECKING:
    from wraith.aio.transports.network_watch import NetworkWatch

OpenLink = Callable[[OpenRoad, int, Doorstep], Awaitable[StreamSocket]]
"""Opens a wish as the link of a number; raises ``OpenFailed``, or ``WraithError`` where this
installation cannot."""


class LinkMachine(Protocol):
    """The part of a node's machine that knows links."""

    def accept_link(self, path: NetworkPath, clock: Callable[[], float]) -> StreamLink | None: ...
    def link_opened(self, wish_id: int, path: NetworkPath, now: float) -> None: ...
    def link_failed(self, wish_id: int, failure: RoadFailure, now: float) -> None: ...
    def link_room(self, path: NetworkPath, n_bytes: int, now: float) -> None: ...
    def link_closed(self, path: NetworkPath, failure: RoadFailure, now: float) -> None: ...
    def link_silent(self, path: NetworkPath, failure: RoadFailure, now: float) -> None: ...
    def network_changed(self, now: float, own: frozenset[bytes] | None = None) -> None: ...
    def next_wish(self) -> LinkWish | None: ...
    def receive_datagrams(
        self, data: Buffer, segment_bytes: int, path: NetworkPath, now: float
    ) -> None: ...


class LinkListener(Protocol):
    """Somewhere that strangers connect to; ``TcpListener`` and its like."""

    def start(
        self, loop: asyncio.AbstractEventLoop, door: LinkDoor, doorstep: Doorstep, /
    ) -> None: ...

    def close(self) -> None: ...


class Turn(Protocol):
    """What the driver does for the links: it guards the machine, and drains it."""

    def now(self) -> float: ...

    def feed(self, call: Callable[[], None], /) -> None:
        """Calls into the machine; what that raises is a defect of the machine."""
        ...

    def drain(self) -> None: ...


class Links:
    """See the module. Belongs to its loop.

    Args:
        machine: fed by the driver and by this alone.
        rng: for the times of links that nobody answers for.
        open_link: opens what the machine wishes for.
    """

    def __init__(self, machine: LinkMachine, rng: Rng, open_link: OpenLink) -> None:
        self._machine = machine
        self._rng = rng
        self._open_link = open_link
        self._links: dict[int, StreamSocket] = {}
        self._n_links = 0
        self._opening: dict[int, asyncio.Task[None]] = {}
        self._listeners: list[LinkListener] = []
        self._turn: Turn | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._doorstep: Doorstep | None = None
        #: Called when addresses or routes of this host have changed, before the machine is told.
        self.on_network_changed: Callable[[], None] | None = None
        #: While the machine has sessions that could take another road, or whose peers could.
        self._watch: NetworkWatch | None = None

    def start(self, loop: asyncio.AbstractEventLoop, turn: Turn) -> None:
        """Begins to accept and to open."""
        self._loop, self._turn = loop, turn
        self._doorstep = Doorstep(loop, self._rng)
        for listener in self._listeners:
            listener.start(loop, self, self._doorstep)

    def add(self, listener: LinkListener) -> None:
        """Takes a listener over: it accepts from ``start`` on."""
        self._listeners.append(listener)
        if self._loop is not None and self._doorstep is not None:
            listener.start(self._loop, self, self._doorstep)

    def __len__(self) -> int:
        return len(self._links)

    def close(self) -> None:
        """Ends every link, in good order where something is left to say, and stops listening."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        for task in self._opening.values():
            task.cancel()
        self._opening.clear()
        links, self._links = self._links, {}
        for link in links.values():
            link.close()
        if self._doorstep is not None:
            self._doorstep.close()
        self._watch_network(False)

    def forget(self) -> None:
        """In a forked child: lets everything be, for it is the parent's."""
        self._listeners.clear()
        self._opening.clear()
        self._links.clear()
        self._watch = None

    # --- what the driver asks -------------------------------------------------------------------

    def send(self, transmit: Transmit) -> None:
        """Takes a run for a link; one that is gone loses it, and the machine hears of that."""
        link = self._links.get(transmit.path.link)
        if link is None:
            return
        assert self._turn is not None
        link.send(transmit)
        self._machine.link_room(transmit.path, link.room_bytes, self._turn.now())

    def take_wishes(self) -> None:
        """Begins what the machine wishes for."""
        while (wish := self._machine.next_wish()) is not None:
            match wish:
                case OpenRoad():
                    self._begin(wish)
                case DropRoad(id_):
                    self._drop(id_)
                case SettleLink(path):
                    if self._doorstep is not None:
                        self._doorstep.settle(path.link)
                case CloseLink(path):
                    if (link := self._links.pop(path.link, None)) is not None:
                        link.close()
                case DiscardLink(path):
                    if (link := self._links.pop(path.link, None)) is not None:
                        link.discard()
                case ExplainSilence(path):
                    self._explain(path)
                case ShortenLink(path, is_short):
                    if (link := self._links.get(path.link)) is not None:
                        link.keep_short(is_short)
                        assert self._turn is not None
                        self._machine.link_room(path, link.room_bytes, self._turn.now())
                case WatchNetwork(is_on):
                    self._watch_network(is_on)

    def _explain(self, path: NetworkPath) -> None:
        turn, machine, link = self._turn, self._machine, self._links.get(path.link)
        assert turn is not None
        failure = None if link is None else link.silence()
        if failure is not None:
            why = failure
            turn.feed(lambda: machine.link_silent(path, why, turn.now()))

    def _watch_network(self, is_on: bool) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()
        if is_on and self._loop is not None:
            from wraith.aio.transports.network_watch import NetworkWatch  # few nodes need one

            self._watch = NetworkWatch(self._on_network_changed)
            self._watch.start(self._loop)
            self._tell_owner()  # what has changed before nobody has told of

    def _on_network_changed(self) -> None:
        from wraith.aio.transports.network_state import own_addresses, read_network_state

        turn, machine = self._turn, self._machine
        assert turn is not None
        self._tell_owner()
        own = own_addresses(read_network_state())
        turn.feed(lambda: machine.network_changed(turn.now(), own))
        turn.drain()

    def _tell_owner(self) -> None:
        if self._turn is not None and self.on_network_changed is not None:
            self._turn.feed(self.on_network_changed)

    def _begin(self, wish: OpenRoad) -> None:
        assert self._loop is not None
        task = self._loop.create_task(self._open(wish))
        self._opening[wish.id] = task
        task.add_done_callback(lambda _: self._opening.pop(wish.id, None))

    def _drop(self, wish_id: int) -> None:
        task = self._opening.pop(wish_id, None)
        if task is not None:
            task.cancel()

    async def _open(self, wish: OpenRoad) -> None:
        turn, machine, doorstep = self._turn, self._machine, self._doorstep
        assert turn is not None and doorstep is not None
        number = self.next_link_number()
        try:
            link = await self._open_link(wish, number, doorstep)
        except OpenFailed as failed:
            failure = failed.failure
        except WraithError as error:
            failure = RoadFailure(RoadReason.POLICY, str(error))
        else:
            self._opening.pop(wish.id, None)
            self._links[number] = link
            turn.feed(lambda: machine.link_opened(wish.id, link.path, turn.now()))
            if number in self._links:
                link.start(self)
            turn.drain()
            return
        self._opening.pop(wish.id, None)
        turn.feed(lambda: machine.link_failed(wish.id, failure, turn.now()))
        turn.drain()

    # --- what listeners ask (base.LinkDoor) -----------------------------------------------------

    def next_link_number(self) -> int:
        """Of a link that comes into being."""
        self._n_links += 1
        return self._n_links

    def accept_link(self, path: NetworkPath, /) -> StreamLink | None:
        """The machine's answer to a stranger."""
        assert self._turn is not None
        return self._machine.accept_link(path, self._turn.now)

    def link_accepted(self, link: StreamSocket, /) -> None:
        """Reads what the stranger says."""
        self._links[link.path.link] = link
        link.start(self)

    # --- what links tell (base.LinkHost) --------------------------------------------------------

    def link_received(self, link: StreamSocket, data: memoryview, segment_bytes: int, /) -> None:
        """Packets of a link that has proved itself."""
        turn, machine = self._turn, self._machine
        assert turn is not None
        turn.feed(lambda: machine.receive_datagrams(data, segment_bytes, link.path, turn.now()))

    def link_turn(self, link: StreamSocket, /) -> None:
        """All that had come was fed."""
        if self._turn is not None:
            self._turn.drain()

    def link_room(self, link: StreamSocket, /) -> None:
        """A link that was full takes more."""
        turn, machine = self._turn, self._machine
        assert turn is not None
        turn.feed(lambda: machine.link_room(link.path, link.room_bytes, turn.now()))
        turn.drain()

    def link_closed(self, link: StreamSocket, reason: str, /) -> None:
        """The link is gone; no session ends by that."""
        turn, machine = self._turn, self._machine
        assert turn is not None
        failure = RoadFailure.from_text(reason)
        turn.feed(lambda: machine.link_closed(link.path, failure, turn.now()))
        turn.drain()  # the machine may wish that the peer sees the end of a broken link
        self._links.pop(link.path.link, None)
