"""What a code names, and what silence may mean."""

from __future__ import annotations

from wraith.aio.files.reaching import code_addresses
from wraith.types import Address

LOOPBACK = Address(bytes([127, 0, 0, 1]), 0)


def test_a_code_names_the_address_that_was_asked_for_alone() -> None:
    assert code_addresses(LOOPBACK, 4433) == (LOOPBACK._replace(port=4433),)
    for address in code_addresses(Address(bytes(4), 0), 4433):
        assert (len(address.ip), address.port) == (4, 4433)
        assert any(address.ip)
