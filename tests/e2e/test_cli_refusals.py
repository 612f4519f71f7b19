"""What goes wrong is said clearly, with the right exit code, and nothing is lost."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from wraith.aio.entropy import OsRng
from wraith.aio.transfers import Transfer
from wraith.config import EndpointConfig
from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.crypto.ed25519 import Identity
from wraith.crypto.secret import Secret
from wraith.node.config import NodeConfig
from wraith.testing.demo import Command
from wraith.testing.forged import ForgedSource, file_entry, folder_entry, link_entry
from wraith.testing.two_homes import SLOW_CLOCK, TwoHomes, code_of, finish
from wraith.transfer.code import decode_code, encode_code
from wraith.transfer.events import Declined
from wraith.transfer.listing import Entry
from wraith.types import Address

MIB = 1 << 20
LOOPBACK = Address(bytes([127, 0, 0, 1]), 0)


def _error(command: Command) -> tuple[object, int]:
    return command.wait_event("error")["code"], command.wait_exit()


def test_a_second_receiver_is_told_that_the_first_one_has_it(homes: TwoHomes) -> None:
    # Long enough that the first one is still at it when the second one comes, on any machine.
    sender = homes.send("--limit", "1M", homes.file("a.bin", 32 * MIB))
    code = code_of(sender)
    first = homes.receive(code)
    first.wait_event("progress")
    second = homes.receive(code, home="home-3", out=homes.work / "out-3")
    assert _error(second) == ("busy", 17)
    assert sender.wait_event("turned_away")["busy"] is True
    done = first.last("progress")["bytes_done"]
    while first.wait_event("progress")["bytes_done"] == done:
        pass  # the first one was not disturbed


def test_a_name_that_exists_is_refused_on_both_sides_and_untouched(homes: TwoHomes) -> None:
    path = homes.file("a.txt", b"new")
    (homes.out / "a.txt").write_bytes(b"old")
    sender = homes.send(path)
    code = code_of(sender)
    receiver = homes.receive(code)
    error = receiver.wait_event("error")
    assert error["code"] == "name-exists" and "a.txt" in str(error["message"])
    assert "--overwrite" in str(error["hint"])
    assert receiver.wait_exit() == 16
    assert _error(sender) == ("offer-refused", 16)
    assert (homes.out / "a.txt").read_bytes() == b"old"
    # The refusal spends nothing: the same commands, with another policy, work.
    again = homes.send(path)
    assert code_of(again) == code
    assert finish(homes.receive(code, "--overwrite"), again) == (0, 0)


def test_a_mistyped_code_fails_at_once(homes: TwoHomes) -> None:
    code = code_of(homes.send(homes.file("a.txt", b"a")))
    wrong = code[:40] + ("a" if code[40] != "a" else "b") + code[41:]
    receiver = homes.receive(wrong)
    assert receiver.wait_event("error")["code"] == "code-invalid"
    assert receiver.wait_exit() == 2
    assert [e["event"] for e in receiver.events] == ["error"]


def test_a_code_of_a_later_version_says_so(homes: TwoHomes) -> None:
    receiver = homes.receive("wr2aaaaaaaaaaaaaaaaaaaaaaaa")
    error = receiver.wait_event("error")
    assert "newer wraith" in str(error["message"])
    assert receiver.wait_exit() == 2


def test_a_wrong_secret_meets_silence_and_a_list_of_reasons(homes: TwoHomes) -> None:
    sender = homes.send(homes.file("a.txt", b"a"))
    code = decode_code(code_of(sender))
    forged = encode_code(replace(code, access_psk=Secret(OsRng().secret_bytes(32))))
    receiver = homes.receive(forged, "--connect-timeout", "2")
    error = receiver.wait_event("error")
    assert error["code"] == "handshake-timeout"
    for word in ("old", "gone", "firewall", "clock", "UTC"):
        assert word in str(error["hint"])
    assert "127.0.0.1" in str(error["message"])
    assert receiver.wait_exit() == 12
    assert [e["event"] for e in sender.events] == ["waiting"]


def test_nobody_at_the_address(homes: TwoHomes) -> None:
    code = decode_code(code_of(homes.send(homes.file("a.txt", b"a"))))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        address = Address(bytes([127, 0, 0, 1]), silent.getsockname()[1])
        text = encode_code(replace(code, addresses=(address,)))
        receiver = homes.receive(text, "--connect-timeout", "2")
        assert _error(receiver) == ("handshake-timeout", 12)


def test_another_node_at_the_address_is_not_trusted(homes: TwoHomes) -> None:
    """Who holds the access key but not the identity that the code pins."""
    sender = homes.send(homes.file("a.txt", b"a"))
    code = decode_code(code_of(sender))
    other = Identity.generate(OsRng()).public
    receiver = homes.receive(encode_code(replace(code, peer=other)), "--connect-timeout", "3")
    assert _error(receiver) == ("peer-key-mismatch", 13)
    assert [e["event"] for e in sender.events] == ["waiting"]


def test_a_clock_that_is_off_by_an_hour_is_named_on_both_sides(homes: TwoHomes) -> None:
    sender = homes.send(homes.file("a.txt", b"a"))
    receiver = homes.receive(
        code_of(sender), "--connect-timeout", "2", prelude=SLOW_CLOCK.format(3600)
    )
    skew = float(str(sender.wait_event("clock_skew")["skew_s"]))
    assert 3500 < skew < 3700
    error = receiver.wait_event("error")
    assert error["code"] == "handshake-timeout" and "clock" in str(error["hint"])
    assert receiver.wait_exit() == 12


def test_a_pinned_name_with_another_key_stops_before_dialling(homes: TwoHomes) -> None:
    code = code_of(homes.send(homes.file("a.txt", b"a")))
    other = str(Identity.generate(OsRng()).public)
    named = homes.start("peers", "name", "anna", other, home="home-receiver")
    assert named.wait_exit() == 0
    receiver = homes.receive(code, "--from", "anna")
    assert _error(receiver) == ("peer-key-mismatch", 13)
    assert "waiting" not in [e["event"] for e in receiver.events]


def test_a_named_sender_and_a_named_receiver_find_each_other(homes: TwoHomes) -> None:
    keys = {}
    for home in ("home-sender", "home-receiver"):
        keys[home] = str(homes.start("id", "--json", home=home).wait_event("id")["key"])
    for home, name, key in (
        ("home-sender", "ben", keys["home-receiver"]),
        ("home-receiver", "anna", keys["home-sender"]),
    ):
        assert homes.start("peers", "name", name, key, home=home).wait_exit() == 0
    path = homes.file("a.txt", b"a")
    sender = homes.send("--to", "ben", path)
    code = code_of(sender)
    stranger = homes.receive(code, home="home-3", out=homes.work / "out-3")
    assert _error(stranger) == ("not-authorised", 14)
    receiver = homes.receive(code, "--from", "anna")
    assert receiver.wait_event("connected")["peer_name"] == "anna"
    assert finish(receiver, sender) == (0, 0)


def test_suites_that_do_not_meet_are_a_refusal_of_policy(homes: TwoHomes) -> None:
    sender = homes.send("--suite", "D", "--no-require-pq", homes.file("a.txt", b"a"))
    receiver = homes.receive(code_of(sender))
    assert _error(receiver) == ("policy-refused", 2)


HOSTILE: list[tuple[str, list[Entry]]] = [
    ("leaves", [file_entry(b"../evil")]),
    ("leaves the folder", [folder_entry(b"a"), link_entry(b"a/l", b"../../x")]),
    ("control characters", [file_entry(b"a\x1b[2Jb")]),
]
MORE_HOSTILE: list[tuple[str, list[Entry]]] = [
    ("leaves", [folder_entry(b"a"), file_entry(b"a/../../evil")]),
    ("absolute", [file_entry(b"/tmp/evil")]),
    ("outside", [link_entry(b"l", b"../../etc"), file_entry(b"m")]),
    ("absolute path", [folder_entry(b"a"), link_entry(b"a/l", b"/etc/passwd")]),
    ("uses for itself", [folder_entry(b".wraith-0123456789ab")]),
]


@pytest.mark.parametrize(
    ("reason", "entries"),
    [*HOSTILE, *(pytest.param(*case, marks=pytest.mark.slow) for case in MORE_HOSTILE)],
)
def test_hostile_paths_never_leave_the_destination(
    homes: TwoHomes, reason: str, entries: list[Entry]
) -> None:
    source = ForgedSource(entries)
    before = _everything_under(homes.work)
    code, outcome = asyncio.run(_offer(source, homes))
    error = outcome.wait_event("error")
    assert error["code"] == "unsafe-path", code
    assert reason in str(error["message"])
    assert "\x1b" not in str(error["message"])
    assert outcome.wait_exit() == 18
    assert list(homes.out.iterdir()) == []
    after = _everything_under(homes.work)
    assert {p for p in after - before if "home-receiver" not in p} == set()
    assert source.n_pieces_asked == 0


async def _offer(source: ForgedSource, homes: TwoHomes) -> tuple[str, Command]:
    """A forged sender in this process until a real receiver has refused it."""
    access = AccessKey.generate(OsRng(), with_psk=True)
    transfer = await Transfer.open(
        source=source,
        identity=Identity.generate(OsRng()),
        endpoint_config=EndpointConfig(),
        node_config=NodeConfig(),
        access=access,
        local=LOOPBACK,
    )
    code = transfer.code([LOOPBACK._replace(port=transfer.port)])
    transfer.start()
    receiver = homes.receive(code)
    async with asyncio.timeout(60):
        async for event in transfer.events():
            if isinstance(event, Declined):
                break
    transfer.stop()
    await transfer.close()
    return code, receiver


def _everything_under(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


@pytest.mark.spec("TR-126")
def test_a_source_that_holds_the_home_is_sent_without_it(homes: TwoHomes) -> None:
    """As with `wraith send ~`: the default home lies below it."""
    path = homes.file("home/notes.txt", b"notes")
    inside = "source/home/.local/share/wraith"
    sender = homes.send(homes.source / "home", home=inside)
    waiting = sender.wait_event("waiting")
    exits = finish(homes.receive(str(waiting["code"])), sender)
    assert not (homes.out / "home" / ".local" / "share" / "wraith").exists()
    assert exits == (0, 0)
    assert (homes.out / "home" / "notes.txt").read_bytes() == path.read_bytes()
    assert waiting["left_out"] == ["home/.local/share/wraith"]
    assert (homes.work / inside / "identity.key").is_file()


@pytest.mark.spec("TR-126")
def test_what_is_left_out_is_said_in_one_line_each(homes: TwoHomes) -> None:
    """Without --json: the home, and a transfer that is not finished."""
    homes.file("home/notes.txt", b"notes")
    homes.file("home/.wraith-0123456789ab/journal", b"j")
    folder = str(homes.source / "home")
    inside = "source/home/.local/share/wraith"
    sender = homes.start("send", "--listen", "127.0.0.1:0", folder, home=inside)
    line = str(sender.wait_event("text")["line"])
    assert finish(homes.receive(line.split()[-1]), sender) == (0, 0)
    said = [text for text in sender.stderr().splitlines() if "left out" in text]
    assert sorted(text.rpartition(":")[0] for text in said) == [
        "wraith: left out: home/.local/share/wraith",
        "wraith: left out: home/.wraith-0123456789ab",
    ]


@pytest.mark.spec("TR-126")
def test_the_home_itself_is_refused_before_a_code_is_shown(homes: TwoHomes) -> None:
    for what in ("home-sender", "home-sender/identity.key"):
        sender = homes.send(homes.work / what)
        assert sender.wait_event("waiting", "error")["event"] == "error"
        assert sender.last("error")["code"] == "own-folder" and sender.wait_exit() == 2
        assert [e["event"] for e in sender.events] == ["error"]
