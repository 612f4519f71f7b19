"""The state that one member holds of one group, and its way from epoch to epoch.

``MlsGroup`` is the door for programs; this is what ``state`` writes down. Only ``advance`` changes
the epoch, and only with a commit that was staged on the present one.

Spec: mls §16 [ML-58, ML-61].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from wraith.crypto.secret import Secret
from wraith.errors import GroupClosed, UnknownEpoch, UnknownPsk
from wraith.mls.channel import Openable
from wraith.mls.commit import StagedCommit
from wraith.mls.epoch import Epoch, PastEpoch
from wraith.mls.limits import Limits
from wraith.mls.pending import Pending
from wraith.mls.proposals import ReInit
from wraith.mls.psk import ExternalPsk, PreSharedKeyId
from wraith.mls.signing import Signer
from wraith.mls.treekem import TreeKem


class ClosedGroup(Enum):
    """Why a group goes no further for this member. (A ReInit is kept itself.)"""

    REMOVED = 1
    WIPED = 3


@dataclass(slots=True)
class GroupState:
    """``past`` and ``resumption`` are bounded by ``limits``; ``psks`` are external, by id."""

    limits: Limits
    epoch: Epoch
    signer: Signer
    pending: Pending
    closed: ReInit | ClosedGroup | None = None
    public_handshake: bool = False
    past: list[PastEpoch] = field(default_factory=list)
    psks: dict[bytes, Secret] = field(default_factory=dict)
    resumption: dict[int, Secret] = field(default_factory=dict)

    @classmethod
    def begin(cls, limits: Limits, epoch: Epoch, signer: Signer) -> GroupState:
        state = cls(limits, epoch, signer, Pending(limits.pending_proposals_max))
        state._remember_resumption()
        return state

    @property
    def reinit(self) -> ReInit | None:
        return self.closed if isinstance(self.closed, ReInit) else None

    def check_active(self) -> None:
        """Raises ``GroupClosed``."""
        if self.reinit is not None:
            raise GroupClosed("this group was ended to be continued in a new one")
        if self.closed is not None:
            raise GroupClosed

    def find_psk(self, psk: PreSharedKeyId) -> Secret:
        """Raises ``UnknownPsk``."""
        if isinstance(psk, ExternalPsk):
            found = self.psks.get(psk.psk_id)
        else:
            mine = psk.group_id == self.epoch.context.group_id
            found = self.resumption.get(psk.epoch) if mine else None
        if found is None:
            raise UnknownPsk
        return found

    def openable(self, number: int) -> Openable:
        """What opens application messages of epoch ``number``. Raises ``UnknownEpoch``."""
        held = self.epoch
        if number == held.number and not isinstance(self.closed, ClosedGroup):
            return Openable(
                held.suite,
                held.encoded_context,
                held.tree,
                held.secrets.sender_data,
                held.secret_tree,
                held.kem.leaf,
            )
        for past in self.past:
            if past.number == number:
                return Openable(
                    held.suite,
                    past.encoded_context,
                    past.tree,
                    past.sender_data,
                    past.secret_tree,
                    past.own_leaf,
                )
        raise UnknownEpoch(number, held.number)

    def expire(self, now: float) -> None:
        if not self.past:
            return
        for past in self.past:
            if past.expires <= now:
                past.wipe()
        self.past = [past for past in self.past if past.expires > now]

    def advance(self, staged: StagedCommit, now: float) -> None:
        """Go to the epoch of ``staged``. What only the old one needed is wiped; what opens its
        late messages is kept for a while."""
        old, following = self.epoch, staged.epoch
        self.past.append(
            PastEpoch(
                old.encoded_context,
                old.number,
                old.tree,
                Secret(old.secrets.sender_data.reveal()),
                old.secret_tree,
                old.kem.leaf,
                now + self.limits.past_epoch_s,
            )
        )
        while len(self.past) > self.limits.past_epochs_max:
            self.past.pop(0).wipe()
        self.expire(now)
        old.secrets.wipe()
        if following is None:
            self.closed = ClosedGroup.REMOVED
            self.pending.clear()
            _wipe_replaced(old.kem, None)
            return
        self._adopt_own_leaf(staged, following)
        _wipe_replaced(old.kem, following.kem)
        self.epoch = following
        self.pending.clear()
        self.closed = staged.reinit
        self._remember_resumption()

    def wipe(self) -> None:
        self.closed = ClosedGroup.WIPED
        self.epoch.wipe()
        leaf_secret, path = self.epoch.kem.private_keys()
        held = (leaf_secret, *path.values(), *self.psks.values(), *self.resumption.values())
        for secret in held:
            secret.wipe()
        for past in self.past:
            past.wipe()
        self.past = []
        self.pending.clear()

    def _remember_resumption(self) -> None:
        self.resumption[self.epoch.number] = Secret(self.epoch.secrets.resumption.reveal())
        while len(self.resumption) > self.limits.resumption_epochs_max:
            self.resumption.pop(min(self.resumption)).wipe()

    def _adopt_own_leaf(self, staged: StagedCommit, following: Epoch) -> None:
        """An own commit or a committed own Update may bring a new signer; the private key of an
        own Update that was committed lives on in the tree."""
        if staged.signer is not None:
            self.signer = staged.signer
        mine = following.tree.leaf(following.kem.leaf)
        own = None if mine is None else self.pending.own.pop(mine.encryption_key, None)
        if own is not None and own.signer is not None:
            self.signer = own.signer


def _wipe_replaced(old: TreeKem, new: TreeKem | None) -> None:
    leaf_secret, path = old.private_keys()
    kept: set[int] = set()
    if new is not None:
        new_leaf, new_path = new.private_keys()
        kept = {id(new_leaf), *map(id, new_path.values())}
    for secret in (leaf_secret, *path.values()):
        if id(secret) not in kept:
            secret.wipe()
