"""Which carriers a command uses, and what it says of them."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest

from wraith.node.codes import text_to_record
from wraith.testing.two_homes import TwoHomes, code_of, finish
from wraith.types import Carrier

WORDS = ("udp", "tcp")


def until(holds: Callable[[], bool]) -> None:
    """Looks until ``holds`` does."""
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _listens(carrier: str, port: int) -> bool:
    """Whether somebody has the port."""
    kind = socket.SOCK_DGRAM if carrier == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


@pytest.mark.parametrize("word", WORDS)
def test_a_receiver_comes_over_the_carrier_that_it_was_told(homes: TwoHomes, word: str) -> None:
    sender = homes.send(homes.file("a.bin", 300_000))
    waiting = sender.wait_event("waiting")
    assert waiting["carriers"] == ["udp", "tcp"]
    receiver = homes.receive(str(waiting["code"]), "--carriers", word)
    assert finish(sender, receiver) == (0, 0)
    assert (homes.out / "a.bin").read_bytes() == (homes.source / "a.bin").read_bytes()


@pytest.mark.parametrize("word", WORDS)
def test_a_code_names_what_its_maker_listens_on(homes: TwoHomes, word: str) -> None:
    sender = homes.send(homes.file("a.bin", 10), "--carriers", word)
    waiting = sender.wait_event("waiting")
    record = text_to_record(str(waiting["code"]))
    assert waiting["carriers"] == [word]
    assert [road.carrier for road in record.roads] == [Carrier[word.upper()]]
    receiver = homes.receive(str(waiting["code"]))
    assert finish(sender, receiver) == (0, 0)


def test_a_receiver_that_waits_is_dialled_over_tcp(homes: TwoHomes) -> None:
    receiver = homes.start(
        *("receive", "--json", "--yes", "--out", str(homes.out), "--listen", "127.0.0.1:0"),
        home="home-receiver",
    )
    code = code_of(receiver)
    sender = homes.start(
        *("send", "--json", "--carriers", "tcp", "--to", "-", str(homes.file("a.bin", 10))),
        home="home-sender",
        stdin=code,
    )
    assert finish(sender, receiver) == (0, 0)


def test_a_side_that_dials_opens_no_tcp_port(homes: TwoHomes) -> None:
    sender = homes.send(homes.file("a.bin", 10), "--carriers", "tcp")
    code = code_of(sender)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    receiver = homes.start(
        *("receive", "--json", "--list-only", "--listen", f"127.0.0.1:{port}", "-"),
        home="home-receiver",
        stdin=code,
    )
    receiver.wait_event("connected")
    assert not _listens("tcp", port)


def test_a_carrier_that_there_is_not_is_one_line_with_those_that_there_are(
    homes: TwoHomes,
) -> None:
    command = homes.start("send", "--carriers", "udp,sctp", "x", home="home-sender")
    assert command.wait_exit() == 2
    assert "'sctp' is not accepted: one or more of udp, tcp, ws, quic" in command.stderr()
    assert "Traceback" not in command.stderr()


def test_a_code_that_leads_nowhere_from_here_says_over_what_it_does(homes: TwoHomes) -> None:
    sender = homes.send(homes.file("a.bin", 10), "--carriers", "udp")
    receiver = homes.receive(code_of(sender), "--carriers", "tcp")
    assert receiver.wait_exit() == 11
    assert "the code names roads over UDP" in str(receiver.last("error"))


def test_the_proxy_is_told_without_its_password(homes: TwoHomes) -> None:
    sender = homes.send(homes.file("a.bin", 10))
    receiver = homes.start(
        *("receive", "--yes", "--out", str(homes.out), "--connect-timeout", "1", "-"),
        home="home-receiver",
        stdin=code_of(sender),
        environment={"WRAITH_PROXY": "socks5://somebody:sesame@127.0.0.1:9"},
    )
    assert receiver.wait_exit() != 0
    assert "everything goes through socks5://127.0.0.1:9 (--proxy), UDP is off" in receiver.stderr()
    assert "sesame" not in receiver.stderr() and "somebody" not in receiver.stderr()


def test_a_kept_code_whose_tcp_port_is_taken_leads_over_udp_and_says_so(homes: TwoHomes) -> None:
    path = str(homes.file("a.bin", 10))

    def offer() -> tuple[str, str, int]:
        sender = homes.start("send", "--listen", "127.0.0.1:0", path, home="home-sender")
        code = str(sender.wait_event("text")["line"]).split()[-1]
        until(lambda: "waiting at" in sender.stderr())
        sender.close()
        return code, sender.stderr(), text_to_record(code).addresses[0].port

    first, said, port = offer()
    assert f"waiting at 127.0.0.1:{port} (UDP and TCP)" in said
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        second, said, same = offer()
    assert same == port and second != first
    assert f"TCP port {port} is taken: this code leads here over UDP alone" in said
    assert "must be started again" in said and f"127.0.0.1:{port} (UDP)" in said
    assert not text_to_record(second).has_tcp
    third, _, _ = offer()
    assert third == first
