"""Roads that lead to the owner of a code, and roads that do not, over real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

import wraith
from wraith.aio.reach import LOAD_BYTES, TOTAL_S, Reach, reach_roads
from wraith.connection.handshake.node_record import NodeRecord
from wraith.connection.roads.reasons import RoadReason
from wraith.node.codes import record_to_text
from wraith.types import Address, Carrier

LOCALHOST = bytes([127, 0, 0, 1])
SHORT_S = 0.7


def run(scene: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        await asyncio.wait_for(scene(), 30)

    asyncio.run(within())


async def reach(record: NodeRecord, timeout_s: float = SHORT_S) -> dict[Carrier, Reach]:
    code = record_to_text(record)
    found = await asyncio.to_thread(reach_roads, code, timeout_s=timeout_s)
    return {one.road.carrier: one for one in found}


@asynccontextmanager
async def listening(carriers: str = "udp,tcp") -> AsyncIterator[wraith.Listener]:
    async with wraith.listen("127.0.0.1:0", carriers=carriers) as listener:
        yield listener


def reason_of(one: Reach) -> RoadReason | None:
    return None if one.failure is None else one.failure.reason


@pytest.mark.spec("RO-66")
def test_open_roads_are_measured_and_nobody_sees_the_visitor() -> None:
    async def scene() -> None:
        async with listening() as listener:
            found = await reach(listener.node_record, 5.0)
            assert set(found) == {Carrier.UDP, Carrier.TCP}
            for one in found.values():
                assert one.ok and one.rtt_s is not None and one.bytes_per_s is not None
                assert 0 < one.rtt_s < 2 and one.bytes_per_s > LOAD_BYTES / TOTAL_S
            assert not listener.sessions and not listener.n_refused
            counters = listener._endpoint.machine.counters
            assert counters["visit"] == 2
            async with wraith.connect(listener.code):  # the code is as good as before
                await listener.accept()

    run(scene)


def test_an_address_at_which_nobody_listens_refuses() -> None:
    async def scene() -> None:
        async with listening() as listener:
            record = listener.node_record
        found = await reach(record)
        assert reason_of(found[Carrier.TCP]) is RoadReason.REFUSED
        assert reason_of(found[Carrier.UDP]) is RoadReason.PORT_UNREACHABLE

    run(scene)


def test_a_wrong_key_is_met_with_silence() -> None:
    async def scene() -> None:
        async with listening() as listener, listening() as other:
            wrong = replace(listener.node_record, access_key=other.node_record.access_key)
            found = await reach(wrong)
            assert reason_of(found[Carrier.TCP]) is RoadReason.ACCEPTED_SILENT
            assert reason_of(found[Carrier.UDP]) is RoadReason.UDP_SILENT

    run(scene)


@pytest.mark.spec("RO-63", "RO-66")
def test_udp_that_swallows_everything_is_blocked_where_tcp_answers() -> None:
    async def scene() -> None:
        async with listening("tcp") as listener:
            # Its node has a UDP socket at the same port, and looks at nothing that comes there.
            record = replace(
                listener.node_record,
                addresses=(Address(LOCALHOST, listener.port),), has_tcp=True, other_roads=(),
            )  # fmt: skip
            found = await reach(record)
            assert found[Carrier.TCP].ok
            assert reason_of(found[Carrier.UDP]) is RoadReason.UDP_BLOCKED

    run(scene)


@pytest.mark.spec("RO-66")
def test_a_road_over_quic_is_tried_alone_like_the_others() -> None:
    async def scene() -> None:
        async with listening("udp,quic") as listener:
            found = await reach(listener.node_record, 5.0)
            assert set(found) == {Carrier.UDP, Carrier.QUIC}
            assert all(one.ok and one.bytes_per_s is not None for one in found.values())
            async with listening() as other:
                wrong = replace(listener.node_record, access_key=other.node_record.access_key)
                found = await reach(wrong, 2.0)
                assert reason_of(found[Carrier.QUIC]) is RoadReason.ACCEPTED_SILENT
            record = listener.node_record
        found = await reach(record, 2.0)
        assert reason_of(found[Carrier.QUIC]) is RoadReason.PORT_UNREACHABLE
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
            mute.bind(("127.0.0.1", listener.port + 1))
            found = await reach(record, 1.0)
            assert reason_of(found[Carrier.QUIC]) is RoadReason.UDP_SILENT

    run(scene)


@pytest.mark.spec("RO-66")
def test_a_second_visitor_sees_which_roads_answer_and_no_rates() -> None:
    async def scene() -> None:
        async with listening() as listener:
            await reach(listener.node_record, 5.0)
            found = await reach(listener.node_record, 5.0)
            for one in found.values():
                assert one.ok and one.rtt_s is not None and one.bytes_per_s is None
            assert listener._endpoint.machine.counters["visit_refused"] == 2

    run(scene)
