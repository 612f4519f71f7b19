"""Which implementation runs, and why."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

import wraith
from wraith import hotpath
from wraith.hotpath import _python


def fake_native(version: str | None, **more: object) -> ModuleType:
    module = ModuleType("wraith_native")
    surface = {"INTERFACE": getattr(hotpath, "INTERFACE", None), "Sealer": object, "Opener": object}
    module.__dict__.update({"VERSION": version} | surface | more)
    return module


def test_the_environment_forces_the_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wraith_native", fake_native(wraith.__version__))
    monkeypatch.setenv("WRAITH_PURE_PYTHON", "1")
    name, why, sealer, opener = hotpath._choose()
    assert (name, sealer, opener) == ("python", _python.Sealer, _python.Opener)
    assert "WRAITH_PURE_PYTHON" in why


@pytest.mark.parametrize("value", ["", "0"])
def test_the_native_part_runs_where_it_is(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("WRAITH_PURE_PYTHON", value)
    monkeypatch.setitem(sys.modules, "wraith_native", fake_native(wraith.__version__))
    name, _, sealer, _ = hotpath._choose()
    assert (name, sealer) == ("native", object)


@pytest.mark.parametrize("version", ["0.0.1", None])
def test_a_native_part_of_another_version_is_refused(
    monkeypatch: pytest.MonkeyPatch, version: str | None
) -> None:
    monkeypatch.delenv("WRAITH_PURE_PYTHON", raising=False)
    monkeypatch.setitem(sys.modules, "wraith_native", fake_native(version))
    name, why, sealer, _ = hotpath._choose()
    assert (name, sealer) == ("python", _python.Sealer)
    assert str(version) in why and wraith.__version__ in why


@pytest.mark.parametrize("interface", [None, 3, 5])
def test_a_native_part_with_other_calls_is_refused(
    monkeypatch: pytest.MonkeyPatch, interface: int | None
) -> None:
    monkeypatch.delenv("WRAITH_PURE_PYTHON", raising=False)
    other = fake_native(wraith.__version__, INTERFACE=interface)
    if interface is None:
        del other.__dict__["INTERFACE"]
    monkeypatch.setitem(sys.modules, "wraith_native", other)
    name, why, sealer, opener = hotpath._choose()
    assert (name, sealer, opener) == ("python", _python.Sealer, _python.Opener)
    found = "without a number" if interface is None else f"number {interface}"
    assert found in why and "this needs number 4" in why and "build it anew" in why


def test_without_a_native_part_the_twin_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WRAITH_PURE_PYTHON", raising=False)
    monkeypatch.setitem(sys.modules, "wraith_native", None)
    name, why, _, _ = hotpath._choose()
    assert name == "python" and "not installed" in why


def test_the_choice_is_named() -> None:
    assert hotpath.NAME in ("python", "native") and hotpath.reason()
    assert (hotpath.Sealer is _python.Sealer) is (hotpath.NAME == "python")
