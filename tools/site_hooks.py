"""Calls from MkDocs while it builds the site (``hooks`` in ``mkdocs.yml``).

Pages link to files of the repository that lie outside of ``docs/``. Those files come with the site,
below ``repository/``, and the links are turned to them. What a page of theirs links to comes, too.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

import wraith

ROOT = Path(__file__).resolve().parent.parent
DOCS = "docs/"
OUTSIDE = "repository/"
#: Reached from the navigation and from nowhere else.
ALWAYS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
#: Stands in the page for all that ``wraith.__all__`` has.
NAMES = "<!-- each public name -->"
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)((?:#[^)\s]*)?)(?=\))")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Puts pages that the navigation does not name at the end of the section of their folder."""
    docs = Path(config.docs_dir)
    for section in config.nav or ():
        (pages,) = section.values()
        if isinstance(pages, list):
            folder = docs / Path(pages[0]).parent
            found = sorted(page.relative_to(docs).as_posix() for page in folder.glob("*.md"))
            pages += [page for page in found if page not in pages]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the files outside of ``docs/`` that pages link to."""
    waiting = [*ALWAYS, *(DOCS + file.src_uri for file in files.documentation_pages())]
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        if not path.startswith(DOCS):
            added = File.generated(config, OUTSIDE + path, abs_src_path=str(ROOT / path))
            if path not in ALWAYS:
                added.inclusion = InclusionLevel.NOT_IN_NAV
            files.append(added)
        if path.endswith(".md"):
            found = set(_targets(path, (ROOT / path).read_text("utf-8"))) - seen
            seen |= found
            waiting += sorted(found)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns the links of a page to where their targets are on the site."""
    del config, files
    path = _in_repository(page.file.src_uri)
    here = posixpath.dirname(page.file.src_uri)

    def turned(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), match[1]))
        if not (ROOT / target).is_file():
            return match[0]  # MkDocs says what is wrong
        return posixpath.relpath(_on_site(target), here) + match[2]

    return _LINK.sub(turned, markdown).replace(NAMES, _directives())


def _directives() -> str:
    """What makes ``mkdocstrings`` describe each public name of the package, where it is defined."""
    values = [getattr(wraith, name) for name in wraith.__all__]
    found = [value for value in values if isinstance(value, type | FunctionType)]
    return "\n\n".join(f"::: {value.__module__}.{value.__qualname__}" for value in found)


def _targets(path: str, text: str) -> Iterator[str]:
    """Files of the repository that a page links to; those below ``docs/`` are there already."""
    for link, _ in _LINK.findall(_FENCE.sub("", text)):
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), link))
        if not target.startswith(DOCS) and (ROOT / target).is_file():
            yield target


def _on_site(path: str) -> str:
    return path.removeprefix(DOCS) if path.startswith(DOCS) else OUTSIDE + path


def _in_repository(uri: str) -> str:
    return uri.removeprefix(OUTSIDE) if uri.startswith(OUTSIDE) else DOCS + uri
