"""Groups of a thousand members beside OpenMLS: joining, committing, receiving, holding, messages.

    make bench ONLY=mls

Ours and OpenMLS do the same work on the same group in turn, one thread each, medians of nine. The
group is on suite 1, and on the hybrid suite in OpenMLS's form (its number and its derivation of key
pairs; the cost is that of 0xF001). Times are of the CPU, so that a busy machine changes little.
*Fresh*: nobody has committed, so a path is sealed to each leaf.
*Filled*: everybody has, so it is sealed to ten nodes.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from report import Report

from wraith.aio.entropy import OsRng
from wraith.mls.commit import NewLeaf
from wraith.mls.context import GroupContext
from wraith.mls.epoch import begin_epoch
from wraith.mls.group import MlsGroup
from wraith.mls.group_state import GroupState
from wraith.mls.key_package import KeyPackage, KeyPackageSecrets
from wraith.mls.key_schedule import EpochSecrets
from wraith.mls.limits import Limits
from wraith.mls.nodes import BasicCredential, LeafNode, LeafNodeSource, Lifetime
from wraith.mls.ratchet_tree import RatchetTree
from wraith.mls.signing import SignatureScheme
from wraith.mls.suites import SUITES, CipherSuite
from wraith.mls.treekem import TreeKem
from wraith.mls.validation import Rules
from wraith.mls.welcome import decode_message
from wraith.testing.foreign_peers import BIN
from wraith.testing.mls import OPENMLS_HYBRID, AnyPolicy
from wraith.testing.mls_peers import PROGRAMS, ForeignMember, PeerProcess

GROUP_ID = b"bench"
LIMITS = Limits(proposals_per_commit_max=4096, members_max=2048)
RNG = OsRng()


def timed(work: Callable[[], object]) -> float:
    start = time.thread_time()
    work()
    return time.thread_time() - start


def median_ms(seconds: list[float]) -> float:
    return statistics.median(seconds) * 1000


class Theirs:
    """OpenMLS clients. The figures are its own: what the library took, without the pipe."""

    def __init__(self, suite: CipherSuite) -> None:
        self.process = PeerProcess("openmls")
        self.suite = suite
        self.n = 0

    def client(self) -> tuple[ForeignMember, KeyPackage]:
        self.n += 1
        member = ForeignMember(self.process, f"theirs {self.n}", self.suite)
        raw = bytes.fromhex(member.ask("key_package")["message"])
        package = decode_message(raw)
        assert isinstance(package, KeyPackage)
        return member, package


def package(suite: CipherSuite, name: str) -> KeyPackageSecrets:
    now = int(time.time())
    return KeyPackageSecrets.create(
        suite,
        suite.generate_signer(RNG),
        BasicCredential(name.encode()),
        Lifetime(now - 3600, now + 24 * 3600),
        RNG,
    )


def fill(tree: RatchetTree, packages: list[KeyPackageSecrets]) -> TreeKem:
    """Everybody commits once, the first last: its view, with all private keys above it."""
    suite = tree.suite
    own = TreeKem(tree, 0, packages[0].leaf_private)
    everybody = range(len(packages))
    for leaf in (*everybody[1:], 0):
        made = NewLeaf.like(packages[leaf].key_package.leaf_node, packages[leaf].signer)
        own = TreeKem(tree, leaf, packages[leaf].leaf_private)

        def sign(
            key: bytes, parent_hash: bytes, leaf: int = leaf, made: NewLeaf = made
        ) -> LeafNode:
            source = LeafNodeSource.COMMIT
            return made.sign(suite, key, source, GROUP_ID, leaf, parent_hash)

        # Nobody reads these secrets: nothing is sealed to leaves.
        own.self_update(sign, lambda tree_hash: tree_hash, RNG, everybody)
    return own


def founded(suite: CipherSuite, n: int, *, filled: bool) -> MlsGroup:
    """The first of ``n`` members; the others exist as leaves only."""
    packages = [package(suite, f"member {number}") for number in range(n)]
    tree = RatchetTree(suite, [packages[0].key_package.leaf_node])
    for one in packages[1:]:
        tree.add_leaf(one.key_package.leaf_node)
    own = fill(tree, packages) if filled else TreeKem(tree, 0, packages[0].leaf_private)
    context = GroupContext(suite.number, GROUP_ID, 7, tree.tree_hash(), b"")
    secrets = EpochSecrets.from_epoch_secret(suite, RNG.secret_bytes(suite.hash_bytes))
    tag = suite.mac(secrets.confirmation, b"")
    epoch = begin_epoch(context, own, secrets, tag, LIMITS)
    state = GroupState.begin(LIMITS, epoch, packages[0].signer)
    return MlsGroup(Rules(suite, AnyPolicy(), LIMITS), state, RNG)


def join(welcome: bytes, own: KeyPackageSecrets, suite: CipherSuite) -> MlsGroup:
    return MlsGroup.join(
        welcome,
        own,
        RNG,
        unix_now=time.time(),
        policy=AnyPolicy(),
        limits=LIMITS,
        suite=suite,
    )


@dataclass
class Both:
    """Seconds of each round."""

    ours: list[float]
    theirs: list[float]

    def kept(self) -> dict[str, list[float]]:
        """Every round, for the JSON."""
        return {
            "ours_s": [round(each, 7) for each in self.ours],
            "theirs_s": [round(each, 7) for each in self.theirs],
        }

    def row(self, name: str) -> tuple[str, float, float, float]:
        ours, theirs = median_ms(self.ours), median_ms(self.theirs)
        return name, ours, theirs, ours / theirs if theirs else float("nan")


def joined_by_two(ann: MlsGroup, theirs: Theirs, *, path: bool) -> tuple[MlsGroup, ForeignMember]:
    """One of each joins ``ann``'s group."""
    mine = package(ann.suite, f"ours {theirs.n}")
    member, foreign = theirs.client()
    made = ann.commit(
        add=[mine.key_package, foreign], unix_now=None, force_path=path, with_pending=False
    )
    ann.merge(made.staged, 0.0)
    assert made.welcome is not None
    bob = join(made.welcome, mine, ann.suite)
    member.ask("join", welcome=made.welcome.hex())
    return bob, member


def measure_join(ann: MlsGroup, theirs: Theirs, rounds: int) -> Both:
    took = Both([], [])
    for number in range(rounds + 1):
        mine = package(ann.suite, f"joiner {number}")
        member, foreign = theirs.client()
        made = ann.commit(add=[mine.key_package, foreign], unix_now=None, with_pending=False)
        welcome = made.welcome
        assert welcome is not None
        ours = timed(lambda w=welcome, m=mine: join(w, m, ann.suite))  # type: ignore[misc]
        other = member.ask("join", welcome=welcome.hex())["seconds"]
        if number:  # the first warms caches
            took.ours.append(ours)
            took.theirs.append(other)
    return took


def measure_commits(
    ann: MlsGroup, bob: MlsGroup, member: ForeignMember, rounds: int
) -> tuple[Both, Both, int]:
    """Made by Ann and by OpenMLS, received by Bob and by OpenMLS; all dropped."""
    made, received, n_bytes = Both([], []), Both([], []), 0
    for number in range(rounds + 1):
        start = time.thread_time()
        message = ann.commit(unix_now=None, with_pending=False).message
        ours = time.thread_time() - start
        other = member.ask("commit")["seconds"]
        member.ask("drop")
        heard = timed(lambda m=message: bob.stage(m))  # type: ignore[misc]
        theirs = member.ask("process", message=message.hex(), merge=False)["seconds"]
        n_bytes = len(message)
        if number:
            made.ours.append(ours)
            made.theirs.append(other)
            received.ours.append(heard)
            received.theirs.append(theirs)
    return made, received, n_bytes


def held_bytes(suite: CipherSuite, n: int) -> int:
    """What one group of ``n`` members takes, all of them committed once, as a joiner holds it."""
    ann = founded(suite, n - 1, filled=True)
    mine = package(suite, "holder")
    made = ann.commit(add=[mine.key_package], unix_now=None)
    assert made.welcome is not None
    welcome = made.welcome
    del ann, made
    join(welcome, mine, suite)
    gc.collect()
    tracemalloc.start()
    group = join(welcome, mine, suite)
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(1 for _ in group.members()) == n
    return held


def measure_messages(suite: CipherSuite, theirs: Theirs, rounds: int, n: int) -> tuple[Both, Both]:
    ann = founded(suite, 1, filled=False)
    bob, member = joined_by_two(ann, theirs, path=True)
    data = bytes(200)
    sent, opened = Both([], []), Both([], [])
    for number in range(rounds + 1):
        messages: list[bytes] = []
        start = time.thread_time()
        for _ in range(n):
            messages.append(ann.protect(data))
        ours = time.thread_time() - start
        other = member.ask("protect", data=data.hex(), times=n)
        start = time.thread_time()
        for message in messages:
            bob.open(message, 0.0)
        heard = time.thread_time() - start
        raw = [message.hex() for message in messages]
        theirs_heard = member.ask("process_all", messages=raw)["seconds"]
        if number:
            sent.ours.append(ours / n)
            sent.theirs.append(other["seconds"] / n)
            opened.ours.append(heard / n)
            opened.theirs.append(theirs_heard / n)
    return sent, opened


def measure_ed25519(n: int) -> tuple[float, float]:
    """Signatures made and verified a second, through the library alone."""
    signer = SUITES[1].generate_signer(RNG)
    message = bytes(300)
    signature = signer.sign(message)
    sign = min(timed(lambda: [signer.sign(message) for _ in range(n)]) for _ in range(5))
    scheme = SUITES[1].signature
    verify = min(
        timed(lambda: _verify(scheme, signer.public, signature, message, n)) for _ in range(5)
    )
    return n / sign, n / verify


def _verify(
    scheme: SignatureScheme, public: bytes, signature: bytes, message: bytes, n: int
) -> None:
    for _ in range(n):
        scheme.verify(public, signature, message)


def run(*, quick: bool = False) -> Report:
    report = Report(
        "mls",
        "Groups beside OpenMLS",
        "Ours and OpenMLS 0.9.2 (RustCrypto) do the same work on the same group in turn, one "
        "thread each; times are of the CPU, OpenMLS's without the pipe. *Fresh*: nobody has "
        "committed yet, a path is sealed to each leaf. *Filled*: everybody has.",
    )
    if not (BIN / PROGRAMS["openmls"]).exists():
        report.left_out.append("all: interop-bin/openmls-peer is not built; `make interop` does")
        return report
    rounds, members = (1, 60) if quick else (9, 1000)
    for name, suite, held_mb in (
        ("suite 1", SUITES[1], 8.0),
        ("hybrid", OPENMLS_HYBRID[0x4F], 12.0),
    ):
        theirs = Theirs(suite)
        fresh = founded(suite, members - 2, filled=False)
        bob, member = joined_by_two(fresh, theirs, path=False)
        made, received, fresh_bytes = measure_commits(fresh, bob, member, rounds)
        works = {"commit, fresh leaves": made, "received, fresh leaves": received}
        filled = founded(suite, members - 2, filled=True)
        joining = measure_join(filled, theirs, rounds)
        bob, member = joined_by_two(filled, theirs, path=True)
        filled_made, filled_received, filled_bytes = measure_commits(filled, bob, member, rounds)
        works |= {
            "join, filled": joining,
            "commit, filled": filled_made,
            "received, filled": filled_received,
        }
        report.add(
            f"{members} members, {name}, medians of {rounds}",
            ("what", "ours ms", "OpenMLS ms", "ratio"),
            [both.row(what) for what, both in works.items()],
        )
        for what, both, bound, ratio in (
            ("join, filled", joining, 600, 4.0),
            ("commit, fresh", made, 300, 2.5),
            ("commit, filled", filled_made, 60, 2.5),
            ("received, fresh", received, 50, 3.0),
            ("received, filled", filled_received, 50, 3.0),
        ):
            _, ours, _, times = both.row(what)
            report.need(f"{what}, {name}", ours, bound, "ms", at_most=True)
            report.need(f"{what}, {name}, over OpenMLS", times, ratio, "x", at_most=True)
        n_held = 1024 if not quick else members
        held = held_bytes(suite, n_held) / 1e6
        report.add(
            f"Sizes, {name}",
            ("what", "value"),
            [
                ("commit, fresh leaves, B", fresh_bytes),
                ("commit, filled, B", filled_bytes),
                (f"{n_held} members held, MB", held),
            ],
        )
        report.need(f"{n_held} members held, {name}", held, held_mb, "MB", at_most=True)
        sent, opened = measure_messages(suite, theirs, rounds, 50 if quick else 1000)
        works |= {"protect": sent, "open": opened}
        groups = report.data.setdefault("groups", {})
        groups[name] = {what: both.kept() for what, both in works.items()}
        rates = []
        for what, both, least in (("protect", sent, 4000), ("open", opened, 3000)):
            ours, other = 1 / statistics.median(both.ours), 1 / statistics.median(both.theirs)
            rates.append((what, ours, other, ours / other))
            report.need(f"{what}, {name}", ours, least, "messages/s", at_most=False)
            report.need(f"{what}, {name}, beside OpenMLS", ours / other, 0.35, "x", at_most=False)
        report.add(
            f"Messages of 200 bytes a second, {name}",
            ("what", "ours", "OpenMLS", "ratio"),
            rates,
        )
        theirs.process.close()
    signs, verifies = measure_ed25519(100 if quick else 2000)
    report.add(
        "Ed25519 through the library alone",
        ("what", "a second"),
        [("sign", signs), ("verify", verifies)],
    )
    return report


if __name__ == "__main__":
    made = run(quick="--quick" in sys.argv)
    print(made.text())
