"""Members of one group that speak through different implementations: ours, OpenMLS, mls-rs.

A foreign member lives in a process of ``interop-bin/`` and is driven by JSON lines; ``OurMember``
answers the same requests in this process. ``Meeting`` keeps them together: every message goes to
everybody, and afterwards all must be in one epoch with equal keys.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable
from typing import Any, Protocol

from wraith.crypto.secret import Secret
from wraith.mls.commit import StagedCommit
from wraith.mls.group import CommitResult, MlsGroup
from wraith.mls.key_package import KeyPackage, KeyPackageSecrets
from wraith.mls.nodes import BasicCredential, Lifetime
from wraith.mls.proposals import ReInit
from wraith.mls.psk import ResumptionUsage
from wraith.mls.suites import CipherSuite
from wraith.mls.welcome import decode_message, encode_message
from wraith.testing.foreign_peers import BIN
from wraith.testing.mls import AnyPolicy
from wraith.testing.rng import SeededRng

PROGRAMS = {"openmls": "openmls-peer", "mls-rs": "mls-rs-peer"}


class PeerError(Exception):
    """A foreign member refused. The text is its own."""


class PeerMember(Protocol):
    """One member of a group, whoever wrote it. Requests and answers are JSON values."""

    kind: str
    name: str

    def ask(self, op: str, **request: Any) -> dict[str, Any]: ...


class PeerProcess:
    """A foreign program; several members share it."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._process = subprocess.Popen(
            [str(BIN / PROGRAMS[kind])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """One line out, one line in. Raises ``PeerError``."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise PeerError(f"{self.kind} ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerError(f"{self.kind}: {answer['error']}")
        return answer

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(timeout=10)
        if self._process.stdout is not None:
            self._process.stdout.close()


class ForeignMember:
    """A client inside a ``PeerProcess``."""

    def __init__(
        self, process: PeerProcess, name: str, suite: CipherSuite, *, public: bool = False
    ) -> None:
        self.kind = process.kind
        self.name = name
        self._process = process
        self.ask("client", suite=suite.number, public=public)

    def ask(self, op: str, **request: Any) -> dict[str, Any]:
        return self._process.ask({"op": op, "who": self.name, **request})


class OurMember:
    """``MlsGroup`` behind the requests of the foreign ones."""

    kind = "ours"

    def __init__(self, name: str, suite: CipherSuite, *, public: bool = False) -> None:
        self.name = name
        self.suite = suite
        self.public = public
        self.rng = SeededRng(f"{name} {suite.number}")
        self.signer = suite.generate_signer(self.rng)
        self.packages: list[KeyPackageSecrets] = []
        self.psks: dict[bytes, Secret] = {}
        self.pending: CommitResult | None = None
        self.parent: MlsGroup | None = None
        self._group: MlsGroup | None = None

    @property
    def group(self) -> MlsGroup:
        assert self._group is not None
        return self._group

    def ask(self, op: str, **request: Any) -> dict[str, Any]:
        handler = getattr(self, f"_{op}")
        answer: dict[str, Any] = handler(request)
        return answer

    def _package(self) -> KeyPackageSecrets:
        now = int(time.time())
        made = KeyPackageSecrets.create(
            self.suite,
            self.signer,
            BasicCredential(self.name.encode()),
            Lifetime(now - 3600, now + 28 * 24 * 3600),
            self.rng,
        )
        self.packages.append(made)
        return made

    def _take(self, group: MlsGroup) -> None:
        self._group = group
        group.public_handshake = self.public
        for psk_id, psk in self.psks.items():
            group.add_psk(psk_id, Secret(psk.reveal()))

    def _key_package(self, request: dict[str, Any]) -> dict[str, Any]:
        del request
        return {"message": encode_message(self._package().key_package).hex()}

    _next_key_package = _key_package

    def _create(self, request: dict[str, Any]) -> dict[str, Any]:
        group_id = bytes.fromhex(request["group_id"])
        made = MlsGroup.create(
            group_id, self._package(), self.rng, policy=AnyPolicy(), suite=self.suite
        )
        self._take(made)
        return {}

    def _join(self, request: dict[str, Any]) -> dict[str, Any]:
        parents = [] if self.parent is None else [self.parent]
        group = MlsGroup.join(
            bytes.fromhex(request["welcome"]),
            self.packages[-1],
            self.rng,
            unix_now=time.time(),
            psks={psk_id: Secret(psk.reveal()) for psk_id, psk in self.psks.items()},
            parents=parents,
            policy=AnyPolicy(),
            suite=self.suite,
        )
        self._group = group
        group.public_handshake = self.public
        return {}

    def _commit(self, request: dict[str, Any]) -> dict[str, Any]:
        reinit = request.get("reinit")
        self.pending = self.group.commit(
            add=_packages(request),
            remove=request.get("remove", []),
            psks=[bytes.fromhex(one) for one in request.get("psks", [])],
            reinit=None
            if reinit is None
            else ReInit(bytes.fromhex(reinit["group_id"]), 1, reinit["suite"], ()),
            unix_now=time.time(),
        )
        welcome = self.pending.welcome
        return {
            "message": self.pending.message.hex(),
            "welcome": None if welcome is None else welcome.hex(),
        }

    def _merge(self, request: dict[str, Any]) -> dict[str, Any]:
        del request
        assert self.pending is not None
        self.group.merge(self.pending.staged, time.monotonic())
        return {}

    def _drop(self, request: dict[str, Any]) -> dict[str, Any]:
        del request
        self.pending = None
        return {}

    def _propose(self, request: dict[str, Any]) -> dict[str, Any]:
        kind, group = request["kind"], self.group
        if kind == "update":
            made = group.update()
        elif kind == "remove":
            made = group.remove(request["leaf"])
        elif kind == "psk":
            made = group.propose_psk(bytes.fromhex(request["id"]))
        else:
            raw = bytes.fromhex(request["key_package"])
            package = decode_message(raw)
            assert isinstance(package, KeyPackage)
            made = group.add(package, unix_now=time.time())
        return {"message": made.hex()}

    def _process(self, request: dict[str, Any]) -> dict[str, Any]:
        raw = bytes.fromhex(request["message"])
        # Bytes 2 and 3 are the wire format; a sealed message says its content type inside.
        body = decode_message(raw)
        if getattr(body, "content_type", None) == 1:
            opened = self.group.open(raw, time.monotonic())
            return {"kind": "application", "data": opened.data.hex(), "sender": opened.sender}
        staged = self.group.stage(raw)
        self.group.merge(staged, time.monotonic())
        return {"kind": "commit" if isinstance(staged, StagedCommit) else "proposal"}

    def _protect(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"message": self.group.protect(bytes.fromhex(request["data"])).hex()}

    def _state(self, request: dict[str, Any]) -> dict[str, Any]:
        del request
        group = self.group
        return {
            "epoch": group.epoch,
            "authenticator": group.epoch_authenticator().hex(),
            "exporter": group.export(b"interop", b"context", 32).hex(),
            "members": [one.leaf for one in group.members()],
            "leaf": group.own_leaf,
            "active": group.is_active,
        }

    def _group_info(self, request: dict[str, Any]) -> dict[str, Any]:
        del request
        return {"message": self.group.group_info().hex()}

    def _external(self, request: dict[str, Any]) -> dict[str, Any]:
        group, message = MlsGroup.join_external(
            bytes.fromhex(request["group_info"]),
            self._package(),
            self.rng,
            unix_now=time.time(),
            policy=AnyPolicy(),
            suite=self.suite,
        )
        self._take(group)
        return {"message": message.hex()}

    def _psk(self, request: dict[str, Any]) -> dict[str, Any]:
        psk_id, psk = bytes.fromhex(request["id"]), bytes.fromhex(request["psk"])
        self.psks[psk_id] = Secret(psk)
        if self._group is not None:
            self._group.add_psk(psk_id, Secret(psk))
        return {}

    def _next_join(self, request: dict[str, Any]) -> dict[str, Any]:
        self.parent = self.group
        return self._join(request)

    def _next_create(self, request: dict[str, Any]) -> dict[str, Any]:
        old = self.group
        assert old.reinit is not None
        new = MlsGroup.create(
            old.reinit.group_id, self._package(), self.rng, policy=AnyPolicy(), suite=self.suite
        )
        made = new.commit(
            add=_packages(request),
            unix_now=time.time(),
            resume=old.resumption(ResumptionUsage.REINIT),
        )
        new.merge(made.staged, time.monotonic())
        self._take(new)
        assert made.welcome is not None
        return {"welcome": made.welcome.hex()}


def _packages(request: dict[str, Any]) -> list[KeyPackage]:
    packages = [decode_message(bytes.fromhex(one)) for one in request.get("add", [])]
    return [one for one in packages if isinstance(one, KeyPackage)]


class Meeting:
    """Members of one group. ``commit`` and the like hand every message to everybody."""

    def __init__(self, *members: PeerMember) -> None:
        self.everybody = list(members)
        self.inside: list[PeerMember] = []

    def found(self, founder: PeerMember, group_id: bytes = b"meeting") -> None:
        founder.ask("create", group_id=group_id.hex())
        self.inside = [founder]

    def hear(self, speaker: PeerMember | None, message: str) -> None:
        for member in self.inside:
            if member is not speaker:
                member.ask("process", message=message)

    def commit(self, by: PeerMember, *, add: Iterable[PeerMember] = (), **request: Any) -> None:
        """``by`` commits; removed members are left out of ``inside``."""
        joiners = list(add)
        packages = [one.ask("key_package")["message"] for one in joiners]
        removed = request.get("remove", [])
        leaves = {member.name: member.ask("state")["leaf"] for member in self.inside}
        made = by.ask("commit", add=packages, **request)
        self.hear(by, made["message"])
        by.ask("merge")
        self.inside = [one for one in self.inside if leaves[one.name] not in removed]
        for joiner in joiners:
            joiner.ask("join", welcome=made["welcome"])
            self.inside.append(joiner)

    def propose(self, by: PeerMember, kind: str, **request: Any) -> None:
        self.hear(by, by.ask("propose", kind=kind, **request)["message"])

    def join_by_commit(self, joiner: PeerMember, through: PeerMember) -> None:
        info = through.ask("group_info")["message"]
        self.hear(None, joiner.ask("external", group_info=info)["message"])
        self.inside.append(joiner)

    def leaf(self, member: PeerMember) -> int:
        leaf: int = member.ask("state")["leaf"]
        return leaf

    def check(self) -> int:
        """All agree on epoch, authenticator, exporter and roster. Returns the epoch."""
        states = [(one.name, one.ask("state")) for one in self.inside]
        first = states[0][1]
        for name, state in states[1:]:
            for what in ("epoch", "authenticator", "exporter", "members"):
                assert state[what] == first[what], f"{name} differs in {what}"
        assert len(first["members"]) == len(self.inside)
        epoch: int = first["epoch"]
        return epoch

    def talk(self, order: Iterable[int] = (2, 0, 1)) -> None:
        """Everybody says three things, which arrive in ``order``."""
        for speaker in self.inside:
            messages = [
                speaker.ask("protect", data=f"{speaker.name} {n}".encode().hex())["message"]
                for n in range(3)
            ]
            for n in order:
                for member in self.inside:
                    if member is not speaker:
                        heard = member.ask("process", message=messages[n])
                        assert bytes.fromhex(heard["data"]) == f"{speaker.name} {n}".encode()
