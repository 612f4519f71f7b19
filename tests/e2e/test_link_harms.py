"""Whoever owns the network does to a link what he likes, on kernel sockets between two processes:
he harms that link and nothing else.

After the win the session goes on over another link or road, and no byte is lost or wrong. Before
it the road fails with its reason, and the side that waits is as it was.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
import threading
from dataclasses import replace

import pytest

from wraith.connection.links.preface import PREFACE_BYTES
from wraith.hotpath import RECORD_HEADER_BYTES
from wraith.testing.bad_relay import BadRelay, Harm
from wraith.testing.demo import Command, sender_port
from wraith.testing.proxies import free_port
from wraith.testing.two_homes import TwoHomes, code_of, finish, number
from wraith.transfer.code import decode_code, encode_code
from wraith.types import Address

MIB = 1 << 20
SIZE = 4 * MIB
LIMIT = ("--limit", "4MiB")
HARMS = [harm for harm in Harm if harm is not Harm.NONE]
CARRIERS = ["tcp", "ws"]


class Scene:
    """A sender of ``holiday.mov``, and a relay that all who come over TCP or WebSocket go
    through. UDP is not there."""

    def __init__(self, homes: TwoHomes, relay: BadRelay, sender: Command, code: str) -> None:
        self.homes = homes
        self.relay = relay
        self.sender = sender
        self.code = code

    def receive(self, *options: str) -> Command:
        return self.homes.receive(self.code, *options)

    def check(self, receiver: Command) -> None:
        """Everything is there, and came once, in one session."""
        assert finish(self.sender, receiver) == (0, 0), receiver.story() + self.sender.story()
        source = self.homes.source / "holiday.mov"
        assert (self.homes.out / "holiday.mov").read_bytes() == source.read_bytes()
        assert number(receiver.last("done"), "bytes_transferred") == SIZE
        names = [event["event"] for event in receiver.events]
        assert names.count("connected") == names.count("offer") == 1, "the session went on"


def over_tcp(homes: TwoHomes, **harm: object) -> Scene:
    """The code names the relay's address instead of the sender's."""
    sender = homes.send(*LIMIT, homes.file("holiday.mov", SIZE))
    waiting = sender.wait_event("waiting")
    relay = BadRelay(("127.0.0.1", sender_port(waiting)), **harm)  # type: ignore[arg-type]
    host, port = relay.address
    address = Address(socket.inet_aton(host), port)
    code = encode_code(replace(decode_code(str(waiting["code"])), addresses=(address,)))
    return Scene(homes, relay, sender, code)


def over_ws(homes: TwoHomes, **harm: object) -> Scene:
    """The URL of the code is that of the relay."""
    pytest.importorskip("websockets")
    own = free_port()
    relay = BadRelay(("127.0.0.1", own), **harm)  # type: ignore[arg-type]
    url = f"ws://localhost:{relay.address[1]}/share"
    web = ("--carriers", "ws", "--ws", url, "--ws-listen", f"127.0.0.1:{own}")
    sender = homes.send(*LIMIT, *web, homes.file("holiday.mov", SIZE))
    return Scene(homes, relay, sender, code_of(sender))


SCENES = {"tcp": over_tcp, "ws": over_ws}


#: What ``make test`` runs: each harm once, each carrier and direction with some.
QUICK = [
    ("tcp", Harm.FLIP, False), ("tcp", Harm.JOIN, False), ("tcp", Harm.OMIT, True),
    ("tcp", Harm.HOLD, True), ("ws", Harm.REPEAT, False), ("ws", Harm.CUT, False),
    ("ws", Harm.FLIP, True), ("ws", Harm.RESET, True),
]  # fmt: skip
HARMED = [
    pytest.param(
        *case,
        id=f"{case[0]}-{case[1]}-{'to sender' if case[2] else 'to receiver'}",
        marks=[] if case in QUICK else pytest.mark.slow,
    )
    for case in itertools.product(CARRIERS, HARMS, (False, True))
]


@pytest.mark.parametrize(("carrier", "harm", "to_server"), HARMED)
def test_a_link_that_is_harmed_costs_no_byte_and_no_session(
    homes: TwoHomes, carrier: str, harm: Harm, to_server: bool
) -> None:
    draw = random.Random(f"{carrier} {harm} {to_server}")
    scene = SCENES[carrier](homes, harm=harm, to_server=to_server)
    with scene.relay as relay:
        receiver = scene.receive()
        receiver.wait_event("progress")
        # What comes from the receiver is little: acknowledgements.
        relay.arm(draw.randrange(300) if to_server else draw.randrange(SIZE // 2))
        scene.check(receiver)
        assert relay.n_harmed == 1
        assert receiver.last("connected")["carrier"] == carrier


# --- before the win -------------------------------------------------------------------------------

#: Carrier, harm, direction, byte, and the reason that the road fails with; none where nobody ever
#: answers: that takes longer than this receiver waits.
EARLY = [
    ("tcp", Harm.FLIP, True, 40, ""),
    ("tcp", Harm.FLIP, True, PREFACE_BYTES + 4, ""),
    ("tcp", Harm.FLIP, True, PREFACE_BYTES + RECORD_HEADER_BYTES + 100, ""),
    ("tcp", Harm.HOLD, True, 60, ""),
    ("tcp", Harm.CUT, True, 60, "closed"),
    ("tcp", Harm.RESET, False, 30, "reset-later"),
    ("tcp", Harm.FLIP, False, 3, "broken"),
    ("ws", Harm.CUT, False, 40, "not-upgraded"),
    ("ws", Harm.FLIP, True, 300, ""),
]


@pytest.mark.parametrize(("carrier", "harm", "to_server", "at", "reason"), EARLY)
def test_before_the_win_the_road_fails_and_who_waits_is_as_before(
    homes: TwoHomes, carrier: str, harm: Harm, to_server: bool, at: int, reason: str
) -> None:
    scene = SCENES[carrier](homes, harm=harm, at=at, to_server=to_server, to_every=True)
    with scene.relay as relay:
        receiver = scene.receive("--connect-timeout", "1")
        assert receiver.wait_exit() == 12, receiver.story()
        assert relay.n_harmed >= 1
        failed = [e["reason"] for e in receiver.events if e["event"] == "road"]
        assert any(str(each).startswith(reason) for each in failed) or not reason
        relay.heal()
        scene.check(scene.receive())


# --- what was recorded ----------------------------------------------------------------------------


class Stranger:
    """A connection of somebody else to the sender; hears in a thread what comes back."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._sock = socket.create_connection(address)
        self.heard = bytearray()
        self.has_ended = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._sock.recv(1 << 16):
                self.heard += data
        self.has_ended = True

    def say(self, data: bytes) -> None:
        self._sock.sendall(data)

    def leave(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=5)
        self._sock.close()


def replay(scene: Scene) -> list[Stranger]:
    """Says to the sender what a receiver has said: all of it, and the first record alone."""
    recording = scene.relay.said(1)
    strangers = []
    for data in (recording, recording[: PREFACE_BYTES + RECORD_HEADER_BYTES + 1_000]):
        strangers.append(Stranger(scene.relay.target))
        strangers[-1].say(data)
    return strangers


def test_a_recorded_link_is_answered_with_nothing_now_and_after_a_restart(homes: TwoHomes) -> None:
    """The answer would come within a round trip, the connection outlives the transfer."""
    scene = over_tcp(homes)
    with scene.relay:
        receiver = scene.receive()
        receiver.wait_event("progress")
        strangers = replay(scene)
        receiver.wait_event("progress")
        receiver.wait_event("progress")
        assert [(bytes(each.heard), each.has_ended) for each in strangers] == [(b"", False)] * 2
        scene.sender.kill()
        scene.sender = homes.send(*LIMIT, homes.source / "holiday.mov")
        again = decode_code(code_of(scene.sender))
        assert again.access_key == decode_code(scene.code).access_key
        late = replay(scene)
        assert finish(scene.sender, receiver) == (0, 0), receiver.story() + scene.sender.story()
        for each in (*strangers, *late):
            each.leave()
            assert not each.heard
    source = homes.source / "holiday.mov"
    assert (homes.out / "holiday.mov").read_bytes() == source.read_bytes()


def test_a_recorded_websocket_is_answered_like_any_page_that_is_not_there(homes: TwoHomes) -> None:
    scene = over_ws(homes)
    with scene.relay as relay:
        receiver = scene.receive()
        receiver.wait_event("progress")
        recorded, unknown = Stranger(relay.target), Stranger(relay.target)
        recorded.say(relay.said(1))
        unknown.say(b"GET /share/nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
        scene.check(receiver)
        for each in (recorded, unknown):
            each.leave()
        assert recorded.heard == unknown.heard
        assert recorded.heard.startswith(b"HTTP/1.1 404 ")
