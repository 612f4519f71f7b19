"""Finds out which addresses of a code answer, without disturbing what is offered there.

Each address is dialled from a socket of its own with an identity made for this purpose. RESPONSE
proves that the owner of the code is there; FINISH is never sent, so the other side keeps no
connection, tells nobody and forgets the attempt by itself.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import Final

from wraith.aio.running import RunningNode, run_node
from wraith.aio.sessions.endpoint import local_for
from wraith.aio.transports.addresses import format_address
from wraith.config import EndpointConfig
from wraith.connection import events
from wraith.connection.handshake.node_record import NodeRecord
from wraith.errors import ConnectionLost, HandshakeTimeout, WraithError
from wraith.node.codes import text_to_record
from wraith.node.session_service import SessionEvent, SessionService
from wraith.types import SuiteId

TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Reach:
    """The result for one address. ``detail`` is for people."""

    address: str
    ok: bool
    detail: str


def reach_addresses(code_text: str, *, timeout_s: float = TIMEOUT_S) -> list[Reach]:
    """Tries every address of a code at the same time; blocks for ``timeout_s`` at most.

    Raises:
        CodeInvalid: it is not a code.
    """
    record = text_to_record(code_text)
    return asyncio.run(_reach_all(record, timeout_s))


async def _reach_all(record: NodeRecord, timeout_s: float) -> list[Reach]:
    probes = [
        _reach(replace(record, addresses=(address,)), timeout_s) for address in record.addresses
    ]
    return list(await asyncio.gather(*probes))


async def _reach(record: NodeRecord, timeout_s: float) -> Reach:
    text = format_address(record.addresses[0])
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[WraithError | None] = loop.create_future()
    started = time.monotonic()
    running: RunningNode | None = None
    try:
        # Nothing is entrusted to this connection: any suite will do.
        config = EndpointConfig(suites=(SuiteId.A, SuiteId.B, SuiteId.D))
        running = await run_node(config=config, local=local_for(record))
        _Probe(running, answer).dial(record)
        error = await asyncio.wait_for(answer, timeout_s)
    except WraithError as exc:  # first: some of ours are a TimeoutError as well
        return Reach(text, False, str(exc))
    except TimeoutError:
        return Reach(text, False, f"no answer within {timeout_s:g} s")
    finally:
        if running is not None:
            running.driver.close()
    if isinstance(error, HandshakeTimeout):
        return Reach(text, False, f"no answer within {timeout_s:g} s")
    if error is not None:
        return Reach(text, False, str(error))
    return Reach(text, True, f"answered in {(time.monotonic() - started) * 1000:.0f} ms")


class _Probe:
    """Dials, and closes the sockets between RESPONSE and FINISH: an event is delivered before
    anything that follows from it leaves (``driving.drain``). Implements ``running.Shell``."""

    def __init__(self, running: RunningNode, answer: asyncio.Future[WraithError | None]) -> None:
        self._running = running
        self._answer = answer
        self._service = SessionService()
        running.add(self._service, self)

    def dial(self, record: NodeRecord) -> None:
        now = self._running.driver.now()
        self._running.node.connect(self._service, record, now, require_pq=False)
        self._running.driver.wake()

    def on_event(self, pair: SessionEvent) -> None:
        match pair[1]:
            case events.Established():
                self._end(None)
            case events.Closed(error=error):
                self._end(error or HandshakeTimeout())

    def after_events(self) -> None:
        pass

    def on_failed(self, error: Exception) -> None:
        self._end(ConnectionLost(f"internal error: {error!r}"))

    def on_record_lost(self, error: OSError) -> None:
        pass

    def _end(self, error: WraithError | None) -> None:
        self._running.driver.close()
        if not self._answer.done():
            self._answer.set_result(error)
