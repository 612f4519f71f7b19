"""Which carrier was used how long, and what came over it."""

from __future__ import annotations

from wraith.aio.files.events import RoadUse
from wraith.aio.files.road_uses import RoadUses
from wraith.types import Carrier


def test_each_carrier_counts_what_came_while_it_was_used() -> None:
    uses = RoadUses()
    uses.use(Carrier.UDP, 10.0, 0)
    uses.begins_at(100)  # from an earlier run
    uses.use(Carrier.TCP, 12.5, 400)
    uses.use(Carrier.UDP, 13.0, 450)
    assert uses.carrier is Carrier.UDP
    assert uses.finished(14.0, 1_000) == (RoadUse("udp", 3.5, 850), RoadUse("tcp", 0.5, 50))


def test_an_interruption_counts_for_nobody() -> None:
    uses = RoadUses()
    uses.use(Carrier.TCP, 0.0, 0)
    uses.use(None, 1.0, 10)
    uses.use(Carrier.TCP, 50.0, 10)
    assert uses.finished(51.0, 20) == (RoadUse("tcp", 2.0, 20),)


def test_the_next_receiver_is_counted_anew() -> None:
    uses = RoadUses()
    uses.use(Carrier.TCP, 0.0, 0)
    uses.finished(1.0, 10)
    uses.use(Carrier.UDP, 2.0, 0)
    assert uses.finished(3.0, 5)[1] == RoadUse("udp", 1.0, 5)
