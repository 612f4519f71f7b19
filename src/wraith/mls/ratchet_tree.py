"""The public ratchet tree: nodes, blanks, resolutions, hashes (RFC 9420 §4.1, §7.7 to §7.9).

Nodes are frozen values with their hashes beside them, so ``copy`` copies references only: a commit
is staged on a copy, and refusing it undoes nothing. No private key is here (``treekem``).

Spec: mls §5 [ML-12, ML-13, ML-14, ML-15].
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator

from wraith.errors import InvalidTree
from wraith.mls import treemath as tm
from wraith.mls.codec import MlsReader, opaque, u32, vector
from wraith.mls.nodes import LeafNode, Node, ParentNode, encode_node, read_node
from wraith.mls.suites import CipherSuite

_HASH_LEAF, _HASH_PARENT = b"\1", b"\2"
_BLANK, _PRESENT = b"\0", b"\1"


class RatchetTree:
    """A full binary tree of ``width`` leaves, a power of two; blanks are ``None``."""

    __slots__ = ("_first_blank", "_hashes", "_nodes", "suite")

    def __init__(self, suite: CipherSuite, nodes: list[Node | None]) -> None:
        width = tm.full_width((len(nodes) + 1) // 2)
        self.suite = suite
        self._nodes = nodes + [None] * (tm.n_nodes(width) - len(nodes))
        self._hashes: list[bytes | None] = [None] * len(self._nodes)
        self._first_blank = 0

    def copy(self) -> RatchetTree:
        twin = RatchetTree.__new__(RatchetTree)
        twin.suite = self.suite
        twin._nodes = self._nodes.copy()
        twin._hashes = self._hashes.copy()
        twin._first_blank = self._first_blank
        return twin

    @classmethod
    def read(cls, reader: MlsReader, suite: CipherSuite, n_leaves_max: int) -> RatchetTree:
        """``optional<Node> ratchet_tree<V>``. [ML-12]

        Raises:
            DecodeError: malformed, a leaf where a parent belongs or the reverse, a blank last
                node, no node at all, or more than ``n_leaves_max`` leaves.
        """
        inner = reader.sub("ratchet_tree")
        nodes: list[Node | None] = []
        while inner.remaining:
            if len(nodes) > 2 * (n_leaves_max - 1):
                raise inner.refuse("ratchet_tree")
            node = read_node(inner)
            if node is not None and isinstance(node, LeafNode) != tm.is_leaf(len(nodes)):
                raise inner.refuse("ratchet_tree")
            nodes.append(node)
        if not nodes or nodes[-1] is None:
            raise inner.refuse("ratchet_tree")
        return cls(suite, nodes)

    def encode(self) -> bytes:
        """Trailing blanks left out."""
        n = len(self._nodes)
        while n and self._nodes[n - 1] is None:
            n -= 1
        return vector(map(encode_node, self._nodes[:n]))

    @property
    def width(self) -> int:
        return (len(self._nodes) + 1) // 2

    @property
    def root(self) -> int:
        return tm.root(self.width)

    def node(self, node: int) -> Node | None:
        return self._nodes[node]

    def leaf(self, leaf: int) -> LeafNode | None:
        """The member at ``leaf``; ``None`` for a blank and beyond the tree."""
        if leaf >= self.width:
            return None
        node = self._nodes[2 * leaf]
        return node if isinstance(node, LeafNode) else None

    def parent(self, node: int) -> ParentNode | None:
        value = self._nodes[node]
        return value if isinstance(value, ParentNode) else None

    def members(self) -> Iterator[tuple[int, LeafNode]]:
        """``(leaf index, leaf)`` of all that are not blank, ascending."""
        for index in range(0, len(self._nodes), 2):
            node = self._nodes[index]
            if isinstance(node, LeafNode):
                yield index >> 1, node

    def encryption_keys(self) -> list[bytes]:
        """Of all nodes that are not blank."""
        return [node.encryption_key for node in self._nodes if node is not None]

    def parents(self) -> Iterator[tuple[int, ParentNode]]:
        for index in range(1, len(self._nodes), 2):
            node = self._nodes[index]
            if isinstance(node, ParentNode):
                yield index, node

    # Changes. Each marks the hashes above it as unknown.

    def add_leaf(self, leaf: LeafNode) -> int:
        """Put ``leaf`` at the leftmost blank, growing the tree if there is none (§7.7)."""
        index = self._leftmost_blank()
        if index == self.width:
            self._nodes += [None] * (len(self._nodes) + 1)
            self._hashes += [None] * (len(self._hashes) + 1)
        for node in tm.direct_path(index, self.width):
            parent = self.parent(node)
            if parent is not None:
                unmerged = list(parent.unmerged_leaves)
                insort(unmerged, index)
                self._nodes[node] = ParentNode(
                    parent.encryption_key, parent.parent_hash, tuple(unmerged)
                )
        self._put(tm.node_of(index), leaf)
        self._first_blank = index + 1
        return index

    def update_leaf(self, index: int, leaf: LeafNode) -> None:
        """Replace a member's leaf and blank the nodes above it."""
        self.blank_path(index)
        self._put(tm.node_of(index), leaf)

    def remove_leaf(self, index: int) -> None:
        """Blank a leaf and the nodes above it, then shrink the tree while its right half is
        empty."""
        self.blank_path(index)
        self._put(tm.node_of(index), None)
        self._first_blank = min(self._first_blank, index)
        while self.width > 1 and not any(self._nodes[self.width :: 2]):
            del self._nodes[self.width - 1 :]
            del self._hashes[len(self._nodes) :]
        self._first_blank = min(self._first_blank, self.width)

    def blank_path(self, leaf: int) -> None:
        for node in tm.direct_path(leaf, self.width):
            self._nodes[node] = None
            self._hashes[node] = None

    def set_leaf(self, index: int, leaf: LeafNode) -> None:
        """Replace a leaf alone, as a path does."""
        self._put(tm.node_of(index), leaf)

    def set_parent(self, node: int, parent: ParentNode) -> None:
        self._put(node, parent)

    def _put(self, node: int, value: Node | None) -> None:
        self._nodes[node] = value
        self._hashes[node] = None
        top = self.root
        while node != top:
            node = tm.parent(node)
            self._hashes[node] = None

    def _leftmost_blank(self) -> int:
        nodes = self._nodes
        for index in range(2 * self._first_blank, len(nodes), 2):
            if nodes[index] is None:
                return index >> 1
        return self.width

    # Resolutions.

    def resolution(self, node: int) -> list[int]:
        """The nodes that cover every member below ``node`` (§4.1.1). [ML-13]"""
        out: list[int] = []
        pending = [node]
        while pending:
            index = pending.pop()
            value = self._nodes[index]
            if value is None:
                if not tm.is_leaf(index):
                    pending += (tm.right(index), tm.left(index))
                continue
            out.append(index)
            if isinstance(value, ParentNode):
                out += (2 * leaf for leaf in value.unmerged_leaves)
        return out

    def is_empty(self, node: int) -> bool:
        """Whether the resolution of ``node`` is empty."""
        pending = [node]
        while pending:
            index = pending.pop()
            if self._nodes[index] is not None:
                return False
            if not tm.is_leaf(index):
                pending += (tm.right(index), tm.left(index))
        return True

    def filtered_direct_path(self, leaf: int) -> list[tuple[int, int]]:
        """``(node, its child off the path)`` from ``leaf`` upwards, without the nodes that nobody
        below the other child would use (§4.1.2)."""
        out: list[tuple[int, int]] = []
        below = tm.node_of(leaf)
        for node in tm.direct_path(leaf, self.width):
            other = tm.sibling(below)
            if not self.is_empty(other):
                out.append((node, other))
            below = node
        return out

    # Hashes.

    def tree_hash(self, node: int | None = None) -> bytes:
        """``TreeHash`` of the subtree under ``node``, of the whole tree if not given (§7.8)."""
        return self._hash(self.root if node is None else node)

    def _hash(self, node: int) -> bytes:
        known = self._hashes[node]
        if known is None:
            value = self._nodes[node]
            if tm.is_leaf(node):
                known = self._hash_leaf(node, value)
            else:
                known = self._hash_parent(
                    value, self._hash(tm.left(node)), self._hash(tm.right(node))
                )
            self._hashes[node] = known
        return known

    def _hash_leaf(self, node: int, value: Node | None) -> bytes:
        body = _BLANK if value is None else _PRESENT + value.encode()
        return self.suite.hash(_HASH_LEAF + u32(node >> 1) + body)

    def _hash_parent(self, value: Node | None, left: bytes, right: bytes) -> bytes:
        body = _BLANK if value is None else _PRESENT + value.encode()
        return self.suite.hash(_HASH_PARENT + body + opaque(left) + opaque(right))

    def tree_hash_without(self, node: int, leaves: frozenset[int]) -> bytes:
        """``TreeHash`` of the subtree as if ``leaves`` had never been added (§7.9)."""
        if not leaves:
            return self._hash(node)
        value = self._nodes[node]
        if tm.is_leaf(node):
            return self._hash_leaf(node, None if node >> 1 in leaves else value)
        if isinstance(value, ParentNode) and value.unmerged_leaves:
            kept = tuple(leaf for leaf in value.unmerged_leaves if leaf not in leaves)
            value = ParentNode(value.encryption_key, value.parent_hash, kept)
        left, right = tm.left(node), tm.right(node)
        return self._hash_parent(
            value,
            self.tree_hash_without(left, _within(leaves, left)),
            self.tree_hash_without(right, _within(leaves, right)),
        )

    def parent_hash(self, parent: ParentNode, sibling: int) -> bytes:
        """The hash that a child of ``parent`` carries; ``sibling`` is the other child (§7.9)."""
        unmerged = _within(frozenset(parent.unmerged_leaves), sibling)
        return self.suite.hash(
            opaque(parent.encryption_key)
            + opaque(parent.parent_hash)
            + opaque(self.tree_hash_without(sibling, unmerged))
        )

    def check_parent_hashes(self) -> None:
        """Each parent node that is not blank is vouched for by one node below it (§7.9.2). [ML-14]

        Raises:
            InvalidTree: one is not.
        """
        for index, parent in self.parents():
            left, right = tm.left(index), tm.right(index)
            if not (self._vouched(parent, left, right) or self._vouched(parent, right, left)):
                raise InvalidTree("parent-hash", f"nobody vouches for node {index}")

    def _vouched(self, parent: ParentNode, child: int, sibling: int) -> bool:
        resolution = self.resolution(child)
        wanted = None
        unmerged = _within(frozenset(parent.unmerged_leaves), child)
        for node in resolution:
            value = self._nodes[node]
            carried = value.parent_hash if value is not None else None
            if not carried:
                continue
            if wanted is None:
                wanted = self.parent_hash(parent, sibling)
            if carried == wanted:
                others = {leaf for leaf in resolution if leaf != node}
                return others == {2 * leaf for leaf in unmerged}
        return False

    def check_unmerged_leaves(self) -> None:
        """Unmerged leaves are members below the node, and of each node between (§12.4.3.1). [ML-15]

        Raises:
            InvalidTree: one is not.
        """
        for index, parent in self.parents():
            for leaf in parent.unmerged_leaves:
                if not tm.is_below(leaf, index) or self.leaf(leaf) is None:
                    raise InvalidTree("unmerged-leaves", f"node {index} lists leaf {leaf}")
                node = tm.parent(tm.node_of(leaf))
                while node != index:
                    between = self.parent(node)
                    if between is not None and leaf not in between.unmerged_leaves:
                        raise InvalidTree("unmerged-leaves", f"node {node} lacks leaf {leaf}")
                    node = tm.parent(node)


def _within(leaves: frozenset[int], node: int) -> frozenset[int]:
    return frozenset(leaf for leaf in leaves if tm.is_below(leaf, node)) if leaves else leaves
