"""Runs one page in a headless Chromium and hands back what the page reports.

The page is served from ``http://127.0.0.1``, which browsers treat as a secure context (a file is
none, and WebTransport exists only in one), and tells its result by a POST to the server it came
from. Only for interoperability tests; stdlib asyncio, no driver protocol.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any, Final

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
_FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
_REPORT: Final = """
const report = (result) => fetch("/result", {method: "POST", body: JSON.stringify(result)});
"""
_LIMIT_BYTES: Final = 1 << 20


def find_browser() -> str | None:
    """The path of an installed Chromium, ``None`` without one."""
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


class _PageServer:
    """Answers ``/`` with the page, takes one POST to ``/result``, knows nothing else."""

    def __init__(self, script: str) -> None:
        page = f"<!doctype html><script>{_REPORT}{script}</script>"
        self._page = page.encode()
        self.result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, path, *_ = head.split(" ", 2)
            status, body = "404 Not Found", b""
            if (method, path) == ("GET", "/"):
                status, body = "200 OK", self._page
            elif (method, path) == ("POST", "/result"):
                fields = dict(
                    line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line
                )
                n = min(int(fields.get("content-length", "0")), _LIMIT_BYTES)
                found = json.loads(await reader.readexactly(n))
                if not self.result.done():
                    self.result.set_result(found)
                status = "204 No Content"
            writer.write(
                f"HTTP/1.1 {status}\r\ncontent-type: text/html\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
                + body
            )
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the browser opens connections that it does not use
        finally:
            writer.close()


async def run_page(browser: str, script: str, profile: Path, *, timeout_s: float = 60) -> Any:
    """Runs ``script`` in a page until it calls ``report(value)``; returns that value.

    Args:
        browser: the program, see :func:`find_browser`.
        script: JavaScript in the page; ``report`` is defined.
        profile: an empty folder for the browser's own files.

    Raises:
        AssertionError: the browser ended first, or reported nothing in time; with its last lines.
    """
    pages = _PageServer(script)
    server = await asyncio.start_server(pages.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    log = profile.with_suffix(".log")
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            browser,
            *_FLAGS,
            f"--user-data-dir={profile}",
            f"http://127.0.0.1:{port}/",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,  # its helper processes end with it
        )
    ended = asyncio.ensure_future(process.wait())
    try:
        await asyncio.wait(
            (pages.result, ended), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        if not pages.result.done():
            why = f"ended ({ended.result()})" if ended.done() else "reported nothing in time"
            raise AssertionError(f"{browser} {why}: {log.read_text(errors='replace')[-2000:]}")
        return pages.result.result()
    finally:
        if not ended.done():
            os.killpg(process.pid, signal.SIGKILL)
        await ended
        server.close()
        await server.wait_closed()
