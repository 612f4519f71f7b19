"""What to do about a road that failed."""

from __future__ import annotations

import pytest

from wraith.cli.road_hints import to_do
from wraith.connection.roads.reasons import RoadReason
from wraith.types import Carrier


@pytest.mark.parametrize("carrier", list(Carrier))
def test_every_reason_has_a_line_over_every_carrier(carrier: Carrier) -> None:
    assert all(0 < len(to_do(carrier, reason)) < 100 for reason in RoadReason)


def test_nobody_is_told_of_websockets_on_a_road_over_quic() -> None:
    for reason in (RoadReason.NOT_UPGRADED, RoadReason.TLS_ALERT):
        assert to_do(Carrier.QUIC, reason) != to_do(Carrier.WS, reason)
        assert "wss" not in to_do(Carrier.QUIC, reason)
