"""``MlsGroup``: one member of one group, for programs (RFC 9420 §11, §12).

A message that comes in is *staged*: judged on a copy, with nothing changed. ``merge`` makes it
true. An own commit is staged too, so that the program merges it when the group has accepted it and
drops it when another was first. Application messages are protected and opened.

::

    alice = MlsGroup.create(b"room", alice_package, rng)
    made = alice.commit(add=[bob_package.key_package], unix_now=unix_now)
    alice.merge(made.staged, now)
    bob = MlsGroup.join(made.welcome, bob_package, rng, unix_now=unix_now)
    bob.open(alice.protect(b"hello"), now).data

Everything that is refused raises an error of ``GroupError`` or ``CryptoError`` or a
``DecodeError``, and leaves the group as it was. ``now`` is monotonic seconds, ``unix_now`` calendar
time for lifetimes.

Spec: mls §16 [ML-55 to ML-62].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from wraith.abc import Rng
from wraith.crypto.secret import Secret
from wraith.errors import (
    GroupClosed,
    GroupLimit,
    LocalProtocolError,
    StaleStage,
    WrongGroup,
)
from wraith.mls.channel import frame, open_application, sign, unframe
from wraith.mls.codec import opaque
from wraith.mls.commit import NewLeaf, StagedCommit, make_commit, receive_commit
from wraith.mls.context import GroupContext
from wraith.mls.epoch import begin_epoch
from wraith.mls.framing import ContentType, PrivateMessage, Sender, SenderType, WireFormat
from wraith.mls.group_state import GroupState
from wraith.mls.joining import (
    Parent,
    join_by_commit,
    join_by_welcome,
    make_group_info,
    make_welcome,
)
from wraith.mls.key_package import KeyPackage, KeyPackageSecrets
from wraith.mls.key_schedule import EpochSecrets, export
from wraith.mls.limits import DEFAULT_LIMITS, Limits
from wraith.mls.nodes import (
    Credential,
    Extension,
    Extensions,
    ExtensionType,
    LeafNodeSource,
)
from wraith.mls.pending import OwnUpdate
from wraith.mls.proposals import (
    Add,
    Commit,
    GroupContextExtensions,
    PreSharedKey,
    Proposal,
    ReInit,
    Remove,
    Update,
    proposal_reference,
)
from wraith.mls.psk import ExternalPsk, ResumptionPsk, ResumptionUsage
from wraith.mls.ratchet_tree import RatchetTree
from wraith.mls.secret_tree import Step
from wraith.mls.signing import Signer
from wraith.mls.suites import CipherSuite
from wraith.mls.treekem import TreeKem
from wraith.mls.validation import Policy, Queued, Rules, StrictPolicy
from wraith.mls.welcome import decode_message, encode_message


@dataclass(frozen=True, slots=True)
class Member:
    """One line of the roster."""

    leaf: int
    credential: Credential
    signature_key: bytes


@dataclass(frozen=True, slots=True)
class Opened:
    """One application message; ``sender`` is a leaf of epoch ``epoch``."""

    data: bytes
    sender: int
    epoch: int
    authenticated_data: bytes


@dataclass(frozen=True, slots=True)
class StagedProposal:
    """A proposal that is good by itself; ``merge`` makes it wait for a commit."""

    base_tag: bytes
    base_epoch: int
    reference: bytes
    proposal: Proposal
    sender: Sender
    step: Step | None


Staged = StagedCommit | StagedProposal


@dataclass(frozen=True, slots=True)
class CommitResult:
    """``message`` for the group, ``welcome`` for those added (``None`` if nobody was).

    ``staged`` is merged once the group accepted ``message``.
    """

    message: bytes
    welcome: bytes | None
    staged: StagedCommit


class MlsGroup:
    """One member's side of a group. Not thread-safe; holds secrets, see ``wipe``."""

    __slots__ = ("_rng", "_state", "rules")

    def __init__(self, rules: Rules, state: GroupState, rng: Rng) -> None:
        """Use ``create``, ``join``, ``join_external`` or ``state.restore``."""
        self.rules = rules
        self._state = state
        self._rng = rng

    # Beginning.

    @classmethod
    def create(
        cls,
        group_id: bytes,
        own: KeyPackageSecrets,
        rng: Rng,
        *,
        extensions: Extensions = (),
        policy: Policy | None = None,
        limits: Limits = DEFAULT_LIMITS,
        suite: CipherSuite | None = None,
    ) -> MlsGroup:
        """A group of one, at epoch 0. [ML-55]

        Args:
            own: the founder's key package, which is used up.
            extensions: of the group context.
            suite: only for tests that bring a suite of their own; the key package names it.

        Raises:
            UnsupportedSuite: the policy wants another.
        """
        suite = suite or own.key_package.suite
        rules = Rules(suite, policy or StrictPolicy(), limits)
        rules.policy.check_suite(suite)
        leaf = own.key_package.leaf_node
        tree = RatchetTree(suite, [leaf])
        context = GroupContext(suite.number, group_id, 0, tree.tree_hash(), b"", extensions)
        rules.check_key_package(own.key_package, context, None)
        kem = TreeKem(tree, 0, Secret(own.leaf_private.reveal()))
        secrets = EpochSecrets.from_epoch_secret(suite, rng.secret_bytes(suite.hash_bytes))
        tag = suite.mac(secrets.confirmation, b"")
        epoch = begin_epoch(context, kem, secrets, tag, limits)
        return cls(rules, GroupState.begin(limits, epoch, own.signer), rng)

    @classmethod
    def join(
        cls,
        welcome: bytes,
        own: KeyPackageSecrets,
        rng: Rng,
        *,
        unix_now: float | None,
        ratchet_tree: bytes | None = None,
        psks: Mapping[bytes, Secret] | None = None,
        parents: Sequence[MlsGroup] = (),
        policy: Policy | None = None,
        limits: Limits = DEFAULT_LIMITS,
        suite: CipherSuite | None = None,
    ) -> MlsGroup:
        """Join with a Welcome for ``own``, which is used up. [ML-65]

        Args:
            unix_now: lifetimes are judged at this time; ``None`` does not judge them.
            ratchet_tree: the tree, if the Welcome does not carry it.
            psks: external keys by id; they are held afterwards.
            parents: groups whose resumption secrets the Welcome may name.

        Raises:
            DecodeError, InvalidWelcome, InvalidGroupInfo, InvalidTree, InvalidLeaf,
            CredentialRefused, UnknownPsk, UnsupportedSuite, GroupLimit.
        """
        held = dict(psks or {})
        rules, epoch = join_by_welcome(
            welcome,
            own,
            suite=suite or own.key_package.suite,
            policy=policy or StrictPolicy(),
            limits=limits,
            unix_now=unix_now,
            ratchet_tree=ratchet_tree,
            psks=held,
            parents=[parent.as_parent() for parent in parents],
        )
        state = GroupState.begin(limits, epoch, own.signer)
        state.psks = held
        return cls(rules, state, rng)

    @classmethod
    def join_external(
        cls,
        group_info: bytes,
        own: KeyPackageSecrets,
        rng: Rng,
        *,
        unix_now: float | None,
        ratchet_tree: bytes | None = None,
        replaces: int | None = None,
        psks: Mapping[bytes, Secret] | None = None,
        policy: Policy | None = None,
        limits: Limits = DEFAULT_LIMITS,
        suite: CipherSuite | None = None,
    ) -> tuple[MlsGroup, bytes]:
        """Join by a commit of one's own: ``(group, message for the others)``. [ML-66]

        The group is at the next epoch already; if the others accept another commit first, it is
        dropped and the joining begins again.

        Args:
            group_info: with the external public key, see ``group_info``.
            own: gives signer, credential and capabilities.
            replaces: one's own former leaf, to be removed by the same commit.
            psks: external keys by id, all of which are mixed in; they are held afterwards.

        Raises:
            As ``join``.
        """
        held = dict(psks or {})
        rules, epoch, message = join_by_commit(
            group_info,
            own,
            rng,
            suite=suite or own.key_package.suite,
            policy=policy or StrictPolicy(),
            limits=limits,
            unix_now=unix_now,
            ratchet_tree=ratchet_tree,
            replaces=replaces,
            psks=held,
        )
        state = GroupState.begin(limits, epoch, own.signer)
        state.psks = held
        return cls(rules, state, rng), message

    def as_parent(self) -> Parent:
        """What joining a group that continues this one needs of it."""
        leaves = self._state.epoch.tree.members()
        clients = frozenset(self.rules.policy.client_of(leaf) for _, leaf in leaves)
        return Parent(self.group_id, self._state.resumption, self.context, self.reinit, clients)

    def resumption(self, usage: ResumptionUsage) -> tuple[ResumptionPsk, Secret]:
        """The key of this epoch for a group that continues this one: ``commit(resume=...)`` of
        the new group's first commit. [ML-69]

        Raises:
            LocalProtocolError: a re-initialisation of a group that did not end for one.
        """
        if usage is ResumptionUsage.REINIT and self.reinit is None:
            raise LocalProtocolError("this group has not ended to be continued")
        nonce = self._rng.secret_bytes(self.suite.hash_bytes)
        psk = ResumptionPsk(usage, self.group_id, self.epoch, nonce)
        return psk, Secret(self._state.resumption[self.epoch].reveal())

    # What it knows.

    @property
    def state(self) -> GroupState:
        """For ``state.save``; nobody else changes it."""
        return self._state

    @property
    def public_handshake(self) -> bool:
        """Send proposals and commits as PublicMessage. Off: they are sealed and padded."""
        return self._state.public_handshake

    @public_handshake.setter
    def public_handshake(self, value: bool) -> None:
        self._state.public_handshake = value

    @property
    def suite(self) -> CipherSuite:
        return self.rules.suite

    @property
    def group_id(self) -> bytes:
        return self._state.epoch.context.group_id

    @property
    def epoch(self) -> int:
        return self._state.epoch.number

    @property
    def context(self) -> GroupContext:
        return self._state.epoch.context

    @property
    def own_leaf(self) -> int:
        return self._state.epoch.kem.leaf

    @property
    def is_active(self) -> bool:
        """True while this member is in the group and the group goes on."""
        return self._state.closed is None

    @property
    def reinit(self) -> ReInit | None:
        """What the group was ended for, if it was."""
        return self._state.reinit

    def members(self) -> Iterator[Member]:
        """The roster by ascending leaf."""
        for index, leaf in self._state.epoch.tree.members():
            yield Member(index, leaf.credential, leaf.signature_key)

    def epoch_authenticator(self) -> bytes:
        """Equal for all who are in one epoch, and for nobody else (RFC 9420 §8.7)."""
        return self._state.epoch.secrets.authenticator.reveal()

    def export(self, label: bytes, context: bytes, n: int) -> bytes:
        """``n`` secret bytes of this epoch for the application (RFC 9420 §8.5)."""
        return export(self.suite, self._state.epoch.secrets.exporter, label, context, n)

    def ratchet_tree(self) -> bytes:
        """The public tree, for who joins without the extension."""
        return self._state.epoch.tree.encode()

    def pending(self) -> list[tuple[bytes, Proposal, Sender]]:
        """``(reference, proposal, sender)`` of all that wait for a commit."""
        received = self._state.pending.received.items()
        return [(reference, one.proposal, one.sender) for reference, one in received]

    def discard(self, reference: bytes) -> None:
        """Forget a waiting proposal: the next own commit leaves it out."""
        self._state.pending.received.pop(reference, None)

    def group_info(self, *, with_tree: bool = True, with_external_pub: bool = True) -> bytes:
        """A signed description of this epoch. With the external public key, whoever has it and is
        let in by the members' policies can join by a commit."""
        self._state.check_active()
        extensions: list[Extension] = []
        if with_external_pub:
            pair = self._state.epoch.secrets.external_key_pair(self.suite)
            extensions.append(Extension(ExtensionType.EXTERNAL_PUB, opaque(pair.public)))
            pair.wipe()
        return encode_message(
            make_group_info(self._state.epoch, self._state.signer, with_tree, extensions)
        )

    # Keys of outside.

    def add_psk(self, psk_id: bytes, psk: Secret) -> None:
        """Hold an external pre-shared key. Raises ``GroupLimit``."""
        if psk_id not in self._state.psks and len(self._state.psks) >= self.rules.limits.psks_max:
            raise GroupLimit(f"at most {self.rules.limits.psks_max} pre-shared keys are held")
        self._state.psks[psk_id] = psk

    def drop_psk(self, psk_id: bytes) -> None:
        psk = self._state.psks.pop(psk_id, None)
        if psk is not None:
            psk.wipe()

    # Proposals of one's own: each returns the message for the group.

    def add(self, key_package: KeyPackage, *, unix_now: float | None) -> bytes:
        """Propose to add a client."""
        return self._propose(Add(key_package), unix_now)

    def remove(self, leaf: int) -> bytes:
        """Propose to remove a member; one's own leaf is how one leaves."""
        return self._propose(Remove(leaf))

    def update(self, *, signer: Signer | None = None) -> bytes:
        """Propose fresh keys for one's own leaf; ``signer`` replaces the signature key too."""
        self._state.check_active()
        pair = self.suite.generate_key_pair(self._rng)
        made = self._new_leaf(signer)
        leaf = made.sign(
            self.suite, pair.public, LeafNodeSource.UPDATE, self.group_id, self.own_leaf
        )
        message = self._propose(Update(leaf))
        self._state.pending.own[pair.public] = OwnUpdate(pair.private, signer)
        return message

    def propose_psk(self, psk_id: bytes) -> bytes:
        """Propose to mix an external pre-shared key in."""
        return self._propose(PreSharedKey(self._external_psk(psk_id)))

    def propose_resumption(self, epoch: int) -> bytes:
        """Propose to mix in the resumption secret of an earlier ``epoch`` of this group."""
        return self._propose(PreSharedKey(self._own_resumption(epoch)))

    def propose_extensions(self, extensions: Extensions) -> bytes:
        """Propose other extensions of the group context."""
        return self._propose(GroupContextExtensions(extensions))

    def propose_reinit(
        self, group_id: bytes, suite: CipherSuite, extensions: Extensions = ()
    ) -> bytes:
        """Propose to end this group for a new one of the same members."""
        return self._propose(ReInit(group_id, 1, suite.number, extensions))

    # Commits.

    def commit(
        self,
        *,
        unix_now: float | None,
        add: Sequence[KeyPackage] = (),
        remove: Sequence[int] = (),
        psks: Sequence[bytes] = (),
        resumption_epochs: Sequence[int] = (),
        extensions: Extensions | None = None,
        reinit: ReInit | None = None,
        with_pending: bool = True,
        signer: Signer | None = None,
        force_path: bool = True,
        with_tree: bool = True,
        authenticated_data: bytes = b"",
        resume: tuple[ResumptionPsk, Secret] | None = None,
    ) -> CommitResult:
        """A commit of what waits and of what is given. Changes nothing until merged. [ML-56]

        Args:
            unix_now: lifetimes of those added are judged at this time; ``None`` does not judge.
            psks: ids of external keys held.
            with_pending: take the waiting proposals that fit together.
            signer: replaces the own signature key.
            force_path: bring fresh keys even where the proposals do not need it.
            with_tree: the Welcome carries the tree; else new members get ``ratchet_tree``.
            resume: the key of another group that this one continues, in its first commit.

        Raises:
            GroupInputRefused of its kinds, CredentialRefused, GroupLimit, UnknownPsk, InvalidKey.
        """
        self._state.check_active()
        me = Sender(SenderType.MEMBER, self.own_leaf)
        queue = self._state.pending.select(self.own_leaf) if with_pending else []
        proposals: list[Proposal] = [Add(package) for package in add]
        proposals += [Remove(leaf) for leaf in remove]
        proposals += [PreSharedKey(self._external_psk(psk_id)) for psk_id in psks]
        proposals += [PreSharedKey(self._own_resumption(epoch)) for epoch in resumption_epochs]
        if resume is not None:
            proposals.append(PreSharedKey(resume[0]))
        if extensions is not None:
            proposals.append(GroupContextExtensions(extensions))
        if reinit is not None:
            proposals.append(reinit)
        queue += [Queued(proposal, me) for proposal in proposals]
        made = make_commit(
            self.rules,
            self._state.epoch,
            queue,
            signer=self._state.signer,
            new_leaf=self._new_leaf(signer),
            find_psk=lambda psk: (
                resume[1] if resume is not None and psk == resume[0] else self._state.find_psk(psk)
            ),
            rng=self._rng,
            wire_format=self._wire_format(),
            authenticated_data=authenticated_data,
            force_path=force_path,
            unix_now=unix_now,
            is_first_commit=self.epoch == 0,
        )
        welcome = make_welcome(made, signer or self._state.signer, with_tree)
        message = frame(self._state.epoch, made.content, self._rng)
        return CommitResult(message, welcome, made.staged)

    def stage(self, message: bytes) -> Staged:
        """Judge a commit or a proposal of another; the group stays as it is. [ML-57]

        Raises:
            DecodeError, UnknownEpoch, WrongGroup, UnknownSender, OwnMessage, DecryptError,
            InvalidSignature, MessageReplayed, GenerationTooFar, GroupInputRefused of its kinds,
            UnknownPsk, CredentialRefused, GroupLimit, GroupClosed.
        """
        self._state.check_active()
        self._check_size(message)
        content, step = unframe(self._state.epoch, decode_message(message))
        framed = content.framed
        if isinstance(framed.content, Commit):
            return receive_commit(
                self.rules,
                self._state.epoch,
                content,
                self._state.pending.received,
                self._state.pending.private_keys(),
                self._state.find_psk,
                step,
            )
        if isinstance(framed.content, bytes):
            raise LocalProtocolError("an application message is opened, not staged")
        queued = Queued(framed.content, framed.sender)
        self.rules.check_proposal(queued, self._state.epoch.tree, self._state.epoch.context)
        reference = proposal_reference(self.suite, content.encode())
        self._state.pending.check_room(reference)
        return StagedProposal(
            self._state.epoch.confirmation_tag,
            self._state.epoch.number,
            reference,
            framed.content,
            framed.sender,
            step,
        )

    def merge(self, staged: Staged, now: float) -> None:
        """Make a staged message true. [ML-58]

        Raises:
            StaleStage: the group has moved on since it was staged.
        """
        present = self._state.epoch
        base = (staged.base_tag, staged.base_epoch)
        if base != (present.confirmation_tag, present.number) or not self.is_active:
            raise StaleStage
        if isinstance(staged, StagedProposal):
            self._state.pending.check_room(staged.reference)
            if staged.step is not None:
                self._state.epoch.secret_tree.take(staged.step)
            queued = Queued(staged.proposal, staged.sender, staged.reference)
            self._state.pending.add(staged.reference, queued)
            return
        self._state.advance(staged, now)

    # Application messages.

    def protect(self, data: bytes, *, authenticated_data: bytes = b"", pad_to: int = 0) -> bytes:
        """Seal an application message for the group. [ML-59]

        Args:
            authenticated_data: sent in the clear, authenticated.
            pad_to: pad the plaintext to a multiple of this many bytes.

        Raises:
            GroupLimit: ``data`` is too large. GroupClosed.
        """
        self._state.check_active()
        if len(data) > self.rules.limits.application_bytes_max:
            raise GroupLimit(
                f"a message has at most {self.rules.limits.application_bytes_max} bytes"
            )
        content = sign(
            self._state.epoch,
            data,
            WireFormat.PRIVATE_MESSAGE,
            authenticated_data,
            self._state.signer,
        )
        return frame(self._state.epoch, content, self._rng, pad_to)

    def open(self, message: bytes, now: float) -> Opened:
        """Open an application message of this epoch or a kept one, once. [ML-60]

        Raises:
            DecodeError, WrongGroup, UnknownEpoch, DecryptError, InvalidSignature, OwnMessage,
            MessageReplayed, GenerationTooFar, UnknownSender.
        """
        self.expire(now)
        self._check_size(message)
        body = decode_message(message)
        if not isinstance(body, PrivateMessage) or body.content_type is not ContentType.APPLICATION:
            raise LocalProtocolError("this is not an application message")
        if body.group_id != self.group_id:
            raise WrongGroup
        data, sender = open_application(self._state.openable(body.epoch), body)
        return Opened(data, sender, body.epoch, body.authenticated_data)

    def expire(self, now: float) -> None:
        """Drop and wipe past epochs that were kept long enough. [ML-61]"""
        self._state.expire(now)

    def next_expiry(self) -> float | None:
        """The time at which ``expire`` has something to do."""
        return min((past.expires for past in self._state.past), default=None)

    def wipe(self) -> None:
        """Overwrite what is held, as far as Python can; the group is unusable afterwards."""
        self._state.wipe()

    # Inside.

    def _check_size(self, message: bytes) -> None:
        if len(message) > self.rules.limits.message_bytes_max:
            raise GroupLimit(f"a message has at most {self.rules.limits.message_bytes_max} bytes")

    def _wire_format(self) -> WireFormat:
        return (
            WireFormat.PUBLIC_MESSAGE
            if self._state.public_handshake
            else WireFormat.PRIVATE_MESSAGE
        )

    def _new_leaf(self, signer: Signer | None) -> NewLeaf:
        leaf = self._state.epoch.tree.leaf(self.own_leaf)
        if leaf is None:
            raise GroupClosed
        return NewLeaf.like(leaf, signer or self._state.signer)

    def _propose(self, proposal: Proposal, unix_now: float | None = None) -> bytes:
        self._state.check_active()
        sender = Sender(SenderType.MEMBER, self.own_leaf)
        queued = Queued(proposal, sender)
        self.rules.check_proposal(
            queued, self._state.epoch.tree, self._state.epoch.context, unix_now
        )
        content = sign(self._state.epoch, proposal, self._wire_format(), b"", self._state.signer)
        reference = proposal_reference(self.suite, content.encode())
        self._state.pending.add(reference, Queued(proposal, sender, reference))
        return frame(self._state.epoch, content, self._rng)

    def _external_psk(self, psk_id: bytes) -> ExternalPsk:
        return ExternalPsk(psk_id, self._rng.secret_bytes(self.suite.hash_bytes))

    def _own_resumption(self, epoch: int) -> ResumptionPsk:
        nonce = self._rng.secret_bytes(self.suite.hash_bytes)
        return ResumptionPsk(ResumptionUsage.APPLICATION, self.group_id, epoch, nonce)
