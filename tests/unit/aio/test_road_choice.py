"""What --carriers and --proxy mean, for the side that dials and for the one that waits."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from wraith.aio.road_choice import (
    Reached,
    RoadChoice,
    carriers_of,
    choose,
    choose_both,
    choose_listening,
    names_of,
    web_place,
)
from wraith.aio.transports.proxy_environment import VARIABLES
from wraith.connection.handshake.node_record import NodeRecord
from wraith.errors import ConfigError, ConnectFailed, MissingExtra
from wraith.types import Address, Carrier, Road

HERE = Address(bytes([192, 0, 2, 1]), 4433)
RECORD = NodeRecord(bytes(range(32)), addresses=(HERE,), has_tcp=True)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_carriers_are_named_once_in_any_case_and_order() -> None:
    assert carriers_of("tcp, UDP,tcp") == (Carrier.TCP, Carrier.UDP)
    assert carriers_of(["udp"]) == (Carrier.UDP,)


@pytest.mark.parametrize("wrong", ["", "udp,", "sctp", [], [1], 7])
def test_what_is_no_carrier_is_refused_with_those_that_there_are(wrong: object) -> None:
    with pytest.raises(ConfigError) as refused:
        carriers_of(wrong)  # type: ignore[arg-type]
    assert "udp, tcp, ws, quic" in str(refused.value)


@pytest.mark.parametrize(("name", "library"), [("ws", "websockets"), ("quic", "aioquic")])
def test_a_carrier_that_is_not_installed_names_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, name: str, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra) as missing:
        carriers_of(f"udp,{name}")
    assert f"carrier {name}" in str(missing.value) and library in missing.value.hint
    assert Carrier[name.upper()] not in choose(None).dials
    with pytest.raises(MissingExtra):
        choose_listening(f"udp,{name}")


def test_who_dials_listens_on_nothing_and_who_waits_on_udp_and_tcp() -> None:
    assert choose(None).listens == frozenset()
    assert {Carrier.UDP, Carrier.TCP} <= choose(None).dials
    assert choose_listening().listens == {Carrier.UDP, Carrier.TCP}
    assert choose_listening("udp").listens == {Carrier.UDP}


def test_udp_that_is_not_chosen_is_not_used() -> None:
    for choice in (choose("tcp"), choose_listening("tcp")):
        assert not choice.uses_udp
    assert choose("udp,tcp").uses_udp and RoadChoice().uses_udp


def test_a_record_leads_where_the_choice_allows() -> None:
    assert choose("tcp").roads(RECORD) == (Road(Carrier.TCP, HERE),)
    assert choose("udp,tcp").roads(RECORD) == RECORD.roads
    with pytest.raises(ConnectFailed) as failed:
        choose("udp", "socks5://127.0.0.1:9").roads(RECORD)
    assert "UDP and TCP" in str(failed.value)


def test_a_record_without_a_place_is_somebody_elses_error() -> None:
    assert choose(None).roads(NodeRecord(bytes(32))) == ()


@pytest.mark.parametrize("call", [choose, choose_listening])
def test_a_proxy_that_is_none_is_refused_without_its_text(call: Callable[..., object]) -> None:
    with pytest.raises(ConfigError) as refused:
        call(None, "sesame:secret@host")
    assert "auto" in str(refused.value) and "secret" not in str(refused.value)


def test_nobody_waits_behind_a_proxy() -> None:
    with pytest.raises(ConfigError) as refused:
        choose_listening(None, "socks5://user:secret@127.0.0.1:9")
    assert "secret" not in str(refused.value)


def test_a_proxy_of_the_environment_changes_nothing_for_who_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    assert choose(None).proxies.is_only
    assert choose_listening().proxies.proxy is None


def test_a_node_goes_to_others_as_its_environment_says_and_listens_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    both = choose_both(["udp", "tcp"])
    assert both.listens == both.dials == {Carrier.UDP, Carrier.TCP} and both.proxies.is_only
    assert choose_both(["udp"], "none").proxies.proxy is None
    with pytest.raises(ConfigError):
        choose_both(["udp"], "socks5://127.0.0.1:9")


def test_a_node_without_udp_is_named_over_tcp_alone() -> None:
    assert Reached(udp=True, tcp=True).named([HERE]) == ((HERE,), True, ())
    assert Reached(udp=True, tcp=False).named([HERE]) == ((HERE,), False, ())
    assert Reached(udp=False, tcp=True).named([HERE]) == ((), False, (Road(Carrier.TCP, HERE),))
    assert names_of(Reached(udp=True, tcp=True).carriers) == "UDP and TCP"
    assert names_of(Reached(udp=False, tcp=True).carriers) == "TCP"


@pytest.mark.spec("CA-86")
def test_quic_is_named_at_its_own_port_and_beside_the_others() -> None:
    quic = Road(Carrier.QUIC, HERE._replace(port=4434))
    assert Reached(tcp=True, quic_port=4434).named([HERE]) == ((HERE,), True, (quic,))
    assert Reached(udp=False, quic_port=4434).named([HERE]) == ((), False, (quic,))
    tcp, web = Road(Carrier.TCP, HERE), Road(Carrier.WS, url=URL)
    every = Reached(udp=False, tcp=True, url=URL, quic_port=4434)
    assert every.named([HERE]).other_roads == (tcp, quic, web)
    assert names_of(Reached(tcp=True, quic_port=4434).carriers) == "UDP, TCP and QUIC"


WEB_LOCAL = Address(bytes([127, 0, 0, 1]), 8080)
URL = "wss://example.org/share/"


def test_a_web_place_needs_the_url_and_the_address() -> None:
    assert web_place(None, None) is None
    place = web_place(URL, WEB_LOCAL)
    assert place is not None and (place.url, place.prefix) == (URL, "/share")
    for url, local in ((URL, None), (None, WEB_LOCAL)):
        with pytest.raises(ConfigError):
            web_place(url, local)


@pytest.mark.parametrize(
    "url", ["", "example.org", "ftp://example.org/", "wss://10.0.0.1/a", "ws://127.0.0.1:80/"]
)
def test_a_url_that_may_not_stand_in_a_code_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        web_place(url, WEB_LOCAL)


def test_websocket_is_listened_on_where_it_has_a_place_and_only_there() -> None:
    place = web_place(URL, WEB_LOCAL)
    assert Carrier.WS in choose_listening(web=place).listens
    assert choose_listening("ws", web=place).listens == {Carrier.WS}
    for carriers, web in (("udp,ws", None), ("udp", place)):
        with pytest.raises(ConfigError, match="--ws-listen"):
            choose_listening(carriers, web=web)


def test_a_code_names_the_url_beside_the_others() -> None:
    road = Road(Carrier.WS, url=URL)
    assert Reached(tcp=True, url=URL).named([HERE]) == ((HERE,), True, (road,))
    assert Reached(udp=False, url=URL).named([HERE]) == ((), False, (road,))
    assert names_of(Reached(tcp=True, url=URL).carriers) == "UDP, TCP and WS"
