"""Compares JSON events with the tables of the reference page (docs/reference/json-events.md)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "list": (list,),
    "object": (dict,),
}

Fields = dict[str, tuple[str, bool]]


def documented_events(page: Path) -> dict[str, Fields]:
    """event -> field -> (types, optional), from the tables of the page."""
    events: dict[str, Fields] = {}
    current: Fields | None = None
    for line in page.read_text("utf-8").splitlines():
        if heading := re.fullmatch(r"### `(\w+)`", line):
            current = events.setdefault(heading[1], {})
        elif current is not None and (row := re.match(r"\| `(\w+)` \| ([^|]+) \|", line)):
            types = row[2].strip()
            current[row[1]] = (types.removeprefix("optional "), types.startswith("optional "))
    return events


def undocumented(page: Path, events: Sequence[dict[str, object]]) -> list[str]:
    """What of ``events`` is not as the page says; empty when all of it is."""
    documented = documented_events(page)
    return [words for event in events for words in _differences(event, documented)]


def _differences(event: dict[str, object], documented: dict[str, Fields]) -> Iterator[str]:
    name = str(event["event"])
    if name not in documented:
        yield f"{name}: no such event"
        return
    fields = documented[name]
    for field in event.keys() - fields.keys() - {"event"}:
        yield f"{name}: no such field: {field}"
    for field, (types, optional) in fields.items():
        if field not in event:
            if not optional:
                yield f"{name}: {field} is missing"
            continue
        allowed = tuple(kind for word in types.split(" or ") for kind in _TYPES[word])
        value = event[field]
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            yield f"{name}: {field} is {value!r}, and not {types}"
