"""Index arithmetic of the ratchet tree's array form (RFC 9420 §4.1, Appendix C). Integers only.

Leaf ``i`` is node ``2 i``; a parent of level ``k`` has ``k`` trailing one bits. The tree is full:
its width, the number of leaves with blanks counted, is a power of two.

::

    level 2            3
    level 1      1           5
    level 0   0     2     4     6       (leaves 0, 1, 2, 3)

Spec: mls §4 [ML-9].
"""

from __future__ import annotations


def node_of(leaf: int) -> int:
    """The node index of leaf ``leaf``."""
    return 2 * leaf


def is_leaf(node: int) -> bool:
    return node & 1 == 0


def level(node: int) -> int:
    """Height above the leaves."""
    return (node ^ (node + 1)).bit_length() - 1


def n_nodes(width: int) -> int:
    return 2 * width - 1


def full_width(n_leaves: int) -> int:
    """The least width (a power of two) that holds ``n_leaves`` >= 1."""
    return 1 << (n_leaves - 1).bit_length()


def root(width: int) -> int:
    return width - 1


def left(node: int) -> int:
    """The left child of a parent node."""
    return node ^ (1 << (level(node) - 1))


def right(node: int) -> int:
    """The right child of a parent node."""
    return node ^ (3 << (level(node) - 1))


def parent(node: int) -> int:
    """The parent of ``node``, which is not the root of its tree."""
    k = level(node)
    return (node | (1 << k)) & ~(1 << (k + 1))


def sibling(node: int) -> int:
    """The other child of ``node``'s parent."""
    return node ^ (2 << level(node))


def direct_path(leaf: int, width: int) -> list[int]:
    """The ancestors of ``leaf``, from its parent to the root."""
    path: list[int] = []
    node, top = node_of(leaf), root(width)
    while node != top:
        node = parent(node)
        path.append(node)
    return path


def is_below(leaf: int, node: int) -> bool:
    """Whether ``leaf`` is in the subtree under ``node``."""
    k = level(node)
    return (2 * leaf) >> (k + 1) == node >> (k + 1)


def common_ancestor(a: int, b: int) -> int:
    """The lowest node above both leaves ``a`` and ``b``, which differ."""
    k = (a ^ b).bit_length()
    return ((a >> k) << (k + 1)) + (1 << k) - 1
