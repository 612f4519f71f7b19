"""Groups for tests: members by name, whole groups in one call, a policy that allows everything.

``Room`` keeps a group's members together and hands each message to all of them, so that a test
reads like the conversation it is about.
"""

from __future__ import annotations

from collections.abc import Iterable

from wraith.mls.commit import StagedCommit
from wraith.mls.group import CommitResult, MlsGroup
from wraith.mls.hpke import XWing
from wraith.mls.key_package import KeyPackageSecrets
from wraith.mls.limits import DEFAULT_LIMITS, Limits
from wraith.mls.nodes import BasicCredential, Capabilities, Extensions, LeafNode, Lifetime
from wraith.mls.proposals import Proposal
from wraith.mls.suites import DEFAULT_SUITE, SUITES, AeadKind, CipherSuite, make_suite
from wraith.testing.rng import SeededRng

#: Every key package of these tests is valid at this time, and until it is a thousand seconds later.
UNIX_NOW = 1_700_000_000
LIFETIME = Lifetime(UNIX_NOW - 1000, UNIX_NOW + 1000)

#: The hybrid suites as OpenMLS 0.9 has them: its numbers, and how hpke-rs 0.7 derives key pairs.
OPENMLS_HYBRID = {
    suite.number: suite
    for suite in (
        make_suite(
            0x004F,
            "MLKEM768X25519_AES128GCM_SHA256_Ed25519 (hpke-rs 0.7)",
            XWing(unlabelled=True),
            "sha256",
            AeadKind.AES_128_GCM,
            SUITES[1].signature,
            128,
        ),
        make_suite(
            0x004E,
            "MLKEM768X25519_AES256GCM_SHA384_Ed25519 (hpke-rs 0.7)",
            XWing(unlabelled=True),
            "sha384",
            AeadKind.AES_256_GCM,
            SUITES[1].signature,
            128,
        ),
    )
}


class AnyPolicy:
    """Accepts what the protocol accepts: foreign peers follow no application's rules."""

    def check_suite(self, suite: CipherSuite, /) -> None:
        del suite

    def check_credential(self, leaf: LeafNode, unix_now: float | None, /) -> None:
        del leaf, unix_now

    def check_successor(self, old: LeafNode, new: LeafNode, /) -> None:
        del old, new

    def client_of(self, leaf: LeafNode, /) -> bytes:
        return leaf.credential.encode()

    def check_proposal(
        self, proposal: Proposal, by: LeafNode | None, commit_by: LeafNode, /
    ) -> None:
        del proposal, by, commit_by


def key_package(
    name: str,
    suite: CipherSuite = DEFAULT_SUITE,
    *,
    lifetime: Lifetime = LIFETIME,
    capabilities: Capabilities | None = None,
    leaf_extensions: Extensions = (),
    seed: str = "",
) -> KeyPackageSecrets:
    """A basic credential of ``name`` with fresh keys, the same for the same arguments."""
    rng = SeededRng(f"{name} {suite.number} {seed}")
    return KeyPackageSecrets.create(
        suite,
        suite.generate_signer(rng),
        BasicCredential(name.encode()),
        lifetime,
        rng,
        capabilities=capabilities,
        leaf_extensions=leaf_extensions,
    )


class Room:
    """A group of named members that hear everything. ``now`` is the virtual clock."""

    def __init__(
        self,
        *names: str,
        suite: CipherSuite = DEFAULT_SUITE,
        limits: Limits = DEFAULT_LIMITS,
        extensions: Extensions = (),
        seed: str = "",
    ) -> None:
        self.suite = suite
        self.limits = limits
        self.seed = seed
        self.now = 0.0
        first = key_package(names[0], suite, seed=seed)
        self.members: dict[str, MlsGroup] = {
            names[0]: MlsGroup.create(
                b"room " + seed.encode(),
                first,
                SeededRng(f"group {names[0]} {seed}"),
                policy=AnyPolicy(),
                limits=limits,
                extensions=extensions,
                suite=suite,
            )
        }
        for start in range(1, len(names), 100):
            self.add(names[0], *names[start : start + 100])

    def __getitem__(self, name: str) -> MlsGroup:
        return self.members[name]

    def add(self, by: str, *names: str, with_tree: bool = True) -> CommitResult:
        """``by`` adds ``names`` in one commit, and they join."""
        packages = [key_package(name, self.suite, seed=self.seed) for name in names]
        made = self[by].commit(
            add=[one.key_package for one in packages], unix_now=UNIX_NOW, with_tree=with_tree
        )
        self.accept(by, made)
        tree = None if with_tree else self[by].ratchet_tree()
        for name, package in zip(names, packages, strict=True):
            assert made.welcome is not None
            self.members[name] = MlsGroup.join(
                made.welcome,
                package,
                SeededRng(f"group {name} {self.seed}"),
                unix_now=UNIX_NOW,
                ratchet_tree=tree,
                policy=AnyPolicy(),
                limits=self.limits,
                suite=self.suite,
            )
        return made

    def accept(self, by: str, made: CommitResult) -> None:
        """All take ``by``'s commit; who is removed by it leaves ``members``."""
        for name, member in list(self.members.items()):
            if name == by:
                member.merge(made.staged, self.now)
            else:
                member.merge(member.stage(made.message), self.now)
            if not member.is_active and member.reinit is None:
                del self.members[name]

    def commit(self, by: str, **arguments: object) -> CommitResult:
        """``by`` commits, and all accept."""
        made = self[by].commit(unix_now=UNIX_NOW, **arguments)  # type: ignore[arg-type]
        self.accept(by, made)
        return made

    def hear(self, by: str, message: bytes) -> None:
        """All but ``by`` take a proposal or a commit of ``by``'s."""
        for name, member in self.members.items():
            if name != by:
                member.merge(member.stage(message), self.now)

    def agrees(self, names: Iterable[str] | None = None) -> bool:
        """All are in one epoch with equal keys."""
        groups = [self.members[name] for name in names or self.members]
        seen = {
            (one.epoch, one.epoch_authenticator(), one.export(b"test", b"", 16)) for one in groups
        }
        return len(seen) == 1


def staged_commit(group: MlsGroup, message: bytes) -> StagedCommit:
    """``stage`` of what must be a commit."""
    staged = group.stage(message)
    assert isinstance(staged, StagedCommit)
    return staged
