"""What a start loads: counted in modules, so that no machine decides.

The figures in time stand in ``bench/startup.py``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

#: Each costs more to load than an interpreter to start, or starts something.
HEAVY = frozenset(
    ("asyncio", "socket", "ssl", "threading", "ctypes", "logging", "cryptography", "blake3",
     "monocypher", "numpy", "aioquic", "qh3", "ifaddr", "platformdirs", "wraith_native", "segno")
)  # fmt: skip
REPORT = "import json, sys; print(json.dumps(sorted(sys.modules)), file=sys.stderr)"


def loaded(program: str, *arguments: str) -> set[str]:
    """Every module that ``program`` loads, those of a bare interpreter left out."""

    def modules(code: str) -> set[str]:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return set(json.loads(done.stderr.splitlines()[-1]))

    return modules(f"{program}\n{REPORT}") - modules(REPORT)


def tops(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def ours(modules: set[str]) -> set[str]:
    return {name for name in modules if name.partition(".")[0] == "wraith"}


def test_the_package_loads_nothing_but_itself() -> None:
    found = loaded("import wraith")
    assert ours(found) == {"wraith"}
    assert not tops(found) & HEAVY


@pytest.mark.parametrize("name", ["connect", "send"])
def test_what_dials_or_offers_loads_no_machine_before_it_is_used(name: str) -> None:
    found = loaded(f"import wraith; wraith.{name}")
    assert not tops(found) & HEAVY
    assert len(ours(found)) <= 8, ours(found)


def test_the_help_loads_no_command() -> None:
    program = "import wraith.__main__; wraith.__main__.main()"
    found = loaded(program, "--help")
    assert "click" not in tops(found) and not tops(found) & HEAVY
    assert ours(found) == {"wraith", "wraith.__main__", "wraith.cli", "wraith.cli.front_page"}


@pytest.mark.parametrize("words", [("sned",), ("--version",), ("version",), ("help",)])
def test_a_command_that_needs_no_network_loads_none(words: tuple[str, ...]) -> None:
    program = (
        f"import wraith.cli.main as line\ntry: line.main({list(words)!r})\nexcept SystemExit: pass"
    )
    assert not tops(loaded(program)) & (HEAVY - {"threading"})  # click knows threads


def test_a_code_is_shown_before_what_answers_there_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("a line\n", "utf-8")
    program = (
        "import os, sys, wraith.cli.send as command, wraith.cli.main as line\n"
        f"os.environ['WRAITH_HOME'] = {str(tmp_path / 'home')!r}\n"
        "class Shown(Exception): pass\n"
        "def shown(*arguments, **options): raise Shown\n"
        "command.invite = shown\n"
        f"try: line.main(['send', '--listen', '127.0.0.1:0', {str(tmp_path / 'notes.txt')!r}])\n"
        "except Shown: pass"
    )
    found = ours(loaded(program))
    assert "wraith.cli.send" in found and "wraith.aio.ports" in found
    machine = {"connection.connection", "connection.endpoint", "node.node", "transfer.sender"}
    late = {*machine, "transfer.messages", "transfer.wishes", "cli.narrator", "aio.transfers"}
    assert not found & {f"wraith.{name}" for name in late}
    assert len(found) <= 105, sorted(found)


def test_a_session_over_udp_and_tcp_loads_no_library_of_another_carrier() -> None:
    program = (
        "import asyncio, wraith\n"
        "async def main():\n"
        "    async with wraith.listen('127.0.0.1:0', carriers=('udp', 'tcp')) as listener:\n"
        "        async with wraith.connect(listener.code) as session:\n"
        "            await listener.accept()\n"
        "asyncio.run(main())"
    )
    assert not tops(loaded(program)) & {"aioquic", "qh3", "websockets"}


def test_a_heavy_module_is_noticed() -> None:
    assert "asyncio" in tops(loaded("import asyncio")) & HEAVY
