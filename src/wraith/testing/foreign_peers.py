"""Runs foreign peers as processes and reads what they say about themselves.

A QUIC peer prints one JSON object per line; hashes and groups in it were computed by that peer. A
peer that is not here skips the test with the reason, or fails it where ``WRAITH_REQUIRE_INTEROP``
names it.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import pytest

BIN = Path(__file__).parents[3] / "interop-bin"
ANSWER_TIMEOUT_S = 30.0
_SYSTEM_BIN = ("/usr/sbin", "/sbin")  # not on every user's PATH


def absent(peer: str, reason: str) -> NoReturn:
    """Skips, or fails where the peer is required."""
    required = os.environ.get("WRAITH_REQUIRE_INTEROP", "").split(",")
    message = f"{peer}: {reason}"
    if peer in required:
        pytest.fail(f"{message} (WRAITH_REQUIRE_INTEROP names it)")
    pytest.skip(message)


def require_binary(peer: str, name: str) -> Path:
    """The path of a built peer."""
    path = BIN / name
    if not path.exists():
        absent(peer, f"interop-bin/{name} is not built; `make interop` builds what it can")
    return path


def find_program(name: str) -> Path | None:
    """The path of an installed server, proxy or tool."""
    found = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), *_SYSTEM_BIN)))
    return Path(found) if found is not None else None


def require_program(name: str) -> Path:
    """The same; ``name`` is what WRAITH_REQUIRE_INTEROP calls it too."""
    found = find_program(name)
    if found is None:
        absent(name, "not installed; tools/setup-carriers.sh installs it where it may")
    return found


class ForeignPeer:
    """One process. ``async with`` ends it: its stdin is closed, and what stays is killed."""

    def __init__(self, program: Path, *arguments: str) -> None:
        self._command = (str(program), *arguments)
        self._process: asyncio.subprocess.Process | None = None
        self.seen: list[dict[str, Any]] = []

    async def __aenter__(self) -> ForeignPeer:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process = self._process
        assert process is not None and process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(5):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        # Drops the pipes' transports before the loop does.
        process._transport.close()  # type: ignore[attr-defined]

    def say(self, line: str) -> None:
        """One line on the peer's stdin."""
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    async def event(self, name: str) -> dict[str, Any]:
        """The next event called ``name``; others are kept in ``seen``.

        Raises:
            AssertionError: the peer reports a failure, ends, or says nothing in time.
        """
        while True:
            found = await self.next()
            if found["event"] == name:
                return found
            assert found["event"] != "failed", found

    async def next(self) -> dict[str, Any]:
        process = self._process
        assert process is not None and process.stdout is not None and process.stderr is not None
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            line = await process.stdout.readline()
        if not line:
            errors = (await process.stderr.read()).decode(errors="replace")
            raise AssertionError(f"{self._command[0]} ended: {errors[-2000:]}")
        found: dict[str, Any] = json.loads(line)
        self.seen.append(found)
        return found
