"""Who may speak to whom, with which suite: every refusal, and what each side learns from it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wraith.abc import Kem
from wraith.config import EndpointConfig
from wraith.connection.endpoint_events import ClockSkew
from wraith.connection.events import Closed, PeerAuthenticated
from wraith.connection.handshake.endpoint_keys import AccessKey, EndpointKeys
from wraith.crypto.ed25519 import Identity
from wraith.crypto.mlkem import MlKem768
from wraith.crypto.x25519 import X25519Key
from wraith.errors import (
    CloseCode,
    ConfigError,
    ConnectFailed,
    HandshakeTimeout,
    LocalProtocolError,
    NotAuthorised,
    PeerKeyMismatch,
    PolicyRefused,
)
from wraith.testing.clock import VirtualClock
from wraith.testing.endpoints import (
    ADDRESS_B,
    EndpointHost,
    LinkedEndpoints,
    endpoint_host,
    linked,
    watch,
)
from wraith.testing.rng import HashKem, SeededRng
from wraith.types import SuiteId

A, B, C, D = SuiteId
CLASSICAL = EndpointConfig(suites=(D,))
ALL = EndpointConfig(suites=(A, B, D))
PSK = bytes(range(1, 33))


def between(i: EndpointHost, r: EndpointHost, clock: VirtualClock) -> LinkedEndpoints:
    return LinkedEndpoints(clock, i, r)


def two(
    *,
    config_i: EndpointConfig | None = None,
    config_r: EndpointConfig | None = None,
    access: tuple[AccessKey, ...] | None = None,
    keys_r: EndpointKeys | None = None,
    skew_i: float = 0.0,
    kem: Kem | None = None,
    accepts: bool | None = True,
) -> LinkedEndpoints:
    clock = VirtualClock()
    i = endpoint_host(clock, "i", config=config_i, skew_s=skew_i, kem=kem)
    r = endpoint_host(
        clock,
        "r",
        config=config_r,
        access=access,
        keys=keys_r,
        listening=True,
        kem=kem,
        accepts=accepts,
    )
    return between(i, r, clock)


@pytest.mark.parametrize("kem", [HashKem(), MlKem768()], ids=["hash", "ml-kem"])
@pytest.mark.parametrize("suite", [A, B, D])
@pytest.mark.spec("HS-60")
def test_each_suite_completes_and_says_what_it_is(suite: SuiteId, kem: Kem) -> None:
    config = EndpointConfig(suites=(suite,))
    net = two(config_i=config, config_r=config, kem=kem)
    seen = watch(net.a_to_b, net.b_to_a)
    connection = net.dial(require_pq=suite is not D)
    assert net.run_until_confirmed(connection)
    for security in (connection.security, net.r.incoming[0].security):
        assert security.suite is suite
        assert security.post_quantum is (suite is not D)
        assert security.key_exchange == ("X25519" if suite is D else "X25519+ML-KEM-768")
    # Three datagrams cannot carry a KEM key both ways: what is claimed shows on the wire.
    sizes = [len(datagram) for datagram in seen]
    n_handshake = 3 if suite is D else 5
    assert all(600 <= size <= 1200 for size in sizes[:n_handshake])
    assert not 600 <= sizes[n_handshake] <= 1200


@pytest.mark.spec("HS-60")
def test_the_initiator_takes_the_first_suite_of_the_record_that_it_allows() -> None:
    net = two(config_r=EndpointConfig(suites=(B, A)), config_i=EndpointConfig(suites=(A, B)))
    connection = net.dial()
    assert net.run_until_confirmed(connection)
    assert connection.security.suite is B


@pytest.mark.spec("HS-60")
def test_post_quantum_is_required_unless_turned_off() -> None:
    net = two(config_i=ALL, config_r=CLASSICAL)
    with pytest.raises(PolicyRefused):
        net.dial()
    assert net.i.endpoint.connections == ()
    connection = net.dial(require_pq=False)
    assert net.run_until_confirmed(connection)
    assert not connection.security.post_quantum


def test_a_suite_that_is_not_enabled_is_refused_before_anything_is_sent() -> None:
    net = two()
    with pytest.raises(PolicyRefused):
        net.dial(suite=D)
    net.run(seconds=1)
    assert net.a.n_datagrams_sent == 0


def test_the_reserved_suite_is_a_configuration_error_with_its_name() -> None:
    for suites in ((C,), (A, C)):
        with pytest.raises(ConfigError, match=r"C.*A, B or D; C is reserved"):
            EndpointConfig(suites=suites)
    net = two()
    with pytest.raises(ConfigError, match=r"C.*A, B or D; C is reserved"):
        net.dial(suite=C)
    assert net.a.n_datagrams_sent == 0 and net.i.endpoint.connections == ()
    only_c = replace(net.record(), suites=(C,))
    with pytest.raises(PolicyRefused):
        net.dial(only_c)


def test_a_record_without_address_cannot_be_dialled() -> None:
    net = two()
    with pytest.raises(ConnectFailed):
        net.dial(replace(net.record(), addresses=()))


@pytest.mark.spec("HS-63")
def test_a_stale_record_costs_one_refusal_and_one_retry() -> None:
    net = two(config_i=EndpointConfig(suites=(A, B)), config_r=EndpointConfig(suites=(B,)))
    connection = net.dial(replace(net.record(), suites=(A,)))
    assert net.run_until_confirmed(connection)
    assert connection.security.suite is B
    assert net.now < 0.2


@pytest.mark.spec("HS-61")
def test_the_responder_insists_on_its_own_preference() -> None:
    # Somebody turned the record's order round; both suites are supported by both.
    net = two(config_i=EndpointConfig(suites=(A, B)), config_r=EndpointConfig(suites=(B, A)))
    connection = net.dial(replace(net.record(), suites=(A, B)))
    assert net.run_until_confirmed(connection)
    assert connection.security.suite is B


@pytest.mark.spec("HS-63")
def test_a_refusal_cannot_lower_the_floor() -> None:
    net = two(config_i=ALL, config_r=CLASSICAL)
    connection = net.dial(replace(net.record(), suites=(A,)))
    assert not net.run_until_confirmed(connection)
    assert isinstance(net.i.error_of(connection), PolicyRefused)
    assert net.r.incoming == []


@pytest.mark.spec("HS-62")
def test_a_refusal_is_never_larger_than_the_hello() -> None:
    net = two(config_i=EndpointConfig(suites=(A, B)), config_r=EndpointConfig(suites=(B,)))
    hellos, answers = watch(net.a_to_b), watch(net.b_to_a)
    net.dial(replace(net.record(), suites=(A,)))
    net.run(seconds=0.05)
    assert answers and len(answers[0]) <= len(hellos[0])


@pytest.mark.spec("HS-12")
def test_another_identity_than_the_pinned_one_is_not_told_ours() -> None:
    net = two()
    other = Identity.generate(SeededRng("other")).public
    connection = net.dial(replace(net.record(), peer=other))
    assert not net.run_until_confirmed(connection)
    assert isinstance(net.i.error_of(connection), PeerKeyMismatch)
    assert net.now < 0.1, "no reason to wait for the timeout"
    assert net.r.incoming == [] and net.a.n_datagrams_sent == 2, "no FINISH"


def test_without_a_pin_the_first_identity_is_taken_and_shown() -> None:
    net = two()
    connection = net.dial(replace(net.record(), peer=None))
    assert net.run_until_confirmed(connection)
    assert connection.peer == net.r.endpoint.keys.identity.public


@pytest.mark.spec("HS-4")
@pytest.mark.parametrize("wrong", ["access_key", "psk", "no psk", "psk where none"])
def test_wrong_access_is_silence(wrong: str) -> None:
    key = AccessKey.generate(SeededRng("ak"), with_psk=wrong != "psk where none")
    net = two(access=(key,))
    record = net.record()
    if wrong == "access_key":
        record = replace(record, access_key=X25519Key.generate(SeededRng("x")).public)
    elif wrong == "no psk":
        record = replace(record, access_psk=None)
    else:
        record = replace(record, access_psk=PSK)
    connection = net.dial(record)
    assert not net.run_until_confirmed(connection)
    assert isinstance(net.i.error_of(connection), HandshakeTimeout)
    assert net.b.n_datagrams_sent == 0
    assert net.r.told == []


@pytest.mark.spec("HS-2")
def test_each_of_four_access_keys_opens_with_its_own_psk_only() -> None:
    rng = SeededRng("aks")
    keys = tuple(AccessKey.generate(rng, with_psk=bool(n % 2)) for n in range(4))
    net = two(access=keys)
    for n, key in enumerate(keys):
        record = net.r.endpoint.node_record((ADDRESS_B,), key=key)
        assert net.run_until_confirmed(net.dial(record)), n
    net = two(access=keys)
    crossed = replace(net.r.endpoint.node_record((ADDRESS_B,), key=keys[1]), access_psk=keys[3].psk)
    assert not net.run_until_confirmed(net.dial(crossed))


@pytest.mark.spec("HS-2")
def test_a_fifth_access_key_is_refused_and_a_removed_one_is_dead() -> None:
    rng = SeededRng("aks")
    net = two(access=tuple(AccessKey.generate(rng) for _ in range(4)))
    record = net.record()
    with pytest.raises(LocalProtocolError):
        net.r.endpoint.add_access_key(AccessKey.generate(rng), net.now)
    net.r.endpoint.remove_access_key(record.access_key)
    assert not net.run_until_confirmed(net.dial(record))
    net.r.endpoint.add_access_key(AccessKey.generate(rng), net.now)
    assert net.run_until_confirmed(net.dial())


@pytest.mark.spec("HS-34")
@pytest.mark.parametrize("skew_s", [-3_600.0, -61.0, 61.0, 3_600.0])
def test_a_wrong_clock_is_silence_on_the_wire_and_an_event_at_home(skew_s: float) -> None:
    net = two(skew_i=skew_s)
    connection = net.dial()
    assert not net.run_until_confirmed(connection)
    assert net.b.n_datagrams_sent == 0
    told = net.r.events(ClockSkew)
    assert told and all(item.connection is None for item in told)
    event = told[0].event
    assert isinstance(event, ClockSkew)
    assert event.skew_s == pytest.approx(skew_s, abs=1.5)


@pytest.mark.parametrize("skew_s", [-59.0, 58.0])
def test_a_slightly_wrong_clock_is_fine(skew_s: float) -> None:
    net = two(skew_i=skew_s)
    assert net.run_until_confirmed(net.dial())
    assert net.r.events(ClockSkew) == []


@pytest.mark.spec("HS-12")
def test_an_anonymous_initiator_is_refused_where_identity_is_required() -> None:
    net = two()
    connection = net.dial(anonymous=True)
    net.run(seconds=5, until=lambda: connection.is_drained)
    assert isinstance(net.i.error_of(connection), NotAuthorised)
    assert net.r.told == [], "there is nothing for the application to decide"


def test_an_anonymous_initiator_is_served_where_it_is_not() -> None:
    net = two(config_r=EndpointConfig(require_client_identity=False))
    assert net.run_until_confirmed(net.dial(anonymous=True))
    assert [told.event for told in net.r.events(PeerAuthenticated)] == [PeerAuthenticated(None)]


@pytest.mark.spec("HS-12")
def test_an_expired_certificate_of_the_responder_is_not_accepted() -> None:
    net = two()
    net.r.endpoint.keys.ident(net.r.calendar.unix_time() - 400 * 86_400)
    net.r.endpoint.keys._not_after += 10**9  # keeps it from being renewed
    connection = net.dial()
    assert not net.run_until_confirmed(connection)
    assert net.r.incoming == []


def test_the_application_refuses_and_the_initiator_is_told() -> None:
    net = two(accepts=False)
    connection = net.dial()
    net.run(seconds=5, until=lambda: connection.is_drained)
    (told,) = net.i.events(Closed, connection)
    assert isinstance(told.event, Closed) and told.event.by_peer
    assert told.event.code == CloseCode.AUTHENTICATION_FAILED


def test_the_same_identity_may_come_twice_and_the_application_sees_both() -> None:
    net = two()
    first, second = net.dial(), net.dial()
    assert net.run_until_confirmed(first) and net.run_until_confirmed(second)
    assert len(net.r.incoming) == 2
    assert {c.peer for c in net.r.incoming} == {net.i.endpoint.keys.identity.public}
    # Both share one 4-tuple; each gets its own packets.
    for connection in (first, second):
        assert connection.send_datagram(b"x", net.now)
    net.run(seconds=1)
    assert all(c.stats().dropped_packets == 0 for c in net.r.incoming)


def test_dialling_oneself_is_allowed() -> None:
    clock = VirtualClock()
    keys = EndpointKeys.generate(SeededRng("same"))
    i = endpoint_host(clock, "i", keys=EndpointKeys(keys.identity, keys.static))
    r = endpoint_host(clock, "r", keys=keys, listening=True)
    net = between(i, r, clock)
    connection = net.dial()
    assert net.run_until_confirmed(connection)
    assert connection.peer == i.endpoint.keys.identity.public


def test_a_poisoned_endpoint_refuses_everything() -> None:
    net = linked()
    assert net.run_until_confirmed(net.dial())
    net.i.endpoint.poison()
    with pytest.raises(LocalProtocolError):
        net.i.endpoint.datagrams_to_send(net.now)
    with pytest.raises(LocalProtocolError):
        net.dial()
