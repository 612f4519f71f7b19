"""Checks with names: leaves, trees, proposal lists (RFC 9420 §7.3, §12.2).

The rules of the protocol are here; what only the application can know (whose key is this, may this
member do that) it answers through a ``Policy``. Nothing here changes anything.

Spec: mls §14 [ML-40 to ML-52].
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from wraith.errors import (
    CredentialRefused,
    GroupLimit,
    InvalidCommit,
    InvalidKey,
    InvalidLeaf,
    InvalidProposal,
    InvalidSignature,
    InvalidTree,
    UnsupportedSuite,
)
from wraith.mls.context import GroupContext
from wraith.mls.framing import Sender, SenderType
from wraith.mls.key_package import LEAF_LABEL, KeyPackage
from wraith.mls.limits import Limits
from wraith.mls.nodes import (
    VERSION_MLS10,
    Capabilities,
    Extensions,
    LeafNode,
    LeafNodeSource,
    UnknownCredential,
    X509Credential,
)
from wraith.mls.proposals import (
    Add,
    ExternalInit,
    GroupContextExtensions,
    PreSharedKey,
    Proposal,
    ReInit,
    Remove,
    Update,
)
from wraith.mls.psk import ResumptionPsk, ResumptionUsage
from wraith.mls.ratchet_tree import RatchetTree
from wraith.mls.suites import CipherSuite, suite_by_id
from wraith.mls.x509 import check_chain, subject_of


class Policy(Protocol):
    """The application's decisions. Each method returns or raises; none may change anything."""

    def check_suite(self, suite: CipherSuite, /) -> None:
        """May a group use ``suite``? Raises ``UnsupportedSuite``."""
        ...

    def check_credential(self, leaf: LeafNode, unix_now: float | None, /) -> None:
        """Is ``leaf``'s credential acceptable, and does its signature key belong to it?

        ``unix_now`` is ``None`` when a commit is judged: no clock may split a group.
        Raises ``CredentialRefused``.
        """
        ...

    def check_successor(self, old: LeafNode, new: LeafNode, /) -> None:
        """May ``new`` take the place of ``old``? Raises ``CredentialRefused``."""
        ...

    def client_of(self, leaf: LeafNode, /) -> bytes:
        """Names the client behind ``leaf``: one group never has the same name twice."""
        ...

    def check_proposal(
        self, proposal: Proposal, by: LeafNode | None, commit_by: LeafNode, /
    ) -> None:
        """May ``by`` (``None``: not a member) propose this, and ``commit_by`` commit it?

        Raises ``InvalidProposal("policy", ...)``.
        """
        ...


@dataclass(frozen=True, slots=True)
class StrictPolicy:
    """The default: hybrid suites only, credentials that never change, members do what they like.

    ``x509_roots``: trusted certificates, DER; without any, X.509 credentials are refused.
    """

    require_pq: bool = True
    x509_roots: tuple[bytes, ...] = ()

    def check_suite(self, suite: CipherSuite, /) -> None:
        if self.require_pq and not suite.post_quantum:
            raise UnsupportedSuite(suite.number, "only hybrid suites are accepted here")

    def check_credential(self, leaf: LeafNode, unix_now: float | None, /) -> None:
        credential = leaf.credential
        if isinstance(credential, X509Credential):
            check_chain(credential, leaf.signature_key, self.x509_roots, unix_now)
        elif isinstance(credential, UnknownCredential):
            raise CredentialRefused(f"credentials of type {credential.type} are not known here")

    def check_successor(self, old: LeafNode, new: LeafNode, /) -> None:
        if self.client_of(old) != self.client_of(new):
            raise CredentialRefused("a member may not change its credential")

    def client_of(self, leaf: LeafNode, /) -> bytes:
        credential = leaf.credential
        if isinstance(credential, X509Credential):
            # A renewed certificate names the same client.
            return b"x509:" + subject_of(credential)
        return credential.encode()

    def check_proposal(
        self, proposal: Proposal, by: LeafNode | None, commit_by: LeafNode, /
    ) -> None:
        del proposal, by, commit_by


@dataclass(frozen=True, slots=True)
class Queued:
    """One proposal of a commit. ``reference`` is set if it came in a message of its own."""

    proposal: Proposal
    sender: Sender
    reference: bytes | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything that judging needs besides the input: one value handed around."""

    suite: CipherSuite
    policy: Policy
    limits: Limits

    # Leaves.

    def check_leaf(
        self,
        leaf: LeafNode,
        context: GroupContext,
        index: int,
        source: LeafNodeSource | None,
        unix_now: float | None,
        *,
        check_key: bool = True,
    ) -> None:
        """A leaf that enters, or stands in, the group of ``context`` at ``index``. [ML-40]

        Args:
            source: what the leaf must have been made for; ``None`` accepts any.
            unix_now: judge lifetime and credential at this time; ``None`` does not.
            check_key: whether the encryption key is tried; parsed it is always.

        Raises:
            InvalidLeaf, CredentialRefused.
        """
        if source is not None and leaf.source is not source:
            raise InvalidLeaf("leaf-source", f"it was made for {leaf.source.name.lower()}")
        self.check_support(leaf.capabilities, context.extensions, leaf.credential.type)
        required = context.required_capabilities
        if required is not None and not required.met_by(leaf.capabilities):
            raise InvalidLeaf("required-capabilities", "it lacks what the group requires")
        for extension in leaf.extensions:
            if not leaf.capabilities.has_extension(extension.type):
                raise InvalidLeaf("leaf-extensions", f"extension {extension.type} is not listed")
        if sum(len(one.data) for one in leaf.extensions) > self.limits.leaf_extensions_bytes_max:
            raise InvalidLeaf("leaf-extensions", "its extensions are too large")
        if leaf.lifetime is not None:
            if leaf.lifetime.not_before > leaf.lifetime.not_after:
                raise InvalidLeaf("lifetime", "its lifetime ends before it begins")
            if unix_now is not None and not (
                leaf.lifetime.not_before <= unix_now <= leaf.lifetime.not_after
            ):
                raise InvalidLeaf("lifetime", "it is not valid now")
        try:
            self.suite.verify_with_label(
                leaf.signature_key,
                LEAF_LABEL,
                leaf.to_be_signed(context.group_id, index),
                leaf.signature,
            )
        except InvalidSignature:
            raise InvalidLeaf("leaf-signature", "its signature does not verify") from None
        try:
            if check_key:
                self.suite.hpke.kem.check_public(leaf.encryption_key)
            else:
                self.suite.hpke.kem.library_public(leaf.encryption_key)
        except InvalidKey:
            raise InvalidLeaf("encryption-key", "its encryption key is not usable") from None
        self.policy.check_credential(leaf, unix_now)

    def check_support(
        self, capabilities: Capabilities, extensions: Extensions, credential_type: int
    ) -> None:
        """The version, suite, credential and group extensions are among ``capabilities``."""
        if (
            VERSION_MLS10 not in capabilities.versions
            or self.suite.number not in capabilities.cipher_suites
        ):
            raise InvalidLeaf("capabilities", "it does not support this version and suite")
        if credential_type not in capabilities.credentials:
            raise InvalidLeaf("capabilities", "it does not support its own credential")
        for extension in extensions:
            if not capabilities.has_extension(extension.type):
                raise InvalidLeaf("capabilities", f"group extension {extension.type} is missing")

    def check_key_package(
        self, package: KeyPackage, context: GroupContext, unix_now: float | None
    ) -> None:
        """Raises ``InvalidKeyPackage``, ``InvalidLeaf``, ``CredentialRefused``. [ML-41]"""
        package.check(self.suite)
        leaf = package.leaf_node
        self.check_leaf(leaf, context, 0, LeafNodeSource.KEY_PACKAGE, unix_now)

    # Trees.

    def check_tree_keys(self, tree: RatchetTree) -> None:
        """No two members share a signature key, no two nodes an encryption key; each member
        supports the credentials of all. [ML-42]

        Raises:
            InvalidTree.
        """
        leaves = [leaf for _, leaf in tree.members()]
        if len(leaves) > self.limits.members_max:
            raise GroupLimit(f"a group has at most {self.limits.members_max} members")
        if len({leaf.signature_key for leaf in leaves}) != len(leaves):
            raise InvalidTree("duplicate-signature-key", "two members have one signature key")
        keys = tree.encryption_keys()
        if len(set(keys)) != len(keys):
            raise InvalidTree("duplicate-encryption-key", "two nodes have one encryption key")
        used = {leaf.credential.type for leaf in leaves}
        # Equal capabilities are one object as a rule: a thousand leaves are few cases.
        for capabilities in {id(leaf.capabilities): leaf.capabilities for leaf in leaves}.values():
            if not used.issubset(capabilities.credentials):
                raise InvalidTree("credential-types", "a member cannot read another's credential")

    def check_joined_tree(
        self, tree: RatchetTree, context: GroupContext, unix_now: float | None
    ) -> None:
        """Everything about a tree that came from outside (§12.4.3.1). [ML-43]

        Raises:
            InvalidTree, InvalidLeaf, CredentialRefused.
        """
        if tree.tree_hash() != context.tree_hash:
            raise InvalidTree("tree-hash", "the tree is not the one of the group context")
        self.check_tree_keys(tree)
        tree.check_unmerged_leaves()
        tree.check_parent_hashes()
        for index, leaf in tree.members():
            self.check_leaf(leaf, context, index, None, unix_now, check_key=False)
        for _, parent in tree.parents():
            try:
                self.suite.hpke.kem.library_public(parent.encryption_key)
            except InvalidKey:
                raise InvalidTree("encryption-key", "a node's key is not usable") from None

    # Proposals.

    def check_proposal(
        self,
        queued: Queued,
        tree: RatchetTree,
        context: GroupContext,
        unix_now: float | None = None,
        *,
        is_first_commit: bool = False,
    ) -> None:
        """One proposal by itself, at the group's present state (§12.1). [ML-44]

        Raises:
            InvalidProposal, InvalidKeyPackage, InvalidLeaf, CredentialRefused, UnsupportedSuite.
        """
        proposal, sender = queued.proposal, queued.sender
        self._check_sender(proposal, sender)
        match proposal:
            case Add():
                self.check_key_package(proposal.key_package, context, unix_now)
            case Update():
                self._check_update(proposal, sender.index, tree, context, unix_now)
            case Remove():
                if tree.leaf(proposal.removed) is None:
                    raise InvalidProposal("remove", f"leaf {proposal.removed} is nobody's")
            case PreSharedKey():
                self._check_psk(proposal, is_first_commit)
            case ReInit():
                self.check_reinit(proposal)
            case GroupContextExtensions():
                self._check_extensions(proposal, tree, context)
            case ExternalInit():
                pass

    def _check_sender(self, proposal: Proposal, sender: Sender) -> None:
        allowed: tuple[type, ...]
        if sender.type is SenderType.MEMBER:
            allowed = (Add, Update, Remove, PreSharedKey, ReInit, GroupContextExtensions)
        elif sender.type is SenderType.EXTERNAL:
            allowed = (Add, Remove, PreSharedKey, ReInit, GroupContextExtensions)
        elif sender.type is SenderType.NEW_MEMBER_PROPOSAL:
            allowed = (Add,)
        else:
            allowed = (ExternalInit, Remove, PreSharedKey)
        if not isinstance(proposal, allowed):
            raise InvalidProposal(
                "sender", f"{type(proposal).__name__} by {sender.type.name.lower()}"
            )

    def _check_update(
        self,
        proposal: Update,
        index: int,
        tree: RatchetTree,
        context: GroupContext,
        unix_now: float | None,
    ) -> None:
        old, new = tree.leaf(index), proposal.leaf_node
        if old is None:
            raise InvalidProposal("update", f"leaf {index} is nobody's")
        self.check_leaf(new, context, index, LeafNodeSource.UPDATE, unix_now)
        self.check_replacement(old, new)

    def check_replacement(self, old: LeafNode, new: LeafNode) -> None:
        """``new`` has a fresh key and an acceptable credential. Raises ``InvalidLeaf``,
        ``CredentialRefused``. [ML-45]"""
        if new.encryption_key == old.encryption_key:
            raise InvalidLeaf("encryption-key", "an update must bring a fresh encryption key")
        self.policy.check_successor(old, new)

    def _check_psk(self, proposal: PreSharedKey, is_first_commit: bool) -> None:
        psk = proposal.psk
        if len(psk.psk_nonce) != self.suite.hash_bytes:
            raise InvalidProposal("psk-nonce", "a PSK's nonce is as long as the suite's hash")
        if (
            isinstance(psk, ResumptionPsk)
            and psk.usage is not ResumptionUsage.APPLICATION
            and not is_first_commit
        ):
            raise InvalidProposal("psk-usage", "only a group's first commit resumes another group")

    def check_reinit(self, proposal: ReInit) -> None:
        """The new group is not weaker than this one. [ML-46]"""
        if proposal.version < VERSION_MLS10:
            raise InvalidProposal("reinit-version", "a group goes to no older version")
        if proposal.version != VERSION_MLS10:
            raise InvalidProposal("reinit-version", "the version is not known here")
        target = suite_by_id(proposal.cipher_suite)
        if target.is_downgrade_from(self.suite):
            raise InvalidProposal("reinit-downgrade", f"{target.name} is weaker than the present")
        self.policy.check_suite(target)

    def _check_extensions(
        self, proposal: GroupContextExtensions, tree: RatchetTree, context: GroupContext
    ) -> None:
        changed = GroupContext(
            context.cipher_suite, context.group_id, 0, b"", b"", proposal.extensions
        )
        required = changed.required_capabilities
        _ = changed.external_senders
        for capabilities in {leaf.capabilities for _, leaf in tree.members()}:
            if required is not None and not required.met_by(capabilities):
                raise InvalidProposal("required-capabilities", "a member lacks what they require")
            for extension in proposal.extensions:
                if not capabilities.has_extension(extension.type):
                    raise InvalidProposal(
                        "group-extensions", f"a member does not know extension {extension.type}"
                    )

    def check_list(
        self,
        queue: Sequence[Queued],
        committer: int,
        tree: RatchetTree,
        *,
        is_external: bool,
    ) -> None:
        """All proposals of one commit together (§12.2, §12.4.3.2). [ML-47]

        Args:
            committer: its leaf; for an external commit of no meaning.

        Raises:
            InvalidCommit, GroupLimit.
        """
        if len(queue) > self.limits.proposals_per_commit_max:
            raise GroupLimit(
                f"a commit has at most {self.limits.proposals_per_commit_max} proposals"
            )
        if is_external:
            self._check_external_list(queue)
        else:
            self._check_member_list(queue, committer)
        removed = _unique(
            [one.proposal.removed for one in queue if isinstance(one.proposal, Remove)]
            + [one.sender.index for one in queue if isinstance(one.proposal, Update)],
            "changes-one-leaf-twice",
        )
        _unique(
            [one.proposal.psk.encode() for one in queue if isinstance(one.proposal, PreSharedKey)],
            "psk-twice",
        )
        self._check_added(queue, tree, removed)

    def _check_member_list(self, queue: Sequence[Queued], committer: int) -> None:
        n_extensions = n_reinit = 0
        for one in queue:
            match one.proposal:
                case Update() if one.sender.index == committer:
                    raise InvalidCommit("own-update", "its maker's own Update is in it")
                case Remove(removed=leaf) if leaf == committer:
                    raise InvalidCommit("own-remove", "it removes its maker")
                case ExternalInit():
                    raise InvalidCommit("external-init", "only an external commit has one")
                case GroupContextExtensions():
                    n_extensions += 1
                case ReInit():
                    n_reinit += 1
        if n_extensions > 1:
            raise InvalidCommit("extensions-twice", "it sets the group's extensions twice")
        if n_reinit and len(queue) > 1:
            raise InvalidCommit("reinit-alone", "a ReInit stands with another proposal")

    def _check_external_list(self, queue: Sequence[Queued]) -> None:
        if any(one.reference is not None for one in queue):
            raise InvalidCommit("external-reference", "an external commit names proposals")
        kinds = [type(one.proposal) for one in queue]
        if kinds.count(ExternalInit) != 1:
            raise InvalidCommit("external-init", "an external commit has exactly one")
        if kinds.count(Remove) > 1:
            raise InvalidCommit("external-remove", "an external commit removes one leaf at most")
        if set(kinds) - {ExternalInit, Remove, PreSharedKey}:
            raise InvalidCommit("external-proposals", "it has proposals that it may not have")

    def _check_added(
        self, queue: Sequence[Queued], tree: RatchetTree, leaving: Collection[int]
    ) -> None:
        added = [one.proposal.key_package for one in queue if isinstance(one.proposal, Add)]
        if not added:
            return
        _unique([package.leaf_node.signature_key for package in added], "added-twice")
        _unique([package.init_key for package in added], "added-twice")
        client_of = self.policy.client_of
        present = {client_of(leaf) for index, leaf in tree.members() if index not in leaving}
        newcomers = _unique([client_of(package.leaf_node) for package in added], "added-twice")
        if not present.isdisjoint(newcomers):
            raise InvalidCommit("added-member", "it adds a client that is in the group")

    def check_external_replacement(self, old: LeafNode, new: LeafNode) -> None:
        """A joiner by commit may remove its own former leaf only. [ML-48]"""
        if self.policy.client_of(old) != self.policy.client_of(new):
            raise InvalidCommit("external-remove", "it removes another member")


T = TypeVar("T", int, bytes)


def _unique(values: list[T], check: str) -> set[T]:
    distinct = set(values)
    if len(distinct) != len(values):
        raise InvalidCommit(check)
    return distinct


def is_path_required(queue: Iterable[Queued]) -> bool:
    """Whether a commit of these proposals must bring a path (§12.4). [ML-49]"""
    kinds = [type(one.proposal) for one in queue]
    return not kinds or any(
        kind in (Update, Remove, ExternalInit, GroupContextExtensions) for kind in kinds
    )
