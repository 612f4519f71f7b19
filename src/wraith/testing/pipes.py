"""Stream connections in virtual time: bytes that keep their order, with delay, rate, room and cut.

``Pipes`` fulfils what machines of a simulation wish for: it opens links between its hosts, carries
their bytes through ``StreamLink`` as real transports do, and tells both machines. What a network
does to a stream is a ``PipeConfig`` for each carrier and place.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from wraith.aio.links import LinkMachine
from wraith.connection.links.link import LinkState, StreamLink
from wraith.connection.links.wishes import (
    CloseLink,
    DiscardLink,
    DropRoad,
    LinkWish,
    OpenRoad,
    ShortenLink,
)
from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.types import Address, Carrier, NetworkPath, Road, Transmit

ROOM_BYTES = 256 * 1024
SHORT_ROOM_BYTES = 32 * 1024
PIECE_BYTES = 64 * 1024
SYN_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class PipeConfig:
    """What the network does to streams of one carrier to one place.

    ``latency_s`` is one way. ``rate_bps`` limits each direction. ``is_silent``: nothing passes any
    more, and nobody is told; ``is_refused``: RST in place of a connection.
    """

    latency_s: float = 0.01
    rate_bps: float | None = None
    is_silent: bool = False
    is_refused: bool = False


class _End:
    """One end of one pipe."""

    def __init__(self, machine: LinkMachine, path: NetworkPath, link: StreamLink) -> None:
        self.machine = machine
        self.path = path
        self.link = link
        self.other: _End | None = None
        self.free_at = 0.0
        self.is_open = True
        self.waits_for_room = False
        self.room_bytes = ROOM_BYTES
        self.bytes_sent = 0


class Pipes:
    """All stream connections of one simulation.

    Attributes:
        configs: by carrier and address of the listener; others cannot be reached.
        tap: sees, and may change, every chunk of bytes before it goes on the wire.
        on_other_wish: hears of what concerns no bytes.
    """

    def __init__(self) -> None:
        self.configs: dict[tuple[Carrier, Address], PipeConfig] = {}
        self.machines: dict[Address, LinkMachine] = {}
        self.tap: Callable[[Address, bytes], bytes] | None = None
        self.on_other_wish: Callable[[LinkWish], None] = lambda wish: None
        self.ends: dict[tuple[int, int], _End] = {}
        self._opening: dict[tuple[int, int], OpenRoad] = {}
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = 0
        self._n_links = 0
        self.n_opened = 0

    # -- the simulation's side

    @property
    def is_opening(self) -> bool:
        """A link has been wished for that is not open yet."""
        return bool(self._opening)

    def next_time(self) -> float | None:
        return self._events[0][0] if self._events else None

    def run_due(self, now: float) -> bool:
        """Does what is due; true if there was something."""
        ran = False
        while self._events and self._events[0][0] <= now:
            heapq.heappop(self._events)[2](now)
            ran = True
        return ran

    def _at(self, at: float, do: Callable[[float], None]) -> None:
        self._order += 1
        heapq.heappush(self._events, (at, self._order, do))

    def take_wishes(self, machine: LinkMachine, address: Address, now: float) -> bool:
        """Begins what ``machine`` at ``address`` wishes for; true if it wished for something."""
        found = False
        while (wish := machine.next_wish()) is not None:
            found = True
            match wish:
                case OpenRoad():
                    self._open(machine, address, wish, now)
                case DropRoad():
                    self._opening.pop((id(machine), wish.id), None)
                case CloseLink():
                    self._end(machine, wish.path, now, is_told=True)
                case ShortenLink(path, is_short):
                    end = self.ends.get((id(machine), path.link))
                    if end is not None:
                        end.room_bytes = SHORT_ROOM_BYTES if is_short else ROOM_BYTES
                        self._tell_room(end, now)
                case DiscardLink():
                    end = self.ends.get((id(machine), wish.path.link))
                    if end is not None:
                        end.link.discard()
                case other:
                    self.on_other_wish(other)
        return found

    # -- opening

    def _open(self, machine: LinkMachine, address: Address, wish: OpenRoad, now: float) -> None:
        road = wish.road
        assert road.address is not None
        config = self.configs.get((road.carrier, road.address))
        self._opening[id(machine), wish.id] = wish

        def fail(reason: RoadReason) -> Callable[[float], None]:
            def tell(at: float) -> None:
                if self._opening.pop((id(machine), wish.id), None) is not None:
                    machine.link_failed(wish.id, RoadFailure(reason), at)

            return tell

        if config is None or config.is_silent or road.address not in self.machines:
            self._at(now + SYN_TIMEOUT_S, fail(RoadReason.SYN_TIMEOUT))
        elif config.is_refused:
            self._at(now + 2 * config.latency_s, fail(RoadReason.REFUSED))
        else:
            self._at(now + config.latency_s, lambda at: self._accept(machine, address, wish, at))

    def _accept(self, machine: LinkMachine, address: Address, wish: OpenRoad, now: float) -> None:
        road: Road = wish.road
        assert road.address is not None
        listener = self.machines[road.address]
        self._n_links += 1
        number = self._n_links
        theirs = NetworkPath(road.address, address, road.carrier, number)
        stream = listener.accept_link(theirs, lambda: self._now)
        if stream is None:
            return
        far = _End(listener, theirs, stream)
        ours = NetworkPath(address, road.address, road.carrier, number)
        near = _End(machine, ours, wish.link)
        near.other, far.other = far, near
        self.ends[id(listener), number] = far
        self.ends[id(machine), number] = near
        latency_s = self.configs[road.carrier, road.address].latency_s

        def opened(at: float) -> None:
            if self._opening.pop((id(machine), wish.id), None) is None:
                self._end(machine, ours, at, is_told=True)
                return
            self.n_opened += 1
            machine.link_opened(wish.id, ours, at)

        self._at(now + latency_s, opened)

    # -- bytes

    _now = 0.0

    def send(self, machine: LinkMachine, transmit: Transmit, now: float) -> None:
        """Takes a run of ``machine``: a link that is gone loses it."""
        end = self.ends.get((id(machine), transmit.path.link))
        if end is None or not end.is_open:
            return
        data = b"".join(
            bytes(each) for each in end.link.frame(transmit.data, transmit.segment_bytes)
        )
        if self.tap is not None:
            data = self.tap(end.path.local, data)
        config = self._config_of(end)
        end.bytes_sent += len(data)
        for at in range(0, len(data), PIECE_BYTES):
            chunk = data[at : at + PIECE_BYTES]
            leave = max(now, end.free_at)
            if config.rate_bps is not None:
                leave += len(chunk) * 8 / config.rate_bps
            end.free_at = leave
            self._at(leave + config.latency_s, lambda t, e=end, c=chunk: self._arrive(e, c, t))  # type: ignore[misc]
        self._tell_room(end, now)

    def _config_of(self, end: _End) -> PipeConfig:
        carrier = end.path.carrier
        found = self.configs.get((carrier, end.path.remote))
        if found is None:
            found = self.configs.get((carrier, end.path.local))
        return found if found is not None else PipeConfig(is_silent=True)

    def _room(self, end: _End, now: float) -> int:
        rate = self._config_of(end).rate_bps
        waiting = 0 if rate is None else int(max(end.free_at - now, 0.0) * rate / 8)
        return max(end.room_bytes - waiting, 0)

    def _tell_room(self, end: _End, now: float) -> None:
        room = self._room(end, now)
        end.machine.link_room(end.path, room, now)
        rate = self._config_of(end).rate_bps
        if room < end.room_bytes // 2 and rate is not None and not end.waits_for_room:
            end.waits_for_room = True

            def later(at: float) -> None:
                end.waits_for_room = False
                if end.is_open:
                    self._tell_room(end, at)

            self._at(max(end.free_at - end.room_bytes // 2 * 8 / rate, now), later)

    def _arrive(self, end: _End, chunk: bytes, now: float) -> None:
        """``chunk``, which ``end`` has sent, reaches the other end, unless the way is cut."""
        self._now = now
        other = end.other
        if other is None or not other.is_open or self._config_of(end).is_silent:
            return
        was_open = other.link.state is LinkState.OPEN
        for data, segment_bytes in other.link.feed(chunk):
            other.machine.receive_datagrams(data, segment_bytes, other.path, now)
        if was_open and other.link.state is not LinkState.OPEN:
            other.machine.link_closed(other.path, RoadFailure(RoadReason.BROKEN), now)

    # -- ending

    def reset(self, path_of: LinkMachine, link: int, now: float) -> None:
        """The network resets a link: both ends hear of it at once."""
        end = self.ends[id(path_of), link]
        self._end(path_of, end.path, now, is_told=False)
        path_of.link_closed(end.path, RoadFailure(RoadReason.RESET_LATER, end.bytes_sent), now)

    def _end(self, machine: LinkMachine, path: NetworkPath, now: float, *, is_told: bool) -> None:
        end = self.ends.pop((id(machine), path.link), None)
        if end is None:
            return
        end.is_open = False
        other = end.other
        if other is None:
            return
        config = self._config_of(end)

        def hang_up(at: float) -> None:
            if other.is_open and self.ends.pop((id(other.machine), path.link), None) is not None:
                other.is_open = False
                if other.link.state is not LinkState.DISCARDING:
                    failure = RoadFailure(RoadReason.RESET_LATER, other.bytes_sent)
                    other.machine.link_closed(other.path, failure, at)

        if not config.is_silent:
            self._at(max(now, end.free_at) + config.latency_s if is_told else now, hang_up)
