"""A person sends and receives: files, folders, streams, texts, in both dialling directions."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wraith.testing.demo import (
    Command,
    compare_trees,
    make_tree,
    through_relay,
    transfer_between_processes,
)
from wraith.testing.netem import LinkConfig
from wraith.testing.relay import UdpRelay
from wraith.testing.two_homes import TwoHomes, code_of, finish, number

MIB = 1 << 20


def test_a_file_and_a_folder_arrive_equal_through_a_slow_link(tmp_path: Path) -> None:
    big = tmp_path / "holiday.mov"
    big.write_bytes(random.Random(1).randbytes(2 * MIB))
    tree = tmp_path / "project"
    make_tree(tree, 2)
    report = transfer_between_processes(
        [big, tree], tmp_path / "run", link=LinkConfig(latency_s=0.01, loss=0.005)
    )
    assert report.differences == []
    assert report.done["bytes_total"] == report.offer["bytes_total"]
    assert report.done["bytes_reused"] == 0
    assert report.datagrams_to_receiver > 1_000


def test_jumbo_datagrams_are_used_when_both_sides_ask_for_them(tmp_path: Path) -> None:
    big = tmp_path / "holiday.mov"
    big.write_bytes(random.Random(2).randbytes(4 * MIB))
    jumbo = ("--max-datagram", "8972")
    seen = {}
    for name, receive_options in (("both", jumbo), ("one", ())):
        report = transfer_between_processes(
            [big], tmp_path / name, send_options=jumbo, receive_options=receive_options
        )
        assert report.differences == []
        seen[name] = report.datagrams_to_receiver
    assert seen["both"] < 4 * MIB / 1472 < seen["one"]


@pytest.mark.parametrize(
    ("suite", "options", "post_quantum", "aead"),
    [
        ("A", (), True, "XChaCha20-Poly1305"),
        ("B", (), True, "AES-256-GCM"),
        ("D", ("--no-require-pq",), False, "XChaCha20-Poly1305"),
    ],
)
def test_the_security_card_agrees_with_what_the_network_saw(
    tmp_path: Path, suite: str, options: tuple[str, ...], post_quantum: bool, aead: str
) -> None:
    source = tmp_path / "note.txt"
    source.write_bytes(b"hello")
    report = transfer_between_processes(
        [source],
        tmp_path / "run",
        suite=suite,
        send_options=options,
        receive_options=options,
        link=LinkConfig(latency_s=0.02),
    )
    card = report.connected
    assert (card["suite"], card["aead"]) == (suite, aead)
    assert card["post_quantum"] is post_quantum
    assert card["key_exchange"] == ("X25519+ML-KEM-768" if post_quantum else "X25519")
    assert all(600 <= n <= 1200 for n in report.hello_sizes + report.response_sizes)
    if post_quantum:  # an encapsulation key has 1184 bytes, a ciphertext 1088: two datagrams each
        assert len(report.hello_sizes) >= 2 and sum(report.hello_sizes[:2]) >= 1348
        assert len(report.response_sizes) >= 2 and sum(report.response_sizes[:2]) >= 1252
    else:
        assert len(report.hello_sizes) == 1
        assert len(report.response_sizes) == 1


def test_a_stream_arrives_as_a_file(homes: TwoHomes) -> None:
    data = random.Random(4).randbytes(700_000)
    sender = homes.send("-", "--name", "all.tar", stdin=data, keep_stdin=False)
    receiver = homes.receive(code_of(sender))
    offer = receiver.wait_event("offer")
    assert (offer["kind"], offer["bytes_total"]) == ("stream", None)
    assert finish(sender, receiver) == (0, 0)
    assert (homes.out / "all.tar").read_bytes() == data
    assert receiver.last("done")["bytes_total"] == len(data)


def test_a_text_is_printed_and_no_file_is_left(homes: TwoHomes) -> None:
    sender = homes.start(
        *("send", "--listen", "127.0.0.1:0", "--text", "meet at noon"), home="home-sender"
    )
    line = str(sender.wait_event("text")["line"])
    code = line.removeprefix("wraith receive ").strip()
    receiver = homes.start(
        *("receive", "--yes", "--out", str(homes.out), "-"), home="home-receiver", stdin=code
    )
    assert receiver.wait_event("text")["line"] == "meet at noon\n"
    assert finish(sender, receiver) == (0, 0)
    assert list(homes.out.iterdir()) == []


def test_stdout_holds_exactly_one_line_and_a_short_code(homes: TwoHomes) -> None:
    path = homes.file("a.txt", b"a")
    sender = homes.start("send", "--listen", "127.0.0.1:0", str(path), home="home-sender")
    line = str(sender.wait_event("text")["line"])
    assert line.startswith("wraith receive wr1") and line.endswith("\n")
    assert len(line.split()[2]) <= 180
    # A chat program broke it into lines and changed its case.
    word = line.split()[2]
    broken = " ".join(word[i : i + 30].upper() for i in range(0, len(word), 30))
    receiver = homes.receive(broken)
    assert finish(sender, receiver) == (0, 0)
    assert len(sender.events) == 1


def test_one_file_goes_to_stdout(homes: TwoHomes) -> None:
    data = random.Random(5).randbytes(400_000)
    path = homes.file("one.bin", data)
    sender = homes.send(path)
    result = subprocess.run(
        [sys.executable, "-m", "wraith", "receive", "--yes", "--out", "-", "-"],
        input=code_of(sender).encode(),
        env={**os.environ, "WRAITH_HOME": str(homes.work / "home-receiver")},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == data
    assert finish(sender) == (0,)


def test_the_receiver_may_listen_and_the_sender_dial(homes: TwoHomes) -> None:
    path = homes.file("a.bin", 300_000)
    receiver = homes.start(
        *("receive", "--json", "--yes", "--out", str(homes.out), "--listen", "127.0.0.1:0"),
        home="home-receiver",
    )
    code = code_of(receiver)
    sender = homes.start("send", "--json", "--to", "-", str(path), home="home-sender", stdin=code)
    assert sender.wait_event("waiting")["code"] is None
    assert finish(sender, receiver) == (0, 0)
    assert (homes.out / "a.bin").read_bytes() == path.read_bytes()


def test_a_receiver_may_dial_from_a_chosen_address(homes: TwoHomes) -> None:
    sender = homes.send(homes.file("a.txt", b"a"))
    receiver = homes.receive(code_of(sender), "--listen", "127.0.0.2:0")
    assert finish(sender, receiver) == (0, 0)
    assert str(sender.last("connected")["address"]).startswith("127.0.0.2:")


def test_a_code_is_for_one_direction(homes: TwoHomes) -> None:
    path = homes.file("a.txt", b"a")
    sender = homes.send(path)
    wrong = homes.start(
        "send", "--json", "--to", "-", str(path), home="home-3", stdin=code_of(sender)
    )
    error = wrong.wait_event("error")
    assert error["code"] == "code-invalid" and "wraith receive" in str(error["message"])
    assert wrong.wait_exit() == 2


def test_with_keep_a_second_receiver_is_served(homes: TwoHomes) -> None:
    path = homes.file("a.bin", 50_000)
    sender = homes.send("--keep", path)
    code = code_of(sender)
    for name in ("one", "two"):
        receiver = homes.receive(code, home=f"home-{name}", out=homes.work / name)
        assert receiver.wait_exit() == 0, receiver.story()
        sender.wait_event("done")
        assert (homes.work / name / "a.bin").read_bytes() == path.read_bytes()
    assert sender.process.poll() is None


def test_without_keep_the_code_is_spent(homes: TwoHomes) -> None:
    path = homes.file("a.bin", 50_000)
    sender = homes.send(path)
    code = code_of(sender)
    assert finish(homes.receive(code), sender) == (0, 0)
    again = homes.send(path)
    waiting = again.wait_event("waiting")
    assert waiting["code"] != code
    assert waiting["resumed"] is False


def test_looking_at_the_list_takes_nothing(homes: TwoHomes) -> None:
    homes.file("folder/a.bin", 1000)
    homes.file("folder/b/c.bin", 2000)
    sender = homes.send(homes.source / "folder")
    code = code_of(sender)
    looker = homes.receive(code, "--list-only")
    assert looker.wait_exit() == 0, looker.story()
    entries = [(e["path"], e["kind"]) for e in looker.events if e["event"] == "entry"]
    assert entries == [
        ("folder", "folder"),
        ("folder/a.bin", "file"),
        ("folder/b", "folder"),
        ("folder/b/c.bin", "file"),
    ]
    assert list(homes.out.iterdir()) == []
    receiver = homes.receive(code)  # and the sender still waits
    assert finish(receiver, sender) == (0, 0)


def test_excluded_names_stay_at_home(homes: TwoHomes) -> None:
    homes.file("folder/keep.txt", b"k")
    homes.file("folder/x.tmp", b"t")
    homes.file("folder/cache/y", b"y")
    sender = homes.send("--exclude", "*.tmp", "--exclude", "cache", homes.source / "folder")
    assert finish(homes.receive(code_of(sender)), sender) == (0, 0)
    found = sorted(str(p.relative_to(homes.out)) for p in homes.out.rglob("*"))
    assert found == ["folder", "folder/keep.txt"]


def test_two_sends_of_one_path_have_a_code_each(homes: TwoHomes) -> None:
    path = homes.file("a.bin", 10_000)
    first, second = homes.send(path), homes.send(path)
    codes = code_of(first), code_of(second)
    assert codes[0] != codes[1]
    for code, name in zip(codes, ("one", "two"), strict=True):
        assert homes.receive(code, out=homes.work / name).wait_exit() == 0
    assert finish(first, second) == (0, 0)


def test_both_ends_under_one_home_say_so(homes: TwoHomes) -> None:
    path = homes.file("a.bin", 100_000)
    sender = homes.send(path, home="home")
    receiver = homes.receive(code_of(sender), home="home")
    assert receiver.wait_event("connected")["this_machine"] is True
    assert finish(sender, receiver) == (0, 0)
    assert compare_trees(path, homes.out / "a.bin") == []


@pytest.mark.parametrize(
    ("option", "old", "names"),
    [
        ("--overwrite", b"new", ["a.txt"]),
        ("--rename", b"old", ["a (1).txt", "a.txt"]),
        ("--skip", b"old", ["a.txt"]),
    ],
)
def test_names_that_exist(homes: TwoHomes, option: str, old: bytes, names: list[str]) -> None:
    path = homes.file("a.txt", b"new")
    (homes.out / "a.txt").write_bytes(b"old")
    sender = homes.send(path)
    receiver = homes.receive(code_of(sender), option)
    assert finish(receiver, sender) == (0, 0)
    assert sorted(p.name for p in homes.out.iterdir()) == names
    assert (homes.out / "a.txt").read_bytes() == old


def test_the_rate_limit_holds(homes: TwoHomes) -> None:
    path = homes.file("a.bin", 600_000)
    sender = homes.send("--limit", "400k", path)
    receiver = homes.receive(code_of(sender))
    assert finish(receiver, sender) == (0, 0)
    assert float(str(receiver.last("done")["seconds"])) > 0.8


def test_reach_tells_which_address_answers_and_disturbs_nothing(homes: TwoHomes) -> None:
    path = homes.file("a.bin", 1000)
    sender = homes.send(path)
    code = code_of(sender)
    doctor = homes.start("doctor", "--json", "--reach", "-", home="home-3", stdin=code)
    reach = doctor.wait_event("reach")
    assert reach["ok"] is True, reach
    assert doctor.wait_exit() == 0
    assert [e["event"] for e in sender.events] == ["waiting"]
    assert finish(homes.receive(code), sender) == (0, 0)


def test_a_moved_relay_is_followed(homes: TwoHomes) -> None:
    """The receiver's datagrams come from another port from the middle on, and replies to the old
    one are lost: the sender follows, and nothing is dialled anew."""
    path = homes.file("a.bin", 3 * MIB)
    sender = homes.send("--limit", "2M", path)
    waiting = sender.wait_event("waiting")
    port = int(str(waiting["port"]))
    with UdpRelay(("127.0.0.1", port)) as relay:
        receiver = homes.receive(through_relay(str(waiting["code"]), relay))
        receiver.wait_event("progress")
        relay.move()
        done = number(receiver.last("progress"), "bytes_done")
        assert finish(receiver, sender) == (0, 0)
        assert relay.n_moves == 1
    assert number(receiver.last("done"), "bytes_total") == 3 * MIB > done
    for command in (receiver, sender):
        assert [e["event"] for e in command.events].count("connected") == 1


def test_a_path_that_loses_everything_for_a_while_is_waited_for(homes: TwoHomes) -> None:
    path = homes.file("a.bin", 3 * MIB)
    sender = homes.send("--limit", "2M", path)
    waiting = sender.wait_event("waiting")
    port = int(str(waiting["port"]))
    with UdpRelay(("127.0.0.1", port)) as relay:
        receiver = homes.receive(through_relay(str(waiting["code"]), relay))
        receiver.wait_event("progress")
        relay.set_link(LinkConfig(loss=1.0))
        time.sleep(1.0)  # the machines' clocks are real here
        done = number(receiver.last("progress"), "bytes_done")
        lost = relay.to_target.datagrams
        relay.set_link(LinkConfig())
        assert done < 3 * MIB
        assert finish(receiver, sender) == (0, 0)
        assert relay.to_target.datagrams > lost
    assert number(receiver.last("done"), "bytes_total") == 3 * MIB


def test_json_events_come_in_order(homes: TwoHomes) -> None:
    path = homes.file("a.bin", 200_000)
    sender = homes.send(path)
    receiver = homes.receive(code_of(sender))
    assert finish(receiver, sender) == (0, 0)
    assert _order(receiver) == ["waiting", "connected", "offer", "accepted", "progress", "done"]
    assert _order(sender) == ["waiting", "connected", "deciding", "accepted", "progress", "done"]
    done = [c.last("done") for c in (sender, receiver)]
    assert done[0]["file_ids"] == done[1]["file_ids"] != {}
    for event in done:
        assert event["bytes_total"] == event["bytes_transferred"] == 200_000


def _order(command: Command) -> list[str]:
    names = [str(event["event"]) for event in command.events]
    return [name for i, name in enumerate(names) if i == 0 or name != names[i - 1]]
