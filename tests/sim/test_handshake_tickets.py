"""Tickets before resumption exists: a hello that carries one is sent back, and gets in anyway."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from wraith.connection.handshake.handshake import AwaitingResponse
from wraith.testing.endpoints import LinkedEndpoints, linked, watch
from wraith.testing.netem import LinkConfig
from wraith.wire.handshake import HelloPrefix

TICKET = (bytes(range(16)), bytes(range(120)))


@pytest.fixture
def ticketed(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[HelloPrefix]]:
    """Puts a ticket into the first ``n`` hellos, as an initiator that resumes does it."""

    def install(n: int) -> list[HelloPrefix]:
        prefixes: list[HelloPrefix] = []
        seal = AwaitingResponse._seal_hello

        def with_ticket(
            self: AwaitingResponse, representative: bytes, prefix: HelloPrefix, body: bytes
        ) -> tuple[bytes, ...]:
            if len(prefixes) < n:
                prefix = replace(prefix, ticket=TICKET)
            prefixes.append(prefix)
            return seal(self, representative, prefix, body)

        monkeypatch.setattr(AwaitingResponse, "_seal_hello", with_ticket)
        return prefixes

    return install


def answers_of(net: LinkedEndpoints) -> list[bytes]:
    return watch(net.b_to_a)


@pytest.mark.spec("HS-65")
@pytest.mark.spec("HS-82")
def test_a_ticket_is_sent_back_and_a_full_hello_follows_at_once(
    ticketed: Callable[[int], list[HelloPrefix]],
) -> None:
    prefixes = ticketed(1)
    net = linked(link=LinkConfig(latency_s=0.02))
    hellos, answers = watch(net.a_to_b), answers_of(net)
    connection = net.dial()
    net.run(seconds=0.045)
    assert len(answers) == 1 and len(answers[0]) <= len(hellos[0]), "one datagram, not larger"
    assert net.r.endpoint._admission.n_half_open == 0, "and no state"
    assert net.run_until_confirmed(connection)
    assert [prefix.ticket for prefix in prefixes] == [TICKET, None]
    assert net.now < 0.2, "one more round trip, no timer"
    assert hellos[0][:32] != hellos[2][:32], "a fresh ephemeral"
    assert net.r.incoming[0].access_key == net.record().access_key
    assert len(net.r.incoming) == 1


@pytest.mark.spec("HS-65")
def test_a_responder_that_sends_everything_back_makes_nobody_send_faster(
    ticketed: Callable[[int], list[HelloPrefix]],
) -> None:
    prefixes = ticketed(100)
    net = linked()
    connection = net.dial()
    assert not net.run_until_confirmed(connection)
    assert len(prefixes) == 5, "four attempts by the timer, and one at once"


@pytest.mark.spec("HS-65")
def test_tickets_do_not_use_up_the_budget_for_full_hellos(
    ticketed: Callable[[int], list[HelloPrefix]],
) -> None:
    ticketed(100)
    net = linked()
    (door,) = net.r.endpoint._admission._doors
    gate = door.hello_full
    before = gate._bucket.level(net.now)
    net.dial()
    net.run(seconds=0.5)
    assert gate._bucket.level(net.now) == before
