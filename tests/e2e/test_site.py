"""``make docs``: the site builds without a warning, holds all pages, fetches nothing elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import wraith

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("**/*.md"))
#: What a browser fetches by itself, as distinct from a link that a person follows.
FETCHED = re.compile(r"<(?:script|img|iframe|source|link)\b[^>]*\b(?:src|href)=\"?([^\s\">]+)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = build(ROOT / "mkdocs.yml", folder)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def build(config: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "-f", str(config), "-d", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=110,
    )


def test_every_page_is_there(site: Path) -> None:
    for page in PAGES:
        name = page.relative_to(ROOT / "docs").with_suffix(".html")
        path = site / (name if name.stem != "README" else name.with_name("index.html"))
        assert path.exists(), name
    front = (site / "index.html").read_text("utf-8")
    assert "Documents, by what you need" in front


def test_files_of_the_repository_that_pages_name_come_with_it(site: Path) -> None:
    tutorial = (site / "tutorial" / "first-stream.html").read_text("utf-8")
    assert 'href="../repository/examples/echo_server.py"' in tutorial
    assert (site / "repository" / "examples" / "echo_server.py").exists()
    readme = (site / "repository" / "index.html").read_text("utf-8")
    assert 'href="../explanation/architecture.html"' in readme


def test_every_public_name_has_its_place_in_the_reference(site: Path) -> None:
    page = (site / "reference" / "python.html").read_text("utf-8")
    for name in set(wraith.__all__) - {"__version__"}:
        value = getattr(wraith, name)
        is_module = isinstance(value, ModuleType)
        place = value.__name__ if is_module else f"{value.__module__}.{value.__qualname__}"
        assert f'id="{place}' in page, name
    assert 'id="wraith.aio.sessions.session.Session.open_stream"' in page


def test_it_fetches_nothing_from_another_host(site: Path) -> None:
    pages = list(site.glob("**/*.html"))
    assert len(pages) > 50
    fetched = {
        found
        for page in pages
        for found in FETCHED.findall(page.read_text("utf-8"))
        if re.match(r"[a-z]+:|//", found)
    }
    assert fetched == set()
    styles = "\n".join(path.read_text("utf-8") for path in site.glob("**/*.css"))
    assert re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", styles) == []
    # The theme fetches a renderer for diagrams where a page has one in this class.
    assert not any('class="mermaid"' in page.read_text("utf-8") for page in pages)


def test_a_broken_link_stops_the_build(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "README.md").write_text("[a](#nowhere) [b](gone.md)\n", "utf-8")
    text = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:")[0]
    config = tmp_path / "mkdocs.yml"
    config.write_text(text.replace("  - tools/site_hooks.py", "  []"), "utf-8")
    built = build(config, tmp_path / "site")
    assert built.returncode != 0
    said = built.stdout + built.stderr
    assert "#nowhere" in said and "gone.md" in said
