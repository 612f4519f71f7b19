"""``import wraith`` is free; the names come when they are used."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def run(program: str) -> str:
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        timeout=60,
    ).stdout


def test_importing_wraith_loads_no_asyncio_and_no_cryptography() -> None:
    loaded = run("import sys, wraith; print(wraith.__version__, *sorted(sys.modules))").split()
    assert loaded[0] == "2.0.0"
    assert "asyncio" not in loaded
    assert "socket" not in loaded
    assert "cryptography" not in loaded
    assert [name for name in loaded if name.startswith("wraith")] == ["wraith"]


def test_the_pure_floors_load_no_asyncio() -> None:
    loaded = run("import sys, wraith.config, wraith.connection.events; print(*sys.modules)").split()
    assert "wraith.connection.events" in loaded
    assert "asyncio" not in loaded


def test_every_public_name_can_be_had() -> None:
    import wraith

    for name in wraith.__all__:
        assert getattr(wraith, name) is not None
    assert set(wraith.__all__) <= set(dir(wraith))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = wraith.nonsense


def test_a_machine_without_asyncio_has_public_names() -> None:
    loaded = run(
        "import sys; from wraith.connection import Connection, Endpoint; "
        "print(Connection.__module__, Endpoint.__module__, *sys.modules)"
    ).split()
    assert loaded[:2] == ["wraith.connection.connection", "wraith.connection.endpoint"]
    assert "asyncio" not in loaded and "socket" not in loaded


def test_a_part_of_the_connection_room_does_not_load_all_of_it() -> None:
    loaded = run("import sys, wraith.connection.state; print(*sys.modules)").split()
    assert "wraith.connection.endpoint" not in loaded and "cryptography" not in loaded


def test_every_public_name_of_connection_can_be_had() -> None:
    import wraith.connection

    for name in wraith.connection.__all__:
        assert getattr(wraith.connection, name) is not None
    assert set(wraith.connection.__all__) == set(wraith.connection._HOMES)
    assert set(wraith.connection.__all__) <= set(dir(wraith.connection))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = wraith.connection.nonsense
