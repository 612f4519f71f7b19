"""What a command remembers: the history of two homes, and what it says of a transfer."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from wraith.testing.two_homes import TwoHomes, code_of, finish


def history(homes: TwoHomes, home: str) -> list[dict[str, object]]:
    command = homes.start("history", "--json", home=home)
    assert command.wait_exit() == 0
    return [event for event in command.events if event["event"] == "history"]


def test_both_sides_note_what_went_where_with_one_digest(homes: TwoHomes) -> None:
    single = homes.file("notes.txt", 40_000)
    homes.file("tree/a", 10)
    homes.file("tree/b", 20)
    for what in (single, homes.source / "tree"):
        sender = homes.send(what)
        receiver = homes.receive(code_of(sender))
        assert finish(sender, receiver) == (0, 0)

    sent, received = history(homes, "home-sender"), history(homes, "home-receiver")
    keys = [json.loads(_key(homes, home))["key"] for home in ("home-receiver", "home-sender")]
    for rows, direction, peer in ((sent, "sent", keys[0]), (received, "received", keys[1])):
        assert [row["direction"] for row in rows] == [direction] * 2
        assert [row["what"] for row in rows] == ["notes.txt", "tree"]
        assert [(row["files"], row["bytes"]) for row in rows] == [(1, 40_000), (2, 30)]
        assert [row["peer"] for row in rows] == [peer] * 2
        assert [row["digest_of"] for row in rows] == ["file", "listing"]
    assert [row["digest"] for row in sent] == [row["digest"] for row in received]
    file = homes.work / "home-sender" / "history.jsonl"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    clearing = homes.start("history", "clear", home="home-sender")
    assert clearing.wait_exit() == 0
    assert history(homes, "home-sender") == [] and not file.exists()


def _key(homes: TwoHomes, home: str) -> str:
    command = homes.start("id", "--json", home=home)
    assert command.wait_exit() == 0
    return json.dumps(command.last("id"))


def test_no_history_notes_nothing_and_a_text_is_not_quoted(homes: TwoHomes) -> None:
    path = homes.file("secret-plans.txt", 10)
    sender = homes.send("--no-history", path)
    receiver = homes.receive(code_of(sender), environment={"WRAITH_HISTORY": "0"})
    assert finish(sender, receiver) == (0, 0)
    assert history(homes, "home-sender") == history(homes, "home-receiver") == []

    sender = homes.send("--text", "the door code is 4711", "--name", "door")
    receiver = homes.receive(code_of(sender))
    assert finish(sender, receiver) == (0, 0)
    assert [row["what"] for row in history(homes, "home-receiver")] == ["a text"]
    for home in ("home-sender", "home-receiver"):
        assert b"4711" not in (homes.work / home / "history.jsonl").read_bytes()


def test_accept_from_in_the_file_restricts_like_from(homes: TwoHomes) -> None:
    """A code of somebody else stops before anyone is dialled; that of the named peer is asked
    about, or taken with --yes, as ever."""
    path = homes.file("notes.txt", 10)
    sender = homes.send("--keep", path)
    code = code_of(sender)
    home = homes.work / "home-receiver"
    other = json.loads(_key(homes, "home-other"))["key"]
    right = json.loads(_key(homes, "home-sender"))["key"]
    for key, name in ((other, "anna"), (right, "bert")):
        named = homes.start("peers", "name", name, key, home="home-receiver")
        assert named.wait_exit() == 0
    _write(home / "config.toml", 'accept-from = "anna"\n')
    refused = homes.receive(code)
    assert refused.wait_exit() == 13
    assert refused.last("error")["code"] == "peer-key-mismatch"
    _write(home / "config.toml", 'accept-from = "bert"\n')
    unasked = homes.start("receive", "--json", code, home="home-receiver")
    assert unasked.wait_exit() == 2, "without a terminal and without --yes nothing is accepted"
    assert homes.receive(code).wait_exit() == 0


def _write(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o600)
