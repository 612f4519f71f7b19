"""Finds out which roads of a code lead to its owner, without disturbing what is offered there.

Each road is tried alone, from a node of its own, with one identity made for this purpose, as a
visit: the other side accepts nobody and shows nothing. All of them are tried side by side, and
measured one after the other. What came back from nowhere is asked about over a road that works.

Spec: docs/spec/roads.md §6 [RO-61 … RO-66].
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from wraith.aio.entropy import OsRng
from wraith.aio.road_choice import RoadChoice, choose
from wraith.aio.running import RunningNode, run_node
from wraith.config import EndpointConfig
from wraith.connection import events
from wraith.connection.connection import Connection
from wraith.connection.handshake.node_record import NodeRecord
from wraith.connection.road_reports import SilentRoad
from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.connection.roads.rows import DEFAULT_ORDER, best_of
from wraith.connection.state import OPEN_STATES
from wraith.crypto.ed25519 import Identity
from wraith.errors import CloseCode, LocalProtocolError, WraithError
from wraith.node.codes import text_to_record
from wraith.node.session_service import SessionEvent, SessionService
from wraith.types import Carrier, Road, SuiteId

TIMEOUT_S: Final = 5.0
ROADS_MAX: Final = 8
ASK_S: Final = 1.0
LOAD_BYTES: Final = 1 << 20
LOAD_S: Final = 2.0
TOTAL_S: Final = 14.0
_POLL_S: Final = 0.002
_CLOSE_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Reach:
    """The result for one road.

    Attributes:
        failure: why it does not lead there; ``None`` if it does.
        error: what the peer or this side said, where that is no matter of the road.
        rtt_s: one round trip over it.
        bytes_per_s: what it carried, of at most 1 MiB or 2 s; ``None`` if that was not measured.
    """

    road: Road
    failure: RoadFailure | None
    error: str = ""
    rtt_s: float | None = None
    bytes_per_s: float | None = None

    @property
    def ok(self) -> bool:
        return self.failure is None and not self.error


def reach_roads(
    code_text: str, *, choice: RoadChoice | None = None, timeout_s: float = TIMEOUT_S
) -> list[Reach]:
    """Tries every road of a code, at most 8; blocks for 15 s at most.

    Raises:
        CodeInvalid: it is not a code.
        ConnectFailed: none of its roads may be taken here.
    """
    record = text_to_record(code_text)
    return asyncio.run(_reach_all(record, choice or choose(None), timeout_s))


async def _reach_all(record: NodeRecord, choice: RoadChoice, timeout_s: float) -> list[Reach]:
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + TOTAL_S
    identity = Identity.generate(OsRng())
    roads = best_of(choice.roads(record), DEFAULT_ORDER, ROADS_MAX)
    if any(road.carrier is Carrier.QUIC for road in roads):
        from wraith.aio.carriers import quic

        await quic.load()  # before the others are measured: it would take their time
    trials = [_Trial(record, road, identity) for road in roads]
    try:
        await asyncio.gather(*(trial.run(timeout_s) for trial in trials))
        await _explain(trials)
        for trial in trials:
            if trial.is_established and loop.time() + LOAD_S <= ends_at:
                await trial.measure()
        await asyncio.gather(*(trial.leave() for trial in trials))
    finally:
        for trial in trials:
            trial.close()
    return [trial.result for trial in trials]


async def _explain(trials: Sequence[_Trial]) -> None:
    """Asks over a road that works for the hellos over UDP that had no answer. [RO-63]"""
    silent = [one for one in trials if one.is_silent_udp]
    working = [one for one in trials if one.is_established]
    if not silent or not working:
        return
    # A stream to the same host tells more: it makes silence a matter of UDP.
    witness = min(working, key=lambda one: (one.road.carrier is Carrier.UDP, one.road.proxy or ""))
    seen = await witness.ask([id_ for one in silent for id_ in one.flights])
    for one in silent:
        is_elsewhere = any(
            other.road.carrier is not Carrier.UDP
            and other.road.proxy is None
            and other.road.address is not None
            and one.road.address is not None
            and other.road.address.ip == one.road.address.ip
            for other in working
        )
        failure = SilentRoad(one.road, one.flights, (), is_elsewhere).failure(seen)
        one.result = replace(one.result, failure=failure)


class _Trial:
    """One road, alone. Implements ``running.Shell``."""

    def __init__(self, record: NodeRecord, road: Road, identity: Identity) -> None:
        self.road = road
        self.result = Reach(road, RoadFailure(RoadReason.UDP_SILENT))
        self.flights: tuple[bytes, ...] = ()
        self.is_established = False
        self._record = record
        self._identity = identity
        self._service = SessionService()
        self._running: RunningNode | None = None
        self._connection: Connection | None = None
        self._failure: RoadFailure | None = None
        self._rtt_s: float | None = None
        self._seen: frozenset[bytes] | None = None
        self._ended = asyncio.Event()
        self._answered = asyncio.Event()

    @property
    def is_silent_udp(self) -> bool:
        failure = self.result.failure
        is_silent = failure is not None and failure.reason is RoadReason.UDP_SILENT
        return is_silent and self.road.carrier is Carrier.UDP

    async def run(self, timeout_s: float) -> None:
        """Dials, and waits until somebody has proved to be there, or nobody has in time."""
        # Nothing is entrusted to this connection: any suite will do.
        config = EndpointConfig(suites=(SuiteId.A, SuiteId.B, SuiteId.D))
        dials = RoadChoice(listens=frozenset(), dials=frozenset((self.road.carrier, Carrier.UDP)))
        try:
            self._running = running = await run_node(
                config=config, identity=self._identity, choice=dials
            )
            running.add(self._service, self)
            if self.road.carrier is Carrier.UDP:
                running.sockets.tell_errors(lambda *_: self._on_icmp())
            self._connection = running.node.connect(
                self._service, self._record, running.driver.now(), require_pq=False,
                roads=[self.road], is_visit=True,
            )  # fmt: skip
            running.driver.wake()
            await asyncio.wait_for(self._ended.wait(), timeout_s)
        except WraithError as error:
            self.result = Reach(self.road, None, str(error))
        except TimeoutError:
            self._on_silence()

    def _on_silence(self) -> None:
        running, connection = self._running, self._connection
        assert running is not None and connection is not None
        flights = running.node.endpoint.flights_of(connection)
        self.flights = tuple(id_ for _, id_ in flights)
        carrier = self.road.carrier
        if flights and carrier is not Carrier.UDP:
            silence = RoadReason.ACCEPTED_SILENT
        elif carrier in (Carrier.UDP, Carrier.QUIC):
            silence = RoadReason.UDP_SILENT
        else:
            silence = RoadReason.SYN_TIMEOUT
        self.result = Reach(self.road, self._failure or RoadFailure(silence))

    async def ask(self, ids: Sequence[bytes]) -> frozenset[bytes] | None:
        """Which of these first flights have come; ``None``: the other side does not say."""
        assert self._connection is not None and self._running is not None
        if not self._connection.road_reports.ask(ids):
            return None
        self._running.driver.wake()
        try:
            await asyncio.wait_for(self._answered.wait(), ASK_S)
        except TimeoutError:
            return None
        return self._seen

    async def measure(self) -> None:
        """Sends at most 1 MiB, and for 2 s at most."""
        running, connection = self._running, self._connection
        assert running is not None and connection is not None
        driver = running.driver
        began = driver.now()
        try:
            before = connection.stats()
            connection.load(LOAD_BYTES)
            driver.wake()
            await driver.flushed()
            while driver.now() < began + LOAD_S:
                stats = connection.stats()
                if not connection.load_left and not stats.bytes_in_flight:
                    break
                await asyncio.sleep(_POLL_S)
            left = connection.load_left
            connection.load(0)
        except LocalProtocolError:
            return  # the other side has ended it: it serves one visitor at a time
        stats = connection.stats()
        n_lost = (stats.lost_packets - before.lost_packets) * stats.datagram_bytes
        n_bytes = max(LOAD_BYTES - left - stats.bytes_in_flight - n_lost, 0)
        # The first round trips had the handshakes of all other roads beside them.
        rtt_s = min(stats.min_rtt_s, stats.rtt_s)
        rate = n_bytes / max(driver.now() - began, 1e-6)
        self.result = replace(self.result, rtt_s=rtt_s, bytes_per_s=rate)

    async def leave(self) -> None:
        """Says goodbye before anything was offered."""
        running, connection = self._running, self._connection
        if not self.is_established or running is None or connection is None:
            return
        if connection.state in OPEN_STATES:
            connection.close(CloseCode.NO_ERROR, "", running.driver.now())
            running.driver.wake()
            await running.settled(self._service, _CLOSE_S)

    def close(self) -> None:
        """Closes the sockets."""
        if self._running is not None:
            self._running.driver.close()

    # --- what the node tells (running.Shell) ----------------------------------------------------

    def on_event(self, pair: SessionEvent) -> None:
        connection, event = pair
        match event:
            case events.Confirmed():
                self.is_established = True
                if self._running is not None:
                    self._running.sockets.tell_errors(None)
                self.result = Reach(self.road, None, rtt_s=connection.stats().rtt_s)
                self._ended.set()
            case events.Established():  # RESPONSE has come: somebody with the key is there
                self._rtt_s = connection.stats().rtt_s
            case events.RoadFailed(failure=failure):
                self._failure = failure
            case events.RoadsSeen(ids):
                self._seen = ids
                self._answered.set()
            case events.Closed(by_peer=True) if not self.is_established and self._rtt_s is not None:
                self.result = Reach(self.road, None, rtt_s=self._rtt_s)  # others look round too
                self._ended.set()
            case events.Closed(error=error) if not self.is_established:
                self.result = Reach(
                    self.road,
                    self._failure,
                    "" if self._failure is not None else str(error or "ended at once"),
                )
                self._ended.set()

    def after_events(self) -> None:
        pass

    def on_failed(self, error: Exception) -> None:
        if not self._ended.is_set():
            self.result = Reach(self.road, None, f"internal error: {error!r}")
            self._ended.set()

    def on_record_lost(self, error: OSError) -> None:
        pass

    def _on_icmp(self) -> None:
        """A hint that anybody can forge: the reason if nothing better comes."""
        self._failure = RoadFailure(RoadReason.PORT_UNREACHABLE)
