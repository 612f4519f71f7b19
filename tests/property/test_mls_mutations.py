"""Whatever a member or the network changes in a message: refused by name, or OpenMLS takes it too.

Bits and fields of every kind of message are changed; what a member could sign, it signs anew, with
its membership and confirmation tags, so that the checks behind the signature are reached. After
each, the state of the receiver is byte for byte as it was. A message that we would accept is shown
to OpenMLS, which must accept it as well.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from wraith.errors import WraithError
from wraith.mls import state
from wraith.mls.commit import MadeCommit, StagedCommit
from wraith.mls.context import GroupContext
from wraith.mls.framing import PublicMessage
from wraith.mls.group import MlsGroup
from wraith.mls.joining import make_group_info
from wraith.mls.key_package import KeyPackage, KeyPackageSecrets
from wraith.mls.proposals import (
    Add,
    Commit,
    ExternalInit,
    GroupContextExtensions,
    PreSharedKey,
    Proposal,
    ReInit,
    Remove,
    Update,
)
from wraith.mls.psk import ExternalPsk
from wraith.mls.suites import SUITES
from wraith.mls.welcome import (
    GroupInfo,
    GroupSecrets,
    Welcome,
    decode_message,
    encode_message,
    seal_group_secrets,
)
from wraith.testing.foreign_peers import BIN
from wraith.testing.mls import AnyPolicy
from wraith.testing.mls_forge import forged_commit, made_commit, signed
from wraith.testing.mls_mutate import Mutator
from wraith.testing.mls_peers import (
    PROGRAMS,
    ForeignMember,
    Meeting,
    OurMember,
    PeerError,
    PeerProcess,
)

CLASSIC = SUITES[1]
BUILT = (BIN / PROGRAMS["openmls"]).exists()


class Court:
    """Ann lies, Bob judges, OpenMLS judges what Bob lets pass. All public, so all can read."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.ann = OurMember("ann", CLASSIC, public=True)
        self.bob = OurMember("bob", CLASSIC, public=True)
        cid = OurMember("cid", CLASSIC, public=True)
        members = [self.ann, self.bob, cid]
        self.process = PeerProcess("openmls") if BUILT else None
        self.other: ForeignMember | None = None
        if self.process is not None:
            self.other = ForeignMember(self.process, "other", CLASSIC, public=True)
        # Leaves 1, 2, 3. The judges are neighbours, and Bob's commit gives both the key above them:
        # from then on the same ciphertext of a path is meant for either.
        joiners = [cid, self.bob] + ([self.other] if self.other is not None else [])
        meeting = Meeting(*members)
        meeting.found(self.ann)
        meeting.commit(self.ann, add=joiners)
        for one in meeting.inside:
            one.ask("psk", id=b"known".hex(), psk=bytes(32).hex())
        meeting.commit(self.bob)
        self.outcomes: Counter[str] = Counter()
        self.mutator = Mutator(
            self.dice, CLASSIC, self.liar.state.signer, self.liar.group_id, self.liar.own_leaf
        )
        self.newcomers = 0

    @property
    def liar(self) -> MlsGroup:
        return self.ann.group

    @property
    def judge(self) -> MlsGroup:
        return self.bob.group

    def close(self) -> None:
        if self.process is not None:
            self.process.close()

    def newcomer(self) -> KeyPackageSecrets:
        """Signed by the liar's helper: its key is the liar's to use."""
        self.newcomers += 1
        return OurMember(f"new{self.newcomers}", CLASSIC)._package()

    # What is judged.

    def hear(self, message: bytes) -> None:
        """A commit, a proposal or an application message for the judge."""
        before, removed = state.save(self.judge, 0.0), False
        try:
            body = decode_message(message)
            if isinstance(body, PublicMessage) or getattr(body, "content_type", 0) != 1:
                staged = self.judge.stage(message)
                removed = isinstance(staged, StagedCommit) and staged.epoch is None
            else:
                # Opening uses a key up when it succeeds: on a copy of the judge.
                raw = before.reveal()
                twin = state.restore(raw, self.bob.rng, 0.0, policy=AnyPolicy())
                twin.open(message, 0.0)
        except WraithError as error:
            self.outcomes[f"{type(error).__name__} {getattr(error, 'check', '')}".strip()] += 1
        else:
            self.outcomes["accepted"] += 1
            if self.other is not None:
                try:
                    self.other.ask("process", message=message.hex(), merge=False)
                except PeerError as refusal:
                    # Who is removed has none of the secrets that the last checks need.
                    if removed and ("onfirmation" in str(refusal) or "ecrypt" in str(refusal)):
                        return
                    raise AssertionError(f"OpenMLS refuses: {refusal}; {message.hex()}") from None
        assert state.save(self.judge, 0.0) == before

    # What is made.

    def proposal(self) -> Proposal:
        dice, liar = self.dice, self.liar
        kinds: list[Callable[[], Proposal]] = [
            lambda: Add(self.newcomer().key_package),
            lambda: Remove(dice.randrange(4)),
            lambda: PreSharedKey(ExternalPsk(b"known", bytes(32))),
            lambda: GroupContextExtensions(()),
            lambda: ReInit(b"next", 1, 1, ()),
            lambda: ExternalInit(bytes(32)),
            lambda: self._update(),
        ]
        del liar
        return dice.choice(kinds)()

    def _update(self) -> Proposal:
        leaf = self.liar.state.epoch.tree.leaf(self.liar.own_leaf)
        assert leaf is not None
        return Update(leaf)

    def lie_with_a_commit(self) -> None:
        dice = self.dice
        proposals: list[Proposal] = []
        deed = dice.randrange(4)
        if deed == 1:
            proposals = [Add(self.newcomer().key_package)]
        elif deed == 2:
            proposals = [Remove(1)]
        elif deed == 3:
            proposals = [PreSharedKey(ExternalPsk(b"known", bytes(32)))]
        made = made_commit(self.liar, proposals, seed=dice.randbytes(8))

        def change(commit: Commit) -> Commit:
            if dice.random() < 0.3:
                extra = self.proposal()
                return replace(commit, proposals=(*commit.proposals, extra))
            changed: Commit = self.mutator.mutated(commit)
            return changed

        self.hear(forged_commit(self.liar, made, change))

    def lie_with_a_proposal(self) -> None:
        proposal = self.proposal()
        if self.dice.random() < 0.8:
            proposal = self.mutator.mutated(proposal)
        self.hear(signed(self.liar, proposal))

    def change_bits(self) -> None:
        dice = self.dice
        kind = dice.randrange(4)
        if kind == 0:
            message = forged_commit(self.liar, made_commit(self.liar, []), lambda commit: commit)
        elif kind == 1:
            message = signed(self.liar, self.proposal())
        elif kind == 2:
            message = self.liar.protect(b"words")
        else:
            self.liar.public_handshake = False
            message = self.liar.remove(1)
            self.liar.discard(self.liar.pending()[-1][0])
            self.liar.public_handshake = True
        self.hear(self.mutator.bytes(message))

    def lie_to_joiners(self) -> None:
        """A group info changed and signed anew, in a Welcome, for one of us and one of OpenMLS."""
        dice, liar = self.dice, self.liar
        mine = self.newcomer()
        packages = [mine.key_package]
        theirs: ForeignMember | None = None
        if self.process is not None:
            theirs = ForeignMember(self.process, f"guest{self.newcomers}", CLASSIC, public=True)
            raw = bytes.fromhex(theirs.ask("key_package")["message"])
            body = decode_message(raw)
            assert isinstance(body, KeyPackage)
            packages.append(body)
        made = made_commit(liar, [Add(one) for one in packages], seed=dice.randbytes(8))
        following = made.staged.epoch
        assert following is not None and made.update is not None
        honest = decode_message(_welcome_info(made, liar))
        assert isinstance(honest, GroupInfo)
        info = honest
        if dice.random() < 0.9:
            info = self._changed_info(honest)
        sealed = made.keys.seal_group_info(CLASSIC, info.encode())
        secrets, theirs_is_honest = [], True
        node = following.tree.root
        for _, package in made.applied.added:
            one = GroupSecrets(
                made.keys.joiner.reveal(), made.update.path_secrets[node].reveal(), ()
            )
            if dice.random() < 0.2:
                one = self.mutator.mutated(one)
                theirs_is_honest = theirs_is_honest and package is mine.key_package
            secrets.append(seal_group_secrets(CLASSIC, package, one, sealed))
        welcome = encode_message(Welcome(CLASSIC.number, tuple(secrets), sealed))
        try:
            MlsGroup.join(welcome, mine, self.bob.rng, unix_now=None, policy=AnyPolicy())
        except WraithError as error:
            self.outcomes[f"{type(error).__name__} {getattr(error, 'check', '')}".strip()] += 1
            return
        self.outcomes["joined"] += 1
        if theirs is not None and theirs_is_honest:
            # Raises where OpenMLS does not accept what was accepted here.
            theirs.ask("join", welcome=welcome.hex())

    def _changed_info(self, info: GroupInfo) -> GroupInfo:
        changed: GroupInfo = self.mutator.mutated(info)
        if self.dice.random() < 0.3:
            context: GroupContext = self.mutator.mutated(info.context)
            changed = replace(info, context=context)
        if self.dice.random() < 0.8:
            return GroupInfo.sign(
                CLASSIC,
                changed.context,
                changed.extensions,
                changed.confirmation_tag,
                changed.signer,
                self.liar.state.signer,
            )
        return changed

    def run(self, n: int) -> None:
        done = 0
        while done < n:
            chance = self.dice.random()
            try:
                if chance < 0.45:
                    self.lie_with_a_commit()
                elif chance < 0.75:
                    self.lie_with_a_proposal()
                elif chance < 0.92:
                    self.change_bits()
                else:
                    self.lie_to_joiners()
            except (ValueError, OverflowError):
                continue  # the change has no encoding
            except WraithError:
                continue  # the liar itself cannot make this
            done += 1


def _welcome_info(made: object, liar: MlsGroup) -> bytes:
    assert isinstance(made, MadeCommit) and made.staged.epoch is not None
    return encode_message(make_group_info(made.staged.epoch, liar.state.signer, True))


def check(seed: int, n: int) -> Counter[str]:
    court = Court(seed)
    try:
        court.run(n)
    finally:
        court.close()
    assert sum(court.outcomes.values()) >= n
    # The lies reach deep: many different checks refuse them, and harmless ones pass.
    assert len(court.outcomes) > 12, court.outcomes
    return court.outcomes


@pytest.mark.spec("ML-62")
@pytest.mark.interop
def test_four_hundred_changed_messages() -> None:
    check(1, 400)


@pytest.mark.slow
@pytest.mark.interop
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(10))
def test_ten_thousand_changed_messages(seed: int) -> None:
    print(check(1000 + seed, 1000))
