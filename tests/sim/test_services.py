"""Several services at one port: each peer reaches its own, and none of them disturbs the others."""

from __future__ import annotations

import pytest

from wraith.connection.connection import Connection
from wraith.connection.events import Closed, DatagramReceived, Established
from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.errors import HandshakeTimeout, LocalProtocolError
from wraith.node.config import NodeConfig
from wraith.node.events import ClockSkewSeen, Connected
from wraith.node.session_service import SessionService
from wraith.testing.node_pair import ADDRESS_A, NodeHost, NodeSimulation, ProgramHost
from wraith.testing.rng import SeededRng
from wraith.transfer.events import Accepted
from wraith.transfer.memory_store import MemorySource, MemoryTarget
from wraith.types import Address

RNG = SeededRng("services")
KEYS = tuple(AccessKey.generate(RNG, with_psk=True) for _ in range(4))
FIRST, SECOND = RNG.public_bytes(400_000), RNG.public_bytes(300_000)


def address(n: int) -> Address:
    """A prefix of its own for each ``n``."""
    return Address(bytes((198, 51, n, 1)), 4_000 + n)


class Port(NodeSimulation):
    """Two sends and sessions at the port of A."""

    def __init__(self) -> None:
        super().__init__(MemorySource({b"first": FIRST}), sender_config=NodeConfig(keep=True))
        self.first = self.sender
        self.second = self.offer_too(MemorySource({b"second": SECOND}), KEYS[1])
        self.listener = self.listen_too(KEYS[2])

    def session(self, n: int, key: AccessKey = KEYS[2]) -> tuple[ProgramHost, Connection]:
        program = self.start_program(name=f"program {n}", address=address(n))
        return program, program.dial(self.record(key), self.now)

    def peers_of(self, sender: NodeHost) -> list[str]:
        """Who has been let in."""
        told = [event for event in sender.of(Connected) if isinstance(event, Connected)]
        return [event.peer.short for event in told if event.peer is not None]


def echoes(program: ProgramHost, connection: Connection) -> list[bytes]:
    return [event.data for event in program.of(DatagramReceived, connection)]


def identity(host: NodeHost | ProgramHost) -> str:
    return host.node.endpoint.keys.identity.public.short


@pytest.mark.spec("HS-82")
def test_six_peers_of_two_sends_and_a_listener_reach_their_own() -> None:
    port = Port()
    targets = [MemoryTarget(), MemoryTarget()]
    receivers = [
        port.start_receiver(target, name=f"receiver {n}", address=address(n), key=key)
        for n, target, key in zip((1, 2), targets, (port.access, KEYS[1]), strict=True)
    ]
    sessions = [port.session(n) for n in range(3, 7)]
    assert port.run(seconds=5, until=lambda: all(p.of(Established, c) for p, c in sessions))
    for n, (_, connection) in enumerate(sessions):
        connection.send_datagram(b"from %d" % n, port.now)
    assert port.run_until_finished(*receivers)
    assert [target.placed for target in targets] == [{b"first": FIRST}, {b"second": SECOND}]
    assert [echoes(*one) for one in sessions] == [[b"from %d" % n] for n in range(4)]
    assert port.peers_of(port.first) == [identity(receivers[0])]
    assert port.peers_of(port.second) == [identity(receivers[1])]
    let_in = [
        c.peer.short for c, e in port.listener.events if isinstance(e, Established) and c.peer
    ]
    assert let_in == [identity(program) for program, _ in sessions]
    port.run(seconds=3)
    keys = {c.access_key for c in port.sender.endpoint.connections}
    assert keys == {KEYS[2].ak.public}, "the transfers are over, the sessions are not"


@pytest.mark.spec("HS-82")
def test_a_key_that_no_service_holds_gets_silence() -> None:
    port = Port()
    program, connection = port.session(9, KEYS[3])
    port.run(seconds=15)
    (closed,) = program.of(Closed, connection)
    assert isinstance(closed.error, HandshakeTimeout)
    assert port.link(ADDRESS_A, address(9)).n_sent == 0


@pytest.mark.spec("HS-82")
def test_a_service_that_goes_takes_its_key_and_its_peers_and_nobody_else() -> None:
    port = Port()
    target = MemoryTarget()
    receiver = port.start_receiver(target, name="r", address=address(1), key=KEYS[1])
    sessions = [port.session(n) for n in (3, 4)]
    assert port.run(seconds=5, until=lambda: all(p.of(Established, c) for p, c in sessions))
    assert port.run(seconds=5, until=lambda: bool(receiver.of(Accepted)))

    node = port.sender.node
    node.remove(port.listener.sessions, port.now)
    assert node.connections_of(port.listener.sessions), "their CLOSE has not left yet"
    port.run(seconds=0.5)
    for program, connection in sessions:
        (closed,) = program.of(Closed, connection)
        assert closed.by_peer and closed.error is None, "a planned end"
    assert not port.listener.of(Closed), "a service that is gone is told nothing"
    assert port.run_until_finished(receiver)
    assert target.placed == {b"second": SECOND}
    port.run(seconds=5)
    assert node.connections_of(port.listener.sessions) == ()

    before = port.link(ADDRESS_A, address(5)).n_sent
    late, connection = port.session(5)
    again = port.start_receiver(target := MemoryTarget(), name="s", address=address(6))
    assert port.run_until_finished(again)
    assert target.placed == {b"first": FIRST}
    port.run(seconds=15)
    assert late.of(Closed, connection) and port.link(ADDRESS_A, address(5)).n_sent == before
    assert len(node.services) == 2


@pytest.mark.spec("HS-82")
def test_an_attempt_that_is_half_open_when_its_service_goes_ends_in_silence() -> None:
    port = Port()
    program, connection = port.session(3)
    port.run(seconds=0.015)  # the hello is there, RESPONSE under way
    port.sender.node.remove(port.listener.sessions, port.now)
    sent = port.link(ADDRESS_A, address(3)).n_sent
    port.run(seconds=15)
    assert port.link(ADDRESS_A, address(3)).n_sent == sent
    assert not port.sender.endpoint.connections
    assert program.of(Closed, connection)


@pytest.mark.spec("HS-82")
def test_a_key_that_comes_back_with_another_service_leads_there() -> None:
    port = Port()
    _, old = port.session(3)
    port.run(seconds=1)
    port.sender.node.remove(port.listener.sessions, port.now)
    again = port.listen_too(KEYS[2])
    program, connection = port.session(4)
    assert port.run(seconds=5, until=lambda: bool(program.of(Established, connection)))
    port.run(seconds=5)
    assert len({c for c, _ in again.events}) == 1, "it hears nothing of the old one's connection"
    assert old.is_drained


def test_a_fifth_service_is_refused_and_the_four_go_on() -> None:
    port = Port()
    fourth = port.listen_too(KEYS[3])
    with pytest.raises(LocalProtocolError, match="4 services listen at this port already"):
        port.listen_too(AccessKey.generate(RNG))
    dialling = SessionService()
    port.sender.node.add(dialling, port.now)  # it only dials
    sessions = [port.session(n, key) for n, key in enumerate(KEYS[2:], 10)]
    assert port.run(seconds=5, until=lambda: all(p.of(Established, c) for p, c in sessions))
    port.sender.node.remove(fourth.sessions, port.now)
    port.listen_too(AccessKey.generate(RNG))


@pytest.mark.spec("HS-82")
def test_peers_that_nobody_answers_do_not_keep_others_waiting() -> None:
    """A program that does not look at its 40 callers stops neither a send nor other sessions."""
    port = Port()
    port.listener.answers = False
    waiting = [port.session(n) for n in range(100, 140)]
    port.run(seconds=5)
    target = MemoryTarget()
    receiver = port.start_receiver(target, name="r", address=address(1), key=KEYS[1])
    other = port.listen_too(KEYS[3])
    program, connection = port.session(2, KEYS[3])
    assert port.run_until_finished(receiver, seconds=20)
    assert target.placed == {b"second": SECOND}
    assert program.of(Established, connection) and other.of(Established)
    assert not port.listener.of(Established)
    assert len({c for c, _ in port.listener.events}) == len(waiting)


def test_a_clock_that_is_off_is_told_to_the_service_whose_key_was_proved() -> None:
    port = Port()
    port.start_receiver(MemoryTarget(), name="r", address=address(1), key=KEYS[1], skew_s=3_600)
    port.run(seconds=3)
    assert port.second.of(ClockSkewSeen) and not port.first.of(ClockSkewSeen)
