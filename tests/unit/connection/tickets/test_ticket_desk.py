"""The responder's desk: what it takes, once, and what it remembers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wraith.connection.deadlines import DeadlineHeap
from wraith.connection.tickets import desk as desk_module
from wraith.connection.tickets.desk import ROTATION_S, TicketDesk
from wraith.connection.tickets.store import TicketTerms
from wraith.crypto.secret import Secret
from wraith.crypto.session_keys import ticket_secret
from wraith.testing.clock import VirtualCalendar, VirtualClock
from wraith.testing.rng import SeededRng
from wraith.types import Address, NetworkPath, PeerKey, SuiteId
from wraith.wire.control_records import NewTicket
from wraith.wire.extensions import Extension

A, D = SuiteId.A, SuiteId.D
PEER = PeerKey(b"p" * 32)
RESUMPTION = Secret(b"r" * 32)
PATHS = [NetworkPath(Address(bytes(4), 1), Address(bytes(4), port)) for port in (1, 2)]


class Desk:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.calendar = VirtualCalendar(self.clock)
        self.heap = DeadlineHeap()
        self.desk = TicketDesk(SeededRng("desk"), self.calendar, self.heap)
        unix_now = int(self.calendar.unix_time())
        self.terms = TicketTerms(unix_now, unix_now + 30 * 86_400, (Extension(5),), 2)

    def issue(self, terms: TicketTerms | None = None) -> NewTicket:
        record = self.desk.issue(terms or self.terms, A, PEER, RESUMPTION, 0, self.clock.now)
        assert record is not None
        return record

    def opens(self, record: NewTicket, suite: SuiteId = A) -> bool:
        return self.desk.open((record.id, record.encrypted_params), suite) is not None


@pytest.mark.spec("CR-33", "CR-34", "HS-76")
def test_a_ticket_opens_as_what_it_is_and_in_no_other_way() -> None:
    here = Desk()
    record = here.issue()
    content = here.desk.open((record.id, record.encrypted_params), A)
    assert content is not None and content.peer == PEER and content.extensions == (Extension(5),)
    assert content.secret == ticket_secret(RESUMPTION, record.id).reveal()
    assert content.expires == record.expires == content.issued + 86_400
    assert not here.opens(record, D)
    other = here.issue()
    assert not here.opens(replace(other, id=record.id)), "bound to its id"
    for at in range(0, len(record.encrypted_params), 3):
        changed = bytearray(record.encrypted_params)
        changed[at] ^= 1
        assert not here.opens(replace(record, encrypted_params=bytes(changed)))
    for n in (0, 3, 4, 35, 36, len(record.encrypted_params) - 1):
        assert not here.opens(replace(record, encrypted_params=record.encrypted_params[:n]))
    assert here.opens(record)


@pytest.mark.spec("HS-75")
def test_three_keys_live_and_each_for_36_hours() -> None:
    here = Desk()
    records = []
    for turn in range(4):
        here.clock.advance(turn * ROTATION_S)
        while (due := here.heap.pop_due(here.clock.now)) is not None:
            assert due is here.desk
            here.desk.on_timer(here.clock.now)
        records.append(here.issue())
    assert len(here.desk._keys) == 3
    here.calendar.skew_s = -4 * ROTATION_S  # as if none had expired: the key alone decides
    assert [here.opens(record) for record in records] == [False, True, True, True]
    here.clock.advance(10 * ROTATION_S)
    here.desk.on_timer(here.clock.now)
    assert here.desk._keys == [] and here.heap.next_time() is None


@pytest.mark.spec("HS-75")
def test_what_wipes_the_desk_closes_all_tickets() -> None:
    here = Desk()
    record = here.issue()
    (key,) = here.desk._keys
    here.desk.wipe()
    assert key.stek.is_wiped and not here.opens(record)


@pytest.mark.spec("HS-73", "HS-76")
def test_every_end_of_a_ticket_is_checked() -> None:
    here = Desk()
    unix_now = int(here.calendar.unix_time())
    record = here.issue(replace(here.terms, not_after=unix_now + 50))
    assert record.expires == unix_now + 50
    assert (
        here.desk.issue(
            replace(here.terms, not_after=unix_now), A, PEER, RESUMPTION, 0, here.clock.now
        )
        is None
    )
    chained = here.issue(replace(here.terms, full=unix_now - 7 * 86_400 + 60))
    assert chained.expires == unix_now + 60
    here.clock.advance(49)
    assert here.opens(record) and here.opens(chained)
    here.clock.advance(50)
    assert not here.opens(record) and here.opens(chained)
    here.clock.advance(60)
    assert not here.opens(chained)


@pytest.mark.spec("HS-77")
def test_one_place_holds_a_ticket_three_times_and_uses_it_once() -> None:
    desk = Desk().desk
    id_ = b"i" * 16
    assert [desk.reserve(id_, PATHS[0]) for _ in range(4)] == [True, True, True, False]
    assert not desk.reserve(id_, PATHS[1])
    for _ in range(3):
        desk.release(id_)
    desk.release(id_)  # harmless
    assert desk.n_held == 0 and desk.reserve(id_, PATHS[1])
    assert desk.consume(id_, 10) and not desk.consume(id_, 10)
    assert not desk.reserve(id_, PATHS[1]) and desk.n_held == 0


@pytest.mark.spec("HS-77")
def test_with_all_places_for_used_tickets_taken_none_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert desk_module.USED_MAX == 131_072
    monkeypatch.setattr(desk_module, "USED_MAX", 4)
    here = Desk()
    desk, unix_now = here.desk, int(here.calendar.unix_time())
    for n in range(4):
        assert desk.reserve(bytes([n]) * 16, PATHS[0])
        assert desk.consume(bytes([n]) * 16, unix_now + n)
    assert not desk.reserve(b"x" * 16, PATHS[0]) and not desk.consume(b"x" * 16, 10)
    here.clock.advance(2)
    assert here.opens(here.issue()), "looking forgets what has expired"
    assert desk.n_used == 1 and desk.reserve(b"x" * 16, PATHS[0])


@pytest.mark.spec("HS-76")
def test_a_clock_that_is_set_back_revives_nothing() -> None:
    here = Desk()
    unix_now = int(here.calendar.unix_time())
    record = here.issue(replace(here.terms, not_after=unix_now + 50))
    assert here.desk.consume(record.id, record.expires)
    here.calendar.skew_s = 60
    assert here.opens(here.issue())
    assert here.desk.n_used == 0
    here.calendar.skew_s = 0
    assert not here.opens(record)
