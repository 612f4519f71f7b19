"""Groups under reordering and loss against a model of roster, epoch and keys.

Up to twelve members add, remove, update, propose, mix keys in, join by commit and talk. One order
of commits is kept (a sequencer would give it); everything else comes late, in any order, or never.
The model says for each epoch who is in it and, from its first member that got there, which keys it
has. Everybody who gets there must agree; everything that does not open must say why; who was
removed opens nothing of later epochs from all that it kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from wraith.crypto.secret import Secret
from wraith.errors import (
    GroupClosed,
    MessageReplayed,
    OwnMessage,
    StaleStage,
    UnknownEpoch,
    WraithError,
)
from wraith.mls import MlsGroup, state
from wraith.mls.group import CommitResult
from wraith.mls.suites import SUITES, CipherSuite
from wraith.testing.mls import UNIX_NOW, AnyPolicy, key_package
from wraith.testing.rng import SeededRng

N_MEMBERS_MAX = 12
PAST_S = 60.0


@dataclass
class Epoch:
    """What the model knows of one epoch. ``commit`` leads out of it, once there is one."""

    roster: frozenset[str]
    authenticator: bytes
    entered: dict[str, float]
    commit: bytes | None = None
    maker: str = ""
    joined: frozenset[str] = frozenset()


@dataclass
class Said:
    """An application message, and who has heard it."""

    raw: bytes
    data: bytes
    epoch: int
    sender: str
    heard: set[str] = field(default_factory=set)


class GroupMachine(RuleBasedStateMachine):
    @initialize(number=st.sampled_from([1, 3, 0xF001]), public=st.booleans())
    def found(self, number: int, public: bool) -> None:
        self.suite: CipherSuite = SUITES[number]
        self.public = public
        self.now = 0.0
        self.n_names = 0
        self.n_restored = 0
        self.groups: dict[str, MlsGroup] = {}
        self.removed: dict[str, MlsGroup] = {}
        self.said: list[Said] = []
        self.proposals: list[tuple[int, str, bytes]] = []
        name = self._fresh_name()
        group = MlsGroup.create(
            b"machine",
            key_package(name, self.suite),
            SeededRng(name),
            policy=AnyPolicy(),
            suite=self.suite,
        )
        self._adopt(name, group)
        self.epochs = [Epoch(frozenset([name]), group.epoch_authenticator(), {name: 0.0})]

    # Helpers.

    def _fresh_name(self) -> str:
        self.n_names += 1
        return f"m{self.n_names}"

    def _adopt(self, name: str, group: MlsGroup) -> None:
        group.public_handshake = self.public
        group.add_psk(b"shared", Secret(b"k" * 32))
        self.groups[name] = group

    def _pick(self, data: st.DataObject, names: list[str]) -> str:
        return data.draw(st.sampled_from(sorted(names)))

    def _leaf_of(self, group: MlsGroup, name: str) -> int:
        return next(
            one.leaf
            for one in group.members()
            if getattr(one.credential, "identity", b"") == name.encode()
        )

    def _newest(self) -> list[str]:
        """Members who are at the newest epoch."""
        return [name for name, group in self.groups.items() if group.epoch == self.epoch]

    @property
    def epoch(self) -> int:
        return len(self.epochs) - 1

    def _order(
        self, maker: str, message: bytes, group: MlsGroup, leaving: set[str], joining: set[str]
    ) -> None:
        """The commit is the one that leads out of the newest epoch; its maker is in the next."""
        present = self.epochs[-1]
        present.commit, present.maker = message, maker
        present.joined = frozenset(joining)
        roster = (present.roster - leaving) | joining | {maker}
        self.epochs.append(Epoch(roster, group.epoch_authenticator(), {maker: self.now}))
        self.proposals.clear()

    def _commit(self, data: st.DataObject, maker: str, made: CommitResult) -> None:
        group = self.groups[maker]
        by_leaf = {
            one.leaf: getattr(one.credential, "identity", b"").decode() for one in group.members()
        }
        leaving = {by_leaf[leaf] for leaf in made.staged.removed}
        group.merge(made.staged, self.now)
        self._order(maker, made.message, group, leaving, set())

    # Deeds.

    @rule(data=st.data(), n=st.integers(1, 3), with_tree=st.booleans())
    def add(self, data: st.DataObject, n: int, with_tree: bool) -> None:
        if len(self.epochs[-1].roster) + n > N_MEMBERS_MAX or not self._newest():
            return
        maker = self._pick(data, self._newest())
        names = [self._fresh_name() for _ in range(n)]
        packages = {name: key_package(name, self.suite) for name in names}
        group = self.groups[maker]
        made = group.commit(
            add=[one.key_package for one in packages.values()],
            unix_now=UNIX_NOW,
            with_tree=with_tree,
            with_pending=False,
        )
        group.merge(made.staged, self.now)
        self._order(maker, made.message, group, set(), set(names))
        assert made.welcome is not None
        for name in names:
            joined = MlsGroup.join(
                made.welcome,
                packages[name],
                SeededRng(name),
                unix_now=UNIX_NOW,
                ratchet_tree=None if with_tree else group.ratchet_tree(),
                policy=AnyPolicy(),
                suite=self.suite,
            )
            self._adopt(name, joined)
            self._enter(name)

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        if len(self.epochs[-1].roster) < 3 or not self._newest():
            return
        maker = self._pick(data, self._newest())
        victim = self._pick(data, [one for one in self.epochs[-1].roster if one != maker])
        group = self.groups[maker]
        made = group.commit(
            remove=[self._leaf_of(group, victim)], unix_now=UNIX_NOW, with_pending=False
        )
        self._commit(data, maker, made)

    @rule(data=st.data(), psk=st.booleans(), resumption=st.booleans(), pending=st.booleans())
    def update(self, data: st.DataObject, psk: bool, resumption: bool, pending: bool) -> None:
        if not self._newest():
            return
        maker = self._pick(data, self._newest())
        group = self.groups[maker]
        # All who are in this epoch have its resumption secret, and the external key.
        made = group.commit(
            psks=[b"shared"] if psk else [],
            resumption_epochs=[group.epoch] if resumption else [],
            unix_now=UNIX_NOW,
            with_pending=False,
        )
        del pending
        self._commit(data, maker, made)

    @rule(data=st.data())
    def propose_and_commit(self, data: st.DataObject) -> None:
        """Proposals reach the committer and, as part of the order, all others before the commit."""
        newest = self._newest()
        if len(newest) < 2:
            return
        proposer = self._pick(data, newest)
        maker = self._pick(data, [one for one in newest if one != proposer])
        if data.draw(st.booleans()) or len(self.epochs[-1].roster) < 3:
            message = self.groups[proposer].update()
        else:
            victims = [one for one in self.epochs[-1].roster if one != maker]
            victim = self._pick(data, victims)
            message = self.groups[proposer].remove(self._leaf_of(self.groups[proposer], victim))
        for name in newest:
            if name != proposer:
                self.groups[name].merge(self.groups[name].stage(message), self.now)
        self.proposals.append((self.epoch, proposer, message))
        waiting = [raw for epoch, _, raw in self.proposals if epoch == self.epoch]
        proposals = {raw: who for _, who, raw in self.proposals}
        made = self.groups[maker].commit(unix_now=UNIX_NOW)
        epoch = self.epochs[-1]
        self._commit(data, maker, made)
        self.waiting[id(epoch)] = [(proposals[raw], raw) for raw in waiting]

    @rule(data=st.data())
    def join_by_commit(self, data: st.DataObject) -> None:
        if len(self.epochs[-1].roster) >= N_MEMBERS_MAX or not self._newest():
            return
        through = self._pick(data, self._newest())
        name = self._fresh_name()
        group, message = MlsGroup.join_external(
            self.groups[through].group_info(),
            key_package(name, self.suite),
            SeededRng(name),
            unix_now=UNIX_NOW,
            policy=AnyPolicy(),
            suite=self.suite,
        )
        self._adopt(name, group)
        self._order(name, message, group, set(), {name})

    @rule(data=st.data())
    def lose_a_race(self, data: st.DataObject) -> None:
        """Two commit; the second is dropped and can neither be merged nor staged afterwards."""
        newest = self._newest()
        if len(newest) < 2:
            return
        loser = self._pick(data, newest)
        winner = self._pick(data, [one for one in newest if one != loser])
        lost = self.groups[loser].commit(unix_now=UNIX_NOW, with_pending=False)
        made = self.groups[winner].commit(unix_now=UNIX_NOW, with_pending=False)
        self._commit(data, winner, made)
        self._catch_up(loser)
        with pytest.raises(StaleStage):
            self.groups[loser].merge(lost.staged, self.now)
        with pytest.raises(UnknownEpoch):
            self.groups[winner].stage(lost.message)

    @rule(data=st.data(), text=st.binary(max_size=20))
    def say(self, data: st.DataObject, text: bytes) -> None:
        if not self.groups:
            return
        sender = self._pick(data, list(self.groups))
        group = self.groups[sender]
        raw = group.protect(text, pad_to=data.draw(st.sampled_from([0, 32])))
        self.said.append(Said(raw, text, group.epoch, sender))
        del self.said[:-40]

    # The network.

    @rule(data=st.data())
    def hear(self, data: st.DataObject) -> None:
        if not self.said or not self.groups:
            return
        said = data.draw(st.sampled_from(self.said))
        name = self._pick(data, list(self.groups))
        group = self.groups[name]
        model = self.epochs[said.epoch]
        before = state.save(group, self.now)
        if name not in model.roster or name not in model.entered:
            expected: type[WraithError] | None = UnknownEpoch
        elif group.epoch < said.epoch or not self._still_open(name, group, said.epoch):
            expected = UnknownEpoch
        elif name == said.sender:
            expected = OwnMessage
        elif name in said.heard:
            expected = MessageReplayed
        else:
            expected = None
        if expected is None:
            opened = group.open(said.raw, self.now)
            assert opened.data == said.data and opened.epoch == said.epoch
            said.heard.add(name)
            return
        refusals = (expected, MessageReplayed) if expected is OwnMessage else (expected,)
        with pytest.raises(refusals):
            group.open(said.raw, self.now)
        assert state.save(group, self.now) == before

    def _still_open(self, name: str, group: MlsGroup, epoch: int) -> bool:
        if epoch == group.epoch:
            return True
        if group.epoch - epoch > 2:
            return False
        left = self.epochs[epoch + 1].entered.get(name)
        return left is not None and self.now < left + PAST_S

    @rule(data=st.data())
    def deliver_a_commit(self, data: st.DataObject) -> None:
        behind = [name for name, group in self.groups.items() if group.epoch < self.epoch]
        if behind:
            self._deliver(self._pick(data, behind))

    @rule(data=st.data())
    def catch_up(self, data: st.DataObject) -> None:
        if self.groups:
            self._catch_up(self._pick(data, list(self.groups)))

    @rule(seconds=st.sampled_from([1.0, 20.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        for group in self.groups.values():
            group.expire(self.now)

    @rule(data=st.data())
    def store_and_restore(self, data: st.DataObject) -> None:
        if not self.groups:
            return
        name = self._pick(data, list(self.groups))
        raw = state.save(self.groups[name], self.now)
        self.n_restored += 1
        self.groups[name] = state.restore(
            raw.reveal(), SeededRng(f"{name} {self.n_restored}"), self.now, policy=AnyPolicy()
        )
        assert state.save(self.groups[name], self.now) == raw

    def _catch_up(self, name: str) -> None:
        while name in self.groups and self.groups[name].epoch < self.epoch:
            self._deliver(name)

    def _deliver(self, name: str) -> None:
        """The next commit, with the proposals that it names."""
        group = self.groups[name]
        model = self.epochs[group.epoch]
        assert model.commit is not None
        known = {reference for reference, _, _ in group.pending()}
        for proposer, raw in self.waiting.get(id(model), []):
            if proposer == name:
                continue
            try:
                group.merge(group.stage(raw), self.now)
            except MessageReplayed:
                assert known  # it came when it was proposed
        group.merge(group.stage(model.commit), self.now)
        following = self.epochs[self.epochs.index(model) + 1]
        if name not in following.roster:
            assert not group.is_active
            self.removed[name] = self.groups.pop(name)
            return
        assert group.is_active
        self._enter(name)

    def _enter(self, name: str) -> None:
        group = self.groups[name]
        self.epochs[group.epoch].entered[name] = self.now

    @initialize()
    def nothing_waits(self) -> None:
        self.waiting: dict[int, list[tuple[str, bytes]]] = {}

    # Laws.

    @invariant()
    def all_who_are_in_an_epoch_agree(self) -> None:
        for name, group in getattr(self, "groups", {}).items():
            model = self.epochs[group.epoch]
            assert group.epoch_authenticator() == model.authenticator
            roster = {getattr(one.credential, "identity", b"").decode() for one in group.members()}
            assert roster == model.roster and name in roster

    @precondition(lambda self: bool(getattr(self, "removed", None)))
    @rule(data=st.data())
    def a_removed_member_opens_nothing_later(self, data: st.DataObject) -> None:
        name = self._pick(data, list(self.removed))
        group = self.removed[name]
        last = group.epoch
        for said in self.said:
            if said.epoch > last:
                with pytest.raises(UnknownEpoch):
                    group.open(said.raw, self.now)
        with pytest.raises(GroupClosed):
            group.protect(b"x")
        for epoch in self.epochs[last + 1 :]:
            if epoch.commit is not None:
                with pytest.raises(GroupClosed):
                    group.stage(epoch.commit)


def run(n_examples: int, n_steps: int) -> None:
    run_state_machine_as_test(
        GroupMachine,
        settings=settings(
            max_examples=n_examples,
            stateful_step_count=n_steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(600)
def test_some_random_groups() -> None:
    run(8, 30)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_thousand_random_groups() -> None:
    run(1000, 50)
