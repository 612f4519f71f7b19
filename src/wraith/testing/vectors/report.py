"""Counts the cases of one file, and gives safe access to what a file claims.

A case has *passed* only if the value that was compared with the vector was computed by
``wraith.crypto``. Where the product rightly cannot express a case, a provider that exists for tests
only may check it; that counts as ``skipped (oracle)``, and a difference still counts as failed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

ORACLE = "oracle"


class Malformed(Exception):
    """The file claims to be of a known family and is not what that family looks like."""


class Mismatch(Exception):
    """A value is not the one in the vector."""


class CaseSkipped(Exception):
    """The product cannot express this case. The argument is the reason, a few words."""


@dataclass(slots=True)
class Report:
    """Counts of one file."""

    passed: int = 0
    failures: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    @property
    def n_skipped(self) -> int:
        return sum(self.skipped.values())

    def run(self, name: str, case: Callable[[], None]) -> None:
        """Run one case: returning passes it, ``CaseSkipped`` skips it, anything else but
        ``Malformed`` fails it."""
        try:
            case()
        except CaseSkipped as reason:
            self.skipped[str(reason)] += 1
        except Malformed:
            raise
        except Mismatch as difference:
            self.failures.append(f"{name}: {difference}")
        except Exception as error:
            self.failures.append(f"{name}: {type(error).__name__}: {error}")
        else:
            self.passed += 1

    def __str__(self) -> str:
        reasons = "; ".join(f"{n} {reason}" for reason, n in sorted(self.skipped.items()))
        why = f" ({reasons})" if reasons else ""
        return f"{self.passed} passed, {len(self.failures)} failed, {self.n_skipped} skipped{why}"


def equal(what: str, got: object, want: object) -> None:
    """Raises ``Mismatch`` unless ``got`` is ``want``. The values are public: they may be shown."""
    if got != want:
        raise Mismatch(f"{what} differs")


def refused(what: str, error: type[Exception], call: Callable[[], object]) -> None:
    """Raises ``Mismatch`` unless ``call`` raises ``error``."""
    try:
        call()
    except error:
        return
    raise Mismatch(f"{what} was accepted")


class Fields:
    """One JSON object of a vector file; every access is checked."""

    __slots__ = ("raw",)

    def __init__(self, raw: object) -> None:
        if not isinstance(raw, dict):
            raise Malformed("an object was expected")
        self.raw: dict[str, Any] = raw

    def __contains__(self, name: str) -> bool:
        return name in self.raw

    def text(self, name: str, default: str | None = None) -> str:
        value = self.raw.get(name, default)
        if not isinstance(value, str):
            raise Malformed(f"{name!r} is missing or not a string")
        return value

    def number(self, name: str) -> int:
        value = self.raw.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise Malformed(f"{name!r} is missing or not a number")
        return value

    def flag(self, name: str) -> bool:
        value = self.raw.get(name)
        if not isinstance(value, bool):
            raise Malformed(f"{name!r} is missing or not true or false")
        return value

    def hex(self, name: str) -> bytes:
        return unhex(self.text(name))

    def hex_or_none(self, name: str) -> bytes | None:
        return self.hex(name) if name in self.raw else None

    def texts(self, name: str) -> list[str]:
        value = self.raw.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise Malformed(f"{name!r} is not a list of strings")
        return value

    def object(self, name: str) -> Fields:
        return Fields(self.raw.get(name))

    def objects(self, name: str) -> Iterator[Fields]:
        return objects(self.raw.get(name))


def objects(raw: object) -> Iterator[Fields]:
    """The elements of a JSON array of objects."""
    if not isinstance(raw, list):
        raise Malformed("a list was expected")
    return (Fields(item) for item in raw)


def unhex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise Malformed(f"not hexadecimal: {text[:20]!r}") from None
