"""``TreeKem`` by the plan's names: update oneself, take another's update, add, remove."""

from __future__ import annotations

import pytest

from wraith.crypto.secret import Secret
from wraith.errors import InvalidCommit, InvalidKey
from wraith.mls.commit import NewLeaf
from wraith.mls.nodes import LeafNode, LeafNodeSource
from wraith.mls.ratchet_tree import RatchetTree
from wraith.mls.suites import SUITES, CipherSuite
from wraith.mls.treekem import KeyUpdate, TreeKem
from wraith.testing.mls import key_package
from wraith.testing.rng import SeededRng

NAMES = [f"m{n}" for n in range(6)]


class Members:
    """Six members of one tree, each with its own ``TreeKem``."""

    def __init__(self, suite: CipherSuite) -> None:
        self.suite = suite
        self.packages = [key_package(name, suite) for name in NAMES]
        leaves = [package.key_package.leaf_node for package in self.packages]
        self.kems = [self.view(n, leaves) for n in range(len(NAMES))]

    def view(self, n: int, leaves: list[LeafNode]) -> TreeKem:
        tree = RatchetTree(self.suite, [leaves[0]])
        for leaf in leaves[1:]:
            tree.add_leaf(leaf)
        return TreeKem(tree, n, Secret(self.packages[n].leaf_private.reveal()))

    def update(self, n: int, seed: str = "") -> KeyUpdate:
        kem = self.kems[n]
        leaf = kem.tree.leaf(n)
        assert leaf is not None
        new_leaf = NewLeaf.like(leaf, self.packages[n].signer)
        return kem.self_update(
            lambda key, parent_hash: new_leaf.sign(
                self.suite, key, LeafNodeSource.COMMIT, b"g", n, parent_hash
            ),
            lambda tree_hash: tree_hash,
            SeededRng(f"update {n} {seed}"),
        )


@pytest.fixture(params=[1, 0xF001], ids=["classical", "hybrid"])
def members(request: pytest.FixtureRequest) -> Members:
    return Members(SUITES[request.param])


@pytest.mark.spec("ML-18", "ML-19")
def test_all_learn_the_commit_secret_of_an_update(members: Members) -> None:
    for n in (0, 3, 5, 0):
        made = members.update(n, "again")
        for other, kem in enumerate(members.kems):
            if other != n:
                secret = kem.process_update(n, made.path, lambda tree_hash: tree_hash)
                assert secret == made.commit_secret
            kem.check_private_keys()
        assert len({kem.tree.tree_hash() for kem in members.kems}) == 1


@pytest.mark.spec("ML-19")
def test_a_removed_member_does_not_learn_the_next_secret(members: Members) -> None:
    members.update(0)
    for n in (0, 1, 2, 4, 5):
        members.kems[n].remove_member(3)
    made = members.update(0, "after")
    with pytest.raises(InvalidCommit):
        members.kems[3].process_update(0, made.path, lambda tree_hash: tree_hash)
    secret = members.kems[5].process_update(0, made.path, lambda tree_hash: tree_hash)
    assert secret == made.commit_secret


def test_a_member_is_added_at_the_first_blank_and_the_tree_shrinks_again(
    members: Members,
) -> None:
    kem = members.kems[0]
    assert kem.tree.width == 8
    assert kem.add_member(key_package("x", members.suite).key_package) == 6
    kem.remove_member(2)
    assert kem.add_member(key_package("y", members.suite).key_package) == 2
    for leaf in (4, 5, 6):
        kem.remove_member(leaf)
    assert kem.tree.width == 4
    assert [leaf for leaf, _ in kem.tree.members()] == [0, 1, 2, 3]


@pytest.mark.spec("ML-20")
def test_a_path_secret_of_a_welcome_gives_the_keys_above(members: Members) -> None:
    made = members.update(0)
    late = TreeKem(
        members.kems[0].tree.copy(), 5, Secret(members.packages[5].leaf_private.reveal())
    )
    root = late.tree.root
    assert late.learn_path_secret(root, made.path_secrets[root].reveal()) == made.commit_secret
    late.check_private_keys()
    for secret in (bytes(32), b"short"):
        with pytest.raises(InvalidCommit):
            late.learn_path_secret(root, secret)


def test_keys_that_belong_to_nobody_are_noticed(members: Members) -> None:
    kem = members.kems[1]
    with pytest.raises(InvalidKey):
        TreeKem(kem.tree, 2, kem.private_keys()[0]).check_private_keys()
    members.update(0)
    other = members.kems[0].private_keys()[1]
    with pytest.raises(InvalidKey):
        TreeKem(kem.tree, 1, kem.private_keys()[0], dict(other)).check_private_keys()


def test_a_copy_goes_its_own_way(members: Members) -> None:
    kem = members.kems[0]
    before = kem.tree.tree_hash()
    twin = kem.copy()
    twin.remove_member(1)
    assert kem.tree.tree_hash() == before != twin.tree.tree_hash()


@pytest.mark.spec("ML-13")
def test_resolutions_cover_unmerged_leaves(members: Members) -> None:
    tree = members.kems[0].tree
    assert tree.resolution(3) == [0, 2, 4, 6]
    members.update(0)
    assert tree.resolution(3) == [3]
    assert tree.resolution(7) == [7]
    tree.add_leaf(key_package("x", members.suite).key_package.leaf_node)
    assert tree.resolution(7) == [7, 12]
    assert tree.resolution(11) == [8, 10, 12]
