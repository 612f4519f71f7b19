"""Fuzzes every decoder of MLS: messages, trees, key packages, group secrets, state, certificates.

    python tests/fuzz/fuzz_mls.py tests/fuzz/corpus/mls
    python tests/fuzz/fuzz_mls.py --write-corpus      (renews the committed seeds)

Needs atheris (`pip install atheris`); without it the program mutates the corpus for a minute with
a printed seed instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wraith.crypto.secret import Secret
from wraith.mls import state
from wraith.mls.framing import SenderData
from wraith.mls.nodes import Extension, ExternalSender, RequiredCapabilities, encode_node
from wraith.mls.proposals import Commit, GroupContextExtensions, ReInit
from wraith.mls.psk import ExternalPsk, ResumptionPsk, ResumptionUsage
from wraith.mls.suites import SUITES
from wraith.mls.welcome import GroupSecrets, decode_message
from wraith.testing.fuzzing import main
from wraith.testing.mls import UNIX_NOW, Room, key_package
from wraith.testing.mls_forge import made_commit
from wraith.testing.mls_fuzz import mls

CORPUS = Path(__file__).parent / "corpus" / "mls"


def samples() -> Iterator[bytes]:
    """A small group's messages of every kind, whole and in parts."""
    room = Room("ann", "bob", suite=SUITES[1])
    ann, bob = room["ann"], room["bob"]
    ann.public_handshake = True
    package = key_package("cid", SUITES[1]).key_package
    leaf = package.leaf_node
    bob.add_psk(b"known", Secret(b"k"))
    commit = made_commit(ann, [])
    inner = commit.content.framed.content
    assert isinstance(inner, Commit) and inner.path is not None
    welcome = ann.commit(add=[package], unix_now=UNIX_NOW).welcome
    assert welcome is not None
    for message in (
        ann.update(),
        ann.remove(1),
        ann.protect(b"words"),
        bob.propose_psk(b"known"),
        ann.group_info(),
        ann.commit(unix_now=UNIX_NOW, with_pending=False).message,
        welcome,
    ):
        yield message
        yield decode_message(message).encode()
    psks = (ExternalPsk(b"id", b"n"), ResumptionPsk(ResumptionUsage.BRANCH, b"g", 3, b"n"))
    for value in (
        commit.content,
        inner,
        inner.path,
        ann.context,
        leaf.capabilities,
        leaf.credential,
        ExternalSender(leaf.signature_key, leaf.credential),
        RequiredCapabilities((3,), (1,), (2,)),
        SenderData(1, 2, b"four"),
        GroupSecrets(b"joiner", b"path", psks),
        ReInit(b"next", 1, 1, (Extension(7, b"x"),)),
        GroupContextExtensions((Extension(3, b"\0\0\0"),)),
        *psks,
    ):
        yield value.encode()
    yield package.raw
    yield leaf.raw
    yield encode_node(leaf)
    yield ann.ratchet_tree()
    yield state.save(bob, 0.0).reveal()


if __name__ == "__main__":
    main(mls, CORPUS, samples)
