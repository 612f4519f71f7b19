"""Prose: decisions are stated in sentences, and what was unreadable does not come back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DECISIONS = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
#: Words of a first sentence, code left out.
WORDS_MIN = 7
#: What names a decision by its place among the options, or answers a question that is not there.
ELLIPTIC = re.compile(
    r"(the (last|first|second|third|fourth|latter|former)|both|neither|none|yes|no)\b",
    re.IGNORECASE,
)
#: Sentences that a review could not follow at the first reading.
UNREADABLE = (
    "**Decision.** The last",
    "is matched by whoever holds it",
    "who waits goes on waiting for someone better",
    "Whoever only receives has nothing in flight",
    "keeps the window that it has used",
    "than the smaller of an eighth of the window and 65,536 bytes",
    "is neither searched nor left",
    "so a DROP cannot meet a chunk that came after it",
    "meets one time in eight; a few observations would tell",
    "waits there for milliseconds has left the processor's cache when its turn comes, and is",
)


def decision_of(page: str) -> str | None:
    """The first sentence after ``**Decision.**``; None unless ``page`` has one such paragraph."""
    found = re.findall(r"^\*\*Decision\.\*\* +(.*?)(?=\n\n|\Z)", page, re.MULTILINE | re.DOTALL)
    if len(found) != 1:
        return None
    return re.split(r"(?<=[.:;]) ", " ".join(found[0].split()))[0]


def is_stated(sentence: str | None) -> bool:
    """Whether ``sentence`` names what was decided without the options before it."""
    if sentence is None or ELLIPTIC.match(sentence):
        return False
    return len(re.findall(r"[^\W\d_]+", re.sub(r"`[^`]*`", "", sentence))) >= WORDS_MIN


@pytest.mark.parametrize(
    "text",
    [
        "**Context.** No decision at all, in a page that is long enough to hold one.",
        "**Decision.** The last.",
        "**Decision.** The last. Only `aio/` may touch sockets, files, clocks and the environment.",
        "**Decision.** The last, in a crate of its own that holds the `unsafe` calls.",
        "**Decision.** The second: `wraith/mls/`, pure, over the library's HPKE, ML-KEM and AEADs.",
        "**Decision.** The last (RK-5). A PING is answered by PONG, and its answer is traffic.",
        "**Decision.** `max(3 · RTT, 100 ms)`, doubling, six times (HS-53).",
        "**Decision.** Yes, and the list below is the whole of what was decided on this page.",
    ],
)
def test_the_checker_sees_a_decision_that_is_not_stated(text: str) -> None:
    assert not is_stated(decision_of(f"# 1. A page\n\n{text}\n\n**Consequences.** Some.\n"))


def test_the_checker_takes_a_sentence_that_runs_over_two_lines() -> None:
    text = "**Decision.** The safe form is the default\neverywhere, in both roles. More.\n"
    assert decision_of(text) == "The safe form is the default everywhere, in both roles."
    assert is_stated(decision_of(text))


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem[:4])
def test_every_decision_record_states_its_decision(page: Path) -> None:
    assert is_stated(decision_of(page.read_text("utf-8"))), f"{page.name}: not a full sentence"


def occurrences(text: str) -> list[str]:
    """Of ``UNREADABLE`` what stands in ``text``, however its lines are broken."""
    plain = " ".join(re.sub(r"^\s*#:? ", " ", text, flags=re.MULTILINE).split())
    return [phrase for phrase in UNREADABLE if phrase in plain]


def test_the_checker_sees_a_phrase_over_two_lines_of_a_comment() -> None:
    text = (
        "    # Only who dialled can be told; who waits goes on\n    # waiting for someone better.\n"
    )
    assert occurrences(text) == ["who waits goes on waiting for someone better"]


def test_what_could_not_be_followed_does_not_come_back() -> None:
    files = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("src/**/*.py")]
    assert len(files) > 200
    found = {
        str(path.relative_to(ROOT)): phrases
        for path in files
        if (phrases := occurrences(path.read_text("utf-8")))
    }
    assert found == {}


def docstrings(source: str) -> Iterator[str]:
    """The text of every docstring in ``source``, those below attributes included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            text = node.value.value
            if isinstance(text, str):
                yield text


def fragments(source: str) -> list[str]:
    """Beginnings of docstrings that are a question's clause and no sentence."""
    return [
        text[:60]
        for text in docstrings(source)
        if re.match(r"(What|Who|Whom|How|Where|When|Whether|Why)\b", text.lstrip())
    ]


def test_the_checker_sees_a_docstring_that_is_a_clause() -> None:
    source = '"""What it is."""\nx = 1\n"""How it goes."""\ndef f():\n    """Says where it is."""\n'
    assert fragments(source) == ["What it is.", "How it goes."]


def test_docstrings_of_the_command_line_are_sentences() -> None:
    files = sorted((ROOT / "src" / "wraith" / "cli").glob("*.py"))
    assert len(files) > 15
    found = {path.name: texts for path in files if (texts := fragments(path.read_text("utf-8")))}
    assert found == {}
