"""What networks were like: which carrier got through, and why one did not.

A value: whoever holds it keeps it where it likes, and gives each network a key that says nothing
about it. No peer stands in it. It shortens a wait of the race, and leaves nothing out.

Spec: docs/spec/roads.md §2 [RO-19].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.types import Carrier

NETWORKS_MAX: Final = 64
REMEMBERED_S: Final = 24 * 3600
KEY_CHARS_MAX: Final = 64

_CARRIERS: Final = {carrier.name.lower(): carrier for carrier in Carrier}
_REASONS: Final = {reason.value: reason for reason in RoadReason}


@dataclass(frozen=True, slots=True)
class CarrierRecord:
    """One carrier in one network, in Unix seconds; ``None``: never. Direct roads only: what a
    proxy lets through is not the network's doing."""

    succeeded_at: int | None = None
    failed_at: int | None = None
    reason: RoadReason | None = None

    @property
    def latest(self) -> int:
        return max(self.succeeded_at or 0, self.failed_at or 0)


@dataclass(frozen=True, slots=True)
class NetworkMemory:
    """At most 64 networks by their key; each forgotten 24 hours after its last news."""

    networks: Mapping[str, Mapping[Carrier, CarrierRecord]] = field(
        default_factory=lambda: MappingProxyType({})
    )

    def known_to_fail(self, key: str, unix_now: int) -> frozenset[Carrier]:
        """The carriers whose latest news in this network is a failure, of the last 24 hours.
        What this side's own settings left out is no news."""
        return frozenset(
            carrier
            for carrier, record in self.networks.get(key, {}).items()
            if record.failed_at is not None
            and record.failed_at >= (record.succeeded_at or 0)
            and _is_fresh(record.failed_at, unix_now)
        )

    def noted(
        self, key: str, carrier: Carrier, failure: RoadFailure | None, unix_now: int
    ) -> NetworkMemory:
        """The memory with one more piece of news: ``failure``, or ``None`` for success. Drops what
        is too old, and the network with the oldest news when there are too many."""
        if failure is not None and failure.reason is RoadReason.POLICY:
            return self
        record = self.networks.get(key, {}).get(carrier, CarrierRecord())
        if failure is None:
            record = replace(record, succeeded_at=unix_now)
        else:
            record = replace(record, failed_at=unix_now, reason=failure.reason)
        records = {**self.networks.get(key, {}), carrier: record}
        return _bounded({**self.networks, key: records}, unix_now)

    def to_plain(self) -> dict[str, dict[str, dict[str, int | str]]]:
        """Dicts, strings and numbers, for a file: network, carrier, what is known."""
        return {
            key: {
                carrier.name.lower(): {
                    name: value
                    for name, value in (
                        ("succeeded_at", record.succeeded_at),
                        ("failed_at", record.failed_at),
                        ("reason", record.reason.value if record.reason is not None else None),
                    )
                    if value is not None
                }
                for carrier, record in sorted(records.items())
            }
            for key, records in self.networks.items()
        }

    @classmethod
    def from_plain(cls, plain: object, unix_now: int) -> NetworkMemory:
        """What ``to_plain`` gave. Whatever else is in there is left out: a file may be of another
        version, or of somebody's making, and is worth no error."""
        if not isinstance(plain, dict):
            return cls()
        networks: dict[str, dict[Carrier, CarrierRecord]] = {}
        for key, entries in plain.items():
            if not isinstance(key, str) or len(key) > KEY_CHARS_MAX:
                continue
            if not isinstance(entries, dict):
                continue
            records = {
                _CARRIERS[name]: _record(entry)
                for name, entry in entries.items()
                if name in _CARRIERS and isinstance(entry, dict)
            }
            networks[key] = records
        return _bounded(networks, unix_now)


def _record(entry: Mapping[object, object]) -> CarrierRecord:
    reason = entry.get("reason")
    return CarrierRecord(
        succeeded_at=_time(entry.get("succeeded_at")),
        failed_at=_time(entry.get("failed_at")),
        reason=_REASONS.get(reason) if isinstance(reason, str) else None,
    )


def _time(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63:
        return value
    return None


def _is_fresh(at: int, unix_now: int) -> bool:
    """Of the last 24 hours. A time in the future is of a clock that was wrong: no news."""
    return unix_now - REMEMBERED_S < at <= unix_now


def _bounded(
    networks: Mapping[str, Mapping[Carrier, CarrierRecord]], unix_now: int
) -> NetworkMemory:
    fresh: dict[str, Mapping[Carrier, CarrierRecord]] = {}
    for key, records in networks.items():
        kept = {c: record for c, record in records.items() if _is_fresh(record.latest, unix_now)}
        if kept:
            fresh[key] = MappingProxyType(kept)
    newest = sorted(fresh, key=lambda key: -max(r.latest for r in fresh[key].values()))
    return NetworkMemory(MappingProxyType({key: fresh[key] for key in newest[:NETWORKS_MAX]}))
