"""A bit of a kernel TCP link is flipped under load: no byte is lost or wrong, and the session goes
on."""

from __future__ import annotations

import random
import socket
from dataclasses import replace

import pytest

from wraith.testing.demo import sender_port
from wraith.testing.tcp_relay import TcpRelay
from wraith.testing.two_homes import TwoHomes, finish, number
from wraith.transfer.code import decode_code, encode_code
from wraith.types import Address

MIB = 1 << 20
SIZE = 4 * MIB


@pytest.mark.spec("CA-27", "CN-90")
@pytest.mark.parametrize("to_server", [False, True])
@pytest.mark.parametrize(
    "seed",
    [*range(2), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 50))],
)
def test_a_flipped_bit_costs_no_byte_and_no_session(
    homes: TwoHomes, seed: int, to_server: bool
) -> None:
    flip_at = random.Random(seed).randrange(20_000, SIZE * 3 // 4)
    source = homes.file("holiday.mov", SIZE)
    sender = homes.send("--limit", "4MiB", source)
    waiting = sender.wait_event("waiting")
    with TcpRelay(
        ("127.0.0.1", sender_port(waiting)), flip_at=flip_at, to_server=to_server
    ) as relay:
        host, port = relay.address
        address = Address(socket.inet_aton(host), port)  # nobody is there over UDP
        code = encode_code(replace(decode_code(str(waiting["code"])), addresses=(address,)))
        receiver = homes.receive(code)
        assert finish(sender, receiver) == (0, 0), receiver.story()
        assert relay.flipped_at is not None
        assert relay.came_at[1] - relay.flipped_at <= 2.0, "both sides know at once"
    assert (homes.out / "holiday.mov").read_bytes() == source.read_bytes()
    assert number(receiver.last("done"), "bytes_transferred") == SIZE
    names = [event["event"] for event in receiver.events]
    assert names.count("connected") == 1, "the session went on"
