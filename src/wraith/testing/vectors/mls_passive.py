"""RFC 9420: path vectors (``treekem``) and whole conversations of a member that only listens."""

from __future__ import annotations

from wraith.crypto.secret import Secret
from wraith.errors import LocalProtocolError
from wraith.mls import treemath as tm
from wraith.mls.codec import decode
from wraith.mls.commit import NewLeaf, StagedCommit
from wraith.mls.context import GroupContext
from wraith.mls.group import MlsGroup
from wraith.mls.key_package import KeyPackage, KeyPackageSecrets
from wraith.mls.nodes import LeafNodeSource
from wraith.mls.ratchet_tree import RatchetTree
from wraith.mls.signing import Signer
from wraith.mls.treekem import TreeKem, UpdatePath, apply_path
from wraith.mls.welcome import decode_message
from wraith.testing.mls import AnyPolicy
from wraith.testing.rng import SeededRng
from wraith.testing.vectors.mls import LIMITS, read_tree, suite_of
from wraith.testing.vectors.report import Fields, Malformed, Report, equal, objects


def recognises_treekem(data: object) -> bool:
    return _has(data, "ratchet_tree", "leaves_private", "update_paths")


def recognises_passive(data: object) -> bool:
    return _has(data, "key_package", "welcome", "initial_epoch_authenticator", "epochs")


def _has(data: object, *names: str) -> bool:
    return (
        isinstance(data, list)
        and bool(data)
        and isinstance(data[0], dict)
        and set(names) <= data[0].keys()
    )


def run_treekem(data: object, report: Report) -> None:
    for index, vector in enumerate(objects(data)):
        report.run(f"vector {index}", lambda v=vector: _treekem(v))  # type: ignore[misc]


def run_passive(data: object, report: Report) -> None:
    for index, vector in enumerate(objects(data)):
        report.run(f"vector {index}", lambda v=vector: _passive(v))  # type: ignore[misc]


class _Tree:
    """One ``treekem`` case: the tree, its context, and what each member knows."""

    def __init__(self, vector: Fields) -> None:
        self.vector = vector
        self.suite = suite_of(vector)
        self.signers: dict[int, Signer] = {}
        self.members: dict[int, TreeKem] = {}
        for one in vector.objects("leaves_private"):
            leaf = one.number("index")
            self.signers[leaf] = self.suite.signer(one.hex("signature_priv"))
            kem = TreeKem(self.tree(), leaf, Secret(one.hex("encryption_priv")), {})
            for known in one.objects("path_secrets"):
                secret = self.suite.derive_secret(known.hex("path_secret"), b"node")
                private = self.suite.derive_key_pair(secret).private
                kem.private_keys()[1][known.number("node")] = private
            kem.check_private_keys()
            self.members[leaf] = kem

    def tree(self) -> RatchetTree:
        return read_tree(self.suite, self.vector.hex("ratchet_tree"))

    def context(self, tree_hash: bytes) -> bytes:
        return GroupContext(
            self.suite.number,
            self.vector.hex("group_id"),
            self.vector.number("epoch"),
            tree_hash,
            self.vector.hex("confirmed_transcript_hash"),
        ).encode()


def _treekem(vector: Fields) -> None:
    case = _Tree(vector)
    for one in vector.objects("update_paths"):
        sender = one.number("sender")
        path = decode(UpdatePath.read, one.hex("update_path"), "update path")
        equal("path encoding", path.encode(), one.hex("update_path"))
        tree = case.tree()
        apply_path(tree, sender, path)
        equal("tree_hash_after", tree.tree_hash(), one.hex("tree_hash_after"))
        secrets = one.raw.get("path_secrets")
        if not isinstance(secrets, list):
            raise Malformed("'path_secrets' is not a list")
        for leaf, kem in case.members.items():
            if leaf == sender:
                continue
            mine = kem.copy()
            commit_secret = mine.process_update(sender, path, case.context)
            equal("commit_secret", commit_secret.reveal(), one.hex("commit_secret"))
            known = case.suite.derive_secret(bytes.fromhex(secrets[leaf]), b"node")
            meeting = tm.common_ancestor(leaf, sender)
            learnt = mine.private_keys()[1][meeting].reveal()
            private = case.suite.derive_key_pair(known).private.reveal()
            equal("path secret", learnt, private)
        _own_path(case, sender, vector.hex("group_id"))


def _own_path(case: _Tree, sender: int, group_id: bytes) -> None:
    suite, maker = case.suite, case.members[sender].copy()
    present = maker.tree.leaf(sender)
    if present is None:
        raise Malformed("the sender's leaf is blank")
    new_leaf = NewLeaf.like(present, case.signers[sender])
    update = maker.self_update(
        lambda key, parent_hash: new_leaf.sign(
            suite, key, LeafNodeSource.COMMIT, group_id, sender, parent_hash
        ),
        case.context,
        SeededRng(b"treekem"),
    )
    again = decode(UpdatePath.read, update.path.encode(), "update path")
    for leaf, kem in case.members.items():
        if leaf != sender:
            got = kem.copy().process_update(sender, again, case.context)
            equal("own commit secret", got == update.commit_secret, True)


def _passive(vector: Fields) -> None:
    suite = suite_of(vector)
    package = decode_message(vector.hex("key_package"))
    if not isinstance(package, KeyPackage):
        raise Malformed("not a key package")
    own = KeyPackageSecrets.restore(
        package.raw,
        vector.hex("init_priv"),
        vector.hex("encryption_priv"),
        vector.hex("signature_priv"),
    )
    psks = {one.hex("psk_id"): Secret(one.hex("psk")) for one in vector.objects("external_psks")}
    tree = vector.raw.get("ratchet_tree")
    group = MlsGroup.join(
        vector.hex("welcome"),
        own,
        SeededRng(b"passive"),
        unix_now=None,
        ratchet_tree=None if tree is None else vector.hex("ratchet_tree"),
        psks=psks,
        policy=AnyPolicy(),
        limits=LIMITS,
        suite=suite,
    )
    authenticator = vector.hex("initial_epoch_authenticator")
    equal("initial authenticator", group.epoch_authenticator(), authenticator)
    for now, epoch in enumerate(vector.objects("epochs")):
        for proposal in epoch.texts("proposals"):
            group.merge(group.stage(bytes.fromhex(proposal)), now)
        staged = group.stage(epoch.hex("commit"))
        if not isinstance(staged, StagedCommit):
            raise LocalProtocolError("this is not a commit")
        group.merge(staged, now)
        equal("authenticator", group.epoch_authenticator(), epoch.hex("epoch_authenticator"))
