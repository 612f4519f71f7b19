"""What docs/howto/through-a-proxy.md says, run as far as a test can."""

from __future__ import annotations

import asyncio
import re
import shlex
import socket
import subprocess
from pathlib import Path

import pytest

from wraith.aio.transports.base import OpenFailed
from wraith.aio.transports.proxy import connect_through
from wraith.connection.roads.proxies import ProxyPlan, proxy_plan
from wraith.errors import EXTRAS
from wraith.testing.documents import blocks
from wraith.testing.foreign_peers import require_program
from wraith.testing.proxies import free_port, running

pytestmark = [pytest.mark.interop, pytest.mark.timeout(60)]
PAGE = Path(__file__).parents[3] / "docs" / "howto" / "through-a-proxy.md"
TEXT = PAGE.read_text("utf-8")
ENOUGH_S = 10.0


def block(title: str) -> str:
    return next(each.text for each in blocks(PAGE) if each.title == title)


def plan_of(title: str) -> ProxyPlan:
    """What a shell with these lines hands on."""
    said = subprocess.run(
        ["sh", "-c", f"{block(title)}\nenv"], env={}, capture_output=True, text=True, check=True
    )
    return proxy_plan("auto", dict(line.split("=", 1) for line in said.stdout.splitlines()))


def test_the_variables_mean_what_the_page_says() -> None:
    tor = plan_of("tor")
    assert tor.is_only and not tor.allows_udp
    assert str(tor.proxy) == "socks5://127.0.0.1:9050"
    assert tor.is_exempt("192.168.7.7") and tor.is_exempt("localhost")
    assert not tor.is_exempt("192.0.2.7")
    office = plan_of("office")
    assert office.allows_udp and office.proxy is not None
    assert (office.proxy.user, office.proxy.password) == ("anna", "p@ss")
    assert str(office.proxy) == "http://proxy.example.org:3128"


def test_the_page_escapes_what_it_says_and_names_the_extra() -> None:
    characters, escapes = re.findall(r"`([% /?#:@]{11})` as `([%0-9A-F\s]+)`", TEXT)[0]
    assert [f"%{ord(c):02X}" for c in characters.split()] == escapes.split()
    assert f"pip install '{EXTRAS['socks'][0]}'" in TEXT


async def through(url: str, port: int) -> str:
    """``open``, or why not."""
    deadline = asyncio.get_running_loop().time() + ENOUGH_S
    try:
        (await connect_through(url, "127.0.0.1", port, deadline=deadline)).close()
    except OpenFailed as error:
        return str(error.failure)
    return "open"


def test_bytes_go_through_the_proxies_of_the_page(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as peer:
        peer_port = peer.getsockname()[1]
        port = free_port()
        program, *words = shlex.split(block("microsocks").replace("1080", str(port)))
        with running([str(require_program(program)), *words], port):
            assert asyncio.run(through(f"socks5://127.0.0.1:{port}", peer_port)) == "open"

        configuration = tmp_path / "tinyproxy.conf"
        text = block("tinyproxy.conf").replace("Port 8888", f"Port {port}", 1)
        configuration.write_text(text)
        words = [str(require_program("tinyproxy")), "-d", "-c", str(configuration)]
        with running(words, port):
            url = f"http://anna:p4ss@127.0.0.1:{port}"
            assert asyncio.run(through(url, peer_port)) == "proxy-refused(403)"
            assert asyncio.run(through(f"http://127.0.0.1:{port}", 443)) == "proxy-auth(407)"
        configuration.write_text(text.replace("ConnectPort 443", f"ConnectPort {peer_port}"))
        with running(words, port):
            assert asyncio.run(through(url, peer_port)) == "open"
