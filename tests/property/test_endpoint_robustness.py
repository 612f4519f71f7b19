"""Whatever arrives at whatever moment: no exception, bounded state, and the honest peer is served.

Datagrams are random, or genuine ones of this very run: flipped, cut, extended, joined, replayed
from elsewhere, cut into segments of any size.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.config import Budgets, EndpointConfig
from wraith.connection.endpoint import Endpoint
from wraith.connection.events import DatagramReceived
from wraith.connection.state import SessionState
from wraith.errors import TransportError
from wraith.testing.endpoints import ADDRESS_A, ADDRESS_B, LinkedEndpoints, linked, watch
from wraith.testing.netem import LinkConfig
from wraith.types import Address, NetworkPath

N_HOSTILE = 60
STRANGER = Address(bytes((203, 0, 113, 7)), 7)
STAGES = ("dialling", "half-open", "answered", "established", "draining")
RANDOM_LENGTHS = (0, 1, 20, 33, 64, 599, 600, 1200, 4000)
#: Half of the runs have budgets that nobody exhausts, so that everything is really looked at.
PATIENT = EndpointConfig(budgets=Budgets(prefix_burst=10**6, preauth_burst=10**6))
N_REMEMBERED_MAX = 400
"""Entries about strangers that so few datagrams from two prefixes may leave, with a margin."""


@dataclass(frozen=True, slots=True)
class Hostile:
    """What is delivered: the bytes, how they are cut into datagrams, to whom and from where."""

    data: bytes
    segment_bytes: int
    to_responder: bool
    source: Address


def hostile(chance: random.Random, seen: list[bytes]) -> Hostile:
    """One delivery made of ``seen`` or of nothing."""
    data = bytearray(chance.choice(seen) if seen else b"")
    match chance.randrange(8):
        case 0:
            data = bytearray(chance.randbytes(chance.choice(RANDOM_LENGTHS)))
        case 1 if data:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        case 2:
            del data[chance.randrange(len(data) + 1) :]
        case 3:
            data += chance.randbytes(chance.randrange(1, 40))
        case 4:
            del data[: chance.randrange(len(data) + 1)]
        case 5 if seen:
            data += chance.choice(seen)
        case 6:
            at = chance.randrange(len(data) + 1)
            data[at : at + 32] = chance.randbytes(32)
        case _:
            pass  # as it was: a replay, perhaps from elsewhere or to the wrong side
    to_responder = chance.random() < 0.7
    peer = ADDRESS_A if to_responder else ADDRESS_B
    source = chance.choice([peer, peer, Address(peer.ip, peer.port + 1), STRANGER])
    cut = chance.choice([len(data) or 1, chance.randrange(1, len(data) + 2)])
    return Hostile(bytes(data), cut, to_responder, source)


def deliver(net: LinkedEndpoints, attack: Hostile) -> None:
    endpoint: Endpoint = net.r.endpoint if attack.to_responder else net.i.endpoint
    path = NetworkPath(ADDRESS_B if attack.to_responder else ADDRESS_A, attack.source)
    endpoint.receive_datagrams(attack.data, attack.segment_bytes, path, net.now)
    net.settle()


def is_bounded(net: LinkedEndpoints) -> bool:
    admission = net.r.endpoint._admission
    routing = net.r.endpoint._routing
    return (
        admission.n_remembered <= N_REMEMBERED_MAX
        and admission._early.n_bytes <= 1 << 20
        and routing.n_cids <= 16 * 4
        and routing.n_paths <= 16
        and len(net.r.endpoint.connections) <= 2
    )


def reach(net: LinkedEndpoints, stage: str) -> None:
    """Drives an honest handshake to ``stage``. One way takes 20 ms."""
    net.dial()
    match stage:
        case "dialling":
            net.settle()
        case "half-open":
            net.a_to_b.taps.append(_second_datagram_lost())
            net.run(seconds=0.03)
        case "answered":
            net.run(seconds=0.03)
        case "established" | "draining":
            net.run(seconds=1.0)
    if stage == "draining":
        (connection,) = net.r.incoming
        connection.close(0, "", net.now)


def _second_datagram_lost() -> Callable[[bytes], bytes | None]:
    """Loses HELLO/1 of the first attempt."""
    n_sent = 0

    def tap(datagram: bytes) -> bytes | None:
        nonlocal n_sent
        n_sent += 1
        return None if n_sent == 2 else datagram

    return tap


@pytest.mark.spec("CN-3", "HS-13", "HS-35")
@pytest.mark.parametrize("stage", STAGES)
@given(seed=st.integers(0, 10**9))
def test_nothing_hostile_raises_grows_or_disturbs(stage: str, seed: int) -> None:
    chance = random.Random(seed)
    config = PATIENT if seed % 2 else None
    net = linked(seed=seed % 1_000, link=LinkConfig(latency_s=0.02), config=config)
    seen = watch(net.a_to_b, net.b_to_a)
    reach(net, stage)
    (connection,) = net.i.endpoint.connections
    for _ in range(N_HOSTILE):
        deliver(net, hostile(chance, seen))
        assert is_bounded(net)
        if chance.random() < 0.1:
            net.run(seconds=0.004)
    if stage == "draining":
        net.run(seconds=10)
        assert net.r.endpoint.connections == () and connection.is_drained
        return
    assert net.run_until_confirmed(connection), "the honest handshake completes all the same"
    net.run(seconds=1)
    assert connection.state is SessionState.ESTABLISHED
    assert connection.send_datagram(b"through", net.now)
    net.run(seconds=5)
    assert DatagramReceived(b"through") in [told.event for told in net.r.told]
    net.run(seconds=30)
    assert net.r.endpoint._admission.n_half_open == 0
    assert not isinstance(net.i.error_of(connection), TransportError)


def test_the_stages_are_what_they_are_called() -> None:
    found: dict[str, tuple[int, int, str]] = {}
    for stage in STAGES:
        net = linked(link=LinkConfig(latency_s=0.02))
        reach(net, stage)
        incoming = net.r.incoming
        state = incoming[0].state.value if incoming else ""
        sent = net.link(ADDRESS_B, ADDRESS_A).n_sent
        found[stage] = (net.r.endpoint._admission.n_half_open, min(sent, 2), state)
    assert found == {
        "dialling": (0, 0, ""),
        "half-open": (1, 0, ""),
        "answered": (1, 2, ""),
        "established": (0, 2, "Established"),
        "draining": (0, 2, "Draining"),
    }
