"""Everything that a network, a stranger or a lying member can send: a named error, nothing changed.

Each test says what the liar did. ``mls_forge`` signs and confirms the lie, so that only the check
in question stands between it and the group.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from wraith.crypto.secret import Secret
from wraith.errors import (
    CredentialRefused,
    CryptoError,
    DecodeError,
    DecryptError,
    GenerationTooFar,
    GroupError,
    GroupInputRefused,
    GroupLimit,
    InvalidCommit,
    InvalidGroupInfo,
    InvalidKeyPackage,
    InvalidLeaf,
    InvalidProposal,
    InvalidSignature,
    InvalidTree,
    InvalidWelcome,
    MessageReplayed,
    OwnMessage,
    UnknownEpoch,
    UnknownPsk,
    UnknownSender,
    UnsupportedSuite,
    WraithError,
)
from wraith.mls import MlsGroup, StrictPolicy, state
from wraith.mls import treemath as tm
from wraith.mls.codec import MlsReader, length, opaque, vector
from wraith.mls.commit import NewLeaf
from wraith.mls.framing import Sender, SenderType
from wraith.mls.group import CommitResult
from wraith.mls.key_package import KeyPackage, KeyPackageSecrets
from wraith.mls.limits import Limits
from wraith.mls.nodes import (
    BasicCredential,
    Capabilities,
    Extension,
    ExtensionType,
    LeafNodeSource,
    Lifetime,
    ParentNode,
    RequiredCapabilities,
)
from wraith.mls.proposals import (
    Add,
    Commit,
    ExternalInit,
    GroupContextExtensions,
    PreSharedKey,
    Proposal,
    ProposalRef,
    ReInit,
    Remove,
    Update,
)
from wraith.mls.psk import ExternalPsk, ResumptionPsk, ResumptionUsage
from wraith.mls.ratchet_tree import RatchetTree
from wraith.mls.suites import SUITES
from wraith.mls.treekem import HpkeCiphertext, UpdatePath
from wraith.mls.welcome import GroupInfo, decode_message, encode_message
from wraith.testing.mls import LIFETIME, UNIX_NOW, AnyPolicy, Room, key_package
from wraith.testing.mls_forge import forged_commit, made_commit, signed
from wraith.testing.rng import SeededRng

CLASSIC = SUITES[1]
NONCE = bytes(CLASSIC.hash_bytes)


@contextmanager
def unchanged(*groups: MlsGroup) -> Iterator[None]:
    before = [state.save(group, 0.0) for group in groups]
    yield
    assert [state.save(group, 0.0) for group in groups] == before


@contextmanager
def refused(error: type[WraithError], check: str | None, *groups: MlsGroup) -> Iterator[None]:
    with unchanged(*groups), pytest.raises(error) as caught:
        yield
    if check is not None:
        assert isinstance(caught.value, GroupInputRefused)
        assert caught.value.check == check


@pytest.fixture
def room() -> Room:
    return Room("ann", "bob", "cid", "dan", suite=CLASSIC)


def path_of(commit: Commit) -> UpdatePath:
    assert commit.path is not None
    return commit.path


# Paths.


@pytest.mark.spec("ML-19")
def test_a_path_that_is_wrong_for_some_is_refused_by_these_and_accepted_by_others(
    room: Room,
) -> None:
    ann = room["ann"]
    made = made_commit(ann, [])
    following = made.staged.epoch
    assert following is not None and made.update is not None

    def spoil(commit: Commit) -> Commit:
        # The upper node's path secret goes to the subtree of cid and dan; encrypt another to it.
        path = path_of(commit)
        top = path.nodes[-1]
        target = following.tree.resolution(5)[0]
        node = following.tree.node(target)
        assert node is not None
        sealed = CLASSIC.encrypt_with_label(
            node.encryption_key,
            b"UpdatePathNode",
            replace(
                ann.context, epoch=ann.epoch + 1, tree_hash=following.tree.tree_hash()
            ).encode(),
            bytes(32),
        )
        wrong = replace(
            top, encrypted_path_secret=(HpkeCiphertext(*sealed), *top.encrypted_path_secret[1:])
        )
        return replace(commit, path=replace(path, nodes=(*path.nodes[:-1], wrong)))

    message = forged_commit(ann, made, spoil)
    room["bob"].stage(message)
    # Node 5 is blank, so cid and dan have a ciphertext each: only cid's is wrong.
    with refused(InvalidCommit, "path-keys", room["cid"]):
        room["cid"].stage(message)
    room["dan"].stage(message)


def change_path(change: Callable[[UpdatePath], UpdatePath]) -> Callable[[Commit], Commit]:
    return lambda commit: replace(commit, path=change(path_of(commit)))


@pytest.mark.spec("ML-19")
@pytest.mark.parametrize(
    ("change", "check"),
    [
        (lambda path: replace(path, nodes=path.nodes[:-1]), "path-length"),
        (lambda path: replace(path, nodes=(*path.nodes, path.nodes[0])), "path-length"),
        (
            lambda path: replace(
                path,
                nodes=tuple(replace(node, encrypted_path_secret=()) for node in path.nodes),
            ),
            "path-ciphertexts",
        ),
        (
            lambda path: replace(
                path,
                nodes=tuple(
                    replace(node, encrypted_path_secret=node.encrypted_path_secret * 2)
                    for node in path.nodes
                ),
            ),
            "path-ciphertexts",
        ),
        (
            lambda path: replace(
                path,
                nodes=(replace(path.nodes[0], encryption_key=bytes(32)), *path.nodes[1:]),
            ),
            "path-keys",
        ),
        (
            lambda path: replace(
                path,
                nodes=(
                    replace(path.nodes[0], encryption_key=path.nodes[1].encryption_key),
                    *path.nodes[1:],
                ),
            ),
            "parent-hash",
        ),
        (
            lambda path: replace(
                path,
                nodes=tuple(
                    replace(
                        node,
                        encrypted_path_secret=tuple(
                            replace(one, ciphertext=one.ciphertext[:-1] + b"!")
                            for one in node.encrypted_path_secret
                        ),
                    )
                    for node in path.nodes
                ),
            ),
            "path-secret",
        ),
    ],
    ids=[
        "too few nodes",
        "too many nodes",
        "no ciphertexts",
        "too many ciphertexts",
        "a key of small order",
        "another node's key",
        "ciphertexts that do not open",
    ],
)
def test_a_path_that_does_not_fit(
    room: Room, change: Callable[[UpdatePath], UpdatePath], check: str
) -> None:
    ann = room["ann"]
    message = forged_commit(ann, made_commit(ann, []), change_path(change))
    for name in ("bob", "cid", "dan"):
        with refused(InvalidCommit, check, room[name]):
            room[name].stage(message)


@pytest.mark.spec("ML-49")
def test_a_commit_without_the_path_that_it_needs(room: Room) -> None:
    ann = room["ann"]
    made = made_commit(ann, [Remove(1)])
    message = forged_commit(ann, made, lambda commit: replace(commit, path=None))
    with refused(InvalidCommit, "path-missing", room["cid"]):
        room["cid"].stage(message)


@pytest.mark.spec("ML-50")
def test_a_confirmation_tag_that_is_not_of_these_keys(room: Room) -> None:
    ann = room["ann"]
    message = forged_commit(ann, made_commit(ann, []), lambda commit: commit, tagged=False)
    with refused(InvalidCommit, "confirmation-tag", room["bob"]):
        room["bob"].stage(message)


@pytest.mark.spec("ML-45")
def test_a_path_with_the_old_leaf_key(room: Room) -> None:
    # The maker's own leaf of the last commit, signed for this very place, comes again.
    room.commit("ann")
    ann = room["ann"]
    old = ann.state.epoch.tree.leaf(0)
    assert old is not None
    message = forged_commit(
        ann, made_commit(ann, []), change_path(lambda path: replace(path, leaf_node=old))
    )
    with refused(InvalidLeaf, "encryption-key", room["bob"]):
        room["bob"].stage(message)


def test_a_foreign_leaf_in_a_path(room: Room) -> None:
    other = Room("eve", suite=CLASSIC, seed="other")
    other.commit("eve")
    foreign = other["eve"].state.epoch.tree.leaf(0)
    assert foreign is not None
    message = forged_commit(
        room["ann"],
        made_commit(room["ann"], []),
        change_path(lambda path: replace(path, leaf_node=foreign)),
    )
    with refused(InvalidLeaf, "leaf-signature", room["bob"]):
        room["bob"].stage(message)


def test_a_member_that_takes_another_name(room: Room) -> None:
    strict = MlsGroup.create(b"strict", key_package("ann"), SeededRng(1))
    bob = key_package("bob")
    made = strict.commit(add=[bob.key_package], unix_now=UNIX_NOW)
    strict.merge(made.staged, 0.0)
    assert made.welcome is not None
    group = MlsGroup.join(made.welcome, bob, SeededRng(2), unix_now=UNIX_NOW)
    leaf = strict.state.epoch.tree.leaf(0)
    assert leaf is not None
    renamed = replace(
        NewLeaf.like(leaf, strict.state.signer), credential=BasicCredential(b"bob")
    ).sign(
        strict.suite,
        strict.suite.generate_key_pair(SeededRng(3)).public,
        LeafNodeSource.UPDATE,
        b"strict",
        0,
    )
    with refused(CredentialRefused, None, group):
        group.stage(signed(strict, Update(renamed)))


# Proposal lists.


def psk(nonce: bytes = NONCE) -> PreSharedKey:
    return PreSharedKey(ExternalPsk(b"known", nonce))


def bad_lists(room: Room) -> dict[str, tuple[list[Proposal], type[WraithError], str | None]]:
    eve = key_package("eve", CLASSIC).key_package
    known = key_package("bob", CLASSIC, seed="another").key_package
    reinit = ReInit(b"new", 1, 1, ())
    branch = ResumptionPsk(ResumptionUsage.BRANCH, room["ann"].group_id, 1, NONCE)
    return {
        "own remove": ([Remove(0)], InvalidCommit, "own-remove"),
        "a blank leaf": ([Remove(9)], InvalidProposal, "remove"),
        "one leaf twice": ([Remove(1), Remove(1)], InvalidCommit, "changes-one-leaf-twice"),
        "one client twice": ([Add(eve), Add(eve)], InvalidCommit, "added-twice"),
        "a client that is in": ([Add(known)], InvalidCommit, "added-member"),
        "external init": ([ExternalInit(bytes(32))], InvalidCommit, "external-init"),
        "a key twice": ([psk(), psk()], InvalidCommit, "psk-twice"),
        "a short nonce": ([psk(b"short")], InvalidProposal, "psk-nonce"),
        "a branch later": ([PreSharedKey(branch)], InvalidProposal, "psk-usage"),
        "reinit and more": ([reinit, Remove(1)], InvalidCommit, "reinit-alone"),
        "an older version": ([replace(reinit, version=0)], InvalidProposal, "reinit-version"),
        "a newer version": ([replace(reinit, version=2)], InvalidProposal, "reinit-version"),
        "an unknown suite": ([replace(reinit, cipher_suite=4)], UnsupportedSuite, None),
        "extensions twice": (
            [GroupContextExtensions(()), GroupContextExtensions(())],
            InvalidCommit,
            "extensions-twice",
        ),
        "extensions nobody knows": (
            [GroupContextExtensions((Extension(0xF0A0, b""),))],
            InvalidProposal,
            "group-extensions",
        ),
        "capabilities nobody has": (
            [
                GroupContextExtensions(
                    (
                        Extension(
                            ExtensionType.REQUIRED_CAPABILITIES,
                            RequiredCapabilities(extensions=(0xF0A0,)).encode(),
                        ),
                    )
                )
            ],
            InvalidProposal,
            "required-capabilities",
        ),
        "malformed extensions": (
            [GroupContextExtensions((Extension(ExtensionType.REQUIRED_CAPABILITIES, b"\xff"),))],
            DecodeError,
            None,
        ),
    }


@pytest.mark.spec("ML-44", "ML-47", "ML-52")
@pytest.mark.parametrize("name", sorted(bad_lists(Room("ann", suite=CLASSIC))))
def test_a_list_of_proposals_that_may_not_be(room: Room, name: str) -> None:
    proposals, error, check = bad_lists(room)[name]
    ann, bob = room["ann"], room["bob"]
    for member in (ann, bob):
        member.add_psk(b"known", Secret(b"k"))
    # The receiver refuses it, and so does the maker.
    message = signed(ann, Commit(tuple(proposals), None))
    with refused(error, check, bob):
        bob.stage(message)
    with refused(error, check, ann):
        made_commit(ann, proposals)


@pytest.mark.spec("ML-46")
def test_a_reinit_to_something_weaker() -> None:
    for suite, target, check in (
        (SUITES[0xF001], 1, "reinit-downgrade"),
        (SUITES[0xF001], 5, "reinit-downgrade"),
        (SUITES[5], 7, "reinit-downgrade"),
    ):
        room = Room("ann", "bob", suite=suite)
        with refused(InvalidProposal, check, room["ann"]):
            room["ann"].propose_reinit(b"new", SUITES[target])
        with refused(InvalidProposal, check, room["bob"]):
            room["bob"].stage(signed(room["ann"], ReInit(b"new", 1, target, ())))


def test_an_unknown_key_is_named(room: Room) -> None:
    with refused(UnknownPsk, None, room["bob"]):
        room["bob"].stage(signed(room["ann"], Commit((psk(),), None)))


def test_a_proposal_nobody_heard_of(room: Room) -> None:
    with refused(InvalidCommit, "unknown-proposal", room["bob"]):
        room["bob"].stage(signed(room["ann"], Commit((ProposalRef(bytes(32)),), None)))


def test_one_proposal_named_twice(room: Room) -> None:
    room.hear("cid", room["cid"].remove(3))
    [(reference, _, _)] = room["bob"].pending()
    twice = (ProposalRef(reference), ProposalRef(reference))
    with refused(InvalidCommit, "proposal-twice", room["bob"]):
        room["bob"].stage(signed(room["ann"], Commit(twice, None)))


def test_the_makers_own_update(room: Room) -> None:
    room.hear("ann", room["ann"].update())
    [(reference, proposal, _)] = room["bob"].pending()
    for one in (ProposalRef(reference), proposal):
        with refused(InvalidCommit, "own-update", room["bob"]):
            room["bob"].stage(signed(room["ann"], Commit((one,), None)))


@pytest.mark.spec("ML-29")
def test_more_proposals_than_a_commit_may_have() -> None:
    room = Room("ann", "bob", suite=CLASSIC, limits=Limits(proposals_per_commit_max=3))
    nonces = [bytes([n]) * 32 for n in range(4)]
    with refused(GroupLimit, None, room["bob"]):
        room["bob"].stage(signed(room["ann"], Commit(tuple(map(psk, nonces)), None)))


# Key packages and leaves.


def altered(package: KeyPackage, at: int) -> KeyPackage:
    raw = bytearray(package.raw)
    raw[at] ^= 1
    return KeyPackage.decode(bytes(raw))


@pytest.mark.spec("ML-41")
def test_key_packages_that_may_not_be_added(room: Room) -> None:
    def make(**arguments: object) -> KeyPackage:
        return key_package("eve", CLASSIC, **arguments).key_package  # type: ignore[arg-type]

    good = make()
    suites = (CLASSIC.number,)
    cases: list[tuple[KeyPackage, type[GroupInputRefused], str]] = [
        (altered(good, len(good.raw) - 1), InvalidKeyPackage, "signature"),
        (key_package("eve", SUITES[3]).key_package, InvalidKeyPackage, "suite"),
        (make(lifetime=Lifetime(5, 4)), InvalidLeaf, "lifetime"),
        (make(capabilities=Capabilities(cipher_suites=(3,))), InvalidLeaf, "capabilities"),
        (
            make(capabilities=Capabilities(versions=(2,), cipher_suites=suites)),
            InvalidLeaf,
            "capabilities",
        ),
        (
            make(capabilities=Capabilities(cipher_suites=suites, credentials=(2,))),
            InvalidLeaf,
            "capabilities",
        ),
        (make(leaf_extensions=(Extension(0xF0A1, b""),)), InvalidLeaf, "leaf-extensions"),
        (
            make(leaf_extensions=(Extension(ExtensionType.APPLICATION_ID, bytes(4097)),)),
            InvalidLeaf,
            "leaf-extensions",
        ),
    ]
    for package, error, check in cases:
        with refused(error, check, room["ann"]):
            room["ann"].commit(add=[package], unix_now=UNIX_NOW)
        with refused(error, check, room["bob"]):
            room["bob"].stage(signed(room["ann"], Add(package)))


@pytest.mark.spec("ML-40")
@pytest.mark.parametrize("unix_now", [UNIX_NOW - 1001, UNIX_NOW + 1001])
def test_a_lifetime_is_judged_by_who_adds_and_who_joins_and_by_no_commit(
    room: Room, unix_now: int
) -> None:
    eve = key_package("eve", CLASSIC)
    with refused(InvalidLeaf, "lifetime", room["ann"]):
        room["ann"].commit(add=[eve.key_package], unix_now=unix_now)
    with refused(InvalidLeaf, "lifetime", room["ann"]):
        room["ann"].add(eve.key_package, unix_now=unix_now)
    made = room["ann"].commit(add=[eve.key_package], unix_now=None)
    room.accept("ann", made)
    assert room.agrees() and made.welcome is not None
    with pytest.raises(InvalidLeaf, match="lifetime"):
        MlsGroup.join(made.welcome, eve, SeededRng(1), unix_now=unix_now, policy=AnyPolicy())
    MlsGroup.join(made.welcome, eve, SeededRng(1), unix_now=UNIX_NOW, policy=AnyPolicy())


@pytest.mark.spec("ML-42")
def test_a_key_that_another_member_has(room: Room) -> None:
    # eve's package uses bob's signature key, or bob's encryption key.
    bob = room["bob"].state
    package = KeyPackageSecrets.create(
        CLASSIC, bob.signer, BasicCredential(b"eve"), LIFETIME, SeededRng(4)
    ).key_package
    with refused(InvalidTree, "duplicate-signature-key", room["cid"]):
        room["cid"].commit(add=[package], unix_now=UNIX_NOW)
    with refused(InvalidTree, "duplicate-signature-key", room["cid"]):
        room["cid"].stage(forged_or_signed(room["ann"], Add(package)))


def forged_or_signed(group: MlsGroup, proposal: Proposal) -> bytes:
    return signed(group, Commit((proposal,), None))


@pytest.mark.spec("ML-16")
def test_a_package_whose_init_key_is_its_leaf_key() -> None:
    package = key_package("eve", CLASSIC).key_package
    raw = package.raw
    key = package.leaf_node.encryption_key
    same = KeyPackage.decode(raw.replace(package.init_key, key, 1))
    with pytest.raises(InvalidKeyPackage, match="init-key"):
        same.check(CLASSIC)


# Messages.


def test_replays_of_every_kind(room: Room) -> None:
    ann, bob = room["ann"], room["bob"]
    proposal = ann.update()
    bob.merge(bob.stage(proposal), 0.0)
    with refused(MessageReplayed, None, bob):
        bob.stage(proposal)
    for name in ("cid", "dan"):
        room[name].merge(room[name].stage(proposal), 0.0)
    made = room["cid"].commit(unix_now=UNIX_NOW)
    room.accept("cid", made)
    for name in ("ann", "bob"):
        with refused(UnknownEpoch, None, room[name]):
            room[name].stage(made.message)


def test_ones_own_messages_come_back(room: Room) -> None:
    ann = room["ann"]
    with refused(OwnMessage, None, ann):
        ann.stage(signed(ann, Remove(1)))
    ann.public_handshake = True
    made = ann.commit(unix_now=UNIX_NOW)
    with refused(OwnMessage, None, ann):
        ann.stage(made.message)


@pytest.mark.spec("ML-27")
def test_a_generation_far_ahead(room: Room) -> None:
    limits = Limits(skip_generations_max=4)
    small = Room("ann", "bob", suite=CLASSIC, limits=limits)
    messages = [small["ann"].protect(b"x") for _ in range(6)]
    with refused(GenerationTooFar, None, small["bob"]):
        small["bob"].open(messages[5], 0.0)
    small["bob"].open(messages[4], 0.0)
    small["bob"].open(messages[5], 0.0)


@pytest.mark.spec("ML-35", "ML-62")
def test_any_changed_bit_of_a_sealed_message(room: Room) -> None:
    message = room["ann"].protect(b"x" * 30, authenticated_data=b"clear")
    bob = room["bob"]
    with unchanged(bob):
        for bit in range(8 * len(message)):
            raw = bytearray(message)
            raw[bit // 8] ^= 1 << bit % 8
            with pytest.raises((CryptoError, DecodeError, GroupError, WraithError)):
                bob.open(bytes(raw), 0.0)
    assert bob.open(message, 0.0).data == b"x" * 30


@pytest.mark.spec("ML-33")
def test_a_public_message_without_a_good_membership_tag(room: Room) -> None:
    message = signed(room["ann"], Remove(3))
    with refused(DecryptError, None, room["bob"]):
        room["bob"].stage(message[:-1] + bytes([message[-1] ^ 1]))


@pytest.mark.spec("ML-32")
def test_a_message_signed_by_another_member(room: Room) -> None:
    # bob says that it is cid's: the membership tag is good, the signature is bob's.
    lie = signed(room["bob"], Remove(3), sender=Sender(SenderType.MEMBER, 2))
    with refused(InvalidSignature, None, room["ann"]):
        room["ann"].stage(lie)


@pytest.mark.parametrize("index", [4, 7, 0xFFFFFFFF])
def test_a_sender_that_the_group_does_not_have(room: Room, index: int) -> None:
    lie = signed(room["bob"], Remove(3), sender=Sender(SenderType.MEMBER, index))
    with refused(UnknownSender, None, room["ann"]):
        room["ann"].stage(lie)


def test_senders_from_outside_that_may_not(room: Room) -> None:
    bob, ann = room["bob"], room["ann"]
    eve = Add(key_package("eve", CLASSIC).key_package)
    cases: list[tuple[bytes, type[WraithError]]] = [
        (signed(bob, eve, sender=Sender(SenderType.EXTERNAL, 0)), UnknownSender),
        (signed(bob, Remove(1), sender=Sender(SenderType.NEW_MEMBER_PROPOSAL)), InvalidProposal),
        (signed(bob, eve, sender=Sender(SenderType.NEW_MEMBER_PROPOSAL)), InvalidSignature),
        (signed(bob, Remove(1), sender=Sender(SenderType.NEW_MEMBER_COMMIT)), InvalidProposal),
        (signed(bob, Commit((), None), sender=Sender(SenderType.EXTERNAL, 0)), UnknownSender),
        (
            signed(bob, Commit((), None), sender=Sender(SenderType.NEW_MEMBER_COMMIT)),
            InvalidCommit,
        ),
    ]
    for message, error in cases:
        with refused(error, None, ann):
            ann.stage(message)


@pytest.mark.parametrize("epoch", [0, 2, 2**64 - 1])
def test_a_message_of_another_epoch(room: Room, epoch: int) -> None:
    with refused(UnknownEpoch, None, room["ann"]):
        room["ann"].stage(signed(room["bob"], Remove(3), epoch=epoch))


@pytest.mark.spec("ML-2", "ML-29")
def test_messages_that_are_too_large_or_claim_to_be(room: Room) -> None:
    ann = room["ann"]
    limits = ann.rules.limits
    huge = bytes(limits.message_bytes_max + 1)
    claims = bytes.fromhex("00010001") + bytes.fromhex("bfffffff")
    tracemalloc.start()
    try:
        with refused(GroupLimit, None, ann):
            ann.stage(huge)
        with refused(GroupLimit, None, ann):
            ann.open(huge, 0.0)
        for message in (claims, b"", b"\0", bytes(100)):
            with refused(DecodeError, None, ann):
                ann.stage(message)
            with refused(DecodeError, None, ann):
                ann.open(message, 0.0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000


# Trees, Welcomes, group infos.


def info_of(group: MlsGroup, change: Callable[[GroupInfo], GroupInfo] | None = None) -> bytes:
    info = decode_message(group.group_info())
    assert isinstance(info, GroupInfo)
    if change is not None:
        info = change(info)
        info = GroupInfo.sign(
            group.suite,
            info.context,
            info.extensions,
            info.confirmation_tag,
            info.signer,
            group.state.signer,
        )
    return encode_message(info)


def join_with(info: bytes, **more: object) -> tuple[MlsGroup, bytes]:
    return MlsGroup.join_external(
        info,
        key_package("eve", CLASSIC),
        SeededRng("eve"),
        unix_now=UNIX_NOW,
        policy=AnyPolicy(),
        **more,  # type: ignore[arg-type]
    )


def with_tree(info: GroupInfo, tree: bytes, tree_hash: bytes | None = None) -> GroupInfo:
    kept = tuple(one for one in info.extensions if one.type != ExtensionType.RATCHET_TREE)
    context = info.context if tree_hash is None else info.context.with_tree_hash(tree_hash)
    extensions = (*kept, Extension(ExtensionType.RATCHET_TREE, tree))
    return replace(info, context=context, extensions=extensions)


def lying_tree(
    group: MlsGroup, change: Callable[[RatchetTree], None]
) -> Callable[[GroupInfo], GroupInfo]:
    tree = group.state.epoch.tree.copy()
    change(tree)
    return lambda info: with_tree(info, tree.encode(), tree.tree_hash())


@pytest.mark.spec("ML-43")
def test_a_tree_that_is_not_the_one_of_the_context(room: Room) -> None:
    tree = room["ann"].state.epoch.tree.copy()
    tree.remove_leaf(3)
    with pytest.raises(InvalidTree, match="tree-hash"):
        join_with(info_of(room["ann"], lambda info: with_tree(info, tree.encode())))


@pytest.mark.spec("ML-14", "ML-43")
def test_a_parent_that_nobody_vouches_for(room: Room) -> None:
    room.commit("ann")

    def change(tree: RatchetTree) -> None:
        parent = tree.parent(1)
        assert parent is not None
        mine = CLASSIC.derive_key_pair(b"liar" * 8).public
        tree.set_parent(1, ParentNode(mine, parent.parent_hash, parent.unmerged_leaves))

    with pytest.raises(InvalidTree, match="parent-hash"):
        join_with(info_of(room["ann"], lying_tree(room["ann"], change)))


@pytest.mark.spec("ML-14")
def test_a_parent_hidden_behind_a_false_unmerged_leaf(room: Room) -> None:
    # bob is listed as unmerged at the root, so that others would encrypt to him alone.
    room.commit("ann")

    def change(tree: RatchetTree) -> None:
        parent = tree.parent(3)
        assert parent is not None
        tree.set_parent(3, replace(parent, unmerged_leaves=(1,)))

    with pytest.raises(InvalidTree, match=r"unmerged-leaves|parent-hash"):
        join_with(info_of(room["ann"], lying_tree(room["ann"], change)))


@pytest.mark.spec("ML-15", "ML-43")
@pytest.mark.parametrize("unmerged", [(5,), (0, 2), (3,)])
def test_unmerged_leaves_that_are_not_below(room: Room, unmerged: tuple[int, ...]) -> None:
    room.commit("ann")

    def change(tree: RatchetTree) -> None:
        parent = tree.parent(1)
        assert parent is not None
        tree.set_parent(1, replace(parent, unmerged_leaves=unmerged))

    with pytest.raises(InvalidTree, match="unmerged-leaves"):
        join_with(info_of(room["ann"], lying_tree(room["ann"], change)))


@pytest.mark.spec("ML-15")
def test_an_unmerged_leaf_that_is_nobody() -> None:
    room = Room("ann", "bob", "cid", suite=CLASSIC)

    def change(tree: RatchetTree) -> None:
        parent = tree.parent(3)
        assert parent is not None
        tree.set_parent(3, replace(parent, unmerged_leaves=(3,)))

    with pytest.raises(InvalidTree, match="unmerged-leaves"):
        join_with(info_of(room["ann"], lying_tree(room["ann"], change)))


@pytest.mark.spec("ML-42", "ML-43")
def test_a_tree_with_one_key_twice(room: Room) -> None:
    def twice(tree: RatchetTree) -> None:
        leaf = tree.leaf(1)
        assert leaf is not None
        tree.set_leaf(2, leaf)

    with pytest.raises(InvalidTree, match="duplicate-signature-key"):
        join_with(info_of(room["ann"], lying_tree(room["ann"], twice)))

    room.commit("ann")

    def same_key(tree: RatchetTree) -> None:
        leaf, parent = tree.leaf(1), tree.parent(3)
        assert leaf is not None and parent is not None
        tree.set_parent(3, replace(parent, encryption_key=leaf.encryption_key))

    with pytest.raises(InvalidTree, match="duplicate-encryption-key"):
        join_with(info_of(room["ann"], lying_tree(room["ann"], same_key)))


@pytest.mark.spec("ML-43")
def test_a_tree_with_a_foreign_leaf() -> None:
    # A group without any path yet: no parent hash covers the leaves.
    room = Room("ann", suite=CLASSIC)
    names = ("bob", "cid")
    packages = [key_package(name, CLASSIC).key_package for name in names]
    room.commit("ann", add=packages, force_path=False)
    other = Room("eve", suite=CLASSIC, seed="other")
    other.commit("eve")
    foreign = other["eve"].state.epoch.tree.leaf(0)
    assert foreign is not None
    with pytest.raises(InvalidLeaf, match="leaf-signature"):
        join_with(
            info_of(room["ann"], lying_tree(room["ann"], lambda tree: tree.set_leaf(2, foreign)))
        )


@pytest.mark.spec("ML-12")
def test_a_tree_of_two_to_the_twenty_leaves() -> None:
    encoded = vector([b"\0"] * (2**21 - 1))
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError):
            RatchetTree.read(MlsReader(encoded), CLASSIC, 1024)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200_000


@pytest.mark.spec("ML-12")
def test_trees_that_are_none(room: Room) -> None:
    leaf = room["ann"].state.epoch.tree.leaf(0)
    assert leaf is not None
    one = b"\1\1" + leaf.encode()
    parent = b"\1\2" + ParentNode(bytes(32), b"").encode()
    for nodes in ([], [b"\0"], [one, b"\0"], [one, one], [parent], [b"\2"], [b"\1\3"]):
        with pytest.raises(DecodeError):
            RatchetTree.read(MlsReader(vector(nodes)), CLASSIC, 1024)
    with pytest.raises(DecodeError):
        RatchetTree.read(MlsReader(length(2**30 - 1)), CLASSIC, 1024)


@pytest.mark.spec("ML-37", "ML-67")
def test_group_infos_that_do_not_hold(room: Room) -> None:
    ann = room["ann"]
    good = decode_message(info_of(ann))
    assert isinstance(good, GroupInfo)
    cases: list[tuple[bytes, type[WraithError], str]] = [
        (encode_message(replace(good, signature=bytes(64))), InvalidGroupInfo, "signature"),
        (info_of(ann, lambda info: replace(info, signer=1)), InvalidGroupInfo, "signature"),
        (info_of(ann, lambda info: replace(info, signer=9)), InvalidGroupInfo, "signer"),
        (
            info_of(ann, lambda info: replace(info, context=replace(info.context, version=2))),
            InvalidGroupInfo,
            "version",
        ),
        (
            info_of(ann, lambda info: replace(info, context=replace(info.context, cipher_suite=3))),
            InvalidGroupInfo,
            "suite",
        ),
        (ann.group_info(with_tree=False), InvalidGroupInfo, "ratchet-tree"),
        (ann.group_info(with_external_pub=False), InvalidGroupInfo, "external-pub"),
    ]
    for info, error, check in cases:
        with pytest.raises(error, match=check):
            join_with(info)


@pytest.mark.spec("ML-66")
def test_an_external_commit_with_an_old_key(room: Room) -> None:
    old = room["ann"].group_info()
    room.commit("ann")
    _, late = join_with(old)
    with refused(UnknownEpoch, None, room["bob"]):
        room["bob"].stage(late)

    # The same with the epoch of today: the key encapsulated to is still yesterday's.
    before = decode_message(old)
    assert isinstance(before, GroupInfo)

    def stale(info: GroupInfo) -> GroupInfo:
        kept = tuple(one for one in info.extensions if one.type != ExtensionType.EXTERNAL_PUB)
        assert before.external_pub is not None
        key = Extension(ExtensionType.EXTERNAL_PUB, opaque(before.external_pub))
        return replace(info, extensions=(*kept, key))

    _, forged = join_with(info_of(room["ann"], stale))
    with refused(InvalidCommit, "confirmation-tag", room["bob"]):
        room["bob"].stage(forged)


@pytest.mark.spec("ML-48")
def test_an_external_commit_that_removes_somebody_else(room: Room) -> None:
    _, message = join_with(room["ann"].group_info(), replaces=1)
    with refused(InvalidCommit, "external-remove", room["cid"]):
        room["cid"].stage(message)


def welcomed(room: Room, **arguments: object) -> tuple[CommitResult, KeyPackageSecrets, bytes]:
    eve = key_package("eve", CLASSIC)
    made = room["ann"].commit(
        add=[eve.key_package],
        unix_now=UNIX_NOW,
        **arguments,  # type: ignore[arg-type]
    )
    assert made.welcome is not None
    return made, eve, made.welcome


def join(
    welcome: bytes, own: KeyPackageSecrets, unix_now: float | None = UNIX_NOW, **more: object
) -> MlsGroup:
    return MlsGroup.join(
        welcome,
        own,
        SeededRng(1),
        unix_now=unix_now,
        policy=more.pop("policy", AnyPolicy()),  # type: ignore[arg-type]
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.spec("ML-38", "ML-65")
def test_welcomes_that_do_not_lead_in(room: Room) -> None:
    _, eve, welcome = welcomed(room)
    with pytest.raises(InvalidWelcome, match="recipient"):
        join(welcome, key_package("fay", CLASSIC))
    with pytest.raises(InvalidWelcome, match="suite"):
        join(welcome, key_package("eve", SUITES[3]))
    with pytest.raises(UnsupportedSuite):
        join(welcome, eve, policy=StrictPolicy())
    flipped = bytearray(welcome)
    flipped[-1] ^= 1
    # The sealed group info is bound into the sealed secrets: these do not open any more.
    with pytest.raises(InvalidWelcome, match="group-secrets"):
        join(bytes(flipped), eve)
    thief = KeyPackageSecrets(
        eve.key_package, Secret(bytes(range(32))), eve.leaf_private, eve.signer
    )
    with pytest.raises(InvalidWelcome, match="group-secrets"):
        join(welcome, thief)
    with pytest.raises(InvalidGroupInfo, match="ratchet-tree"):
        join(welcomed(room, with_tree=False)[2], eve)
    assert join(welcome, eve).own_leaf == 4


def test_a_welcome_with_a_key_that_is_not_held(room: Room) -> None:
    room["ann"].add_psk(b"shared", Secret(b"s"))
    _, eve, welcome = welcomed(room, psks=[b"shared"])
    with pytest.raises(UnknownPsk):
        join(welcome, eve)
    with pytest.raises(InvalidWelcome, match="group-info"):
        join(welcome, eve, psks={b"shared": Secret(b"another")})
    join(welcome, eve, psks={b"shared": Secret(b"s")})


@pytest.mark.spec("ML-68")
def test_continuations_that_are_not_what_was_announced() -> None:
    room = Room("ann", "bob", "cid", suite=CLASSIC)
    room.commit("ann", reinit=ReInit(b"two", 1, 1, ()))

    def continued(
        group_id: bytes, usage: ResumptionUsage, names: list[str], suite: int = 1
    ) -> tuple[bytes, KeyPackageSecrets]:
        ann = MlsGroup.create(
            group_id,
            key_package("ann", SUITES[suite], seed="two"),
            SeededRng(2),
            policy=AnyPolicy(),
        )
        packages = [key_package(name, SUITES[suite], seed="two") for name in names]
        made = ann.commit(
            add=[one.key_package for one in packages],
            unix_now=UNIX_NOW,
            resume=room["ann"].resumption(usage),
        )
        assert made.welcome is not None
        return made.welcome, packages[0]

    reinit, branch = ResumptionUsage.REINIT, ResumptionUsage.BRANCH
    join(*continued(b"two", reinit, ["bob", "cid"]), parents=[room["bob"]])
    join(*continued(b"any", branch, ["bob"]), parents=[room["bob"]])
    for welcome, check in (
        (continued(b"three", reinit, ["bob", "cid"]), "reinit"),
        (continued(b"two", reinit, ["bob"]), "reinit"),
        (continued(b"two", reinit, ["bob", "cid"], suite=3), "reinit"),
        (continued(b"any", branch, ["bob", "eve"]), "branch"),
        (continued(b"any", branch, ["bob"], suite=3), "branch"),
    ):
        with pytest.raises(InvalidWelcome, match=check):
            join(*welcome, parents=[room["bob"]])
    other = Room("ann", "bob", suite=CLASSIC)
    with pytest.raises(UnknownPsk):
        join(*continued(b"two", reinit, ["bob", "cid"]), parents=[other["bob"]])


@pytest.mark.spec("ML-31")
def test_proposals_of_unknown_types_and_malformed_ones(room: Room) -> None:
    good = signed(room["ann"], Remove(3))
    at = good.index(b"\0\3\0\0\0\3")
    for replaced in (b"\0\x09", b"\x0a\x0a", b"\xf0\x01"):
        changed = good[:at] + replaced + good[at + 2 :]
        with refused(DecodeError, None, room["bob"]):
            room["bob"].stage(changed)


@pytest.mark.spec("ML-11")
def test_an_extension_that_comes_twice(room: Room) -> None:
    twice = (Extension(0xF0A1, b"1"), Extension(0xF0A1, b"2"))
    with refused(DecodeError, None, room["bob"]):
        room["bob"].stage(signed(room["ann"], GroupContextExtensions(twice)))


@pytest.mark.spec("ML-51")
def test_who_is_added_must_support_what_the_same_commit_sets(room: Room) -> None:
    required = Extension(
        ExtensionType.REQUIRED_CAPABILITIES, RequiredCapabilities(credentials=(2,)).encode()
    )
    only_basic = key_package(
        "eve", CLASSIC, capabilities=Capabilities(cipher_suites=(1,), credentials=(1,))
    ).key_package
    proposals: list[Proposal] = [GroupContextExtensions((required,)), Add(only_basic)]
    with refused(InvalidLeaf, "required-capabilities", room["ann"]):
        made_commit(room["ann"], proposals)
    with refused(InvalidLeaf, "required-capabilities", room["bob"]):
        room["bob"].stage(signed(room["ann"], Commit(tuple(proposals), None)))


@pytest.mark.spec("ML-29")
def test_a_group_larger_than_its_limit() -> None:
    room = Room("ann", "bob", suite=CLASSIC, limits=Limits(members_max=2))
    with refused(GroupLimit, None, room["ann"]):
        room["ann"].commit(add=[key_package("eve", CLASSIC).key_package], unix_now=UNIX_NOW)
    big = Room("ann", "bob", "cid", suite=CLASSIC)
    _, eve, welcome = welcomed(big)
    with pytest.raises((GroupLimit, DecodeError)):
        join(welcome, eve, limits=Limits(members_max=2))


def test_no_error_and_no_repr_shows_a_secret(room: Room) -> None:
    made = made_commit(room["ann"], [])
    secret = made.keys.joiner.reveal().hex()
    for value in (made, made.staged, made.keys, room["ann"].state, room["ann"].state.signer):
        shown = repr(value)
        assert secret not in shown
        assert room["ann"].state.signer.private_bytes().hex() not in shown


def test_node_arithmetic_of_the_group_is_that_of_the_rfc() -> None:
    assert tm.root(4) == 3 and tm.direct_path(0, 4) == [1, 3]
    assert tm.common_ancestor(0, 3) == 3 and tm.common_ancestor(2, 3) == 5
