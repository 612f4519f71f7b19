"""One epoch of a group as one member holds it.

Spec: mls §8 [ML-21].
"""

from __future__ import annotations

from dataclasses import dataclass

from wraith.crypto.secret import Secret
from wraith.errors import InvalidCommit
from wraith.mls.context import GroupContext
from wraith.mls.key_schedule import (
    EpochSecrets,
    interim_transcript_hash,
    joiner_secret,
    member_secret,
    welcome_secret,
)
from wraith.mls.limits import Limits
from wraith.mls.ratchet_tree import RatchetTree
from wraith.mls.secret_tree import SecretTree
from wraith.mls.suites import CipherSuite
from wraith.mls.treekem import TreeKem


@dataclass(frozen=True, slots=True)
class Epoch:
    """Everything of one epoch. Frozen; only ``secret_tree`` changes, as its keys are used."""

    context: GroupContext
    encoded_context: bytes
    kem: TreeKem
    secrets: EpochSecrets
    secret_tree: SecretTree
    interim_transcript_hash: bytes
    confirmation_tag: bytes

    @property
    def number(self) -> int:
        return self.context.epoch

    @property
    def tree(self) -> RatchetTree:
        return self.kem.tree

    @property
    def suite(self) -> CipherSuite:
        return self.kem.suite

    def wipe(self) -> None:
        """Wipes what keys of this epoch derive from; the next epoch has taken its own before."""
        self.secrets.wipe()
        self.secret_tree.wipe()


@dataclass(frozen=True, slots=True)
class PastEpoch:
    """An old epoch, kept for late messages: it can open them, and cannot send or derive."""

    encoded_context: bytes
    number: int
    tree: RatchetTree
    sender_data: Secret
    secret_tree: SecretTree
    own_leaf: int
    expires: float

    def wipe(self) -> None:
        self.sender_data.wipe()
        self.secret_tree.wipe()


@dataclass(frozen=True, slots=True)
class EpochKeys:
    """The secrets that the key schedule gives between a commit and the epoch it begins."""

    joiner: Secret
    member: Secret
    secrets: EpochSecrets

    @classmethod
    def derive(
        cls,
        suite: CipherSuite,
        init_secret: Secret,
        commit_secret: Secret,
        psk: Secret,
        encoded_context: bytes,
    ) -> EpochKeys:
        joiner = joiner_secret(suite, init_secret, commit_secret, encoded_context)
        return cls.from_joiner(suite, joiner, psk, encoded_context)

    @classmethod
    def from_joiner(
        cls, suite: CipherSuite, joiner: Secret, psk: Secret, encoded_context: bytes
    ) -> EpochKeys:
        member = member_secret(suite, joiner, psk)
        return cls(joiner, member, EpochSecrets.derive(suite, member, encoded_context))

    def confirmation_tag(self, suite: CipherSuite, confirmed_transcript_hash: bytes) -> bytes:
        return suite.mac(self.secrets.confirmation, confirmed_transcript_hash)

    def check_confirmation(
        self, suite: CipherSuite, confirmed_transcript_hash: bytes, tag: bytes
    ) -> None:
        """Raises ``InvalidCommit``. [ML-50]"""
        if not suite.mac_matches(self.secrets.confirmation, confirmed_transcript_hash, tag):
            raise InvalidCommit("confirmation-tag", "its maker derived other keys")

    def seal_group_info(self, suite: CipherSuite, group_info: bytes) -> bytes:
        return welcome_secret(suite, self.member).seal(group_info)


def begin_epoch(
    context: GroupContext, kem: TreeKem, secrets: EpochSecrets, tag: bytes, limits: Limits
) -> Epoch:
    """The epoch of ``context``, whose tag is checked already."""
    suite = kem.suite
    interim = interim_transcript_hash(suite, context.confirmed_transcript_hash, tag)
    # The tree takes the encryption secret over and wipes it with its first use.
    secret_tree = SecretTree(suite, secrets.encryption, kem.tree.width, limits)
    return Epoch(context, context.encode(), kem, secrets, secret_tree, interim, tag)
