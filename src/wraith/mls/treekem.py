"""TreeKEM: one member's view of the tree, with the private keys it knows (RFC 9420 §7.4 to §7.6).

``self_update`` draws a fresh leaf key and fresh path secrets, and encrypts each path secret to
those below the other child; ``process_update`` is the receiving side. Both return the commit
secret. ``add_member`` and ``remove_member`` change the tree as the proposals of these names do.
The leaf's private key never leaves this object, except into ``state``.

A ``TreeKem`` changes in place; who wants to be able to refuse works on a ``copy``.

Spec: mls §7 [ML-18, ML-19, ML-20].
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from wraith.abc import Rng
from wraith.crypto.secret import Secret
from wraith.errors import DecryptError, InvalidCommit, InvalidKey
from wraith.mls import treemath as tm
from wraith.mls.codec import MlsReader, opaque, vector
from wraith.mls.key_package import KeyPackage
from wraith.mls.nodes import LeafNode, LeafNodeSource, ParentNode
from wraith.mls.ratchet_tree import RatchetTree
from wraith.mls.suites import CipherSuite

_PATH_LABEL: Final = b"UpdatePathNode"
_N_NODES_MAX: Final = 64
_N_CIPHERTEXTS_MAX: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class HpkeCiphertext:
    kem_output: bytes
    ciphertext: bytes

    def encode(self) -> bytes:
        return opaque(self.kem_output) + opaque(self.ciphertext)

    @classmethod
    def read(cls, reader: MlsReader) -> HpkeCiphertext:
        return cls(reader.opaque("kem_output"), reader.opaque("ciphertext"))


@dataclass(frozen=True, slots=True)
class UpdatePathNode:
    """One node of a path: its new public key, and its path secret for each of the resolution."""

    encryption_key: bytes
    encrypted_path_secret: tuple[HpkeCiphertext, ...]

    def encode(self) -> bytes:
        ciphertexts = vector(one.encode() for one in self.encrypted_path_secret)
        return opaque(self.encryption_key) + ciphertexts

    @classmethod
    def read(cls, reader: MlsReader) -> UpdatePathNode:
        return cls(
            reader.opaque("path encryption_key"),
            reader.vector(HpkeCiphertext.read, "encrypted_path_secret", _N_CIPHERTEXTS_MAX),
        )


@dataclass(frozen=True, slots=True)
class UpdatePath:
    leaf_node: LeafNode
    nodes: tuple[UpdatePathNode, ...]

    def encode(self) -> bytes:
        return self.leaf_node.encode() + vector(node.encode() for node in self.nodes)

    @classmethod
    def read(cls, reader: MlsReader) -> UpdatePath:
        leaf_node = LeafNode.read(reader)
        return cls(leaf_node, reader.vector(UpdatePathNode.read, "path nodes", _N_NODES_MAX))


@dataclass(frozen=True, slots=True)
class KeyUpdate:
    """The result of ``self_update``.

    ``path_secrets`` maps each node of the filtered direct path to its secret: a Welcome hands a
    new member the one of the lowest node that both are below.
    """

    path: UpdatePath
    commit_secret: Secret
    path_secrets: dict[int, Secret]


MakeLeaf = Callable[[bytes, bytes], LeafNode]
"""``(encryption_key, parent_hash)`` to a signed leaf of source commit."""

ContextOf = Callable[[bytes], bytes]
"""A tree hash to the encoded provisional group context (RFC 9420 §7.6)."""


class TreeKem:
    """The public tree, and the private keys of the member at ``leaf``."""

    __slots__ = ("_leaf_secret", "_path_private", "leaf", "suite", "tree")

    def __init__(
        self,
        tree: RatchetTree,
        leaf: int,
        leaf_secret: Secret,
        path_private: dict[int, Secret] | None = None,
    ) -> None:
        self.suite: CipherSuite = tree.suite
        self.tree = tree
        self.leaf = leaf
        self._leaf_secret = leaf_secret
        self._path_private = path_private if path_private is not None else {}

    def copy(self) -> TreeKem:
        return TreeKem(self.tree.copy(), self.leaf, self._leaf_secret, dict(self._path_private))

    # The plan's four.

    def add_member(self, key_package: KeyPackage) -> int:
        """Put the package's leaf into the tree. Returns its leaf index."""
        return self.tree.add_leaf(key_package.leaf_node)

    def remove_member(self, leaf: int) -> None:
        """Blank ``leaf`` and the nodes above it; what was known of these is forgotten."""
        self._forget_above(leaf)
        self.tree.remove_leaf(leaf)
        for node in [node for node in self._path_private if node >= tm.n_nodes(self.tree.width)]:
            del self._path_private[node]

    def self_update(
        self, make_leaf: MakeLeaf, context_of: ContextOf, rng: Rng, skip: Collection[int] = ()
    ) -> KeyUpdate:
        """Replace all keys from the own leaf to the root. [ML-18]

        Args:
            make_leaf: signs the new leaf.
            context_of: gives what the path secrets are encrypted under.
            skip: leaves added in the same commit: a Welcome brings them their secret.
        """
        tree, suite = self.tree, self.suite
        own = suite.generate_key_pair(rng)
        filtered = tree.filtered_direct_path(self.leaf)
        secret = rng.secret_bytes(suite.hash_bytes)
        publics: list[bytes] = []
        path_secrets: dict[int, Secret] = {}
        privates: dict[int, Secret] = {}
        for node, _ in filtered:
            path_secrets[node] = Secret(secret)
            pair = suite.derive_key_pair(suite.derive_secret(secret, b"node"))
            privates[node] = pair.private
            publics.append(pair.public)
            secret = suite.derive_secret(secret, b"path")
        parent_hash = self._put_path(self.leaf, filtered, publics)
        leaf = make_leaf(own.public, parent_hash)
        tree.set_leaf(self.leaf, leaf)
        context = context_of(tree.tree_hash())
        nodes = tuple(
            UpdatePathNode(
                public,
                tuple(
                    HpkeCiphertext(
                        *suite.encrypt_with_label(
                            self._key_of(target),
                            _PATH_LABEL,
                            context,
                            path_secrets[node].reveal(),
                        )
                    )
                    for target in _targets(tree, other, skip)
                ),
            )
            for (node, other), public in zip(filtered, publics, strict=True)
        )
        self._forget_above(self.leaf)
        self._path_private.update(privates)
        self._leaf_secret = own.private
        return KeyUpdate(UpdatePath(leaf, nodes), Secret(secret), path_secrets)

    def process_update(
        self, sender: int, path: UpdatePath, context_of: ContextOf, skip: Collection[int] = ()
    ) -> Secret:
        """Apply another member's path. Returns the commit secret. [ML-19]

        Raises:
            InvalidCommit: the path does not fit the tree, its parent hash is wrong, or the secret
                that is meant for this member does not give the keys that the path announces.
        """
        tree, suite = self.tree, self.suite
        filtered = apply_path(tree, sender, path, skip)
        context = context_of(tree.tree_hash())
        self._forget_above(sender)
        meeting = tm.common_ancestor(self.leaf, sender)
        position = next(i for i, (node, _) in enumerate(filtered) if node == meeting)
        resolution = _targets(tree, filtered[position][1], skip)
        ciphertexts = path.nodes[position].encrypted_path_secret
        for target, ciphertext in zip(resolution, ciphertexts, strict=True):
            private = self._private_of(target)
            if private is not None:
                meant = ciphertext
                break
        else:
            raise InvalidCommit("path-secret", "no path secret is meant for this member")
        try:
            secret = suite.decrypt_with_label(
                private, _PATH_LABEL, context, meant.kem_output, meant.ciphertext
            )
        except (DecryptError, InvalidKey):
            raise InvalidCommit("path-secret", "the path secret does not decrypt") from None
        return self._climb(filtered[position:], path.nodes[position:], secret)

    # Beyond the plan.

    def update_member(self, leaf: int, node: LeafNode, own_private: Secret | None = None) -> None:
        """Replace ``leaf`` as an Update does; ``own_private`` belongs to an own one."""
        self._forget_above(leaf)
        self.tree.update_leaf(leaf, node)
        if own_private is not None:
            self._leaf_secret = own_private

    def learn_path_secret(self, node: int, secret: bytes) -> Secret:
        """Take the path secret of ``node`` from a Welcome: the private keys from there to the
        root. Returns the commit secret that follows. [ML-20]

        Raises:
            InvalidCommit: the secrets do not give the keys that stand in the tree.
        """
        path = [(node, 0)]
        while node != self.tree.root:
            node = tm.parent(node)
            if self.tree.node(node) is not None:
                path.append((node, 0))
        nodes = []
        for index, _ in path:
            parent = self.tree.parent(index)
            if parent is None:
                raise InvalidCommit("path-secret", f"node {index} is blank")
            nodes.append(UpdatePathNode(parent.encryption_key, ()))
        return self._climb(path, nodes, secret)

    def check_private_keys(self) -> None:
        """Each private key held belongs to the public key in the tree.

        Raises:
            InvalidKey: one does not.
        """
        public_of = self.suite.hpke.kem.public_of
        own = self.tree.leaf(self.leaf)
        if own is None or own.encryption_key != public_of(self._leaf_secret):
            raise InvalidKey("the leaf's private key belongs to another leaf")
        for index, private in self._path_private.items():
            parent = self.tree.parent(index)
            if parent is None or parent.encryption_key != public_of(private):
                raise InvalidKey(f"the private key of node {index} belongs to another")

    def private_keys(self) -> tuple[Secret, dict[int, Secret]]:
        """``(leaf's, node's by index)``, for ``state`` alone."""
        return self._leaf_secret, self._path_private

    def _climb(
        self,
        path: list[tuple[int, int]],
        nodes: tuple[UpdatePathNode, ...] | list[UpdatePathNode],
        secret: bytes,
    ) -> Secret:
        suite = self.suite
        learnt: dict[int, Secret] = {}
        if len(secret) != suite.hash_bytes:
            raise InvalidCommit("path-secret", "a path secret has another length")
        for (node, _), given in zip(path, nodes, strict=True):
            pair = suite.derive_key_pair(suite.derive_secret(secret, b"node"))
            if pair.public != given.encryption_key:
                raise InvalidCommit("path-keys", f"the key of node {node} is another")
            learnt[node] = pair.private
            secret = suite.derive_secret(secret, b"path")
        self._path_private.update(learnt)
        return Secret(secret)

    def _put_path(self, leaf: int, filtered: list[tuple[int, int]], publics: list[bytes]) -> bytes:
        return put_path(self.tree, leaf, filtered, publics)

    def _forget_above(self, leaf: int) -> None:
        for node in tm.direct_path(leaf, self.tree.width):
            self._path_private.pop(node, None)

    def _private_of(self, node: int) -> Secret | None:
        if node == tm.node_of(self.leaf):
            return self._leaf_secret
        return self._path_private.get(node)

    def _key_of(self, node: int) -> bytes:
        value = self.tree.node(node)
        if value is None:
            raise InvalidKey
        return value.encryption_key


def apply_path(
    tree: RatchetTree, sender: int, path: UpdatePath, skip: Collection[int] = ()
) -> list[tuple[int, int]]:
    """Put another member's path into the public tree: all of it that needs no secret. Returns its
    filtered direct path.

    Raises:
        InvalidCommit: wrong number of nodes or ciphertexts, a leaf not made for a commit, or a
            parent hash that is not the one of this path.
    """
    filtered = tree.filtered_direct_path(sender)
    if len(filtered) != len(path.nodes):
        raise InvalidCommit("path-length", f"{len(path.nodes)} nodes where {len(filtered)} belong")
    if path.leaf_node.source is not LeafNodeSource.COMMIT:
        raise InvalidCommit("path-leaf-source", "the path's leaf was made for another purpose")
    for (_, other), given in zip(filtered, path.nodes, strict=True):
        if len(_targets(tree, other, skip)) != len(given.encrypted_path_secret):
            raise InvalidCommit("path-ciphertexts", "a node has too few or too many")
    parent_hash = put_path(tree, sender, filtered, [node.encryption_key for node in path.nodes])
    if path.leaf_node.parent_hash != parent_hash:
        raise InvalidCommit("parent-hash", "the path's leaf carries another parent hash")
    tree.set_leaf(sender, path.leaf_node)
    return filtered


def _targets(tree: RatchetTree, node: int, skip: Collection[int]) -> list[int]:
    """The nodes below ``node`` that a path secret is sealed to."""
    resolution = tree.resolution(node)
    if not skip:
        return resolution
    skipped = {tm.node_of(index) for index in skip}
    return [target for target in resolution if target not in skipped]


def put_path(
    tree: RatchetTree, leaf: int, filtered: list[tuple[int, int]], publics: list[bytes]
) -> bytes:
    """Blank the direct path, then put the new keys in, each with the hash of the one above.
    Returns the parent hash that the leaf must carry."""
    tree.blank_path(leaf)
    parent_hash = b""
    for (node, other), public in zip(reversed(filtered), reversed(publics), strict=True):
        parent = ParentNode(public, parent_hash)
        tree.set_parent(node, parent)
        parent_hash = tree.parent_hash(parent, other)
    return parent_hash
