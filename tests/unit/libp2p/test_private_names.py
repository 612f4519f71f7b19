"""What is used of aioquic's inside is listed in decision 17, name by name."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import aioquic.quic

import wraith.libp2p.quic_aioquic as backend
from wraith.libp2p import first_packets

DECISION = Path(__file__).parents[3] / "docs" / "adr" / "0017-private-names-of-aioquic.md"


def names_of_the_library() -> set[str]:
    """Private attributes and methods of its packet layer."""
    (folder,) = aioquic.quic.__path__
    text = "\n".join(path.read_text() for path in sorted(Path(folder).glob("*.py")))
    return set(re.findall(r"(?:self\.|def )(_[a-z]\w*)", text))


def names_in(source: str) -> set[str]:
    """Attributes that are read or set, and methods that are defined, so also overridden."""
    tree = ast.parse(source)
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return names | {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def listed() -> set[str]:
    rows = re.findall(r"^\| (`_.+?`) \|", DECISION.read_text(), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_private_names_of_aioquic_are_those_of_decision_17() -> None:
    used = names_in(Path(backend.__file__).read_text()) & names_of_the_library()
    public_only = names_in(Path(first_packets.__file__).read_text()) & names_of_the_library()
    assert public_only - {"_tokens"} == set()
    assert used == listed()
    assert len(used) <= 25, "the list may shrink"


def test_a_new_private_name_would_be_seen() -> None:
    """The nearest failure: what the test above looks for is found where it is used."""
    assert "_spaces" in names_of_the_library() and "_spaces" not in listed()
    assert "_spaces" in names_in("class C:\n    def f(self):\n        return self._quic._spaces\n")
    assert "_discard_epoch" in names_in("class C:\n    def _discard_epoch(self): ...\n")
