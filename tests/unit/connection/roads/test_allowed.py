from __future__ import annotations

from ipaddress import ip_address

import pytest

from wraith.connection.roads.allowed import peer_may_name, url_may_lead_to
from wraith.types import Address, Carrier, Road

CODE_PORTS = frozenset((443, 4433))


def address(text: str, port: int = 4433) -> Address:
    return Address(ip_address(text).packed, port)


#: Where the session runs to, what a ROADS frame names, and whether it may be dialled.
TABLE: list[tuple[str | None, str, int, bool]] = [
    ("198.51.100.7", "203.0.113.9", 4433, True),
    ("198.51.100.7", "2001:db8::9", 4433, True),
    ("198.51.100.7", "203.0.113.9", 1024, True),
    ("198.51.100.7", "203.0.113.9", 1023, False),
    ("198.51.100.7", "203.0.113.9", 25, False),
    ("198.51.100.7", "203.0.113.9", 443, True),  # the code names that port
    ("198.51.100.7", "0.0.0.0", 4433, False),
    ("198.51.100.7", "224.0.0.251", 5353, False),
    ("198.51.100.7", "255.255.255.255", 4433, False),
    ("198.51.100.7", "169.254.169.254", 8080, False),
    ("169.254.1.1", "169.254.1.2", 4433, False),
    ("198.51.100.7", "fe80::1", 4433, False),
    ("198.51.100.7", "ff02::1", 4433, False),
    ("198.51.100.7", "127.0.0.1", 4433, False),
    ("127.0.0.1", "127.0.0.1", 4433, True),
    ("127.0.0.1", "127.1.0.1", 4433, False),
    ("::1", "::1", 4433, True),
    ("198.51.100.7", "::1", 4433, False),
    ("198.51.100.7", "::ffff:127.0.0.1", 4433, False),
    ("127.0.0.1", "::ffff:127.0.0.1", 4433, False),
    ("198.51.100.7", "192.168.1.1", 4433, False),
    ("192.168.7.7", "192.168.1.1", 4433, True),
    ("192.169.7.7", "192.168.1.1", 4433, False),
    ("10.1.0.1", "10.1.2.3", 4433, True),
    ("10.1.0.1", "10.2.2.3", 4433, False),
    ("100.64.0.1", "100.64.9.9", 4433, True),
    ("100.65.0.1", "100.64.9.9", 4433, False),
    ("fd00:1:2::1", "fd00:1:2:ffff::1", 4433, True),
    ("fd00:1:2::1", "fd00:1:3::1", 4433, False),
    ("2001:db8::1", "10.0.0.1", 4433, False),  # of another family: nothing is known
    (None, "203.0.113.9", 4433, True),
    (None, "10.0.0.1", 4433, False),
]


@pytest.mark.spec("RO-70")
@pytest.mark.parametrize(("remote", "named", "port", "allowed"), TABLE)
@pytest.mark.parametrize("carrier", [Carrier.UDP, Carrier.TCP, Carrier.QUIC])
def test_what_a_peer_may_name(
    carrier: Carrier, remote: str | None, named: str, port: int, allowed: bool
) -> None:
    road = Road(carrier, address(named, port))
    path = address(remote, 40_000) if remote is not None else None
    assert peer_may_name(road, code_ports=CODE_PORTS, remote=path) is allowed


@pytest.mark.spec("RO-70")
def test_a_peer_names_no_url() -> None:
    road = Road(Carrier.WS, url="wss://203.0.113.9/x")
    assert not peer_may_name(road, code_ports=CODE_PORTS, remote=address("198.51.100.7"))


@pytest.mark.spec("RO-71")
@pytest.mark.parametrize(
    ("ip", "from_a_code"),
    [
        ("203.0.113.9", True),
        ("2001:db8::1", True),
        ("127.0.0.1", False),
        ("192.168.1.1", False),
        ("fd00::1", False),
        ("169.254.169.254", False),
    ],
)
def test_a_url_of_a_code_leads_to_no_inner_address_unless_a_person_typed_it(
    ip: str, from_a_code: bool
) -> None:
    packed = ip_address(ip).packed
    assert url_may_lead_to(packed, is_typed=False) is from_a_code
    assert url_may_lead_to(packed, is_typed=True)
