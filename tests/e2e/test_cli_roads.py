"""Which carriers a command uses, and what it says of them."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable

import pytest

from wraith.node.codes import text_to_record
from wraith.testing.demo import Command
from wraith.testing.two_homes import TwoHomes, code_of, finish, number
from wraith.types import Carrier

WORDS = ("udp", "tcp")
#: The libraries of QUIC, and how a process is one that has this one. qh3 is taken where it is.
WITHOUT = {"qh3": "", "aioquic": "import sys; sys.modules['qh3'] = None"}


def until(holds: Callable[[], bool]) -> None:
    """Looks until ``holds`` does."""
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def used(command: Command) -> dict[str, int]:
    """Carrier -> bytes of content, by the last event."""
    roads = command.last("done")["roads"]
    assert isinstance(roads, list)
    return {road["carrier"]: road["bytes"] for road in roads}


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
    for side in (sender, receiver):
        assert side.last("connected")["carrier"] == word
        assert used(side) == {word: 300_000}


@pytest.mark.parametrize("word", WORDS)
def test_a_code_names_what_its_maker_listens_on(homes: TwoHomes, word: str) -> None:
    sender = homes.send(homes.file("a.bin", 10), "--carriers", word)
    waiting = sender.wait_event("waiting")
    record = text_to_record(str(waiting["code"]))
    assert waiting["carriers"] == [word]
    assert [road.carrier for road in record.roads] == [Carrier[word.upper()]]
    receiver = homes.receive(str(waiting["code"]))
    assert finish(sender, receiver) == (0, 0)


@pytest.mark.parametrize("backend", WITHOUT)
def test_a_file_crosses_over_quic_where_both_sides_have_it(homes: TwoHomes, backend: str) -> None:
    prelude = WITHOUT[backend]
    path = homes.file("a.bin", 300_000)
    sender = homes.send(path, "--carriers", "udp,tcp,quic", prelude=prelude)
    waiting = sender.wait_event("waiting")
    assert waiting["carriers"] == ["udp", "tcp", "quic"]
    assert waiting["quic_port"] == number(waiting, "port") + 1
    roads = text_to_record(str(waiting["code"])).roads
    assert [road.carrier for road in roads] == [Carrier.UDP, Carrier.TCP, Carrier.QUIC]
    receiver = homes.receive(str(waiting["code"]), "--carriers", "quic", prelude=prelude)
    assert finish(sender, receiver) == (0, 0)
    assert (homes.out / "a.bin").read_bytes() == path.read_bytes()
    for side in (sender, receiver):
        assert side.last("connected")["carrier"] == "quic"
        assert used(side) == {"quic": 300_000}


def test_a_receiver_that_waits_on_quic_alone_does_so_at_the_port_that_it_was_told(
    homes: TwoHomes,
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    receiver = homes.start(
        *("receive", "--yes", "--out", str(homes.out), "--carriers", "quic"),
        *("--listen", f"127.0.0.1:{port}"),
        home="home-receiver",
    )
    code = str(receiver.wait_event("text")["line"]).split()[3]
    until(lambda: "waiting at" in receiver.stderr())
    assert f"waiting at 127.0.0.1:{port} (QUIC)" in receiver.stderr()
    assert f"a firewall must let UDP port {port} (QUIC) in" in receiver.stderr()
    path = str(homes.file("a.bin", 10))
    sender = homes.start("send", "--json", "--to", "-", path, home="home-sender", stdin=code)
    assert finish(sender, receiver) == (0, 0)
    assert used(sender) == {"quic": 10}


def test_who_lacks_the_library_of_quic_is_told_what_installs_it(homes: TwoHomes) -> None:
    nobody = "import sys; sys.modules['aioquic'] = None"
    command = homes.start("send", "--carriers", "quic", "x", home="home-sender", prelude=nobody)
    assert command.wait_exit() != 0
    assert "the carrier quic" in command.stderr() and "aioquic" in command.stderr()
    assert "Traceback" not in command.stderr()
    sender = homes.send(homes.file("a.bin", 10), "--carriers", "udp,quic")
    receiver = homes.receive(code_of(sender), prelude=nobody)  # and goes by what it has
    assert finish(sender, receiver) == (0, 0)
    assert used(receiver) == {"udp": 10}


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


#: A process that neither hears nor says a word over UDP.
UDP_IS_SILENT = (
    "from wraith.aio.transports.socket_set import SocketSet; SocketSet.start = lambda *_: None; "
    "SocketSet.send = lambda self, transmit, start: len(transmit.data)"
)
#: The same, of what it says, after 3 MiB.
UDP_FALLS_SILENT = """
from wraith.aio.transports.socket_set import SocketSet
real, said = SocketSet.send, 0
def send(self, transmit, start):
    global said
    said += len(transmit.data) - start
    return real(self, transmit, start) if said < 3 << 20 else len(transmit.data)
SocketSet.send = send
"""


def test_where_udp_is_silent_a_receiver_goes_by_tcp_and_says_so(homes: TwoHomes) -> None:
    path = homes.file("a.bin", 300_000)
    sender = homes.send("--limit", "500k", path, prelude=UDP_IS_SILENT)
    receiver = homes.receive(code_of(sender))
    failed = receiver.wait_event("road")
    assert (failed["carrier"], failed["state"]) == ("udp", "failed")
    assert re.fullmatch(r"udp-blocked\(\d+ hellos?\)", str(failed["reason"]))
    assert finish(sender, receiver) == (0, 0)
    assert used(receiver) == {"tcp": 300_000}


def test_people_are_told_that_udp_gets_no_answer(homes: TwoHomes) -> None:
    path = homes.file("a.bin", 300_000)
    sender = homes.send("--limit", "500k", path, prelude=UDP_IS_SILENT)
    receiver = homes.start(
        *("receive", "--yes", "--out", str(homes.out), "-"),
        home="home-receiver",
        stdin=code_of(sender),
    )
    assert finish(sender, receiver) == (0, 0)
    told = re.compile(r"UDP gets no answer here, going by TCP \(udp-blocked\(\d+ hellos?\)\)")
    assert told.search(receiver.stderr()), receiver.stderr()


SAYS_NOTHING_OF_HELLOS = """
from wraith.connection.road_reports import RoadReports
RoadReports.answer = lambda self, knows: self.questions.clear()
"""


@pytest.mark.parametrize("prelude", ["", SAYS_NOTHING_OF_HELLOS], ids=["answered", "unanswered"])
def test_a_transfer_that_is_over_at_once_says_why_it_was_not_over_udp(
    homes: TwoHomes, prelude: str
) -> None:
    """Over before the answer of the other end, or the time for it, has come."""
    sender = homes.send(homes.file("a.bin", 10), prelude=UDP_IS_SILENT + prelude)
    receiver = homes.start(
        *("receive", "--yes", "--out", str(homes.out), "-"),
        home="home-receiver",
        stdin=code_of(sender),
    )
    assert finish(sender, receiver) == (0, 0)
    words = receiver.stderr()
    assert words.count("UDP gets no answer here, going by TCP (udp-") == 1, words
    assert words.index("UDP gets no answer") < words.index("done:"), words


@pytest.mark.slow
def test_when_udp_falls_silent_a_transfer_goes_on_over_tcp_without_losing_a_byte(
    homes: TwoHomes,
) -> None:
    size = 12 << 20
    sender = homes.send(homes.file("a.bin", size), prelude=UDP_FALLS_SILENT)
    receiver = homes.receive(code_of(sender))
    assert finish(sender, receiver) == (0, 0)
    assert (homes.out / "a.bin").read_bytes() == (homes.source / "a.bin").read_bytes()
    for side in (sender, receiver):
        moved = [event for event in side.events if event["event"] == "road"]
        assert ("tcp", "active") in [(event["carrier"], event["state"]) for event in moved]
        assert list(used(side)) == ["udp", "tcp"] and sum(used(side).values()) == size
        assert side.last("done")["bytes_transferred"] == size
