"""One commit, made or received: proposals, path, key schedule, confirmation (RFC 9420 §12.4).

Both directions work on a copy of the tree and end in a ``StagedCommit``, which holds the whole next
epoch. Merging it changes the group; dropping it changes nothing.

Spec: mls §15 [ML-51, ML-52, ML-53].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from wraith.abc import Rng
from wraith.crypto.secret import Secret
from wraith.errors import (
    DecryptError,
    InvalidCommit,
    InvalidKey,
    LocalProtocolError,
    UnknownSender,
)
from wraith.mls.codec import opaque, u16
from wraith.mls.epoch import Epoch, EpochKeys, begin_epoch
from wraith.mls.framing import (
    AuthenticatedContent,
    FramedContent,
    Sender,
    SenderType,
    WireFormat,
    sign_content,
)
from wraith.mls.key_package import LEAF_LABEL, KeyPackage
from wraith.mls.key_schedule import confirmed_transcript_hash, external_init_receive
from wraith.mls.nodes import (
    Capabilities,
    Credential,
    Extensions,
    LeafNode,
    LeafNodeSource,
    leaf_binding,
    leaf_content,
)
from wraith.mls.proposals import (
    Add,
    Commit,
    ExternalInit,
    GroupContextExtensions,
    PreSharedKey,
    ProposalOrRef,
    ProposalRef,
    ReInit,
    Remove,
    Update,
)
from wraith.mls.psk import PreSharedKeyId, psk_secret
from wraith.mls.secret_tree import Step
from wraith.mls.signing import Signer
from wraith.mls.suites import CipherSuite
from wraith.mls.treekem import KeyUpdate, TreeKem, apply_path
from wraith.mls.validation import Queued, Rules, is_path_required

FindPsk = Callable[[PreSharedKeyId], Secret]
"""Gives the key of an id, or raises ``UnknownPsk``."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The effect of a list of proposals on a tree."""

    added: tuple[tuple[int, KeyPackage], ...]
    removed: tuple[int, ...]
    updated: tuple[int, ...]
    psks: tuple[PreSharedKeyId, ...]
    extensions: Extensions
    reinit: ReInit | None
    external_init: ExternalInit | None


@dataclass(frozen=True, slots=True)
class StagedCommit:
    """A commit that is good; ``MlsGroup.merge`` makes it true.

    ``epoch`` is the next epoch, or ``None`` if this member is among ``removed``. ``committer`` is
    the maker's leaf in the next epoch; ``signer`` replaces the member's own, if it made the commit
    so.
    """

    base_tag: bytes
    base_epoch: int
    epoch: Epoch | None
    committer: int
    is_external: bool
    added: tuple[int, ...]
    removed: tuple[int, ...]
    updated: tuple[int, ...]
    extensions_changed: bool
    reinit: ReInit | None
    step: Step | None = None
    signer: Signer | None = None

    def __repr__(self) -> str:
        return (
            f"StagedCommit(epoch {self.base_epoch + 1} by {self.committer}: added {self.added}, "
            f"removed {self.removed}, updated {self.updated})"
        )


@dataclass(frozen=True, slots=True)
class NewLeaf:
    """The content of a member's next own leaf besides its keys."""

    signer: Signer
    credential: Credential
    capabilities: Capabilities
    extensions: Extensions

    def sign(
        self,
        suite: CipherSuite,
        encryption_key: bytes,
        source: LeafNodeSource,
        group_id: bytes,
        index: int,
        parent_hash: bytes | None = None,
    ) -> LeafNode:
        content = leaf_content(
            encryption_key,
            self.signer.public,
            self.credential,
            self.capabilities,
            source,
            self.extensions,
            parent_hash=parent_hash,
        )
        bound = content + leaf_binding(source, group_id, index)
        signature = suite.sign_with_label(self.signer, LEAF_LABEL, bound)
        raw = content + opaque(signature)
        return LeafNode(
            encryption_key,
            self.signer.public,
            self.credential,
            self.capabilities,
            source,
            None,
            parent_hash,
            self.extensions,
            signature,
            raw,
        )

    @classmethod
    def like(cls, leaf: LeafNode, signer: Signer) -> NewLeaf:
        return cls(signer, leaf.credential, leaf.capabilities, leaf.extensions)


def apply_proposals(
    kem: TreeKem,
    queue: Sequence[Queued],
    extensions: Extensions,
    own_updates: Mapping[bytes, Secret],
) -> Applied:
    """Change ``kem`` as the proposals say, in the order of RFC 9420 §12.3. [ML-51]

    Args:
        own_updates: the private keys of this member's own Updates, by encryption key.
    """
    removed: list[int] = []
    updated: list[int] = []
    added: list[tuple[int, KeyPackage]] = []
    changed = _first(queue, GroupContextExtensions)
    if changed is not None:
        extensions = changed.extensions
    for one in queue:
        if isinstance(one.proposal, Update):
            leaf = one.sender.index
            private = None
            if leaf == kem.leaf:
                private = own_updates.get(one.proposal.leaf_node.encryption_key)
                if private is None:
                    raise InvalidCommit("own-update", "the key of one's own Update is not held")
            kem.update_member(leaf, one.proposal.leaf_node, private)
            updated.append(leaf)
    for one in queue:
        if isinstance(one.proposal, Remove):
            kem.remove_member(one.proposal.removed)
            removed.append(one.proposal.removed)
    for one in queue:
        if isinstance(one.proposal, Add):
            added.append((kem.add_member(one.proposal.key_package), one.proposal.key_package))
    return Applied(
        tuple(added),
        tuple(removed),
        tuple(updated),
        tuple(one.proposal.psk for one in queue if isinstance(one.proposal, PreSharedKey)),
        extensions,
        _first(queue, ReInit),
        _first(queue, ExternalInit),
    )


P = TypeVar("P", ReInit, ExternalInit, GroupContextExtensions)


def _first(queue: Sequence[Queued], kind: type[P]) -> P | None:
    return next((one.proposal for one in queue if isinstance(one.proposal, kind)), None)


@dataclass(frozen=True, slots=True)
class MadeCommit:
    """A commit of one's own, before it is framed for its way: see ``MlsGroup.commit``."""

    content: AuthenticatedContent
    staged: StagedCommit
    keys: EpochKeys
    applied: Applied
    update: KeyUpdate | None


def make_commit(
    rules: Rules,
    epoch: Epoch,
    queue: Sequence[Queued],
    *,
    signer: Signer,
    new_leaf: NewLeaf,
    find_psk: FindPsk,
    rng: Rng,
    wire_format: WireFormat,
    authenticated_data: bytes = b"",
    force_path: bool = True,
    unix_now: float | None = None,
    is_first_commit: bool = False,
    external: tuple[TreeKem, Secret] | None = None,
) -> MadeCommit:
    """A commit of ``queue`` by the member at ``epoch.kem.leaf``. [ML-52]

    Args:
        signer: signs the message: the present leaf's key.
        new_leaf: what the path's leaf says; its signer may be a new one.
        external: for an external commit, the tree to join and the init secret; ``epoch`` then
            serves as context only.

    Raises:
        GroupInputRefused of its kinds, GroupLimit, UnknownPsk, InvalidKey.
    """
    suite = rules.suite
    is_external = external is not None
    kem = external[0].copy() if external is not None else epoch.kem.copy()
    init_secret = external[1] if external is not None else epoch.secrets.init
    _judge(rules, epoch, queue, kem.leaf, is_external, unix_now, is_first_commit)
    own = kem.leaf
    if is_external:
        applied = apply_proposals(kem, queue, epoch.context.extensions, {})
        placeholder = new_leaf.sign(suite, b"", LeafNodeSource.UPDATE, epoch.context.group_id, 0)
        kem.leaf = own = kem.tree.add_leaf(placeholder)
        sender = Sender(SenderType.NEW_MEMBER_COMMIT)
    else:
        applied = apply_proposals(kem, queue, epoch.context.extensions, {})
        sender = Sender(SenderType.MEMBER, own)
    context = replace(
        epoch.context, epoch=epoch.number + 1, extensions=applied.extensions, tree_hash=b""
    )
    update = None
    commit_secret = Secret(bytes(suite.hash_bytes))
    if force_path or is_external or is_path_required(queue):
        update = kem.self_update(
            lambda key, parent_hash: new_leaf.sign(
                suite, key, LeafNodeSource.COMMIT, context.group_id, own, parent_hash
            ),
            lambda tree_hash: context.with_tree_hash(tree_hash).encode(),
            rng,
            [index for index, _ in applied.added],
        )
        commit_secret = update.commit_secret
    rules.check_tree_keys(kem.tree)
    listed: list[ProposalOrRef] = [
        one.proposal if one.reference is None else ProposalRef(one.reference) for one in queue
    ]
    commit = Commit(tuple(listed), None if update is None else update.path)
    framed = FramedContent(epoch.context.group_id, epoch.number, sender, authenticated_data, commit)
    signature = sign_content(suite, wire_format, framed, epoch.encoded_context, signer)
    context = context.with_tree_hash(kem.tree.tree_hash()).with_transcript(
        confirmed_transcript_hash(
            suite,
            epoch.interim_transcript_hash,
            u16(wire_format),
            framed.encode(),
            signature,
        )
    )
    psk = psk_secret(suite, [(one, find_psk(one)) for one in applied.psks])
    keys = EpochKeys.derive(suite, init_secret, commit_secret, psk, context.encode())
    tag = keys.confirmation_tag(suite, context.confirmed_transcript_hash)
    staged = _staged(
        epoch,
        begin_epoch(context, kem, keys.secrets, tag, rules.limits),
        own,
        applied,
        is_external=is_external,
        signer=new_leaf.signer if update is not None and new_leaf.signer is not signer else None,
    )
    content = AuthenticatedContent(wire_format, framed, signature, tag)
    return MadeCommit(content, staged, keys, applied, update)


def receive_commit(
    rules: Rules,
    epoch: Epoch,
    content: AuthenticatedContent,
    pending: Mapping[bytes, Queued],
    own_updates: Mapping[bytes, Secret],
    find_psk: FindPsk,
    step: Step | None,
) -> StagedCommit:
    """Stage another's commit, whose signature is verified already. [ML-53]

    Raises:
        GroupInputRefused of its kinds, GroupLimit, UnknownPsk, CredentialRefused.
    """
    suite = rules.suite
    framed = content.framed
    commit = framed.content
    if not isinstance(commit, Commit) or content.confirmation_tag is None:
        raise LocalProtocolError("this content is not a commit")
    is_external = framed.sender.type is SenderType.NEW_MEMBER_COMMIT
    queue = _resolve(commit, framed.sender, pending)
    _judge(rules, epoch, queue, framed.sender.index, is_external, None, False)
    if commit.path is None and (is_external or is_path_required(queue)):
        raise InvalidCommit("path-missing", "these proposals need a path")
    kem = epoch.kem.copy()
    applied = apply_proposals(kem, queue, epoch.context.extensions, own_updates)
    is_removed = epoch.kem.leaf in applied.removed
    context = replace(
        epoch.context, epoch=epoch.number + 1, extensions=applied.extensions, tree_hash=b""
    )
    sender = framed.sender.index
    commit_secret = Secret(bytes(suite.hash_bytes))
    if commit.path is not None:
        leaf = commit.path.leaf_node
        if is_external:
            for one in applied.removed:
                former = epoch.tree.leaf(one)
                if former is not None:
                    rules.check_external_replacement(former, leaf)
            sender = kem.tree.add_leaf(leaf)
        else:
            present = kem.tree.leaf(sender)
            if present is None:
                raise UnknownSender
            rules.check_replacement(present, leaf)
        rules.check_leaf(leaf, context, sender, LeafNodeSource.COMMIT, None)
        _check_path_keys(suite, commit)
        added = [index for index, _ in applied.added]
        if is_removed:
            apply_path(kem.tree, sender, commit.path, added)
        else:
            commit_secret = kem.process_update(
                sender,
                commit.path,
                lambda tree_hash: context.with_tree_hash(tree_hash).encode(),
                added,
            )
    rules.check_tree_keys(kem.tree)
    if is_removed:
        # Its secrets are for the others: who is removed has checked all that can be read.
        return _staged(epoch, None, sender, applied, is_external=is_external, step=step)
    context = context.with_tree_hash(kem.tree.tree_hash()).with_transcript(
        confirmed_transcript_hash(
            suite,
            epoch.interim_transcript_hash,
            u16(content.wire_format),
            framed.encode(),
            content.signature,
        )
    )
    init_secret = epoch.secrets.init
    if applied.external_init is not None:
        init_secret = _external_init(suite, epoch, applied.external_init)
    psk = psk_secret(suite, [(one, find_psk(one)) for one in applied.psks])
    keys = EpochKeys.derive(suite, init_secret, commit_secret, psk, context.encode())
    keys.check_confirmation(suite, context.confirmed_transcript_hash, content.confirmation_tag)
    following = begin_epoch(context, kem, keys.secrets, content.confirmation_tag, rules.limits)
    return _staged(epoch, following, sender, applied, is_external=is_external, step=step)


def _external_init(suite: CipherSuite, epoch: Epoch, proposal: ExternalInit) -> Secret:
    external = epoch.secrets.external_key_pair(suite)
    try:
        return external_init_receive(suite, external, proposal.kem_output)
    except (InvalidKey, DecryptError):
        raise InvalidCommit("external-init", "its key encapsulation does not open") from None
    finally:
        external.wipe()


def _judge(
    rules: Rules,
    epoch: Epoch,
    queue: Sequence[Queued],
    committer: int,
    is_external: bool,
    unix_now: float | None,
    is_first_commit: bool,
) -> None:
    rules.check_list(queue, committer, epoch.tree, is_external=is_external)
    # Whoever comes in must support what the same commit makes the group's extensions.
    context = epoch.context
    changed = _first(queue, GroupContextExtensions)
    if changed is not None:
        context = replace(context, extensions=changed.extensions)
    for one in queue:
        rules.check_proposal(one, epoch.tree, context, unix_now, is_first_commit=is_first_commit)
    if is_external:
        return
    maker = epoch.tree.leaf(committer)
    if maker is None:
        raise UnknownSender
    for one in queue:
        by = epoch.tree.leaf(one.sender.index) if one.sender.type is SenderType.MEMBER else None
        rules.policy.check_proposal(one.proposal, by, maker)


def _resolve(commit: Commit, sender: Sender, pending: Mapping[bytes, Queued]) -> list[Queued]:
    queue: list[Queued] = []
    for one in commit.proposals:
        if isinstance(one, ProposalRef):
            known = pending.get(one.reference)
            if known is None:
                raise InvalidCommit("unknown-proposal", "it names a proposal not held here")
            queue.append(known)
        elif isinstance(one, Update):
            raise InvalidCommit("own-update", "its maker's own Update is in it")
        else:
            queue.append(Queued(one, sender))
    references = [one.reference for one in queue if one.reference is not None]
    if len(set(references)) != len(references):
        raise InvalidCommit("proposal-twice", "it names one proposal twice")
    return queue


def _check_path_keys(suite: CipherSuite, commit: Commit) -> None:
    if commit.path is None:
        return
    try:
        for node in commit.path.nodes:
            suite.hpke.kem.check_public(node.encryption_key)
    except InvalidKey:
        raise InvalidCommit("path-keys", "a key of the path is not usable") from None


def _staged(
    epoch: Epoch,
    following: Epoch | None,
    committer: int,
    applied: Applied,
    *,
    is_external: bool,
    step: Step | None = None,
    signer: Signer | None = None,
) -> StagedCommit:
    return StagedCommit(
        base_tag=epoch.confirmation_tag,
        base_epoch=epoch.number,
        epoch=following,
        committer=committer,
        is_external=is_external,
        added=tuple(index for index, _ in applied.added),
        removed=applied.removed,
        updated=applied.updated,
        extensions_changed=applied.extensions != epoch.context.extensions,
        reinit=applied.reinit,
        step=step,
        signer=signer,
    )
