"""The keys of one session by epoch, over the sealer and opener of the hot path.

Life of an epoch: receive keys are installed first, send keys with them; sending switches when the
exchange allows it; the old send chain goes when a packet of the new epoch authenticates, the old
receive keys a little later. Never more than two epochs live. Root keys live here and nowhere else.
Spec: docs/spec/rekey.md [RK-5 to RK-8].
"""

from __future__ import annotations

from wraith.connection.handshake_result import HandshakeResult
from wraith.connection.paths.cid import AHEAD_MAX
from wraith.crypto.secret import Secret
from wraith.crypto.session_keys import SessionKeys, cid, resumption
from wraith.crypto.suite import SUITES
from wraith.hotpath import Opener, Sealer
from wraith.types import Role
from wraith.wire.format import WireFormatSpec

PN_BOUND = 1 << 21
DATA_STOP = PN_BOUND - (1 << 17)
CLOSE_ONLY = PN_BOUND - 64
TRIAL_WINDOW = 256


class SessionEpochs:
    """Sealer and opener with the epochs that live in them."""

    __slots__ = (
        "_cid_key",
        "_resumption",
        "_root",
        "_session",
        "cid_offset",
        "current",
        "highest_received",
        "n_omitted",
        "newest",
        "old_receive",
        "opener",
        "send",
        "sealer",
    )

    def __init__(self, result: HandshakeResult, replay_window: int) -> None:
        secret = result.session_secret
        session = SessionKeys.derive(secret)
        spec = WireFormatSpec.derive(secret.reveal())
        role = result.role
        self.sealer = Sealer(
            int(SUITES[result.suite].aead),
            0 if role is Role.INITIATOR else 1,
            spec.pack(),
            session.header_key(role).reveal(),
            session.cid_key(role.other).reveal(),
        )
        self.opener = _opener(result, session, spec, replay_window)
        self._cid_key = session.cid_key(role)
        self._root = session.root0
        self._session: SessionKeys | None = session
        self.cid_offset: int = spec.cid_offset
        root = self._root.reveal()
        self.sealer.add_epoch(0, root)
        self.opener.add_epoch(0, root)
        #: By epoch: what tickets of that epoch come from. The newest and the one before, and none
        #: where tickets were not agreed on.
        self._resumption: dict[int, Secret] = {}
        if result.ticket_terms is not None:
            self._resumption[0] = Secret(session.resumption0.reveal())
        self.send = 0  # the epoch of packets that go out
        self.n_omitted = 0  # packet numbers of ``send`` that were spent on nothing
        self.current = 0  # the highest epoch of which a packet has authenticated
        self.newest = 0  # the highest epoch with receive keys
        self.old_receive: int | None = None
        self.highest_received = -1  # packet number, in ``current``
        if result.peer_hmk is not None:
            self.sealer.set_hmk(result.peer_hmk)
        self.opener.set_hmk(list(result.own_hmks))
        secret.wipe()

    # -- facts

    @property
    def root(self) -> Secret:
        """``root_e`` of the newest epoch."""
        return self._root

    @property
    def session_id(self) -> bytes:
        """16 bytes, public."""
        assert self._session is not None
        return self._session.session_id

    def cids(self, low: int, high: int) -> list[bytes]:
        """The ids with these indices that this side accepts."""
        key = self._cid_key.reveal()
        return [cid(key, index) for index in range(low, high + 1)]

    def export(self, label: str, n: int, context: bytes) -> bytes:
        assert self._session is not None
        return self._session.export(label, n, context)

    def highest_pn(self) -> int:
        """The highest packet number used in the sending epoch, in either direction."""
        sent = self.sealer.next_pn(self.send) - 1
        return max(sent, self.highest_received) if self.send == self.current else sent

    def n_packets(self) -> int:
        """As ``highest_pn() + 1``, without the numbers that this side has omitted."""
        sent = self.sealer.next_pn(self.send) - self.n_omitted
        return max(sent, self.highest_received + 1) if self.send == self.current else sent

    # -- epochs

    def omit(self) -> int:
        """Spends the next packet number of the sending epoch on nothing; returns it. [RT-20]"""
        self.n_omitted += 1
        return self.sealer.skip(self.send)

    def _switch_to(self, epoch: int) -> None:
        if epoch != self.send:
            self.send = epoch
            self.n_omitted = 0

    def install(self, root: Secret) -> int:
        """Makes ``root`` the newest epoch's and installs its keys; sending stays where it is."""
        if self.old_receive is not None:
            raise AssertionError("three epochs must never live")
        self._root.wipe()
        self._root = root
        self.newest += 1
        raw = root.reveal()
        self.opener.add_epoch(self.newest, raw)
        self.sealer.add_epoch(self.newest, raw)
        if self._resumption:
            self._resumption[self.newest] = resumption(root)
            if (old := self._resumption.pop(self.newest - 2, None)) is not None:
                old.wipe()
        return self.newest

    def resumption(self, epoch: int) -> Secret | None:
        """What the tickets of ``epoch`` come from; ``None`` for one that is neither the newest nor
        the one before, and where tickets were not agreed on. Borrowed. [HS-81]"""
        return self._resumption.get(epoch)

    def switch_send(self) -> None:
        """Packets go out in the newest epoch from now on; the old send chain is kept."""
        self._switch_to(self.newest)

    def on_authenticated(self, epoch: int, pn: int) -> bool:
        """A packet authenticated. True when it is the first of a newer epoch."""
        if epoch == self.current:
            self.highest_received = max(self.highest_received, pn)
            return False
        if epoch < self.current:
            return False
        self.old_receive = self.current
        self.sealer.drop_epoch(self.current)
        self.current = epoch
        self._switch_to(epoch)
        self.highest_received = pn
        return True

    def is_highest(self, epoch: int, pn: int) -> bool:
        """Whether this packet is newer than all before it (call before ``on_authenticated``)."""
        return (epoch, pn) > (self.current, self.highest_received)

    def drop_old_receive(self) -> int | None:
        """Erases the receive keys of the epoch before; returns it."""
        epoch, self.old_receive = self.old_receive, None
        if epoch is not None:
            self.opener.drop_epoch(epoch)
        return epoch

    def wipe(self) -> None:
        """Erases everything. Best effort, see docs/security."""
        self.sealer.close()
        self.opener.close()
        self._root.wipe()
        for secret in self._resumption.values():
            secret.wipe()
        self._resumption.clear()
        if self._session is not None:
            self._session.wipe()
            self._session = None


def trial_opener(result: HandshakeResult) -> Opener:
    """Opens the first packets of the peer and keeps nothing of a session: for whoever has to know
    that they are the peer's before there is one. ``result`` is borrowed."""
    secret = result.session_secret
    session = SessionKeys.derive(secret)
    spec = WireFormatSpec.derive(secret.reveal())
    opener = _opener(result, session, spec, TRIAL_WINDOW)
    opener.add_epoch(0, session.root0.reveal())
    opener.set_cids(0, AHEAD_MAX)
    session.wipe()
    return opener


def _opener(
    result: HandshakeResult, session: SessionKeys, spec: WireFormatSpec, replay_window: int
) -> Opener:
    role = result.role
    return Opener(
        int(SUITES[result.suite].aead),
        1 if role is Role.INITIATOR else 0,
        spec.pack(),
        session.header_key(role.other).reveal(),
        session.cid_key(role).reveal(),
        replay_window,
    )
