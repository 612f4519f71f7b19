"""A bounded crowd of connections that nobody vouches for. Pure.

When it is full the oldest of the prefix with most of them goes, so whoever fills it from one place
pushes out his own. Spec: docs/spec/carriers.md [CA-73].
"""

from __future__ import annotations

from typing import Generic, TypeVar

MemberT = TypeVar("MemberT")


class Crowd(Generic[MemberT]):
    """At most ``n_max`` members, ``n_per_prefix`` of one prefix. Members are told apart by hash.

    Args:
        n_per_prefix: ``None`` where only the sum is bounded.
    """

    __slots__ = ("_groups", "_n_max", "_n_per_prefix", "_prefixes")

    def __init__(self, n_max: int, n_per_prefix: int | None = None) -> None:
        self._n_max = n_max
        self._n_per_prefix = n_per_prefix
        self._prefixes: dict[MemberT, bytes | None] = {}
        #: Members of each prefix, oldest first.
        self._groups: dict[bytes | None, dict[MemberT, None]] = {}

    def __len__(self) -> int:
        return len(self._prefixes)

    def __contains__(self, member: MemberT) -> bool:
        return member in self._prefixes

    def admit(self, member: MemberT, prefix: bytes | None) -> MemberT | None:
        """Takes ``member`` in; returns whom it has pushed out.

        Args:
            prefix: of its source; ``None`` where no prefix pays: such members count in the sum
                alone.
        """
        pushed_out = None
        group = self._groups.get(prefix, {})
        limit = self._n_per_prefix if prefix is not None else None
        if limit is not None and len(group) >= limit:
            pushed_out = next(iter(group))
        elif len(self._prefixes) >= self._n_max:
            largest = max(self._groups.values(), key=len)
            pushed_out = next(iter(largest))
        if pushed_out is not None:
            self.remove(pushed_out)
        self._prefixes[member] = prefix
        self._groups.setdefault(prefix, {})[member] = None
        return pushed_out

    def remove(self, member: MemberT) -> None:
        """Forgets ``member``. Idempotent."""
        if member in self._prefixes:
            prefix = self._prefixes.pop(member)
            group = self._groups[prefix]
            del group[member]
            if not group:
                del self._groups[prefix]

    def clear(self) -> list[MemberT]:
        """Forgets all; returns them."""
        members = list(self._prefixes)
        self._prefixes.clear()
        self._groups.clear()
        return members
