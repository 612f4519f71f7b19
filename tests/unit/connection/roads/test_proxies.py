"""What ``--proxy`` and the environment make of roads."""

from __future__ import annotations

import ipaddress
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wraith.connection.roads.proxies import (
    ProxyPlan,
    ProxyScheme,
    ProxyUrl,
    checked_host,
    proxy_plan,
    road_host,
)
from wraith.errors import ConfigError
from wraith.types import Address, Carrier, Road

TOR = "socks5h://127.0.0.1:9050"
OFFICE = "http://user:hunter2@proxy.example:3128"
PEER = Address(bytes((192, 0, 2, 1)), 4433)
NEAR = Address(bytes((10, 0, 0, 7)), 4433)


def roads(*addresses: Address) -> list[Road]:
    streams = [
        Road(carrier, address)
        for carrier in (Carrier.UDP, Carrier.QUIC, Carrier.TCP)
        for address in addresses or (PEER,)
    ]
    return [*streams, Road(Carrier.WS, url="wss://peer.example:8443/prefix")]


def shown(found: tuple[Road, ...]) -> list[tuple[Carrier, bool]]:
    """The carrier of each road, and whether it leads through a proxy."""
    return [(road.carrier, road.proxy is not None) for road in found]


# --- URLs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("http://192.0.2.9:3128", ProxyUrl(ProxyScheme.HTTP, "192.0.2.9", 3128)),
        ("HTTP://Proxy.Example:3128/", ProxyUrl(ProxyScheme.HTTP, "proxy.example", 3128)),
        ("proxy:3128", ProxyUrl(ProxyScheme.HTTP, "proxy", 3128)),
        ("socks5://[2001:db8::1]:1080", ProxyUrl(ProxyScheme.SOCKS5, "2001:db8::1", 1080)),
        (TOR, ProxyUrl(ProxyScheme.SOCKS5, "127.0.0.1", 9050)),
        (OFFICE, ProxyUrl(ProxyScheme.HTTP, "proxy.example", 3128, "user", "hunter2")),
        ("http://u:@p:1", ProxyUrl(ProxyScheme.HTTP, "p", 1, "u", "")),
        ("http://u:a%40b%3Ac@p:1", ProxyUrl(ProxyScheme.HTTP, "p", 1, "u", "a@b:c")),
        ("http://u:a@b@p:1", ProxyUrl(ProxyScheme.HTTP, "p", 1, "u", "a@b")),
    ],
)
def test_a_url_is_read_and_written(text: str, found: ProxyUrl) -> None:
    assert ProxyUrl.parse(text) == found
    assert ProxyUrl.parse(found.with_credentials) == found


@pytest.mark.spec("PX-7")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://proxy.example:443",
        "socks4://127.0.0.1:1080",
        "ftp://hunter2@proxy.example:21",
        "http://proxy.example",
        "http://proxy.example:0",
        "http://proxy.example:65536",
        "http://proxy.example:+80",
        "http://proxy.example:hunter2",
        "http://user:hunter2",
        "http://hunter2@proxy.example:80",
        "http://:hunter2@proxy.example:80",
        "http://us%3Aer:hunter2@proxy.example:80",
        "socks5://user:@proxy.example:1080",
        "http://user:hunter2%0d%0a@proxy.example:80",
        "http://user:hunter2%C3%A9@proxy.example:80",
        f"http://user:{'h' * 256}@proxy.example:80",
        "http://2001:db8::1:80",
        "http://[192.0.2.1]:80",
        "http://[fe80::1%25eth0]:80",
        "http://proxy.example:80/path",
        "http://proxy.example:80?hunter2",
        "http://pro xy:80",
        "http://prøxy:80",
        "hunter2://:80",
        "user:hunter2@proxy",
    ],
)
def test_another_url_is_refused_with_what_is_accepted_and_shows_nothing(text: str) -> None:
    with pytest.raises(ConfigError, match="ALL_PROXY") as refused:
        ProxyUrl.parse(text, "ALL_PROXY")
    for said in (str(refused.value), repr(refused.value.__dict__)):
        assert "hunter2" not in said.replace("hunter2://…", "")
        assert "http://HOST:PORT or socks5://HOST:PORT" in said


@pytest.mark.spec("PX-7")
def test_credentials_are_in_no_text_but_their_own() -> None:
    url = ProxyUrl.parse(OFFICE)
    plan = proxy_plan(OFFICE, {})
    (road,) = plan.roads([Road(Carrier.TCP, PEER)])
    for text in (str(url), repr(url), repr(plan), plan.sentence, repr(road), str(road), f"{url}"):
        assert "hunter2" not in text and "user" not in text
    assert str(url) == "http://proxy.example:3128"
    assert road.proxy == OFFICE


# --- hosts --------------------------------------------------------------------------------------


@pytest.mark.spec("PX-5")
@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Peer.Example", "peer.example"),
        ("peer.example.", "peer.example."),
        ("a_b-c.example", "a_b-c.example"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("xn--prxy-gra.example", "xn--prxy-gra.example"),
        ("", None),
        (".", None),
        ("a..b", None),
        ("-a.example", None),
        ("127.1", None),
        ("010.0.0.1", None),
        ("0x7f.0.0.1.", None),
        ("fe80::1%eth0", None),
        ("[::1]", None),
        ("peer.example\r\nX: y", None),
        ("peer.example ", None),
        ("peer.example/", None),
        ("pé.example", None),
        ("a" * 64, None),
        (".".join(["a" * 60] * 5), None),
    ],
)
def test_a_host_can_stand_in_a_request_line_or_is_refused(text: str, host: str | None) -> None:
    assert checked_host(text) == host


@given(st.text(max_size=40))
def test_what_passes_holds_no_character_that_means_something(text: str) -> None:
    host = checked_host(text)
    assert set(host or "") <= set(string.ascii_lowercase + string.digits + "-_.:")


@given(st.ip_addresses())
def test_an_address_reads_as_itself(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    assert checked_host(str(address)) == str(address)
    assert road_host(Road(Carrier.TCP, Address(address.packed, 1))) == str(address)


# --- the rule -----------------------------------------------------------------------------------


@pytest.mark.spec("PX-1")
def test_without_a_proxy_all_roads_are_direct() -> None:
    for plan in (ProxyPlan(), proxy_plan("auto", {}), proxy_plan("none", {"ALL_PROXY": TOR})):
        assert plan.roads(roads()) == tuple(roads())
        assert plan.allows_udp and not plan.sentence


@pytest.mark.spec("PX-1", "PX-2")
@pytest.mark.parametrize(
    ("choice", "environment", "source"),
    [
        (TOR, {}, "--proxy"),
        (TOR, {"NO_PROXY": "192.0.2.1,peer.example", "HTTPS_PROXY": OFFICE}, "--proxy"),
        ("auto", {"ALL_PROXY": TOR}, "ALL_PROXY"),
        ("auto", {"ALL_PROXY": TOR, "HTTPS_PROXY": OFFICE}, "ALL_PROXY"),
        ("auto", {"all_proxy": TOR, "ALL_PROXY": OFFICE}, "ALL_PROXY"),
        ("auto", {"all_proxy": " ", "ALL_PROXY": TOR}, "ALL_PROXY"),
    ],
)
def test_a_url_and_all_proxy_mean_every_byte(
    choice: str, environment: dict[str, str], source: str
) -> None:
    plan = proxy_plan(choice, environment)
    assert shown(plan.roads(roads())) == [(Carrier.TCP, True), (Carrier.WS, True)]
    assert {road.proxy for road in plan.roads(roads())} == {"socks5://127.0.0.1:9050"}
    assert not plan.allows_udp
    assert plan.sentence == (
        f"everything goes through socks5://127.0.0.1:9050 ({source}), UDP is off"
    )


@pytest.mark.spec("PX-1", "PX-3")
@pytest.mark.parametrize(
    ("choice", "environment", "source"),
    [
        ("auto", {"HTTPS_PROXY": OFFICE}, "HTTPS_PROXY"),
        ("auto", {"https_proxy": OFFICE, "HTTPS_PROXY": TOR, "ALL_PROXY": ""}, "HTTPS_PROXY"),
        (f"direct+{OFFICE}", {"ALL_PROXY": TOR, "NO_PROXY": "*"}, "--proxy"),
    ],
)
def test_https_proxy_and_direct_are_tried_beside_direct_roads(
    choice: str, environment: dict[str, str], source: str
) -> None:
    plan = proxy_plan(choice, environment)
    found = plan.roads(roads())
    assert found[:4] == tuple(roads())
    assert shown(found[4:]) == [(Carrier.TCP, True), (Carrier.WS, True)]
    assert plan.allows_udp
    assert f"through http://proxy.example:3128 ({source}) are tried beside" in plan.sentence


def test_http_proxy_alone_means_nothing() -> None:
    assert proxy_plan("auto", {"HTTP_PROXY": OFFICE, "http_proxy": OFFICE}) == ProxyPlan()


@pytest.mark.spec("PX-4")
def test_no_proxy_leaves_its_hosts_as_they_are() -> None:
    plan = proxy_plan("auto", {"ALL_PROXY": TOR, "no_proxy": "10.0.0.0/8", "NO_PROXY": "*"})
    assert shown(plan.roads(roads(NEAR, PEER))) == [
        (Carrier.UDP, False),  # of NEAR alone
        (Carrier.QUIC, False),
        (Carrier.TCP, False),
        (Carrier.TCP, True),
        (Carrier.WS, True),
    ]
    plan = proxy_plan("auto", {"HTTPS_PROXY": TOR, "NO_PROXY": "10.0.0.7, .peer.example"})
    assert [road.address for road in plan.roads(roads(NEAR, PEER)) if road.proxy] == [PEER]


@pytest.mark.parametrize("name", ["ALL_PROXY", "HTTPS_PROXY"])
def test_a_star_in_no_proxy_ends_all(name: str) -> None:
    assert proxy_plan("auto", {name: "nonsense", "NO_PROXY": "a.example, *"}) == ProxyPlan()


@pytest.mark.spec("PX-4")
@pytest.mark.parametrize(
    ("entry", "host", "names"),
    [
        ("peer.example", "peer.example", True),
        ("PEER.example", "peer.EXAMPLE.", True),
        ("example", "peer.example", True),
        (".example", "peer.example", True),
        (".peer.example", "peer.example", True),
        ("*.example", "peer.example", True),
        ("eer.example", "peer.example", False),
        ("peer.example.org", "peer.example", False),
        ("", "peer.example", False),
        (".", "peer.example", False),
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.0/24", "192.0.2.1", True),
        ("192.0.2.7/24", "192.0.2.1", True),
        ("192.0.2.0/33", "192.0.2.1", False),
        ("192.0.2.1", "192.0.2.10", False),
        ("2.1", "192.0.2.1", False),
        ("2001:db8::/32", "2001:db8::5", True),
        ("[2001:db8::5]", "2001:db8::5", True),
        ("2001:db8::/32", "192.0.2.1", False),
        ("localhost", "localhost", True),
        ("localhost", "127.0.0.1", False),
    ],
)
def test_an_entry_of_no_proxy(entry: str, host: str, names: bool) -> None:
    plan = proxy_plan("auto", {"ALL_PROXY": TOR, "NO_PROXY": f"other.example {entry}"})
    assert plan.is_exempt(host) is names


def test_a_road_that_has_a_proxy_and_one_of_a_simulation_stay() -> None:
    own = Road(Carrier.TCP, PEER, proxy="http://192.0.2.77:80")
    memory = Road(Carrier.MEMORY, PEER)
    assert proxy_plan(TOR, {}).roads([own, memory]) == (own, memory)
    assert proxy_plan(f"direct+{TOR}", {}).roads([own, memory]) == (own, memory)


@pytest.mark.spec("PX-2")
def test_only_udp_leaves_no_road_at_all() -> None:
    assert proxy_plan(TOR, {}).roads([Road(Carrier.UDP, PEER)]) == ()


@pytest.mark.parametrize(
    "choice", ["", "atuo", "NONE", "proxy:3128", "direct+", "direct", "user:hunter2@p:1"]
)
def test_a_word_that_is_no_choice_is_refused_with_all_that_are(choice: str) -> None:
    with pytest.raises(ConfigError, match=r"auto, none, http://.*direct\+URL") as refused:
        proxy_plan(choice, {})
    assert "hunter2" not in str(refused.value)


@pytest.mark.spec("PX-1")
@pytest.mark.parametrize("name", ["ALL_PROXY", "HTTPS_PROXY"])
def test_a_bad_url_in_the_environment_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        proxy_plan("auto", {name: "https://user:hunter2@proxy.example:1"})
    proxy_plan("none", {name: "https://user:hunter2@proxy.example:1"})
