"""What the last run of the mutations had seen: ``tests/spec_mutations/seen.json``.

One entry per id holds digests of the id's text in docs/spec, of its mutations, of the files that
they break and of the test files that cite it. An id whose digests differ has changed since its
mutations last turned a test red. The file is written by ``tools/spec_coverage.py --update`` and
committed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SEEN = ROOT / "tests" / "spec_mutations" / "seen.json"
DEFINITION = re.compile(r"(?:\*\*|\[|\| )([A-Z]{2,5}-\d{1,3})(?:\*\*|\]| \|)")

Mutation = dict[str, str]
Entry = dict[str, str]


def texts_of(page: str) -> dict[str, str]:
    """The text of each id that a page defines first: from there to the next id or blank line."""
    starts = list(DEFINITION.finditer(page))
    texts: dict[str, str] = {}
    for number, match in enumerate(starts):
        end = starts[number + 1].start() if number + 1 < len(starts) else len(page)
        blank = page.find("\n\n", match.end(), end)
        text = page[match.start() : end if blank < 0 else blank]
        texts.setdefault(match.group(1), " ".join(text.split()))
    return texts


def _digest(*parts: str) -> str:
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(f"{len(part)}\n{part}".encode())
    return hashed.hexdigest()[:16]


def entries(
    defined: Mapping[str, Path],
    cited: Mapping[str, set[Path]],
    mutated: Sequence[Mutation],
    root: Path = ROOT,
) -> dict[str, Entry]:
    """The entry of every defined id in the present tree."""
    content: dict[Path, str] = {}

    def file_digest(name: Path) -> str:
        if name not in content:
            path = root / name
            text = path.read_text(encoding="utf-8") if path.is_file() else ""
            content[name] = _digest(name.as_posix(), text)
        return content[name]

    texts = {page: texts_of(page.read_text(encoding="utf-8")) for page in set(defined.values())}
    result: dict[str, Entry] = {}
    for spec_id, page in defined.items():
        own = [m for m in mutated if m["id"] == spec_id]
        broken = sorted({Path(m["file"]) for m in own})
        result[spec_id] = {
            "text": _digest(texts[page].get(spec_id, "")),
            "mutations": _digest(*sorted(json.dumps(m, sort_keys=True) for m in own)),
            "files": _digest(*map(file_digest, broken)),
            "tests": _digest(*map(file_digest, sorted(cited.get(spec_id, set())))),
        }
    return result


def load() -> dict[str, Entry]:
    """What was committed; empty when there is no file."""
    if not SEEN.is_file():
        return {}
    seen: dict[str, Entry] = json.loads(SEEN.read_text(encoding="utf-8"))
    return seen


def write(seen: Mapping[str, Entry]) -> None:
    """One line per id, so that two changes of different ids merge."""
    lines = [f" {json.dumps(i)}: {json.dumps(seen[i], sort_keys=True)}" for i in sorted(seen)]
    SEEN.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def differing(seen: Mapping[str, Entry], now: Mapping[str, Entry]) -> dict[str, str]:
    """Why each id must be run again; the ids of ``seen`` that are gone are among them."""
    reasons: dict[str, str] = {}
    for spec_id, entry in now.items():
        old = seen.get(spec_id)
        if old is None:
            reasons[spec_id] = "never run"
        elif old != entry:
            changed = [part for part in entry if old.get(part) != entry[part]]
            reasons[spec_id] = f"changed: {', '.join(changed)}"
    for spec_id in seen.keys() - now.keys():
        reasons[spec_id] = "defined no more"
    return reasons
