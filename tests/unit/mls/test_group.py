"""``MlsGroup``: what a program does with a group, from its founding to its end."""

from __future__ import annotations

import pytest

from wraith.crypto.secret import Secret
from wraith.errors import (
    DecryptError,
    GroupClosed,
    GroupLimit,
    InvalidKeyPackage,
    InvalidSignature,
    LocalProtocolError,
    MessageReplayed,
    OwnMessage,
    StaleStage,
    UnknownEpoch,
    UnknownPsk,
    UnknownSender,
    WrongGroup,
)
from wraith.mls import BasicCredential, KeyPackageSecrets, MlsGroup, state
from wraith.mls.channel import external_proposal
from wraith.mls.codec import vector
from wraith.mls.framing import Sender, SenderType
from wraith.mls.group import StagedProposal
from wraith.mls.limits import Limits
from wraith.mls.nodes import Extension, ExtensionType, ExternalSender
from wraith.mls.proposals import Add, Proposal, ReInit, Remove
from wraith.mls.psk import ResumptionUsage
from wraith.mls.secret_tree import RatchetKind
from wraith.mls.signing import Signer
from wraith.mls.suites import SUITES, CipherSuite
from wraith.testing.mls import (
    LIFETIME,
    UNIX_NOW,
    AnyPolicy,
    Room,
    key_package,
    staged_commit,
)
from wraith.testing.rng import SeededRng

every_suite = pytest.mark.parametrize("suite", SUITES.values(), ids=lambda one: hex(one.number))
CLASSIC = SUITES[1]


def digest(group: MlsGroup) -> Secret:
    return state.save(group, 0.0)


@every_suite
@pytest.mark.parametrize("public", [False, True], ids=["sealed", "public"])
def test_a_group_lives_through_all_that_it_can_do(suite: CipherSuite, public: bool) -> None:
    room = Room("ann", "bob", "cid", suite=suite)
    for member in room.members.values():
        member.public_handshake = public
    assert room.agrees() and room["ann"].epoch == 1

    room.hear("cid", room["cid"].update())
    room.commit("bob")
    assert room.agrees()

    room.add("bob", "dan", "eve", with_tree=False)
    assert room.agrees() and len(list(room["ann"].members())) == 5

    room.commit("eve", remove=[1])
    assert room.agrees() and "bob" not in room.members

    for member in room.members.values():
        member.add_psk(b"shared", Secret(b"k" * 32))
    room.commit("ann", psks=[b"shared"])
    room.commit("dan", resumption_epochs=[room["dan"].epoch - 1])
    assert room.agrees()

    message = room["dan"].protect(b"words", authenticated_data=b"in the clear")
    for name in ("ann", "cid", "eve"):
        opened = room[name].open(message, room.now)
        assert (opened.data, opened.sender) == (b"words", room["dan"].own_leaf)
        assert opened.authenticated_data == b"in the clear"


@pytest.mark.spec("ML-55")
def test_a_founder_is_alone_at_epoch_zero() -> None:
    room = Room("ann", suite=CLASSIC)
    assert room["ann"].epoch == 0 and [one.leaf for one in room["ann"].members()] == [0]
    room.commit("ann")
    assert room["ann"].epoch == 1


@pytest.mark.spec("ML-56")
def test_a_commit_changes_nothing_until_it_is_merged_and_may_be_dropped() -> None:
    room = Room("ann", "bob", suite=CLASSIC)
    room["ann"].public_handshake = True
    before = digest(room["ann"])
    room["ann"].commit(unix_now=UNIX_NOW)
    assert digest(room["ann"]) == before
    room.commit("bob")
    assert room.agrees()


@pytest.mark.spec("ML-57")
def test_staging_changes_nothing() -> None:
    room = Room("ann", "bob", "cid", suite=CLASSIC)
    before = digest(room["bob"])
    made = room["ann"].commit(remove=[2], unix_now=UNIX_NOW)
    staged = staged_commit(room["bob"], made.message)
    room["bob"].stage(room["cid"].update())
    assert digest(room["bob"]) == before
    assert (staged.removed, staged.committer, staged.added) == ((2,), 0, ())


@pytest.mark.spec("ML-58")
def test_what_was_staged_on_another_epoch_does_not_merge() -> None:
    room = Room("ann", "bob", "cid", suite=CLASSIC)
    late = room["cid"].stage(room["bob"].commit(unix_now=UNIX_NOW).message)
    mine = room["cid"].commit(unix_now=UNIX_NOW)
    proposal = room["cid"].stage(room["ann"].update())
    room.commit("ann")
    for staged in (late, mine.staged, proposal):
        before = digest(room["cid"])
        with pytest.raises(StaleStage):
            room["cid"].merge(staged, 0.0)
        assert digest(room["cid"]) == before
    with pytest.raises(StaleStage):
        Room("ann", "bob", suite=CLASSIC, seed="another")["ann"].merge(late, 0.0)


@pytest.mark.spec("ML-60")
def test_a_message_opens_once_in_any_order_and_not_by_its_sender() -> None:
    room = Room("ann", "bob", suite=CLASSIC)
    messages = [room["ann"].protect(bytes([n])) for n in range(6)]
    for n in (5, 0, 3, 1, 4, 2):
        assert room["bob"].open(messages[n], 0.0).data == bytes([n])
    for message in messages:
        before = digest(room["bob"])
        with pytest.raises(MessageReplayed):
            room["bob"].open(message, 0.0)
        assert digest(room["bob"]) == before
    with pytest.raises((OwnMessage, MessageReplayed)):
        room["ann"].open(messages[0], 0.0)


@pytest.mark.spec("ML-61")
def test_late_messages_open_for_two_epochs_and_sixty_seconds() -> None:
    room = Room("ann", "bob", suite=CLASSIC)
    at_one = [room["ann"].protect(b"one") for _ in range(2)]
    room.commit("bob")
    at_two = [room["ann"].protect(b"two") for _ in range(2)]
    room.commit("bob")
    assert room["bob"].open(at_one[0], 59.9).data == b"one"
    assert room["bob"].next_expiry() == 60.0
    room.commit("bob")
    with pytest.raises(UnknownEpoch):
        room["bob"].open(at_one[1], 59.9)
    assert room["bob"].open(at_two[0], 59.9).data == b"two"
    with pytest.raises(UnknownEpoch):
        room["bob"].open(at_two[1], 60.0)
    assert room["bob"].next_expiry() is None


@pytest.mark.spec("ML-59")
def test_padding_hides_the_length_of_a_message_within_its_bucket() -> None:
    room = Room("ann", "bob", suite=CLASSIC)
    sizes = {len(room["ann"].protect(bytes(n), pad_to=256)) for n in range(1, 150, 7)}
    assert len(sizes) == 1
    assert room["bob"].open(room["ann"].protect(b"x", pad_to=256), 0.0).data == b"x"
    with pytest.raises(GroupLimit):
        room["ann"].protect(bytes(64 * 1024 + 1))


@pytest.mark.spec("ML-36")
def test_handshake_messages_have_few_lengths() -> None:
    room = Room(*(f"m{n}" for n in range(9)), suite=CLASSIC)
    removals = {len(room["m0"].remove(n)) for n in range(1, 9)}
    assert len(removals) == 1
    assert 256 < removals.pop() < 512
    commits = {len(room["m0"].commit(unix_now=UNIX_NOW).message) for _ in range(3)}
    assert len(commits) == 1


@pytest.mark.spec("ML-24")
def test_exported_keys_are_equal_for_all_and_differ_by_label_context_and_epoch() -> None:
    room = Room("ann", "bob", suite=CLASSIC)
    ann, bob = room["ann"], room["bob"]
    key = ann.export(b"label", b"context", 48)
    assert len(key) == 48 and bob.export(b"label", b"context", 48) == key
    assert ann.export(b"label", b"other", 48) != key != ann.export(b"other", b"context", 48)
    room.commit("bob")
    assert ann.export(b"label", b"context", 48) != key
    for n in (0, 255 * 32 + 1):
        with pytest.raises(LocalProtocolError):
            ann.export(b"label", b"context", n)


def test_a_removed_member_opens_what_came_before_and_nothing_after() -> None:
    room = Room("ann", "bob", "cid", suite=CLASSIC)
    bob = room["bob"]
    before = room["ann"].protect(b"before")
    made = room["ann"].commit(remove=[1], unix_now=UNIX_NOW)
    room.accept("ann", made)
    after = room["ann"].protect(b"after")
    assert not bob.is_active
    assert bob.open(before, 1.0).data == b"before"
    with pytest.raises(UnknownEpoch):
        bob.open(after, 1.0)
    for act in (lambda: bob.protect(b"x"), lambda: bob.commit(unix_now=UNIX_NOW), bob.update):
        with pytest.raises(GroupClosed):
            act()
    with pytest.raises(GroupClosed):
        bob.stage(room["ann"].commit(unix_now=UNIX_NOW).message)


def test_a_group_of_the_same_name_is_not_the_same_group() -> None:
    one, other = Room("ann", "bob", suite=CLASSIC), Room("ann", "cid", suite=CLASSIC)
    with pytest.raises(DecryptError):
        one["bob"].open(other["ann"].protect(b"x"), 0.0)
    third = Room("ann", "bob", suite=CLASSIC, seed="third")
    with pytest.raises(WrongGroup):
        one["bob"].open(third["ann"].protect(b"x"), 0.0)
    with pytest.raises(WrongGroup):
        one["bob"].stage(third["ann"].update())


@pytest.mark.spec("ML-66")
@every_suite
def test_a_client_joins_by_a_commit_of_its_own(suite: CipherSuite) -> None:
    room = Room("ann", "bob", suite=suite)
    info = room["ann"].group_info()
    eve, message = MlsGroup.join_external(
        info,
        key_package("eve", suite),
        SeededRng("eve"),
        unix_now=UNIX_NOW,
        policy=AnyPolicy(),
        suite=suite,
    )
    room.hear("eve", message)
    room.members["eve"] = eve
    assert room.agrees() and eve.own_leaf == 2
    assert eve.open(room["bob"].protect(b"hello"), 0.0).data == b"hello"
    room.commit("eve")
    assert room.agrees()


def test_a_member_that_lost_its_state_replaces_its_leaf() -> None:
    room = Room("ann", "bob", "cid", suite=CLASSIC)
    bob, message = MlsGroup.join_external(
        room["ann"].group_info(with_tree=False),
        key_package("bob", CLASSIC, seed="again"),
        SeededRng("again"),
        unix_now=UNIX_NOW,
        ratchet_tree=room["ann"].ratchet_tree(),
        replaces=1,
        policy=AnyPolicy(),
    )
    old = room.members.pop("bob")
    room.hear("bob", message)
    room.members["bob"] = bob
    assert room.agrees() and bob.own_leaf == 1
    staged = staged_commit(old, message)
    assert staged.epoch is None and staged.removed == (1,)


@every_suite
def test_a_group_ends_and_is_continued_in_a_new_one(suite: CipherSuite) -> None:
    room = Room("ann", "bob", suite=suite)
    end = ReInit(b"room two", 1, suite.number, ())
    room.commit("ann", reinit=end)
    assert room["ann"].reinit == room["bob"].reinit == end
    with pytest.raises(GroupClosed, match="continued"):
        room["bob"].protect(b"x")

    ann = MlsGroup.create(
        b"room two",
        key_package("ann", suite, seed="two"),
        SeededRng(2),
        policy=AnyPolicy(),
        suite=suite,
    )
    package = key_package("bob", suite, seed="two")
    made = ann.commit(
        add=[package.key_package],
        unix_now=UNIX_NOW,
        resume=room["ann"].resumption(ResumptionUsage.REINIT),
    )
    ann.merge(made.staged, 0.0)
    assert made.welcome is not None
    bob = MlsGroup.join(
        made.welcome,
        package,
        SeededRng(3),
        unix_now=UNIX_NOW,
        parents=[room["bob"]],
        policy=AnyPolicy(),
        suite=suite,
    )
    assert bob.epoch_authenticator() == ann.epoch_authenticator()
    with pytest.raises(UnknownPsk):
        MlsGroup.join(
            made.welcome, package, SeededRng(3), unix_now=UNIX_NOW, policy=AnyPolicy(), suite=suite
        )


@pytest.mark.spec("ML-69")
def test_a_branch_is_a_part_of_its_group() -> None:
    room = Room("ann", "bob", "cid", suite=CLASSIC)
    with pytest.raises(LocalProtocolError):
        room["ann"].resumption(ResumptionUsage.REINIT)
    ann = MlsGroup.create(
        b"branch", key_package("ann", CLASSIC, seed="b"), SeededRng(2), policy=AnyPolicy()
    )
    package = key_package("cid", CLASSIC, seed="b")
    made = ann.commit(
        add=[package.key_package],
        unix_now=UNIX_NOW,
        resume=room["ann"].resumption(ResumptionUsage.BRANCH),
    )
    ann.merge(made.staged, 0.0)
    assert made.welcome is not None
    cid = MlsGroup.join(
        made.welcome,
        package,
        SeededRng(3),
        unix_now=UNIX_NOW,
        parents=[room["cid"]],
        policy=AnyPolicy(),
    )
    assert cid.epoch_authenticator() == ann.epoch_authenticator()


def test_a_signature_key_is_replaced_by_a_commit_and_by_an_update() -> None:
    room = Room("ann", "bob", suite=CLASSIC)
    old = {one.leaf: one.signature_key for one in room["ann"].members()}
    room.commit("ann", signer=CLASSIC.generate_signer(SeededRng("new ann")))
    room.hear("bob", room["bob"].update(signer=CLASSIC.generate_signer(SeededRng("new bob"))))
    room.commit("ann")
    assert room.agrees()
    now = {one.leaf: one.signature_key for one in room["bob"].members()}
    assert now[0] != old[0] and now[1] != old[1]
    for name, other in (("ann", "bob"), ("bob", "ann")):
        assert room[other].open(room[name].protect(b"x"), 0.0).data == b"x"
        room.commit(name)
    assert room.agrees()


@pytest.mark.spec("ML-54")
def test_a_commit_takes_the_waiting_proposals_that_fit_together() -> None:
    room = Room("ann", "bob", "cid", "dan", suite=CLASSIC)
    room.hear("bob", room["bob"].update())
    room.hear("bob", room["bob"].update())
    room.hear("dan", room["dan"].remove(1))
    room.hear("cid", room["cid"].remove(1))
    room.hear("cid", room["cid"].update())
    assert len(room["ann"].pending()) == 5
    staged = room.commit("ann").staged
    assert staged.removed == (1,) and staged.updated == (2,)
    assert room.agrees() and room["ann"].pending() == []


def test_a_discarded_proposal_is_left_out() -> None:
    room = Room("ann", "bob", "cid", suite=CLASSIC)
    room.hear("bob", room["bob"].remove(2))
    [(reference, _, _)] = room["ann"].pending()
    room["ann"].discard(reference)
    assert room.commit("ann").staged.removed == ()


@pytest.mark.spec("ML-29")
def test_proposals_wait_in_bounded_number() -> None:
    limits = Limits(pending_proposals_max=3)
    room = Room("ann", "bob", suite=CLASSIC, limits=limits)
    for _ in range(3):
        room.hear("bob", room["bob"].update())
    with pytest.raises(GroupLimit):
        room["ann"].remove(1)
    assert len(room["ann"].pending()) == 3


def test_pre_shared_keys_are_held_in_bounded_number_and_dropped() -> None:
    room = Room("ann", "bob", suite=CLASSIC, limits=Limits(psks_max=1))
    room["ann"].add_psk(b"one", Secret(b"1"))
    with pytest.raises(GroupLimit):
        room["ann"].add_psk(b"two", Secret(b"2"))
    room["ann"].drop_psk(b"one")
    with pytest.raises(UnknownPsk):
        room["ann"].commit(psks=[b"one"], unix_now=UNIX_NOW)


def test_a_wiped_group_gives_nothing() -> None:
    room = Room("ann", "bob", suite=CLASSIC)
    message = room["bob"].protect(b"x")
    room["ann"].wipe()
    with pytest.raises(UnknownEpoch):
        room["ann"].open(message, 0.0)
    with pytest.raises(LocalProtocolError):
        room["ann"].epoch_authenticator()
    with pytest.raises(GroupClosed):
        room["ann"].protect(b"x")


@pytest.mark.spec("ML-17")
def test_a_key_package_has_fresh_keys_and_says_what_is_understood() -> None:
    rng = SeededRng(1)
    signer = CLASSIC.generate_signer(rng)
    made = [
        KeyPackageSecrets.create(CLASSIC, signer, BasicCredential(b"a"), LIFETIME, rng)
        for _ in range(2)
    ]
    keys = {
        key
        for one in made
        for key in (one.key_package.init_key, one.key_package.leaf_node.encryption_key)
    }
    assert len(keys) == 4
    for one in made:
        one.key_package.check(CLASSIC)
        assert one.key_package.leaf_node.capabilities.cipher_suites == (1,)
        back = KeyPackageSecrets.restore(
            one.key_package.raw,
            one.init_private.reveal(),
            one.leaf_private.reveal(),
            signer.private_bytes(),
        )
        assert back.key_package == one.key_package
        with pytest.raises(InvalidKeyPackage, match="private-keys"):
            KeyPackageSecrets.restore(
                one.key_package.raw,
                one.leaf_private.reveal(),
                one.init_private.reveal(),
                signer.private_bytes(),
            )
        one.wipe()
        assert one.init_private.is_wiped


@pytest.mark.spec("ML-63")
def test_a_sealed_message_uses_its_key_up_even_if_it_is_never_sent() -> None:
    room = Room("ann", "bob", suite=CLASSIC)
    lost = [room["ann"].protect(b"same") for _ in range(3)]
    assert len(set(lost)) == 3
    room["ann"].commit(unix_now=UNIX_NOW)
    room["ann"].commit(unix_now=UNIX_NOW)
    assert room["bob"].open(room["ann"].protect(b"next"), 0.0).data == b"next"
    tree = room["ann"].state.epoch.secret_tree
    assert tree.next_generation(0, RatchetKind.APPLICATION) == 4
    assert tree.next_generation(0, RatchetKind.HANDSHAKE) == 2


@pytest.mark.spec("ML-64")
def test_a_welcome_brings_the_keys_from_the_common_node_upwards() -> None:
    room = Room(*(f"m{n}" for n in range(6)), suite=CLASSIC)
    known = {
        name: sorted(member.state.epoch.kem.private_keys()[1])
        for name, member in room.members.items()
    }
    assert known["m1"] == [1, 3, 7] and known["m2"] == [3, 7] and known["m5"] == [7]
    for member in room.members.values():
        member.state.epoch.kem.check_private_keys()


@pytest.mark.spec("ML-53")
def test_who_is_removed_by_a_commit_learns_that_and_no_key() -> None:
    room = Room("ann", "bob", "cid", suite=CLASSIC)
    made = room["ann"].commit(remove=[1], unix_now=UNIX_NOW)
    staged = staged_commit(room["bob"], made.message)
    assert staged.epoch is None and staged.removed == (1,)
    assert staged_commit(room["cid"], made.message).epoch is not None


@pytest.mark.spec("ML-32")
def test_a_client_asks_to_be_added_and_an_external_sender_proposes() -> None:
    outsider = CLASSIC.generate_signer(SeededRng("outsider"))
    listed = ExternalSender(outsider.public, BasicCredential(b"server"))
    senders = Extension(ExtensionType.EXTERNAL_SENDERS, vector([listed.encode()]))
    room = Room("ann", "bob", "cid", suite=CLASSIC, extensions=(senders,))
    group = room["ann"]

    def propose(sender: Sender, proposal: Proposal, signer: Signer) -> bytes:
        return external_proposal(CLASSIC, group.group_id, group.epoch, sender, proposal, signer)

    eve = key_package("eve", CLASSIC)
    asks = Sender(SenderType.NEW_MEMBER_PROPOSAL)
    room.hear("", propose(asks, Add(eve.key_package), eve.signer))
    room.hear("", propose(Sender(SenderType.EXTERNAL, 0), Remove(2), outsider))
    made = room.commit("bob")
    assert room.agrees() and "cid" not in room.members and made.welcome is not None
    joined = MlsGroup.join(
        made.welcome, eve, SeededRng("eve"), unix_now=UNIX_NOW, policy=AnyPolicy()
    )
    assert joined.epoch_authenticator() == room["ann"].epoch_authenticator()
    with pytest.raises(InvalidSignature):
        group.stage(propose(Sender(SenderType.EXTERNAL, 0), Remove(1), eve.signer))
    with pytest.raises(UnknownSender):
        group.stage(propose(Sender(SenderType.EXTERNAL, 1), Remove(1), outsider))


def test_what_is_staged_shows_no_key() -> None:
    room = Room("ann", "bob", suite=CLASSIC)
    staged = room["bob"].stage(room["ann"].remove(1))
    assert isinstance(staged, StagedProposal) and staged.step is not None
    assert repr(staged.step.key) not in repr(staged)
    assert repr(staged.step.nonce) not in repr(staged)
