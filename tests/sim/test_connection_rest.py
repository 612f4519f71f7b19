"""A machine with nothing to do says so: no deadline in the past that no call clears."""

from __future__ import annotations

from wraith.config import EndpointConfig
from wraith.testing.established import EstablishedPair
from wraith.testing.netem import LinkConfig


def test_a_rekey_that_is_due_before_confirmation_does_not_spin() -> None:
    pair = EstablishedPair(
        config=EndpointConfig(rekey_interval_s=1.0), link=LinkConfig(latency_s=0.05, loss=1.0)
    )
    pair.net.settle()
    steps = 0
    while pair.now < 5.0 and pair.net.step(5.0):
        steps += 1
        assert steps < 200
