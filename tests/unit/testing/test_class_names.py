"""One class name means one thing: no two classes of the package share theirs."""

from __future__ import annotations

import ast
import shutil
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "src" / "wraith"

#: Names that stand twice for a reason: the name, its two files, the reason.
BLOCKING = (
    "wraith.sync is wraith without asyncio; a program moves from one to the other by its import"
)
SAME_FACTS = "two transports tell the same facts by the same names, as they keep one contract"
FROM_THE_SYSTEM = (
    "wraith.Identity is that of crypto with the system's randomness and a file, which crypto may "
    "not touch"
)
RFC_9420 = "RFC 9420 names its structure so, and wraith.mls keeps the names of its standard"
RFC_8446 = "RFC 8446 names its structure so, and libp2p/tls keeps the names of its standard"
SESSION_EVENTS = ("connection/events.py", "libp2p/events.py")
ANSWERED = "what a program answers to an offer decides what the message of that name says"
TWINS: dict[str, tuple[tuple[str, ...], str]] = {
    "Answer": (("aio/files/receiving.py", "transfer/messages.py"), ANSWERED),
    "Listener": (("aio/sessions/listener.py", "aio/sessions/sync.py"), BLOCKING),
    "Sending": (("aio/files/sending.py", "aio/files/sync.py"), BLOCKING),
    "Session": (("aio/sessions/session.py", "aio/sessions/sync.py"), BLOCKING),
    "Stream": (("aio/sessions/stream.py", "aio/sessions/sync.py"), BLOCKING),
    "Identity": (("aio/disk/identity_file.py", "crypto/ed25519.py"), FROM_THE_SYSTEM),
    "Confirmed": (SESSION_EVENTS, SAME_FACTS),
    "Connected": (("libp2p/events.py", "node/events.py"), SAME_FACTS),
    "DatagramReceived": (SESSION_EVENTS, SAME_FACTS),
    "StreamOpened": (SESSION_EVENTS, SAME_FACTS),
    "StreamReadable": (SESSION_EVENTS, SAME_FACTS),
    "StreamWasReset": (SESSION_EVENTS, SAME_FACTS),
    "StreamWasStopped": (SESSION_EVENTS, SAME_FACTS),
    "StreamWritable": (SESSION_EVENTS, SAME_FACTS),
    "CipherSuite": (("libp2p/tls/codec.py", "mls/suites.py"), RFC_9420 + "; " + RFC_8446),
    "Extension": (("mls/nodes.py", "wire/extensions.py"), RFC_9420),
    "ExtensionType": (("libp2p/tls/codec.py", "mls/nodes.py"), RFC_9420 + "; " + RFC_8446),
    "Finished": (("libp2p/tls/codec.py", "node/events.py"), RFC_8446),
    "Sender": (("mls/framing.py", "transfer/sender.py"), RFC_9420),
    "SignatureScheme": (("libp2p/tls/codec.py", "mls/signing.py"), RFC_9420 + "; " + RFC_8446),
}
#: Names that a review of the house found with two meanings. At most one of each is left.
ONCE_DOUBLE = (
    "Admission",
    "AwaitingResponse",
    "Completed",
    "EndpointEvent",
    "Host",
    "Link",
    "Outcome",
    "Progress",
    "RangeSet",
    "RecordParser",
    "Verdict",
)
CONSTANTS_ONCE_DOUBLE = ("CID_BYTES", "DATAGRAM_BYTES_MAX")
#: Names of files of which one had to open several to find the one that was meant.
FILES_ONCE_DOUBLE = ("memory", "paths", "record", "records", "resume", "state_dir")


def names_in(package: Path) -> dict[str, set[str]]:
    """Every class and every name bound at the top of a file, with the files that define it."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in package.rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"), str(path))
        inside = path.relative_to(package).as_posix()
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                found[node.name].add(inside)
        for statement in tree.body:
            match statement:
                case ast.Assign(targets=targets):
                    bound = [target.id for target in targets if isinstance(target, ast.Name)]
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
                    bound = [name]
                case _:
                    bound = []
            for name in bound:
                found[name].add(inside)
    return found


def classes_in(package: Path) -> dict[str, list[str]]:
    """Every class name with the files that define one; a file that does so twice stands twice."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(path.relative_to(package).as_posix())
    return found


def doubles(package: Path) -> dict[str, tuple[str, ...]]:
    """Class names that stand more than once and are no twins of the list above."""
    return {
        name: tuple(sorted(files))
        for name, files in classes_in(package).items()
        if len(files) > 1 and tuple(sorted(files)) != TWINS.get(name, ((), ""))[0]
    }


def test_no_class_name_stands_twice() -> None:
    assert doubles(PACKAGE) == {}


def test_every_twin_still_stands_twice() -> None:
    classes = classes_in(PACKAGE)
    assert {name: tuple(sorted(classes[name])) for name in TWINS} == {
        name: files for name, (files, _) in TWINS.items()
    }


@pytest.mark.parametrize("name", [*ONCE_DOUBLE, *CONSTANTS_ONCE_DOUBLE])
def test_a_name_that_had_two_meanings_has_one_at_most(name: str) -> None:
    assert len(names_in(PACKAGE)[name]) <= 1


@pytest.mark.parametrize("name", FILES_ONCE_DOUBLE)
def test_no_file_has_a_name_that_had_several_meanings(name: str) -> None:
    assert list(PACKAGE.rglob(f"{name}.py")) == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("node/extra.py", "class ConnectionParts:\n    pass\n"),
        (
            "testing/extra.py",
            "def make() -> type:\n    class Inbound:\n        pass\n\n    return Inbound\n",
        ),
        ("transfer/extra.py", "class Session:\n    pass\n"),
    ],
)
def test_a_planted_double_is_found(tmp_path: Path, file: str, text: str) -> None:
    package = tmp_path / "wraith"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    (package / file).write_text(f'"""A file too many."""\n\n{text}', "utf-8")
    (name,) = doubles(package)
    assert file in doubles(package)[name]
