"""Seeded simulations that between them make every kind of datagram: what ``goldens`` digests.

Each scenario is a function without arguments but the tap on its network; the same tree sends the
same datagrams at the same virtual moments in every run, on either hot path. Nothing here is secure,
on purpose.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from functools import partial

from wraith.config import KIB, EndpointConfig
from wraith.errors import LocalProtocolError
from wraith.node.config import NodeConfig
from wraith.testing.endpoints import LinkedEndpoints, linked
from wraith.testing.established import EstablishedPair
from wraith.testing.nat import rebind
from wraith.testing.netem import LinkConfig
from wraith.testing.node_pair import NodeHost, NodeSimulation
from wraith.testing.pair import ADDRESS_A, ADDRESS_B, Simulation
from wraith.transfer.memory_store import MemorySource, MemoryTarget
from wraith.transfer.messages import Reason
from wraith.types import Address, SuiteId

Tap = Callable[[Simulation], None]
Scenario = Callable[[Tap], None]

DATA = random.Random(12).randbytes(2_000_000)
OTHER_PORT = Address(ADDRESS_A.ip, 5_001)
OTHER_HOST = Address(bytes((198, 51, 100, 1)), 5_001)

LINKS = {
    "clean": LinkConfig(latency_s=0.01),
    "loss": LinkConfig(latency_s=0.01, loss=0.1),
    "reorder": LinkConfig(latency_s=0.01, reorder=0.2, reorder_delay_s=0.02),
    "duplicate": LinkConfig(latency_s=0.01, duplicate=0.3, loss=0.02),
    "jitter": LinkConfig(latency_s=0.01, jitter_s=0.01),
    "slow": LinkConfig(latency_s=0.02, rate_bps=8e6, queue_bytes=30_000),
    "fast": LinkConfig(latency_s=0.005, rate_bps=400e6, queue_bytes=300_000, tick_s=0.001),
    "all": LinkConfig(
        latency_s=0.02, jitter_s=0.01, loss=0.05, duplicate=0.05, reorder=0.05, rate_bps=20e6
    ),
}


def _pair(
    tap: Tap,
    seed: int,
    *,
    link: LinkConfig = LINKS["clean"],
    config: EndpointConfig | None = None,
    config_r: EndpointConfig | None = None,
    suite: SuiteId = SuiteId.B,
) -> EstablishedPair:
    pair = EstablishedPair(link=link, seed=seed, config=config, config_r=config_r, suite=suite)
    tap(pair.net)
    return pair


def both_ways(link: str, suite: SuiteId, tap: Tap) -> None:
    pair = _pair(tap, 1, link=LINKS[link], suite=suite)
    pair.run(seconds=0.5)
    pair.send(DATA[:60_000])
    pair.send(DATA[60_000:100_000], source=pair.r)
    pair.run(seconds=3)


def bulk(link: str, config: EndpointConfig, tap: Tap) -> None:
    pair = _pair(tap, 2, link=LINKS[link], config=config)
    pair.run(seconds=0.5)
    transfer = pair.send(DATA[:700_000])
    pair.run(seconds=20, until=lambda: transfer.is_equal)
    pair.run(seconds=0.5)


def streams(link: str, tap: Tap) -> None:
    """Many of different urgency, some of them expedited."""
    pair = _pair(tap, 3, link=LINKS[link])
    pair.run(seconds=0.5)
    for n in range(12):
        data = DATA[n * 9_000 : (n + 1) * 9_000]
        pair.send(data, source=pair.i if n % 3 else pair.r, priority=n * 20, expedited=n == 7)
    pair.run(seconds=3)


def slow_reader(tap: Tap) -> None:
    """Flow control stops the sender, and lets it go on."""
    config = EndpointConfig(stream_window=16 * KIB, conn_window=24 * KIB)
    pair = _pair(tap, 4, config=config)
    pair.run(seconds=0.5)
    transfer = pair.send(DATA[:200_000], is_reading=False)
    pair.run(seconds=1)
    transfer.is_reading = True
    pair.run(seconds=4)


def datagrams(link: str, tap: Tap) -> None:
    pair = _pair(tap, 5, link=LINKS[link])
    pair.run(seconds=0.5)
    for n in range(120):
        side = (pair.i, pair.r)[n % 2]
        for size in (8, 300, 1_000)[: 1 + n % 3]:
            side.connection.send_datagram(DATA[n : n + size], pair.now)
        pair.run(seconds=0.005)
    pair.run(seconds=1)


def resets(tap: Tap) -> None:
    pair = _pair(tap, 6, link=LINKS["loss"])
    pair.run(seconds=0.5)
    for n in range(10):
        transfer = pair.send(DATA[:40_000], finish=n % 2 == 0)
        pair.run(seconds=0.02)
        if n % 2:
            pair.i.connection.stream_reset(transfer.sid, n, pair.now)
        elif n % 4 == 0:
            with contextlib.suppress(LocalProtocolError):  # its beginning may have been lost
                pair.r.connection.stream_stop(transfer.sid, n, pair.now)
    pair.run(seconds=2)


def move(new: Address, loss: float, sends: str, tap: Tap) -> None:
    """The initiator's address changes while ``sends`` (i, r or nobody) has bulk under way."""
    link = LinkConfig(latency_s=0.015, loss=loss, rate_bps=20e6, queue_bytes=100_000)
    pair = _pair(tap, 7, link=link)
    pair.run(seconds=0.5)
    for side in (pair.i, pair.r):
        if sends == side.connection.role.value:
            pair.send(DATA[:600_000], source=side)
    pair.run(seconds=0.15)
    rebind(pair.net, ADDRESS_A, new)
    pair.i.connection.ask(pair.now)
    pair.run(seconds=2.5)


def rekey(config: EndpointConfig, loss: float, tap: Tap) -> None:
    pair = _pair(tap, 8, config=config, link=LinkConfig(latency_s=0.01, loss=loss, rate_bps=8e6))
    pair.run(seconds=0.5)
    pair.send(DATA[:1_600_000])
    pair.run(seconds=1)
    pair.r.connection.rekey(pair.now)
    pair.run(seconds=3)


def mtu(first: int, later: int, config: EndpointConfig, tap: Tap) -> None:
    """The path takes ``first`` bytes, and ``later`` once half of the data is through."""
    pair = _pair(tap, 9, config=config, link=LinkConfig(latency_s=0.01, mtu_bytes=first))
    pair.send(DATA[:150_000])
    pair.run(seconds=1)
    pair.net.set_links(LinkConfig(latency_s=0.01, mtu_bytes=later))
    pair.send(DATA[:150_000], source=pair.r)
    pair.run(seconds=8)


def refused_size(tap: Tap) -> None:
    pair = _pair(tap, 10)
    pair.send(DATA[:100_000])
    pair.run(seconds=1)
    pair.i.connection.handle_mtu_exceeded(pair.i.connection.path, 1_472, pair.now)
    pair.send(DATA[:100_000])
    pair.run(seconds=1)


def close(how: str, tap: Tap) -> None:
    config = EndpointConfig(idle_timeout_s=5, keepalive=how != "idle")
    pair = _pair(tap, 11, link=LINKS["jitter"], config=config)
    pair.run(seconds=0.5)
    pair.send(DATA[:50_000])
    pair.run(seconds=0.04)
    connection = pair.r.connection
    if how == "code":
        connection.close(0x4000, "enough", pair.now)
    elif how == "end":
        connection.end("done", pair.now)
    elif how == "goaway":
        connection.go_away(pair.now)
    elif how == "both":
        connection.close(0, "", pair.now)
        pair.i.connection.close(0, "", pair.now)
    pair.run(seconds=12)


def outage(seconds: float, tap: Tap) -> None:
    """Nothing passes for a while: probes, a suspect path, and recovery."""
    pair = _pair(tap, 12)
    pair.run(seconds=0.5)
    pair.send(DATA[:400_000])
    pair.run(seconds=0.03)
    pair.net.set_links(LinkConfig(latency_s=0.01, loss=1.0))
    pair.run(seconds=seconds)
    pair.net.set_links(LINKS["clean"])
    pair.run(seconds=3)


def refused(tap: Tap) -> None:
    pair = EstablishedPair(accepts=False, seed=13)
    tap(pair.net)
    pair.send(DATA[:20_000])
    pair.run(seconds=1)
    pair.r.connection.refuse(pair.now)
    pair.run(seconds=2)


def ticking(tap: Tap) -> None:
    """A little now and then: acknowledgements that wait, form B after silence."""
    pair = _pair(tap, 14)
    for n in range(9):
        side = (pair.i, pair.r)[n % 2]
        side.connection.send_datagram(DATA[n : n + 200], pair.now)
        pair.run(seconds=(0.01, 0.3, 6.0)[n % 3])


def handshake(suite: SuiteId, loss: float, tap: Tap) -> None:
    config = EndpointConfig(suites=(suite,))
    net: LinkedEndpoints = linked(
        seed=15, config=config, link=LinkConfig(latency_s=0.02, loss=loss, jitter_s=0.005)
    )
    tap(net)
    first = net.dial(require_pq=suite is not SuiteId.D)
    net.run_until_confirmed(first)
    second = net.dial(require_pq=suite is not SuiteId.D)
    net.run_until_confirmed(second)
    for connection in (first, second):
        if connection.authorised:
            sid = connection.open_stream(now=net.now)
            connection.stream_write(sid, DATA[:30_000], fin=True, now=net.now)
    net.run(seconds=2)
    first.close(0, "", net.now)
    net.run(seconds=2)


def _transfer(
    tap: Tap,
    files: dict[bytes, bytes | None],
    link: LinkConfig,
    *,
    seed: int = 16,
    answer: Reason | bool = True,
    sender_config: NodeConfig | None = None,
) -> tuple[NodeSimulation, NodeHost]:
    simulation = NodeSimulation(
        MemorySource(files), seed=seed, link=link, sender_config=sender_config
    )
    tap(simulation)
    return simulation, simulation.start_receiver(MemoryTarget(), answer=answer)


def transfer(link: str, tap: Tap) -> None:
    simulation, receiver = _transfer(tap, {b"f": DATA[:700_000]}, LINKS[link])
    simulation.run_until_finished(receiver, simulation.sender, seconds=30)
    simulation.run(seconds=3)


def transfer_of_many(tap: Tap) -> None:
    files: dict[bytes, bytes | None] = {b"d": None}
    files |= {b"d/%d" % n: DATA[: 37 * n] for n in range(150)}
    simulation, receiver = _transfer(tap, files, LINKS["loss"])
    simulation.run_until_finished(receiver, simulation.sender, seconds=30)
    simulation.run(seconds=3)


def transfer_moves(new: Address, tap: Tap) -> None:
    link = LinkConfig(latency_s=0.02, rate_bps=10e6, queue_bytes=60_000)
    simulation, receiver = _transfer(tap, {b"f": DATA}, link)
    simulation.run(seconds=0.8)
    rebind(simulation, ADDRESS_B, new)
    simulation.run_until_finished(receiver, simulation.sender, seconds=30)


def transfer_unheard(tap: Tap) -> None:
    """What the sender says is lost for a while, so the receiver asks whether it is there."""
    simulation, receiver = _transfer(tap, {b"f": DATA}, LINKS["slow"])
    simulation.run(seconds=1)
    there = simulation.link(ADDRESS_A, ADDRESS_B)
    there.config = LinkConfig(loss=1.0)
    simulation.run(seconds=2)
    there.config = LINKS["slow"]
    simulation.run_until_finished(receiver, simulation.sender, seconds=30)


def transfer_at_a_rate(tap: Tap) -> None:
    config = NodeConfig(limit_bytes_per_s=400_000)
    simulation, receiver = _transfer(
        tap, {b"f": DATA[:800_000]}, LINKS["clean"], sender_config=config
    )
    simulation.run_until_finished(receiver, simulation.sender, seconds=30)


def transfer_declined(tap: Tap) -> None:
    simulation, receiver = _transfer(
        tap, {b"f": DATA[:1_000]}, LINKS["clean"], answer=Reason.DECLINED
    )
    simulation.run_until_finished(receiver, simulation.sender, seconds=30)
    simulation.run(seconds=3)


def transfer_resumed(tap: Tap) -> None:
    """The receiver is killed half-way; its successor goes on with what it kept."""
    link = LinkConfig(latency_s=0.02, rate_bps=10e6, queue_bytes=60_000)
    target = MemoryTarget()
    simulation = NodeSimulation(MemorySource({b"f": DATA}), seed=17, link=link)
    tap(simulation)
    simulation.start_receiver(target)
    simulation.run(seconds=1)
    simulation.kill(ADDRESS_B)
    kept = MemoryTarget(journal=bytes(target.journal), data=target.data)
    receiver = simulation.start_receiver(kept)
    simulation.run_until_finished(receiver, simulation.sender, seconds=30)


def _all() -> dict[str, Scenario]:
    found: dict[str, Scenario] = {}
    for suite in (SuiteId.A, SuiteId.B):
        for link in ("clean", "loss", "reorder", "duplicate", "jitter", "slow", "all"):
            found[f"both ways, {link}, suite {suite.name}"] = partial(both_ways, link, suite)
    found |= {
        "bulk, fast": partial(bulk, "fast", EndpointConfig()),
        "bulk, slow": partial(bulk, "slow", EndpointConfig()),
        "bulk, newreno": partial(bulk, "slow", EndpointConfig(congestion="newreno")),
        "bulk, size set": partial(bulk, "clean", EndpointConfig(datagram_bytes=1_300)),
        "bulk, little memory": partial(bulk, "clean", EndpointConfig(send_memory_bytes=128 * KIB)),
        "streams, clean": partial(streams, "clean"),
        "streams, loss": partial(streams, "loss"),
        "slow reader": slow_reader,
        "datagrams, clean": partial(datagrams, "clean"),
        "datagrams, loss": partial(datagrams, "loss"),
        "resets and stops": resets,
        "rekey by time": partial(rekey, EndpointConfig(rekey_interval_s=1.0), 0.0),
        "rekey by packets": partial(rekey, EndpointConfig(rekey_packets=1_000), 0.0),
        "rekey under loss": partial(rekey, EndpointConfig(rekey_interval_s=1.0), 0.1),
        "mtu 1350": partial(mtu, 1_350, 1_350, EndpointConfig()),
        "mtu up to 4000": partial(mtu, 4_000, 4_000, EndpointConfig(max_udp_bytes=8_972)),
        "mtu shrinks": partial(mtu, 1_500, 1_250, EndpointConfig()),
        "mtu refused by the host": refused_size,
        "outage of 1 s": partial(outage, 1.0),
        "outage of 6 s": partial(outage, 6.0),
        "never accepted": refused,
        "a little now and then": ticking,
        "handshake A": partial(handshake, SuiteId.A, 0.0),
        "handshake B": partial(handshake, SuiteId.B, 0.0),
        "handshake D": partial(handshake, SuiteId.D, 0.0),
        "handshake under loss": partial(handshake, SuiteId.B, 0.2),
        "transfer, clean": partial(transfer, "clean"),
        "transfer, slow": partial(transfer, "slow"),
        "transfer, all troubles": partial(transfer, "all"),
        "transfer of many files": transfer_of_many,
        "transfer, the sender is not heard": transfer_unheard,
        "transfer at a rate": transfer_at_a_rate,
        "transfer declined": transfer_declined,
        "transfer resumed": transfer_resumed,
    }
    for name, new in (("port", OTHER_PORT), ("host", OTHER_HOST)):
        for sends in ("i", "r"):
            found[f"move of the {name}, {sends} sends"] = partial(move, new, 0.0, sends)
        found[f"move of the {name}, loss"] = partial(move, new, 0.1, "r")
    found["transfer, the receiver's port moves"] = partial(
        transfer_moves, Address(ADDRESS_B.ip, 5_001)
    )
    found["transfer, the receiver's host moves"] = partial(transfer_moves, OTHER_HOST)
    for how in ("code", "end", "goaway", "both", "idle"):
        found[f"close, {how}"] = partial(close, how)
    return found


SCENARIOS = _all()

__all__ = ["SCENARIOS", "Scenario", "Tap"]
