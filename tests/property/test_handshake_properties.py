"""Laws of the handshake: agreement, negotiation as a function, and what any alteration leads to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import permutations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wraith.config import EndpointConfig
from wraith.connection.handshake.flight import cut, seal_part
from wraith.connection.handshake.handshake import (
    ResponseReply,
)
from wraith.connection.handshake.negotiate import (
    SuitePolicy,
    accept_offer,
    check_accept,
    has_roads,
    make_offer,
    responder_choice,
)
from wraith.connection.handshake.responder import (
    AwaitingHello,
    FinishOutcome,
    HelloRefused,
    open_first_hello,
)
from wraith.crypto.elligator2 import decode
from wraith.errors import CryptoError, HandshakeTimeout, RemoteProtocolError, WraithError
from wraith.testing.clock import VirtualClock
from wraith.testing.endpoints import LinkedEndpoints, endpoint_host, linked
from wraith.testing.netem import LinkConfig
from wraith.testing.rng import SeededRng
from wraith.testing.stages import UNIX, StagedHandshake, handshake_context
from wraith.types import Role, SuiteId
from wraith.wire.extensions import Extension, ExtensionId, is_grease
from wraith.wire.handshake import PartKind

A, B, D = SuiteId.A, SuiteId.B, SuiteId.D


@pytest.mark.spec("HS-3")
@pytest.mark.parametrize("suite", [A, B, D])
def test_both_derive_the_same_session(suite: SuiteId) -> None:
    run = StagedHandshake(suite)
    finish_stage = run.answer(run.hello(run.waiting.datagrams))
    replies = [run.waiting.receive(datagram) for datagram in finish_stage.response(0.0)]
    assert replies[-1] == ResponseReply()
    confirmation = run.waiting.finish(rtt_sample_s=None)
    assert finish_stage.receive(confirmation.datagram()) is FinishOutcome.FINISHED
    ours, theirs = confirmation.take_result(), finish_stage.take_result(UNIX, 0.0)
    assert ours.session_secret == theirs.result.session_secret
    assert ours.peer == run.r.keys.identity.public
    assert theirs.result.peer == run.i.keys.identity.public
    assert theirs.result.peer_hmk == run.i.hmks.live[0]
    assert ours.peer_params == theirs.result.own_params


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 4), st.integers(0, 600 * 8 - 1))
@pytest.mark.spec("HS-5")
def test_any_flipped_bit_of_any_datagram_is_not_a_handshake(which: int, bit: int) -> None:
    run = StagedHandshake()

    def altered(datagram: bytes, n: int) -> bytes:
        if n != which:
            return datagram
        flipped = bytearray(datagram)
        flipped[bit >> 3] ^= 1 << (bit & 7)
        return bytes(flipped)

    try:
        stage = run.hello([altered(d, n) for n, d in enumerate(run.waiting.datagrams)])
    except CryptoError:
        assert which < 2
        return
    assert which >= 2
    finish_stage = run.answer(stage)
    for n, datagram in enumerate(finish_stage.response(0.0)):
        reply = run.waiting.receive(altered(datagram, 2 + n))
        if which == 2 + n:
            assert reply is None
    if which < 4:
        with pytest.raises(WraithError):
            run.waiting.finish(rtt_sample_s=None)
        return
    finish = run.waiting.finish(rtt_sample_s=None).datagram()
    assert finish_stage.receive(altered(finish, 4)) is None


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 1_100), st.integers(0, 7))
@pytest.mark.spec("HS-5")
def test_any_bit_of_the_hello_is_in_the_transcript(at: int, bit: int) -> None:
    # The attacker holds the access key and alters what is under the veil.
    run = StagedHandshake()
    head = run.waiting.datagrams[0]
    proven = open_first_hello(run.key, head, decode(head[:32]))
    fragment = bytearray(proven.part.fragment)
    fragment[at % len(fragment)] ^= 1 << bit
    changed = replace(proven, part=replace(proven.part, fragment=bytes(fragment)))
    stage = AwaitingHello(run.r, run.key, changed, A)
    assert stage.receive(run.waiting.datagrams[1])
    try:
        finish_stage = run.answer(stage)
    except (CryptoError, RemoteProtocolError, HelloRefused):
        return
    for datagram in finish_stage.response(0.0):
        run.waiting.receive(datagram)
    with pytest.raises(CryptoError):
        run.waiting.finish(rtt_sample_s=None)


@pytest.mark.parametrize("what", ["suite", "access_key", "retry_of"])
@pytest.mark.spec("HS-6")
def test_the_prologue_covers_what_was_not_sent(what: str) -> None:
    run = StagedHandshake()
    stage = run.hello(run.waiting.datagrams)
    if what == "suite":
        run.r = replace(run.r, config=EndpointConfig(suites=(B,)))
        stage._suite = B
    elif what == "access_key":
        stage._key = handshake_context("elsewhere").keys.access[0]
    else:
        prefix = replace(stage.hello.prefix, retry_of=bytes(32))
        stage.hello = replace(stage.hello, prefix=prefix)
    try:
        finish_stage = run.answer(stage)
    except HelloRefused:
        assert what == "suite"
        return
    for datagram in finish_stage.response(0.0):
        run.waiting.receive(datagram)
    with pytest.raises(CryptoError):
        run.waiting.finish(rtt_sample_s=None)


def test_a_reflected_datagram_is_nothing() -> None:
    run = StagedHandshake()
    for datagram in run.waiting.datagrams:
        assert run.waiting.receive(datagram) is None
    finish_stage = run.answer(run.hello(run.waiting.datagrams))
    for datagram in finish_stage.response(0.0):
        assert finish_stage.receive(datagram) is None


@pytest.mark.spec("HS-13")
def test_a_finish_that_does_not_authenticate_leaves_the_attempt_as_it_was() -> None:
    run = StagedHandshake()
    finish_stage = run.answer(run.hello(run.waiting.datagrams))
    for datagram in finish_stage.response(0.0):
        run.waiting.receive(datagram)
    veil = finish_stage.veil
    (forged,) = cut(PartKind.FINISH, bytes(229), (1_200,))
    for _ in range(3):
        sealed = seal_part(SeededRng(1), veil, Role.INITIATOR, forged, 700)
        assert finish_stage.receive(sealed) is FinishOutcome.NOTHING
    finish = run.waiting.finish(rtt_sample_s=None).datagram()
    assert finish_stage.receive(finish) is FinishOutcome.FINISHED


@pytest.mark.spec("HS-13")
def test_a_response_that_fails_in_noise_costs_its_attempt_only() -> None:
    # The responder itself sends rubbish once: the next attempt must still succeed.
    net = linked()
    connection = net.dial()
    (target,) = net.i.endpoint._dials[net.i.endpoint._routes[connection]]._targets.values()
    veil = target.attempts[0].stage._veil
    rng = SeededRng(9)
    sizes = (900, 900)
    for part, size in zip(cut(PartKind.RESPONSE, bytes(1_348), sizes), sizes, strict=True):
        net.inject(seal_part(rng, veil, Role.RESPONDER, part, size), net.b.address, net.a.address)
    assert not connection.is_drained
    assert net.run_until_confirmed(connection)


def test_a_stage_that_was_left_refuses_everything() -> None:
    run = StagedHandshake()
    stage = run.hello(run.waiting.datagrams)
    finish_stage = run.answer(stage)
    with pytest.raises(WraithError):
        run.answer(stage)
    with pytest.raises(WraithError):
        finish_stage.take_result(UNIX, 0.0)
    run.waiting.wipe()
    for use in (run.waiting.tail_again, lambda: run.waiting.finish(rtt_sample_s=None)):
        with pytest.raises(WraithError):
            use()


# -- negotiation ---

_orders = st.sampled_from([p for n in (1, 2, 3) for p in permutations((A, B, D), n)])


@given(_orders, _orders, st.booleans())
@pytest.mark.spec("HS-60")
@pytest.mark.spec("HS-61")
def test_the_suite_is_a_function_of_two_lists_and_require_pq(
    own: tuple[SuiteId, ...], theirs: tuple[SuiteId, ...], require_pq: bool
) -> None:
    config = EndpointConfig(suites=own)
    allowed = [s for s in own if s is not D or not require_pq]
    expected = next((s for s in theirs if s in allowed), None)
    try:
        chosen: SuiteId | None = SuitePolicy.of(config, require_pq=require_pq).first_of(theirs)
    except WraithError:
        chosen = None
    assert chosen is expected
    if chosen is not None:
        # The responder comes to the same choice from the lists alone.
        assert responder_choice(theirs, allowed) is chosen


@cache
def _pair(own: tuple[SuiteId, ...], theirs: tuple[SuiteId, ...], stale: SuiteId) -> object:
    clock = VirtualClock()
    i = endpoint_host(clock, "i", config=EndpointConfig(suites=own))
    config_r = EndpointConfig(suites=theirs)
    r = endpoint_host(clock, "r", config=config_r, listening=True)
    net = LinkedEndpoints(clock, i, r)
    try:
        connection = net.dial(replace(net.record(), suites=(stale,)), require_pq=False)
    except WraithError as refused:
        return type(refused)
    if net.run_until_confirmed(connection):
        return connection.security.suite
    return type(net.i.error_of(connection))


@settings(deadline=None, max_examples=40)
@given(_orders, _orders, st.sampled_from([A, B, D]))
@pytest.mark.spec("HS-63")
def test_whatever_the_record_says_the_result_is_the_same_or_a_refusal(
    own: tuple[SuiteId, ...], theirs: tuple[SuiteId, ...], stale: SuiteId
) -> None:
    result = _pair(own, theirs, stale)
    common = next((s for s in theirs if s in own), None)
    if isinstance(result, SuiteId):
        assert result is common
    else:
        assert common is None or stale not in own


@given(st.lists(st.integers(0, 0xFFFF), max_size=6, unique=True), st.sampled_from([A, B, D]))
@pytest.mark.spec("HS-64")
def test_accept_is_a_part_of_any_offer(ids: list[int], suite: SuiteId) -> None:
    offer = [Extension(i) for i in ids]
    has_pq = ExtensionId.POST_QUANTUM in ids
    if has_pq is (suite is D):
        with pytest.raises(RemoteProtocolError):
            accept_offer(suite, offer)
        return
    accepted = accept_offer(suite, offer)
    check_accept(suite, offer, accepted)
    assert {extension.id for extension in accepted} <= set(ids)


@given(st.integers(0, 0xFFFF), st.sampled_from([A, D]))
@pytest.mark.spec("HS-64")
def test_what_was_not_offered_cannot_be_accepted(extra: int, suite: SuiteId) -> None:
    offer = make_offer(suite, SeededRng(extra))
    assert sum(is_grease(extension.id) for extension in offer) == 1
    accept = accept_offer(suite, offer)
    assert not any(is_grease(extension.id) for extension in accept)
    if extra in {extension.id for extension in offer}:
        return
    with pytest.raises(RemoteProtocolError):
        check_accept(suite, offer, (*accept, Extension(extra)))


@pytest.mark.spec("HS-64")
@pytest.mark.parametrize(
    ("offered", "agreed"),
    [(None, False), (b"", False), (b"\0", False), (b"\1", True), (b"\2x", True)],
)
def test_roads_are_agreed_on_where_both_speak_a_version(
    offered: bytes | None, agreed: bool
) -> None:
    offer = [Extension(ExtensionId.ROADS, offered)] if offered is not None else []
    accepted = accept_offer(D, offer)
    assert has_roads(accepted) is agreed
    if agreed:
        assert accepted == (Extension(ExtensionId.ROADS, b"\1"),)
        check_accept(D, offer, accepted)
        with pytest.raises(RemoteProtocolError):
            check_accept(D, offer, (Extension(ExtensionId.ROADS, b"\0"),))


def test_two_of_this_version_agree_on_roads() -> None:
    assert has_roads(accept_offer(A, make_offer(A, SeededRng(1))))


# -- any link ---


def end_of(net: LinkedEndpoints) -> None:
    """Dials, and checks what must hold whatever the link did."""
    connection = net.dial()
    confirmed = net.run_until_confirmed(connection)
    if confirmed:
        secret = connection.export_key("law", 16)
        live = [c for c in net.r.incoming if not c.is_drained]
        assert any(c.export_key("law", 16) == secret for c in live)
        assert all(c.peer == net.i.endpoint.keys.identity.public for c in live)
    else:
        assert isinstance(net.i.error_of(connection), HandshakeTimeout)
    net.run(seconds=25)
    assert not net.i.endpoint._dials
    admission = net.r.endpoint._admission
    assert admission.n_half_open == 0 and len(admission._early) == 0


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(0, 10**6),
    st.floats(0, 0.6),
    st.floats(0, 0.5),
    st.floats(0, 0.5),
    st.floats(0, 0.3),
)
@pytest.mark.spec("HS-54")
def test_on_any_link_it_ends_and_leaves_nothing_half_done(
    seed: int, loss: float, duplicate: float, reorder: float, jitter_s: float
) -> None:
    link = LinkConfig(
        latency_s=0.02,
        jitter_s=jitter_s,
        loss=loss,
        duplicate=duplicate,
        reorder=reorder,
        reorder_delay_s=0.4,
    )
    net = linked(seed=seed, link=link)
    end_of(net)
    assert net.i.endpoint.counters == {}, "nothing that came was a stranger's"


FATES = ("deliver", "lose", "twice", "late")


def with_fates(fates: Sequence[str]) -> LinkedEndpoints:
    """The first ``len(fates)`` datagrams of both directions together meet these fates."""
    net = linked()
    left = list(fates)

    def meet(forward: bool, datagram: bytes) -> bytes | None:
        link = net.a_to_b if forward else net.b_to_a
        fate = left.pop(0) if left else "deliver"
        if fate == "twice":
            link._schedule(datagram, net.now)
        elif fate == "late":
            link._schedule(datagram, net.now + 0.33)
            return None
        return None if fate == "lose" else datagram

    net.a_to_b.taps.append(lambda datagram: meet(True, datagram))
    net.b_to_a.taps.append(lambda datagram: meet(False, datagram))
    return net


def _all_fates(n: int) -> list[tuple[str, ...]]:
    return [tuple(FATES[code >> 2 * i & 3] for i in range(n)) for code in range(len(FATES) ** n)]


@pytest.mark.spec("HS-54")
@pytest.mark.parametrize("fates", _all_fates(3), ids="-".join)
def test_every_fate_of_the_first_three_datagrams(fates: tuple[str, ...]) -> None:
    net = with_fates(fates)
    connection = net.dial()
    assert net.run_until_confirmed(connection), "a link that is good afterwards must suffice"
    assert net.now < 4.5


@pytest.mark.slow
@pytest.mark.spec("HS-54")
def test_every_fate_of_the_first_six_datagrams() -> None:
    for fates in _all_fates(6):
        net = with_fates(fates)
        connection = net.dial()
        assert net.run_until_confirmed(connection), fates
