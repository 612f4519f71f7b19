"""Documents: every link and every path that they name leads somewhere, and their Python parses."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *(
            ROOT / name
            for name in ("bench/README.md", "vectors/README.md", "native/fuzz/README.md")
        ),
    ]
)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```([\w-]*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: A path of this repository in backticks, without a pattern in it.
NAMED = re.compile(
    r"`((?:src|tests|docs|bench|tools|native|vectors|examples|interop|requirements)/[\w./-]+)`"
)
#: A test of this repository in backticks, by name.
NAMED_TEST = re.compile(r"`(tests/[\w/-]+\.py)::(\w+)`")
#: Made by a command, so it may be absent in a fresh checkout.
GENERATED = {ROOT / "bench" / "results"}
#: Names paths of the repositories that the vectors come from.
FOREIGN = ROOT / "vectors" / "README.md"


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(text: str) -> set[str]:
    """The anchors that a renderer makes of the headings in ``text``."""
    headings = re.findall(r"^#{1,6} +(.*)$", FENCE.sub("", text), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings
    }


def broken_links(page: Path, text: str) -> list[str]:
    broken = []
    for link in LINK.findall(FENCE.sub("", text)):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        if file in GENERATED:
            continue
        is_known = file.exists() and (
            not anchor or file.suffix != ".md" or anchor in anchors(file.read_text("utf-8"))
        )
        if not is_known:
            broken.append(link)
    return broken


def test_the_checker_sees_a_broken_link_and_a_broken_anchor() -> None:
    page = ROOT / "docs" / "README.md"
    text = "[a](adr/README.md) [b](nowhere.md) [c](spec/crypto.md#no) [d](spec/crypto.md#14-siv)"
    assert broken_links(page, text) == ["nowhere.md", "spec/crypto.md#no"]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page, page.read_text("utf-8")) == []


@pytest.mark.parametrize("page", [p for p in PAGES if p != FOREIGN], ids=name_of)
def test_named_files_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    missing = [name for name in NAMED.findall(text) if not (ROOT / name).exists()]
    assert [name for name in missing if ROOT / name.rstrip("/") not in GENERATED] == []


def missing_tests(text: str) -> list[str]:
    """Tests that ``text`` names and that are not defined where it says."""
    missing = []
    for file, name in NAMED_TEST.findall(text):
        path = ROOT / file
        source = path.read_text("utf-8") if path.exists() else ""
        if not re.search(rf"^ *(?:async )?def {name}\(", source, re.MULTILINE):
            missing.append(f"{file}::{name}")
    return missing


def test_the_checker_sees_a_test_that_is_gone() -> None:
    here = "tests/unit/testing/test_docs_links.py"
    text = f"`{here}::test_named_files_exist` `{here}::test_gone` `tests/gone.py::test_it`"
    assert missing_tests(text) == [f"{here}::test_gone", "tests/gone.py::test_it"]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_named_tests_exist(page: Path) -> None:
    assert missing_tests(page.read_text("utf-8")) == []


def test_every_claim_names_a_test() -> None:
    """A file or a command that would fail if the claim no longer held; a benchmark is no test."""
    rows = (ROOT / "docs/security/claims.md").read_text("utf-8").splitlines()
    claims = [row.split(" | ") for row in rows if row.startswith("| ")][1:]
    assert len(claims) > 30
    without = [claim for claim, _, seen, *_ in claims if "`tests/" not in seen]
    assert without == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_in_documents_parses(page: Path) -> None:
    for language, code in FENCE.findall(page.read_text("utf-8")):
        if language == "python":
            compile(code, name_of(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_the_index_names_every_page() -> None:
    """What nobody links, nobody finds."""
    docs = ROOT / "docs"
    indexes = [docs / "README.md", docs / "spec" / "README.md", docs / "adr" / "README.md"]
    linked = {
        (index.parent / link.partition("#")[0]).resolve()
        for index in indexes
        for link in LINK.findall(index.read_text("utf-8"))
        if not re.match(r"[a-z]+:", link)
    }
    pages = {page for page in docs.glob("**/*.md") if page not in indexes}
    assert {name_of(page) for page in pages - linked} == set()


def test_every_id_that_a_document_cites_is_defined() -> None:
    spec = "\n".join(page.read_text("utf-8") for page in (ROOT / "docs" / "spec").glob("*.md"))
    defined = set(re.findall(r"\*\*([A-Z]{2}-\d{1,3})\*\*", spec))
    assert len(defined) > 200
    families = {identifier[:2] for identifier in defined}
    for page in PAGES:
        for cited in re.findall(r"\b([A-Z]{2}-\d{1,3})\b", page.read_text("utf-8")):
            assert cited[:2] not in families or cited in defined, f"{name_of(page)} cites {cited}"
