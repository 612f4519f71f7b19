"""Inviting and joining: Welcome, GroupInfo, joining by a commit, continuing another group
(RFC 9420 §11.2, §11.3, §12.4.3).

Spec: mls §13, §17 [ML-37, ML-38, ML-64 to ML-69].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wraith.abc import Rng
from wraith.crypto.secret import Secret
from wraith.errors import (
    DecryptError,
    GroupLimit,
    InvalidCommit,
    InvalidGroupInfo,
    InvalidWelcome,
    LocalProtocolError,
    UnknownPsk,
)
from wraith.mls.codec import MlsReader
from wraith.mls.commit import MadeCommit, NewLeaf, make_commit
from wraith.mls.context import GroupContext
from wraith.mls.epoch import Epoch, begin_epoch
from wraith.mls.framing import PublicMessage, Sender, SenderType, WireFormat
from wraith.mls.key_package import KeyPackageSecrets
from wraith.mls.key_schedule import (
    EpochSecrets,
    external_init_send,
    interim_transcript_hash,
    member_secret,
    welcome_secret,
)
from wraith.mls.limits import Limits
from wraith.mls.nodes import VERSION_MLS10, Extension, ExtensionType
from wraith.mls.proposals import ExternalInit, PreSharedKey, Proposal, ReInit, Remove
from wraith.mls.psk import (
    ExternalPsk,
    PreSharedKeyId,
    ResumptionPsk,
    ResumptionUsage,
    psk_secret,
)
from wraith.mls.ratchet_tree import RatchetTree
from wraith.mls.secret_tree import SecretTree
from wraith.mls.signing import Signer
from wraith.mls.suites import CipherSuite
from wraith.mls.treekem import TreeKem
from wraith.mls.treemath import common_ancestor
from wraith.mls.validation import Policy, Queued, Rules
from wraith.mls.welcome import (
    GroupInfo,
    GroupSecrets,
    Welcome,
    decode_message,
    encode_message,
    seal_group_secrets,
)

# Inviting.


def make_group_info(
    epoch: Epoch, signer: Signer, with_tree: bool, extensions: Sequence[Extension] = ()
) -> GroupInfo:
    """A description of ``epoch``, signed by this member."""
    listed = list(extensions)
    if with_tree:
        listed.append(Extension(ExtensionType.RATCHET_TREE, epoch.tree.encode()))
    return GroupInfo.sign(
        epoch.suite,
        epoch.context,
        tuple(listed),
        epoch.confirmation_tag,
        epoch.kem.leaf,
        signer,
    )


def make_welcome(made: MadeCommit, signer: Signer, with_tree: bool) -> bytes | None:
    """The message for all whom ``made`` adds; ``None`` if it adds nobody. [ML-64]"""
    following = made.staged.epoch
    if not made.applied.added or following is None:
        return None
    suite = following.suite
    info = make_group_info(following, signer, with_tree)
    sealed_info = made.keys.seal_group_info(suite, info.encode())
    secrets = []
    for index, package in made.applied.added:
        path_secret = None
        if made.update is not None:
            meeting = common_ancestor(index, following.kem.leaf)
            path_secret = made.update.path_secrets[meeting].reveal()
        one = GroupSecrets(made.keys.joiner.reveal(), path_secret, made.applied.psks)
        secrets.append(seal_group_secrets(suite, package, one, sealed_info))
    return encode_message(Welcome(suite.number, tuple(secrets), sealed_info))


# Joining.


@dataclass(frozen=True, slots=True)
class Parent:
    """A group that another may continue: its keys of past epochs, its end, its members."""

    group_id: bytes
    resumption: Mapping[int, Secret]
    context: GroupContext
    reinit: ReInit | None
    clients: frozenset[bytes]


def find_psk(
    psk: PreSharedKeyId, external: Mapping[bytes, Secret], parents: Sequence[Parent]
) -> Secret:
    """Raises ``UnknownPsk``."""
    if isinstance(psk, ExternalPsk):
        found = external.get(psk.psk_id)
    else:
        found = None
        for parent in parents:
            if parent.group_id == psk.group_id:
                found = parent.resumption.get(psk.epoch)
    if found is None:
        raise UnknownPsk
    return found


def join_by_welcome(
    message: bytes,
    own: KeyPackageSecrets,
    *,
    suite: CipherSuite,
    policy: Policy,
    limits: Limits,
    unix_now: float | None,
    ratchet_tree: bytes | None,
    psks: Mapping[bytes, Secret],
    parents: Sequence[Parent],
) -> tuple[Rules, Epoch]:
    """The epoch that a Welcome for ``own`` leads into (§12.4.3.1). [ML-65]

    Raises:
        DecodeError, InvalidWelcome, InvalidGroupInfo, InvalidTree, InvalidLeaf,
        CredentialRefused, UnknownPsk, UnsupportedSuite, GroupLimit.
    """
    rules = Rules(suite, policy, limits)
    policy.check_suite(suite)
    _check_size(message, limits.message_bytes_max + limits.tree_bytes_max)
    body = decode_message(message)
    if not isinstance(body, Welcome):
        raise LocalProtocolError("this is not a Welcome")
    secrets = body.open_secrets(suite, own.key_package, own.init_private)
    if len(secrets.joiner_secret) != suite.hash_bytes:
        raise InvalidWelcome("joiner-secret", "it has another length")
    if len({psk.encode() for psk in secrets.psks}) != len(secrets.psks):
        raise InvalidWelcome("psk-twice", "it names one key twice")
    psk = psk_secret(suite, [(one, find_psk(one, psks, parents)) for one in secrets.psks])
    joiner = Secret(secrets.joiner_secret)
    member = member_secret(suite, joiner, psk)
    try:
        info_raw = welcome_secret(suite, member).open(body.encrypted_group_info)
    except DecryptError:
        raise InvalidWelcome("group-info", "its group info does not open") from None
    reader = MlsReader(info_raw)
    info = GroupInfo.read(reader)
    reader.expect_end("group info")
    tree = _checked_tree(rules, info, ratchet_tree, unix_now)
    _check_resumption(rules, info.context, tree, secrets.psks, parents)
    package = own.key_package.leaf_node
    own_leaf = next((index for index, leaf in tree.members() if leaf == package), None)
    if own_leaf is None:
        raise InvalidWelcome("own-leaf", "the tree does not have this client's leaf")
    if own_leaf == info.signer:
        raise InvalidWelcome("own-leaf", "it is signed by the leaf it adds")
    kem = TreeKem(tree, own_leaf, Secret(own.leaf_private.reveal()))
    if secrets.path_secret is not None:
        try:
            kem.learn_path_secret(common_ancestor(own_leaf, info.signer), secrets.path_secret)
        except InvalidCommit as error:
            raise InvalidWelcome(error.check, "its path secret does not fit the tree") from None
    keys = EpochSecrets.derive(suite, member, info.context.encode())
    return rules, _confirmed(rules, info, kem, keys)


def join_by_commit(
    message: bytes,
    own: KeyPackageSecrets,
    rng: Rng,
    *,
    suite: CipherSuite,
    policy: Policy,
    limits: Limits,
    unix_now: float | None,
    ratchet_tree: bytes | None,
    replaces: int | None,
    psks: Mapping[bytes, Secret],
) -> tuple[Rules, Epoch, bytes]:
    """The epoch after one's own external commit, and that commit for the group (§12.4.3.2).
    [ML-66]

    Args:
        message: a GroupInfo with the external public key.
        own: its signer, credential and capabilities are used; its keys are not.
        replaces: one's own former leaf, which the commit removes.

    Raises:
        As ``join_by_welcome``.
    """
    rules = Rules(suite, policy, limits)
    policy.check_suite(suite)
    _check_size(message, limits.message_bytes_max + limits.tree_bytes_max)
    info = decode_message(message)
    if not isinstance(info, GroupInfo):
        raise LocalProtocolError("this is not a GroupInfo")
    external_pub = info.external_pub
    if external_pub is None:
        raise InvalidGroupInfo("external-pub", "it does not let anybody in")
    tree = _checked_tree(rules, info, ratchet_tree, unix_now)
    kem_output, init_secret = external_init_send(
        suite, external_pub, rng.secret_bytes(suite.hpke.kem.private_bytes)
    )
    proposals: list[Proposal] = [ExternalInit(kem_output)]
    if replaces is not None:
        proposals.append(Remove(replaces))
    proposals += [
        PreSharedKey(ExternalPsk(psk_id, rng.secret_bytes(suite.hash_bytes))) for psk_id in psks
    ]
    joiner = Sender(SenderType.NEW_MEMBER_COMMIT)
    nobody = TreeKem(tree, tree.width, Secret(b""))
    # A stand-in for the epoch that is joined: none of its secrets is known, and none is used.
    present = Epoch(
        info.context,
        info.context.encode(),
        nobody,
        EpochSecrets.from_epoch_secret(suite, bytes(suite.hash_bytes)),
        SecretTree(suite, Secret(b""), tree.width, limits),
        interim_transcript_hash(
            suite, info.context.confirmed_transcript_hash, info.confirmation_tag
        ),
        info.confirmation_tag,
    )
    leaf = own.key_package.leaf_node
    made = make_commit(
        rules,
        present,
        [Queued(proposal, joiner) for proposal in proposals],
        signer=own.signer,
        new_leaf=NewLeaf(own.signer, leaf.credential, leaf.capabilities, leaf.extensions),
        find_psk=lambda psk: find_psk(psk, psks, ()),
        rng=rng,
        wire_format=WireFormat.PUBLIC_MESSAGE,
        external=(nobody, init_secret),
    )
    following = made.staged.epoch
    if following is None:
        raise InvalidCommit("own-remove", "it removes its maker")
    commit = PublicMessage(made.content, None)
    return rules, following, encode_message(commit)


def _check_size(message: bytes, most: int) -> None:
    if len(message) > most:
        raise GroupLimit(f"this message has at most {most} bytes")


def _checked_tree(
    rules: Rules, info: GroupInfo, given: bytes | None, unix_now: float | None
) -> RatchetTree:
    """The tree of ``info``, in it or ``given``, with everything checked. [ML-67]"""
    suite, context = rules.suite, info.context
    if context.version != VERSION_MLS10:
        raise InvalidGroupInfo("version", f"{context.version} is not MLS 1.0")
    if context.cipher_suite != suite.number:
        raise InvalidGroupInfo("suite", f"it is of suite 0x{context.cipher_suite:04x}")
    raw = info.ratchet_tree if info.ratchet_tree is not None else given
    if raw is None:
        raise InvalidGroupInfo("ratchet-tree", "the tree is missing")
    if len(raw) > rules.limits.tree_bytes_max:
        raise GroupLimit(f"a tree has at most {rules.limits.tree_bytes_max} bytes")
    reader = MlsReader(raw)
    tree = RatchetTree.read(reader, suite, rules.limits.members_max)
    reader.expect_end("ratchet_tree")
    signer = tree.leaf(info.signer)
    if signer is None:
        raise InvalidGroupInfo("signer", f"leaf {info.signer} is nobody's")
    info.verify(suite, signer.signature_key)
    rules.check_joined_tree(tree, context, unix_now)
    return tree


def _confirmed(rules: Rules, info: GroupInfo, kem: TreeKem, keys: EpochSecrets) -> Epoch:
    context = info.context
    if not rules.suite.mac_matches(
        keys.confirmation, context.confirmed_transcript_hash, info.confirmation_tag
    ):
        raise InvalidGroupInfo("confirmation-tag", "its keys are others than those derived")
    return begin_epoch(context, kem, keys, info.confirmation_tag, rules.limits)


def _check_resumption(
    rules: Rules,
    context: GroupContext,
    tree: RatchetTree,
    psks: Sequence[PreSharedKeyId],
    parents: Sequence[Parent],
) -> None:
    """A group that continues another is what that one's end, or its members, say. [ML-68]"""
    resumed = [
        psk
        for psk in psks
        if isinstance(psk, ResumptionPsk) and psk.usage is not ResumptionUsage.APPLICATION
    ]
    if not resumed:
        return
    if len(resumed) > 1:
        raise InvalidWelcome("resumption", "it continues two groups")
    psk = resumed[0]
    if context.epoch != 1:
        raise InvalidWelcome("resumption", "only a group's first commit continues another")
    parent = next(one for one in parents if one.group_id == psk.group_id)
    clients = {rules.policy.client_of(leaf) for _, leaf in tree.members()}
    if psk.usage is ResumptionUsage.BRANCH:
        same = (parent.context.version, parent.context.cipher_suite)
        if (context.version, context.cipher_suite) != same:
            raise InvalidWelcome("branch", "a branch has the version and suite of its group")
        if not clients <= parent.clients:
            raise InvalidWelcome("branch", "it has members that its group has not")
        return
    end = parent.reinit
    if end is None or psk.epoch != parent.context.epoch:
        raise InvalidWelcome("reinit", "the group that it continues was not ended so")
    promised = (end.version, end.cipher_suite, end.group_id, end.extensions)
    if (context.version, context.cipher_suite, context.group_id, context.extensions) != promised:
        raise InvalidWelcome("reinit", "it is not the group that the ReInit announced")
    if clients != parent.clients:
        raise InvalidWelcome("reinit", "it has other members than the group that it continues")
