"""The facts of a transfer are those of the page about JSON, in names, fields and order."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from wraith.aio.files import events
from wraith.aio.files.events import (
    ConnectedEvent,
    DoneEvent,
    EntryEvent,
    OfferEvent,
    WaitingEvent,
    fields_of,
    name_of,
)
from wraith.types import PeerKey

PAGE = (Path(__file__).parents[4] / "docs/reference/json-events.md").read_text("utf-8")
TRANSFER = PAGE.split("## Events of a transfer")[1].split("## Events of `receive --list`")[0]
#: The command alone waits for a network, and an exception is raised instead of an error.
COMMAND_ONLY = {"no_route", "no_address", "error"}
CLASSES = (*get_args(events.Event), EntryEvent)


def documented() -> dict[str, list[tuple[str, str]]]:
    """Event -> its fields and their types, as the page lists them."""
    found: dict[str, list[tuple[str, str]]] = {}
    for name, body in re.findall(r"^### `(\w+)`\n(.*?)(?=^### |\Z)", TRANSFER, re.M | re.S):
        rows: list[tuple[str, str]] = []
        for names, kind in re.findall(r"^\| (`[^|]*`) \| ([^|]+) \|", body, re.M):
            rows += [(each, kind) for each in re.findall(r"`(\w+)`", names)]
        found[name] = rows
    return found


def name_of_class(kind: type) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__.removesuffix("Event")).lower()


def test_every_event_of_the_page_has_a_class_and_none_is_missing() -> None:
    assert {name_of_class(kind) for kind in CLASSES} == set(documented()) - COMMAND_ONLY


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: str(kind.__name__))
def test_the_fields_are_those_of_the_page(kind: type) -> None:
    has = [each for each in fields(kind) if each.metadata.get("json", True)]
    rows = documented()[name_of_class(kind)]
    assert sorted(each.name for each in has) == sorted(name for name, _ in rows)
    optional = {each.name for each in has if each.metadata.get("optional")}
    assert optional == {name for name, words in rows if words.startswith("optional")}


def test_the_json_leaves_out_what_is_not_there_and_what_is_pythons() -> None:
    peer = PeerKey(bytes(32))
    offer = OfferEvent("files", ("a",), 1, 0, 0, 0, 0, 5, 0, "/in", 0, 0, False, peer, bytes(32))
    assert list(fields_of(offer))[-1] == "changed" and "peer" not in fields_of(offer)
    done = DoneEvent(5, 5, 0, 0, 0.1, 0.0, 1, 0, {"a": "00"})
    assert not {"paths", "text", "earlier"} & set(fields_of(done))
    connected = ConnectedEvent(True, "x", "A", "y", peer, None, False, "192.0.2.1:1", False, "udp")
    row = json.loads(json.dumps(fields_of(connected)))
    assert row["peer"] == str(peer) and row["peer_name"] is None
    assert name_of(connected) == "connected"
    waiting = WaitingEvent("wr1secret", ("192.0.2.1:1",), 1, False, ())
    assert fields_of(waiting)["left_out"] == [] and fields_of(waiting)["code"] == "wr1secret"
    assert "wr1secret" not in repr(waiting) and "wr1secret" not in str(waiting)
