from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import wraith
from wraith.aio import road_memory
from wraith.aio.disk.home_folder import HomeFolder
from wraith.aio.road_memory import RoadMemory
from wraith.aio.transports.network_state import NetworkState, RouteEntry, own_addresses
from wraith.connection.connection import Connection
from wraith.connection.events import Confirmed, RoadFailed
from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.node.node import Node
from wraith.node.session_service import SessionService
from wraith.testing.endpoints import ADDRESS_B, linked
from wraith.testing.netem import LinkConfig
from wraith.testing.pipes import PipeConfig
from wraith.testing.rng import SeededRng
from wraith.types import Carrier, Road

ROUTE = RouteEntry("eth0", bytes(4), 0, bytes([192, 0, 2, 1]), 0)
STATE = NetworkState(
    frozenset({("eth0", "192.0.2.7", 24), ("lo", "fe80::1%lo", 64)}), frozenset({ROUTE})
)


class Calendar:
    def unix_time(self) -> float:
        return 2_000_000_000.5


def memory(folder: Path) -> RoadMemory:
    return RoadMemory(HomeFolder(folder), SeededRng("memory"), Calendar())


@pytest.mark.spec("RO-19")
def test_what_a_node_learns_shortens_the_wait_of_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(road_memory, "read_network_state", lambda: STATE)
    net = linked(link=LinkConfig(latency_s=0.01, loss=1.0))
    net.pipes.configs[Carrier.TCP, ADDRESS_B] = PipeConfig()
    node = Node(net.i.endpoint, now=net.now)
    service = SessionService()
    node.add(service, net.now)
    first = memory(tmp_path)
    first.begin(node)
    assert node.known_to_fail == frozenset() and node.road_news == []
    roads = [Road(Carrier.UDP, ADDRESS_B), Road(Carrier.TCP, ADDRESS_B)]
    connection = node.connect(service, net.record(), net.now, roads=roads)

    def note(who: Connection | None, event: object, now: float) -> None:
        if who is not None and node.road_news is not None:
            node._note_road(node.road_news, who, event)

    net.i.on_event = note
    assert net.run_until_confirmed(connection)
    net.run(seconds=1)
    assert net.i.events(Confirmed) and net.i.events(RoadFailed)
    assert sorted(node.road_news or []) == [
        (Carrier.UDP, RoadFailure(RoadReason.UDP_BLOCKED, 1)),
        (Carrier.TCP, None),
    ]
    first.note(node)
    assert node.road_news == []
    second = Node(net.i.endpoint, now=net.now)
    memory(tmp_path).begin(second)
    assert second.known_to_fail == {Carrier.UDP}


def test_a_host_without_a_network_remembers_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = NetworkState(frozenset(), frozenset())
    monkeypatch.setattr(road_memory, "read_network_state", lambda: nowhere)
    node = Node(linked().i.endpoint, now=0.0)
    kept = memory(tmp_path)
    kept.begin(node)
    kept.note(node)
    assert node.road_news is None and not list(tmp_path.iterdir())


def test_own_addresses_are_those_of_all_interfaces() -> None:
    expected = frozenset((bytes([192, 0, 2, 7]), bytes([0xFE, 0x80, *bytes(13), 1])))
    assert own_addresses(STATE) == expected
    assert own_addresses(NetworkState(frozenset(), frozenset())) is None


async def watched() -> None:
    async with wraith.listen("127.0.0.1:0", carriers="udp,tcp") as listener:
        session = await wraith.connect(listener.code, carriers="udp,tcp")
        links = session._endpoint.driver.links
        assert links is not None
        served = await listener.accept()
        while links._watch is None:
            await asyncio.sleep(0)
        watch = links._watch
        links._on_network_changed()
        await session.close()
        await served.close()
        while links._watch is not None:
            await asyncio.sleep(0.001)
        assert watch._loop is None
    async with (
        wraith.listen("127.0.0.1:0") as listener,
        wraith.connect(listener.code) as session,
    ):
        links = session._endpoint.driver.links
        assert links is not None and links._watch is None


def test_the_network_is_watched_while_a_session_could_take_another_road() -> None:
    asyncio.run(asyncio.wait_for(watched(), 20))
