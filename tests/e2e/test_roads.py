"""Two commands in two networks, and a router between them that loses, resets and forgets: whatever
road is open is found, and a road that goes away in the middle costs no byte.

What was used is what the router counted. ``Crossing.finish`` looks at the rest: files equal, every
byte transferred once and hashed once, one offer.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from wraith.testing.crossing import Crossing, crossing
from wraith.testing.foreign_peers import require_program
from wraith.testing.netns import Direction, require_netns

pytestmark = pytest.mark.interop

MIB = 1 << 20
SIZE = 6 * MIB
LIMIT = "4MiB"
WAYS: dict[str, tuple[Direction, ...]] = {
    "both": (),
    "out": (Direction.OUT,),
    "back": (Direction.BACK,),
}
CARRIERS = ("udp", "tcp")
#: Each draws a point of the transfer, and who of both dials; three of them always, fifty at night.
SEEDS = [
    *range(3),
    *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 50)),
]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Crossing]:
    require_netns()
    with crossing(tmp_path) as made:
        yield made


class Draw:
    """What a seed decides."""

    def __init__(self, seed: int, what: str) -> None:
        draw = random.Random(f"{what} {seed}")
        self.way = list(WAYS.values())[(seed + draw.randrange(3)) % 3 if seed > 2 else seed]
        self.point = draw.randrange(SIZE // 16, SIZE * 5 // 8)
        self.sender_dials = draw.random() < 0.5
        self.is_reset = draw.random() < 0.3
        print(f"{what}: seed {seed}, {self.way}, {self.point}, sender dials: {self.sender_dials}")


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_where_udp_is_dropped_everything_crosses_over_tcp(
    run: Crossing, way: tuple[Direction, ...]
) -> None:
    dropped = run.net.drop_udp(*way)
    run.start(SIZE, limit="1GiB", sender_dials=way == ())
    run.finish()
    assert run.n_bytes_over("tcp") > SIZE
    assert dropped.n_packets


def test_where_everything_is_open_udp_is_used(run: Crossing) -> None:
    run.start(SIZE, limit="1GiB")
    run.finish()
    assert run.n_bytes_over("udp") > SIZE
    assert run.n_bytes_over("tcp") < SIZE // 100  # a slow answer starts the race, no more


@pytest.mark.parametrize("seed", SEEDS)
def test_udp_that_is_dropped_in_the_middle_gives_way_to_tcp(run: Crossing, seed: int) -> None:
    draw = Draw(seed, "udp dropped")
    run.start(SIZE, limit=LIMIT, sender_dials=draw.sender_dials)
    run.wait_bytes(draw.point)
    assert run.n_bytes_over("udp") > draw.point
    run.net.drop_udp(*draw.way)
    run.finish()
    assert run.n_bytes_over("tcp") > SIZE // 8


@pytest.mark.parametrize("seed", SEEDS)
def test_tcp_that_is_reset_in_the_middle_gives_way_to_udp(run: Crossing, seed: int) -> None:
    draw = Draw(seed, "tcp reset")
    dropped = run.net.drop_udp()
    run.start(SIZE, limit=LIMIT, sender_dials=draw.sender_dials)
    run.wait_bytes(draw.point)
    assert run.n_bytes_over("tcp") > draw.point
    dropped.remove()
    run.net.reset_tcp()
    run.finish()
    assert run.n_bytes_over("udp") > SIZE // 8


@pytest.mark.parametrize("seed", SEEDS)
def test_udp_that_works_again_is_gone_back_to(run: Crossing, seed: int) -> None:
    draw = Draw(seed, "udp is back")
    run.start(3 * SIZE, limit="2MiB", sender_dials=draw.sender_dials)
    run.wait_bytes(draw.point // 4)
    dropped = run.net.drop_udp(*draw.way)
    run.wait_bytes(draw.point // 4 + 2 * MIB)
    n_over_tcp = run.n_bytes_over("tcp")
    assert n_over_tcp > MIB // 2
    before = run.n_bytes_over("udp")
    dropped.remove()
    run.finish()
    assert run.n_bytes_over("udp") > before + 2 * MIB


@pytest.mark.parametrize("seed", SEEDS)
def test_an_address_that_changes_costs_no_byte(run: Crossing, seed: int) -> None:
    draw, carrier = Draw(seed, "address"), CARRIERS[seed % 2]
    if carrier == "tcp":
        run.net.drop_udp()
    run.start(SIZE, limit=LIMIT, sender_dials=draw.sender_dials)
    run.wait_bytes(draw.point)
    run.net.left.change_address("10.213.20.7")
    run.finish()
    assert run.n_bytes_over(carrier) > SIZE


@pytest.mark.parametrize("seed", SEEDS)
def test_a_nat_that_forgets_costs_no_byte(run: Crossing, seed: int) -> None:
    require_program("conntrack")
    draw, carrier = Draw(seed, "nat"), CARRIERS[seed % 2]
    run.net.masquerade()
    if carrier == "tcp":
        run.net.drop_udp()
    run.start(SIZE, limit=LIMIT, sender_dials=draw.sender_dials)
    run.wait_bytes(draw.point)
    run.net.forget_nat()
    run.finish()
    assert run.n_bytes_over(carrier) > SIZE


#: Both directions of a pair are drawn: which carrier is cut, and which is left.
PAIRS = [("udp", "tcp"), ("udp", "ws"), ("tcp", "ws")]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_a_carrier_that_is_cut_in_the_middle_gives_way_to_the_other(
    run: Crossing, pair: tuple[str, str], seed: int
) -> None:
    """Cut without a word, both ways and each alone, or reset."""
    if "ws" in pair:
        pytest.importorskip("websockets")
    draw = Draw(seed, f"{pair} cut")
    cut, left = pair if seed % 2 else pair[::-1]
    waits = None if cut == pair[0] else run.drop(left)  # the better one would win
    run.start(SIZE, limit=LIMIT, sender_dials=draw.sender_dials, carriers=pair)
    run.wait_bytes(draw.point)
    assert run.n_bytes_over(cut) > draw.point
    if waits is not None:
        waits.remove()
    if cut != "udp" and draw.is_reset:
        run.reset(cut)
    else:
        run.drop(cut, *draw.way)
    run.finish()
    assert run.n_bytes_over(left) > SIZE // 8
