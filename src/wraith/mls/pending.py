"""Proposals that wait for a commit, and which of them one's own commit takes (RFC 9420 §12.2).

Spec: mls §11 [ML-54].
"""

from __future__ import annotations

from dataclasses import dataclass, field

from wraith.crypto.secret import Secret
from wraith.errors import GroupLimit
from wraith.mls.proposals import Add, GroupContextExtensions, ReInit, Remove, Update
from wraith.mls.signing import Signer
from wraith.mls.validation import Queued


@dataclass(frozen=True, slots=True)
class OwnUpdate:
    """The secrets of an own Update, for its commit: the leaf's private key, a new signer."""

    private: Secret
    signer: Signer | None


@dataclass(slots=True)
class Pending:
    """``received`` by reference, in the order of arrival; ``own`` by encryption key."""

    n_max: int
    received: dict[bytes, Queued] = field(default_factory=dict)
    own: dict[bytes, OwnUpdate] = field(default_factory=dict)

    def add(self, reference: bytes, queued: Queued) -> None:
        """Raises ``GroupLimit`` when as many wait as may."""
        self.check_room(reference)
        self.received[reference] = queued

    def check_room(self, reference: bytes) -> None:
        if reference not in self.received and len(self.received) >= self.n_max:
            raise GroupLimit(f"at most {self.n_max} proposals wait for a commit")

    def private_keys(self) -> dict[bytes, Secret]:
        return {key: one.private for key, one in self.own.items()}

    def select(self, own_leaf: int) -> list[Queued]:
        """Those that fit together. [ML-54]

        A Remove wins over an Update of the same leaf, a later Update over an earlier one; own
        Updates are left out, for the commit's path does the same, and so are Removes of oneself.
        A ReInit stands alone and so comes only if nothing else waits.
        """
        removed: set[int] = set()
        chosen: dict[object, Queued] = {}
        for reference, one in self.received.items():
            proposal = one.proposal
            if isinstance(proposal, Remove):
                if proposal.removed != own_leaf:
                    removed.add(proposal.removed)
                    chosen.setdefault(("leaf", proposal.removed), one)
            elif isinstance(proposal, Update):
                if one.sender.index != own_leaf:
                    chosen[("update", one.sender.index)] = one
            elif isinstance(proposal, Add):
                chosen[("add", proposal.key_package.leaf_node.signature_key)] = one
            elif isinstance(proposal, GroupContextExtensions):
                chosen[("extensions",)] = one
            else:
                chosen[reference] = one
        for leaf in removed:
            chosen.pop(("update", leaf), None)
        if len(chosen) > 1:
            chosen = {
                key: one for key, one in chosen.items() if not isinstance(one.proposal, ReInit)
            }
        return list(chosen.values())

    def clear(self) -> None:
        self.received.clear()
        for one in self.own.values():
            one.private.wipe()
        self.own.clear()
