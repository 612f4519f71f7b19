"""Groups of several implementations: each of them does everything to the others.

What a foreign implementation cannot do is said where it is left out: OpenMLS 0.9 has no ReInit,
no suite 5 or 7; mls-rs derives X-Wing's key pairs in a way of its own and is met on classical
suites only.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from wraith.errors import DecryptError, MessageReplayed
from wraith.mls.suites import SUITES, CipherSuite
from wraith.testing.foreign_peers import BIN, absent
from wraith.testing.mls import OPENMLS_HYBRID
from wraith.testing.mls_peers import (
    PROGRAMS,
    ForeignMember,
    Meeting,
    OurMember,
    PeerError,
    PeerMember,
    PeerProcess,
)

pytestmark = [pytest.mark.interop]

OPENMLS_SUITES = [SUITES[1], SUITES[2], SUITES[3], OPENMLS_HYBRID[0x4F], OPENMLS_HYBRID[0x4E]]
MLS_RS_SUITES = [SUITES[1], SUITES[2], SUITES[3], SUITES[5], SUITES[7]]
PAIRS = [("openmls", suite) for suite in OPENMLS_SUITES] + [
    ("mls-rs", suite) for suite in MLS_RS_SUITES
]

meets = pytest.mark.parametrize(
    ("kind", "suite"), PAIRS, ids=[f"{kind}-{suite.number:#06x}" for kind, suite in PAIRS]
)
either_wire = pytest.mark.parametrize("public", [False, True], ids=["sealed", "public"])


class Processes:
    """Foreign processes of one test, started when they are first needed."""

    def __init__(self) -> None:
        self._running: dict[str, PeerProcess] = {}

    def member(
        self, kind: str, name: str, suite: CipherSuite, *, public: bool = False
    ) -> PeerMember:
        if kind == "ours":
            return OurMember(name, suite, public=public)
        if not (BIN / PROGRAMS[kind]).exists():
            absent(kind, f"interop-bin/{PROGRAMS[kind]} is not built; `make interop` builds it")
        if kind not in self._running:
            self._running[kind] = PeerProcess(kind)
        return ForeignMember(self._running[kind], name, suite, public=public)

    def close(self) -> None:
        for process in self._running.values():
            process.close()


@pytest.fixture
def processes() -> Iterator[Processes]:
    running = Processes()
    yield running
    running.close()


@meets
@either_wire
@pytest.mark.parametrize("founder", ["ours", "theirs"])
def test_a_whole_life_together(
    processes: Processes, kind: str, suite: CipherSuite, public: bool, founder: str
) -> None:
    """Create, add, join, talk, update, propose, remove, pre-shared key, join by commit."""
    ours = [processes.member("ours", f"our{n}", suite, public=public) for n in range(3)]
    theirs = [processes.member(kind, f"their{n}", suite, public=public) for n in range(3)]
    first, second = (ours, theirs) if founder == "ours" else (theirs, ours)
    meeting = Meeting(*ours, *theirs)
    meeting.found(first[0])

    meeting.commit(first[0], add=[second[0]])
    assert meeting.check() == 1
    meeting.talk()
    meeting.commit(second[0], add=[first[1], second[1]])
    meeting.check()
    meeting.talk()

    for member in (*ours[:2], *theirs[:2]):
        meeting.commit(member)
        meeting.check()

    meeting.propose(first[1], "update")
    meeting.propose(second[1], "update")
    meeting.commit(second[0])
    meeting.check()
    meeting.propose(second[1], "remove", leaf=meeting.leaf(first[1]))
    meeting.commit(first[0])
    meeting.inside.remove(first[1])
    meeting.check()
    meeting.commit(second[0], remove=[meeting.leaf(second[1])])
    meeting.check()

    for member in meeting.inside:
        member.ask("psk", id=b"shared".hex(), psk=bytes(range(32)).hex())
    meeting.commit(first[0], psks=[b"shared".hex()])
    meeting.check()
    meeting.commit(second[0], psks=[b"shared".hex()])
    meeting.check()

    meeting.join_by_commit(first[2], second[0])
    meeting.check()
    meeting.join_by_commit(second[2], first[0])
    meeting.check()
    for member in list(meeting.inside):
        meeting.commit(member)
        meeting.check()
    meeting.talk()


@pytest.mark.parametrize("suite", MLS_RS_SUITES, ids=lambda suite: f"{suite.number:#06x}")
@pytest.mark.parametrize("ender", ["ours", "mls-rs"])
@pytest.mark.parametrize("creator", ["ours", "mls-rs"])
def test_a_group_ends_and_is_continued(
    processes: Processes, suite: CipherSuite, ender: str, creator: str
) -> None:
    members = {
        "ours": processes.member("ours", "our", suite),
        "mls-rs": processes.member("mls-rs", "their", suite),
    }
    meeting = Meeting(*members.values())
    meeting.found(members["ours"])
    meeting.commit(members["ours"], add=[members["mls-rs"]])
    meeting.commit(members[ender], reinit={"group_id": b"second".hex(), "suite": suite.number})
    maker = members[creator]
    joiner = next(one for one in members.values() if one is not maker)
    package = joiner.ask("next_key_package")["message"]
    welcome = maker.ask("next_create", add=[package])["welcome"]
    joiner.ask("next_join", welcome=welcome)
    assert meeting.check() == 1
    meeting.talk()
    for member in members.values():
        meeting.commit(member)
        meeting.check()


@either_wire
@pytest.mark.parametrize("seed", [1, 2])
def test_a_hundred_random_commits_among_nine(processes: Processes, public: bool, seed: int) -> None:
    """Three members of each implementation, on the suite that all three have by default."""
    suite = SUITES[1]
    dice = random.Random(seed)
    members = [
        processes.member(kind, f"{kind}{n}", suite, public=public)
        for kind in ("ours", "openmls", "mls-rs")
        for n in range(3)
    ]
    meeting = Meeting(*members)
    meeting.found(dice.choice(members))
    for member in members:
        member.ask("psk", id=b"shared".hex(), psk=bytes(range(32)).hex())
    outside = [one for one in members if one not in meeting.inside]
    for _ in range(100):
        maker = dice.choice(meeting.inside)
        deed = dice.choice(["add", "add", "remove", "update", "propose", "psk", "external"])
        if deed == "add" and outside:
            n = dice.randint(1, min(3, len(outside)))
            meeting.commit(maker, add=dice.sample(outside, n))
        elif deed == "remove" and len(meeting.inside) > 2:
            victim = dice.choice([one for one in meeting.inside if one is not maker])
            meeting.commit(maker, remove=[meeting.leaf(victim)])
        elif deed == "external" and outside:
            meeting.join_by_commit(dice.choice(outside), maker)
        elif deed == "propose":
            for one in meeting.inside:
                if one is not maker and dice.random() < 0.4:
                    meeting.propose(one, "update")
            meeting.commit(maker)
        elif deed == "psk":
            meeting.commit(maker, psks=[b"shared".hex()])
        else:
            meeting.commit(maker)
        outside = [one for one in members if one not in meeting.inside]
        meeting.check()
        if dice.random() < 0.15:
            meeting.talk(dice.sample(range(3), 3))
    assert meeting.check() >= 100


@pytest.mark.parametrize("kind", ["openmls", "mls-rs"])
def test_a_foreign_member_refuses_what_we_refuse(processes: Processes, kind: str) -> None:
    """A message that was changed on its way, and one that comes twice. (mls-rs uses the key of a
    changed message up, so that the true one does not open any more; OpenMLS and we do not.)"""
    suite = SUITES[1]
    ours = processes.member("ours", "our", suite)
    theirs = processes.member(kind, "their", suite)
    meeting = Meeting(ours, theirs)
    meeting.found(ours)
    meeting.commit(ours, add=[theirs])
    for speaker, hearer in ((ours, theirs), (theirs, ours)):
        changed, once = (speaker.ask("protect", data=b"once".hex())["message"] for _ in range(2))
        with pytest.raises((PeerError, DecryptError)):
            last = int(changed[-2:], 16) ^ 1
            hearer.ask("process", message=f"{changed[:-2]}{last:02x}")
        if hearer.kind != "mls-rs":
            hearer.ask("process", message=changed)
        hearer.ask("process", message=once)
        with pytest.raises((PeerError, MessageReplayed)):
            hearer.ask("process", message=once)
