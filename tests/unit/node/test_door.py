"""Who may come in, one rule at a time."""

from __future__ import annotations

import pytest

from wraith.node.door import UNDECIDED_MAX, Door, Verdict
from wraith.types import PeerKey

PEERS = [PeerKey(bytes([n]) * 32) for n in range(1, 8)]


@pytest.mark.spec("TR-92")
def test_at_most_four_receivers_look_at_an_offer_that_nobody_has_accepted() -> None:
    door = Door(receives=False, expected=None, bound=None)
    late = PEERS[UNDECIDED_MAX]
    inside = PEERS[:UNDECIDED_MAX]
    assert door.judge(late, inside[1:]) is Verdict.WELCOME
    assert door.judge(late, inside) is Verdict.BUSY
    assert door.judge(inside[0], inside) is Verdict.WELCOME, "who is in already may come again"


@pytest.mark.spec("TR-92")
def test_once_bound_only_the_bound_receiver_comes_in() -> None:
    door = Door(receives=False, expected=None, bound=PEERS[0])
    assert door.judge(PEERS[0], PEERS[1:]) is Verdict.WELCOME
    assert door.judge(PEERS[1], []) is Verdict.BUSY
