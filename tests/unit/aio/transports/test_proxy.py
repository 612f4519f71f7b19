"""The way to a proxy itself, and what is left when it is given up. (Proxies that answer:
tests/interop/proxies.)"""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import socket
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.aio.transports import proxy as module
from wraith.aio.transports.base import OpenFailed
from wraith.aio.transports.proxy import connect_through, steps_for
from wraith.aio.transports.proxy_environment import VARIABLES, plan_proxies
from wraith.connection.roads.proxies import ProxyPlan, ProxyScheme, ProxyUrl
from wraith.errors import ConfigError, MissingExtra
from wraith.testing.netns import RoutedNet, require_netns, routed
from wraith.testing.proxies import free_port
from wraith.testing.proxy_fuzz import converse

SHORT_S = 0.3
HTTP = ProxyUrl(ProxyScheme.HTTP, "proxy.example", 3128)
SOCKS = ProxyUrl(ProxyScheme.SOCKS5, "proxy.example", 1080)
WITH_USER = ProxyUrl(ProxyScheme.SOCKS5, "proxy.example", 1080, "user", "hunter2")


def socks_reply(code: int) -> bytes:
    return b"\x05\x00" + bytes((5, code)) + b"\x00\x01" + bytes(6)


def status(code: object) -> bytes:
    return b"HTTP/1.1 %s what it is called\r\nServer: x\r\n\r\n" % str(code).encode()


@pytest.mark.spec("PX-6")
@pytest.mark.parametrize(
    ("url", "said", "outcome"),
    [
        (HTTP, status(200), "open"),
        (HTTP, status(407), "proxy-auth(407)"),
        (HTTP, status(401), "proxy-auth(401)"),
        (HTTP, status(302), "proxy-refused(302)"),
        (HTTP, status(403), "proxy-refused(403)"),
        (HTTP, status(503), "proxy-refused(503)"),
        (HTTP, status(502), "unreachable(the proxy answers 502)"),
        (HTTP, status(504), "syn-timeout(the proxy answers 504)"),
        (HTTP, status("2OO"), "proxy-refused(its answer is no HTTP)"),
        (HTTP, status("9" * 5_000), "proxy-refused(its answer is no HTTP)"),
        (HTTP, status(-200), "proxy-refused(its answer is no HTTP)"),
        (SOCKS, socks_reply(0), "open"),
        (SOCKS, socks_reply(1), "proxy-refused(1)"),
        (SOCKS, socks_reply(2), "proxy-refused(2)"),
        (SOCKS, socks_reply(3), "unreachable(network, says the proxy)"),
        (SOCKS, socks_reply(4), "unreachable(host or its name, says the proxy)"),
        (SOCKS, socks_reply(5), "refused(says the proxy)"),
        (SOCKS, socks_reply(6), "syn-timeout(says the proxy)"),
        (SOCKS, socks_reply(7), "proxy-refused(7)"),
        (SOCKS, socks_reply(255), "proxy-refused(255)"),
        (SOCKS, b"\x05\xff", "proxy-auth(it wants a user and a password)"),
        (SOCKS, b"\x05\x02", "proxy-refused(it chose what was not offered)"),
        (SOCKS, b"\x05\x00\x05\x00\x00\x02", "proxy-refused(its answer is no SOCKS 5)"),
        (WITH_USER, socks_reply(0), "open"),
        (WITH_USER, b"\x05\x02\x01\x00" + socks_reply(0)[2:], "open"),
        (WITH_USER, b"\x05\x02\x01\x01", "proxy-auth"),
        (WITH_USER, b"\x05\xff", "proxy-auth(it takes no password)"),
    ],
)
def test_what_an_answer_means(url: ProxyUrl, said: bytes, outcome: str) -> None:
    assert converse(url, said, len(said))[0] == outcome


def test_a_request_names_the_host_and_is_one_request() -> None:
    for host, place in (("peer.example", "peer.example:443"), ("2001:db8::1", "[2001:db8::1]:443")):
        request = next(steps_for(HTTP, host, 443))
        assert isinstance(request, bytes)
        assert request.startswith(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n".encode())
        assert request.endswith(b"\r\n\r\n") and request.count(b"\r\n\r\n") == 1
        assert b"Proxy-Authorization" not in request


@given(st.ip_addresses())
def test_a_numeric_address_is_asked_for_as_one(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    steps = steps_for(SOCKS, str(address), 443)
    assert next(steps) == b"\x05\x01\x00" and next(steps) == 2
    kind = b"\x01" if address.version == 4 else b"\x04"
    assert steps.send(b"\x05\x00") == b"\x05\x01\x00" + kind + address.packed + b"\x01\xbb"
    bracketed = f"[{address}]" if address.version == 6 else str(address)
    request = next(steps_for(HTTP, str(address), 443))
    assert isinstance(request, bytes) and request.startswith(f"CONNECT {bracketed}:443 ".encode())


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A proxy that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def url_of(server: socket.socket, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{server.getsockname()[1]}"


def fails(url: str, host: str = "peer.example", within_s: float = SHORT_S) -> str:
    async def run() -> str:
        deadline = asyncio.get_running_loop().time() + within_s
        with pytest.raises(OpenFailed) as failed:
            await connect_through(url, host, 443, deadline=deadline)
        return str(failed.value.failure)

    return asyncio.run(run())


def test_a_proxy_that_is_not_there() -> None:
    assert fails(f"socks5://127.0.0.1:{free_port()}") == "refused(the proxy)"
    assert fails("http://no-such-name.invalid:3128", within_s=10) == "name-unknown(the proxy)"


def test_a_proxy_that_the_network_swallows() -> None:
    require_netns()
    with routed() as net, net.left.entered():
        rule = net.drop_all()
        assert fails(f"http://{net.right.ipv4}:3128") == "syn-timeout(the proxy)"
        rule.remove()
        net.left.ip("route", "del", "default")
        assert fails(f"http://{net.right.ipv4}:3128") == "unreachable(the proxy)"


def test_the_second_address_of_a_proxy_is_tried_when_the_first_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_netns()
    with routed() as net:
        net.drop_all()
        with net.left.entered():
            assert _reached_behind(net, monkeypatch) == "syn-timeout(no answer from the proxy)"


def _reached_behind(net: RoutedNet, monkeypatch: pytest.MonkeyPatch) -> str:
    """The outcome of a proxy with two addresses; at the second one something listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))
            for host in (net.right.ipv4, "127.0.0.1")
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        return fails("http://proxy.example:3128", within_s=0.4)


@pytest.mark.spec("PX-5")
@pytest.mark.parametrize("host", ["", "a b", "peer.example\r\nHost: x", "fe80::1%eth0", "127.1"])
def test_what_is_no_host_is_not_asked_for(host: str, silent: socket.socket) -> None:
    assert fails(url_of(silent), host) == "name-unknown(not a host name)"
    silent.settimeout(0)
    with pytest.raises(BlockingIOError):
        silent.accept()


@pytest.mark.spec("PX-6")
@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_the_deadline_and_a_cancellation_close_the_socket(
    scheme: str, silent: socket.socket
) -> None:
    began = time.monotonic()
    assert fails(url_of(silent, scheme)) == "syn-timeout(no answer from the proxy)"
    assert time.monotonic() - began >= SHORT_S

    async def cancelled() -> None:
        deadline = asyncio.get_running_loop().time() + 60
        attempt = asyncio.create_task(
            connect_through(url_of(silent, scheme), "peer.example", 443, deadline=deadline)
        )
        await asyncio.sleep(0.05)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt

    asyncio.run(cancelled())
    gc.collect()  # a socket that is open still would warn
    for _ in range(2):
        silent.settimeout(5)
        with silent.accept()[0] as attempt:
            attempt.settimeout(5)
            while attempt.recv(4096):
                pass  # to the end of the stream


@pytest.mark.spec("PX-2")
def test_without_the_extra_only_what_may_be_left_out_is_left_out(
    monkeypatch: pytest.MonkeyPatch, silent: socket.socket
) -> None:
    monkeypatch.setattr(module, "proxies_are_installed", lambda: False)
    url = url_of(silent)
    for choice, environment in (
        (url, {}),
        (f"direct+{url}", {}),
        ("auto", {"ALL_PROXY": url.replace("://", "://user:hunter2@")}),
    ):
        with pytest.raises(MissingExtra, match="http://127") as missing:
            plan_proxies(choice, environment)
        assert "python-socks" in missing.value.hint and "hunter2" not in str(missing.value)
    plan = plan_proxies("auto", {"HTTPS_PROXY": url})
    assert plan.proxy is None and plan.allows_udp
    assert "HTTPS_PROXY" in plan.sentence and "python-socks" in plan.sentence
    with pytest.raises(MissingExtra):
        asyncio.run(connect_through(url, "peer.example", 443, deadline=0))


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert plan_proxies() == ProxyPlan()
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:9050")
    assert str(plan_proxies().proxy) == "socks5://127.0.0.1:9050"
    assert plan_proxies("none") == ProxyPlan()
    monkeypatch.setenv("no_proxy", "*")
    assert plan_proxies() == ProxyPlan()


def test_a_road_with_a_bad_url_is_an_error_of_ours() -> None:
    with pytest.raises(ConfigError, match="socks5"):
        asyncio.run(connect_through("gopher://x:70", "peer.example", 443, deadline=0))
