"""What networks were like, on disk: private, bounded, and never an error."""

from __future__ import annotations

import errno
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from wraith.aio.disk.home_folder import HomeFolder
from wraith.aio.disk.roads_file import BYTES_MAX, RoadsFile
from wraith.aio.disk.seam import Disk
from wraith.aio.transports.network_state import NetworkIdentity
from wraith.connection.roads.network_memory import NETWORKS_MAX, REMEMBERED_S
from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.testing.rng import SeededRng
from wraith.types import Carrier

NOW = 2_000_000_000
HOME = NetworkIdentity("wlan0", "192.0.2.0/24", "192.0.2.1")
OFFICE = NetworkIdentity("eth0", "198.51.100.0/24", "198.51.100.1")
SILENT = RoadFailure(RoadReason.UDP_SILENT)
NONE: frozenset[Carrier] = frozenset()


class FailingDisk(Disk):
    """A disk on which one call ends with an error."""

    def __init__(self, call: str, code: int) -> None:
        def fail(*_: Any, **__: Any) -> Any:
            raise OSError(code, os.strerror(code))

        setattr(self, call, fail)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "home" / "roads.json"


def roads_file(place: Path, seed: int = 1) -> RoadsFile:
    return RoadsFile(HomeFolder(place.parent), SeededRng(seed))


def test_the_next_process_knows_what_failed_in_this_network(place: Path) -> None:
    file = roads_file(place)
    assert file.known_to_fail(HOME, NOW) == NONE
    assert not place.exists(), "looking makes no file"
    file.note(HOME, [(Carrier.UDP, SILENT), (Carrier.TCP, None)], NOW)
    other = roads_file(place, seed=2)
    assert other.known_to_fail(HOME, NOW + 1) == {Carrier.UDP}
    assert other.known_to_fail(OFFICE, NOW + 1) == NONE
    other.note(OFFICE, [(Carrier.QUIC, SILENT)], NOW + 2)
    other.note(HOME, [(Carrier.UDP, None)], NOW + 3)
    assert file.known_to_fail(HOME, NOW + 4) == NONE
    assert file.known_to_fail(OFFICE, NOW + 4) == {Carrier.QUIC}
    assert file.known_to_fail(OFFICE, NOW + 2 + REMEMBERED_S) == NONE
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert [name for name in os.listdir(place.parent) if "roads" in name] == ["roads.json"]


def test_every_part_of_an_identity_tells_networks_apart(place: Path) -> None:
    file = roads_file(place)
    file.note(HOME, [(Carrier.UDP, SILENT)], NOW)
    for other in (
        HOME._replace(interface="eth0"),
        HOME._replace(prefix="192.0.2.0/25"),
        HOME._replace(gateway="192.0.2.2"),
        NetworkIdentity("wlan0192.0.2.0/24", "", "192.0.2.1"),
        NetworkIdentity("wlan0", "192.0.2.0/24192.0.2.1", ""),
    ):
        assert file.known_to_fail(other, NOW) == NONE


def test_the_file_names_no_network_and_two_files_name_it_differently(
    place: Path, tmp_path: Path
) -> None:
    names = []
    for seed, where in enumerate((place, tmp_path / "other" / "roads.json")):
        roads_file(where, seed).note(HOME, [(Carrier.UDP, SILENT)], NOW)
        text = where.read_text()
        assert not any(part in text for part in HOME)
        names += json.loads(text)["networks"]
    assert len(set(names)) == 2


def test_it_holds_64_networks(place: Path) -> None:
    file = roads_file(place)
    for i in range(NETWORKS_MAX + 6):
        file.note(HOME._replace(gateway=f"192.0.2.{i}"), [(Carrier.UDP, SILENT)], NOW + i)
    assert len(json.loads(place.read_text())["networks"]) == NETWORKS_MAX
    assert file.known_to_fail(HOME._replace(gateway="192.0.2.5"), NOW + 99) == NONE
    assert file.known_to_fail(HOME._replace(gateway="192.0.2.6"), NOW + 99) == {Carrier.UDP}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff",
        b"{",
        b"[]",
        b"null",
        b'{"networks": {}}',
        b'{"key": 5, "networks": {}}',
        b'{"key": "zz", "networks": {}}',
        b'{"key": "abcd", "networks": {}}',
        b'{"key": "' + b"ab" * 32 + b'"}',
        b'{"key": "' + b"ab" * 32 + b'", "networks": [{"udp": 5}]}',
        b'{"key": "' + b"ab" * 32 + b'", "networks": {"x": {"udp": {"failed_at": 1e400}}}}',
        b"[" * 100_000,
        b'{"key": ' + b"9" * 10_000 + b"}",
        b" " * (BYTES_MAX + 1) + b"{}",
    ],
)
def test_a_file_that_is_not_ours_is_an_empty_one(content: bytes, place: Path) -> None:
    file = roads_file(place)
    place.write_bytes(content)
    assert file.known_to_fail(HOME, NOW) == NONE
    file.note(HOME, [(Carrier.UDP, SILENT)], NOW)
    assert file.known_to_fail(HOME, NOW) == {Carrier.UDP}
    assert stat.S_IMODE(place.stat().st_mode) == 0o600


def test_a_file_in_anothers_hands_is_left_alone(place: Path, tmp_path: Path) -> None:
    file = roads_file(place)
    target = tmp_path / "elsewhere"
    target.write_text("kept")
    place.symlink_to(target)
    assert file.known_to_fail(HOME, NOW) == NONE
    file.note(HOME, [(Carrier.UDP, SILENT)], NOW)
    assert target.read_text() == "kept"
    place.unlink(missing_ok=True)
    place.mkdir()
    file.note(HOME, [(Carrier.UDP, SILENT)], NOW)
    assert file.known_to_fail(HOME, NOW) == NONE


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("open", errno.EACCES),
        ("read", errno.EIO),
        ("write_all", errno.ENOSPC),
        ("rename", errno.EROFS),
        ("flock", errno.ENOLCK),
    ],
)
def test_a_disk_that_says_no_costs_the_news_alone(call: str, code: int, place: Path) -> None:
    home = HomeFolder(place.parent)
    RoadsFile(home, SeededRng(1)).note(HOME, [(Carrier.UDP, SILENT)], NOW)
    before = place.read_bytes()
    home.disk = FailingDisk(call, code)
    failing = RoadsFile(home, SeededRng(1))
    failing.note(HOME, [(Carrier.TCP, SILENT)], NOW)
    failing.known_to_fail(HOME, NOW)
    assert place.read_bytes() == before
    assert [name for name in os.listdir(place.parent) if "roads" in name] == ["roads.json"]


def test_two_processes_lose_nothing_of_each_other(place: Path) -> None:
    def note(i: int) -> None:
        network = HOME._replace(gateway=f"192.0.2.{i}")
        roads_file(place, seed=i).note(network, [(Carrier.UDP, SILENT)], NOW)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(note, range(24)))
    file = roads_file(place)
    for i in range(24):
        assert file.known_to_fail(HOME._replace(gateway=f"192.0.2.{i}"), NOW) == {Carrier.UDP}
