"""A real nginx as a child process, with the configuration that the howto shows.

Of that text only ports and paths are replaced; around it stands what a distribution's own
``nginx.conf`` has: where temporary files and logs lie.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path

from wraith.aio.transports.websocket_dial import connect_tcp
from wraith.testing.documents import blocks
from wraith.testing.foreign_peers import require_program
from wraith.testing.proxies import free_port
from wraith.testing.web_authority import WebAuthority

ROOT = Path(__file__).parents[3]
HOWTO = ROOT / "docs" / "howto" / "behind-nginx.md"
HOST = "example.org"
NOT_FOUND_PAGE = b"<!doctype html><title>Not found</title><h1>There is no such page here.</h1>\n"
START_S = 10.0

_AROUND = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/wraith.conf;
}}
"""


def howto_configuration() -> str:
    """The one block of configuration on the page."""
    (text,) = [block.text for block in blocks(HOWTO) if block.language == "nginx"]
    return text


class Nginx:
    """One process; ``async with`` starts it and ends it.

    Args:
        folder: empty; for its configuration, site and logs.
        authority: signs the certificate of ``host``.
        node_port: where the node listens on loopback.
        replaced: further text of the page and what stands in its place.
    """

    def __init__(
        self,
        folder: Path,
        authority: WebAuthority,
        node_port: int,
        replaced: Mapping[str, str] | None = None,
        *,
        host: str = HOST,
    ) -> None:
        self.program = str(require_program("nginx"))
        self.port = free_port()
        self.folder = folder
        self._process: asyncio.subprocess.Process | None = None
        site = folder / "site"
        site.mkdir(parents=True)
        (site / "404.html").write_bytes(NOT_FOUND_PAGE)
        (site / "index.html").write_bytes(b"<!doctype html><title>A site</title>\n")
        certificate, key = authority.issue(host)
        text = howto_configuration()
        for old, new in {
            "listen 443": f"listen {self.port}",
            "127.0.0.1:8080": f"127.0.0.1:{node_port}",
            f"/etc/letsencrypt/live/{HOST}/fullchain.pem": str(certificate),
            f"/etc/letsencrypt/live/{HOST}/privkey.pem": str(key),
            "/var/www/html": str(site),
            **(replaced or {}),
        }.items():
            if old not in text:
                raise ValueError(f"the page no longer says {old!r}")
            text = text.replace(old, new)
        (folder / "wraith.conf").write_text(text)
        self.configuration = folder / "nginx.conf"
        self.configuration.write_text(_AROUND.format(folder=folder))

    async def __aenter__(self) -> Nginx:
        self._process = await asyncio.create_subprocess_exec(
            self.program, "-p", str(self.folder), "-c", str(self.configuration),
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        async with asyncio.timeout(START_S):
            while not await self._answers():
                if self._process.returncode is not None:
                    raise RuntimeError((self.folder / "error.log").read_text())
                await asyncio.sleep(0.02)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.kill()

    async def kill(self) -> None:
        """SIGKILL. Idempotent."""
        process = self._process
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()

    def url(self, path: str = "/share") -> str:
        return f"wss://{HOST}:{self.port}{path}"

    async def connect(self, host: str, port: int) -> socket.socket:
        """The resolver of these tests: every name is that of loopback."""
        del host
        return await connect_tcp("127.0.0.1", port)

    async def connect_from_elsewhere(self, host: str, port: int) -> socket.socket:
        """The same, from an address that is not the node's own."""
        del host
        sock = socket.socket()
        sock.setblocking(False)
        sock.bind(("127.0.0.2", 0))
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return sock

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True
