"""Finds out which addresses of a code answer, without disturbing what is offered there.

Each address is dialled from a socket of its own with an identity made for this purpose. RESPONSE
proves that the owner of the code is there; FINISH is never sent, so the other side keeps no
connection, tells nobody and forgets the attempt by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from wraith.aio.assembly import bind_endpoint
from wraith.aio.driver import Driver
from wraith.aio.sessions.endpoint import local_for
from wraith.aio.sockets.addresses import format_address
from wraith.config import EndpointConfig
from wraith.connection import events
from wraith.connection.endpoint import Endpoint
from wraith.connection.handshake.node_record import NodeRecord
from wraith.errors import HandshakeTimeout, WraithError
from wraith.node.codes import text_to_record
from wraith.types import Buffer, NetworkPath, SuiteId, Transmit

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
    driver: Driver[None] | None = None
    try:
        # Nothing is entrusted to this connection: any suite will do.
        config = EndpointConfig(suites=(SuiteId.A, SuiteId.B, SuiteId.D))
        bound = await bind_endpoint(config=config, local=local_for(record))
        probe = _Probe(bound.machine, record, answer)
        driver = Driver(probe, bound.sockets, on_event=lambda _: None)
        driver.start()
        probe.dial(loop.time())
        driver.wake()
        error = await asyncio.wait_for(answer, timeout_s)
    except TimeoutError:
        return Reach(text, False, f"no answer within {timeout_s:g} s")
    except WraithError as exc:
        return Reach(text, False, str(exc))
    finally:
        if driver is not None:
            driver.close()
    if isinstance(error, HandshakeTimeout):
        return Reach(text, False, f"no answer within {timeout_s:g} s")
    if error is not None:
        return Reach(text, False, str(error))
    return Reach(text, True, f"answered in {(time.monotonic() - started) * 1000:.0f} ms")


class _Probe:
    """An endpoint that stops between RESPONSE and FINISH. Implements the driver's contract."""

    def __init__(
        self, endpoint: Endpoint, record: NodeRecord, answer: asyncio.Future[WraithError | None]
    ) -> None:
        self._endpoint = endpoint
        self._record = record
        self._answer = answer

    def dial(self, now: float) -> None:
        self._endpoint.connect(self._record, now, require_pq=False)

    def knows(self, datagram: Buffer, path: NetworkPath) -> bool:
        return self._endpoint.knows(datagram, path)

    def receive_datagrams(
        self, data: Buffer, segment_bytes: int, path: NetworkPath, now: float
    ) -> None:
        self._endpoint.receive_datagrams(data, segment_bytes, path, now)

    def handle_mtu_exceeded(self, path: NetworkPath, n_bytes: int, now: float) -> None:
        self._endpoint.handle_mtu_exceeded(path, n_bytes, now)

    def hold(self, path: NetworkPath) -> None:
        self._endpoint.hold(path)

    def release(self, path: NetworkPath) -> None:
        self._endpoint.release(path)

    def handle_timer(self, now: float) -> None:
        self._endpoint.handle_timer(now)

    def datagrams_to_send(self, now: float) -> Sequence[Transmit]:
        self._look()
        return () if self._answer.done() else self._endpoint.datagrams_to_send(now)

    def next_timer(self) -> float | None:
        return None if self._answer.done() else self._endpoint.next_timer()

    def next_event(self) -> None:
        self._look()

    def _look(self) -> None:
        """Before anything is sent: has the answer come? Then nothing more leaves."""
        while (pair := self._endpoint.next_event()) is not None:
            if self._answer.done():
                continue
            match pair[1]:
                case events.Established():
                    self._answer.set_result(None)
                case events.Closed(error=error):
                    self._answer.set_result(error or HandshakeTimeout())
