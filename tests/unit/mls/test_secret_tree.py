"""The secret tree: keys once, late messages within bounds, nothing that leads back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wraith.crypto.secret import Secret
from wraith.errors import GenerationTooFar, LocalProtocolError, MessageReplayed
from wraith.mls.limits import Limits
from wraith.mls.secret_tree import RatchetKind, SecretTree
from wraith.mls.suites import SUITES

APPLICATION, HANDSHAKE = RatchetKind.APPLICATION, RatchetKind.HANDSHAKE


def tree(width: int = 8, limits: Limits | None = None) -> SecretTree:
    return SecretTree(SUITES[1], Secret(bytes(range(32))), width, limits or Limits())


def use(secrets: SecretTree, leaf: int, generation: int) -> bytes:
    step = secrets.peek(leaf, APPLICATION, generation)
    secrets.take(step)
    return step.key


@pytest.mark.spec("ML-25")
def test_looking_at_a_key_changes_nothing() -> None:
    one, other = tree(), tree()
    one.peek(3, APPLICATION, 5)
    one.peek(3, APPLICATION, 5)
    assert repr(one.snapshot()[1]) == repr(other.snapshot()[1])
    assert one.n_kept == 0 and one.next_generation(3, APPLICATION) == 0
    assert use(one, 3, 5) == use(other, 3, 5)


@pytest.mark.spec("ML-26")
def test_a_key_is_had_once() -> None:
    secrets = tree()
    first = secrets.peek(2, APPLICATION, 0)
    secrets.take(first)
    with pytest.raises(MessageReplayed):
        secrets.peek(2, APPLICATION, 0)
    with pytest.raises(MessageReplayed):
        secrets.take(first)


def test_keys_differ_by_leaf_kind_and_generation() -> None:
    secrets = tree()
    keys = {
        secrets.peek(leaf, kind, generation).key
        for leaf in range(8)
        for kind in RatchetKind
        for generation in range(3)
    }
    assert len(keys) == 48


@pytest.mark.spec("ML-28")
def test_skipped_keys_are_kept_for_late_messages_and_are_the_same_in_any_order() -> None:
    in_order, late = tree(), tree()
    keys = [use(in_order, 1, generation) for generation in range(10)]
    order = [4, 9, 0, 3, 8, 1, 2, 7, 5, 6]
    assert {n: use(late, 1, n) for n in order} == dict(enumerate(keys))
    assert late.n_kept == 0


@pytest.mark.spec("ML-27")
def test_a_jump_is_bounded() -> None:
    secrets = tree(limits=replace(Limits(), skip_generations_max=100))
    with pytest.raises(GenerationTooFar):
        secrets.peek(0, APPLICATION, 101)
    with pytest.raises(GenerationTooFar):
        secrets.peek(0, APPLICATION, 0xFFFFFFFF)
    use(secrets, 0, 100)
    use(secrets, 0, 201)


@pytest.mark.spec("ML-29")
def test_kept_keys_are_bounded_by_sender_and_in_all_and_the_oldest_go() -> None:
    limits = replace(Limits(), kept_per_sender_max=5, kept_in_all_max=8)
    secrets = tree(limits=limits)
    use(secrets, 0, 20)
    assert secrets.n_kept == 5
    with pytest.raises(MessageReplayed):
        secrets.peek(0, APPLICATION, 14)
    secrets.peek(0, APPLICATION, 15)
    use(secrets, 1, 20)
    assert secrets.n_kept == 8
    with pytest.raises(MessageReplayed):
        secrets.peek(0, APPLICATION, 16)
    secrets.peek(0, APPLICATION, 17)


@pytest.mark.spec("ML-28")
def test_what_could_derive_a_used_key_is_gone() -> None:
    secrets = tree()
    before = secrets.peek(5, APPLICATION, 0).key
    root = secrets.snapshot()[0][7]
    use(secrets, 5, 0)
    assert root.is_wiped
    nodes, ratchets, _ = secrets.snapshot()
    # Only the other children on the way from the root to leaf 5 (node 10) are still known.
    assert sorted(nodes) == [3, 8, 13]
    assert before not in {ratchet.secret.reveal() for ratchet in ratchets.values()}


def test_the_two_ratchets_of_a_leaf_go_by_themselves() -> None:
    secrets = tree()
    use(secrets, 0, 3)
    assert secrets.next_generation(0, HANDSHAKE) == 0
    secrets.take(secrets.peek(0, HANDSHAKE, 0))
    assert secrets.next_generation(0, APPLICATION) == 4


def test_a_wiped_tree_gives_nothing() -> None:
    secrets = tree()
    secrets.wipe()
    with pytest.raises(LocalProtocolError):
        secrets.peek(0, APPLICATION, 0)
