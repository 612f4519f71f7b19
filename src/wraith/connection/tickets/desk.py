"""The responder's tickets: the keys that seal them, and which of them have been used.

::

    issue ── key younger than 12 h, else a new one ──► NEW_TICKET
    open ─── known key, not expired, chain below 7 days ──► content
    reserve ── a half-open attempt of one 4-tuple holds it ──► consume, once ─or─ release

Everything here dies with the process. Used ids are kept until they expire: 131,072 of them, and
with so many no further ticket is taken, which costs its owner one round trip.

Spec: handshake.md §9 [HS-75] [HS-76] [HS-77].
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import NamedTuple

from wraith.abc import Rng, WallClock
from wraith.connection.deadlines import Deadline, DeadlineHeap
from wraith.connection.tickets.store import CHAIN_S, LIFETIME_S, TicketTerms, expiry
from wraith.crypto.secret import Secret
from wraith.crypto.session_keys import ticket_secret
from wraith.crypto.ticket import ID_BYTES, KID_BYTES, kid_of, open_ticket, seal_ticket
from wraith.errors import CryptoError, RemoteProtocolError
from wraith.types import NetworkPath, PeerKey, SuiteId
from wraith.wire.control_records import NewTicket
from wraith.wire.resumption import TicketContent

ROTATION_S = 43_200.0
KEYS_MAX = 3
"""The key in use and two before it: a ticket that was sealed as its key was replaced lives 24 h."""
USED_MAX = 131_072
ATTEMPTS_MAX = 3
"""Hellos of one ``connect()`` that may hold a ticket at the same time."""


class _Key(NamedTuple):
    kid: bytes
    stek: Secret
    made_at: float


class _Hold:
    """Who has reserved a ticket: one 4-tuple, with so many attempts."""

    __slots__ = ("n", "path")

    def __init__(self, path: NetworkPath) -> None:
        self.path = path
        self.n = 0


class TicketDesk(Deadline):
    """Issues and takes tickets for one endpoint. ``Deadline``: when the oldest key is erased."""

    __slots__ = ("_clock", "_consumed", "_deadlines", "_expiries", "_floor", "_holds", "_keys",
                 "_rng")  # fmt: skip

    def __init__(self, rng: Rng, clock: WallClock, deadlines: DeadlineHeap) -> None:
        super().__init__()
        self._rng = rng
        self._clock = clock
        self._deadlines = deadlines
        self._keys: list[_Key] = []
        self._holds: dict[bytes, _Hold] = {}
        self._consumed: set[bytes] = set()
        self._expiries: list[tuple[int, bytes]] = []
        #: The latest end of a used ticket that was forgotten: a clock that is set back revives
        #: none of them.
        self._floor = -1

    # -- keys ------------------------------------------------------------------------------------

    def on_timer(self, now: float) -> None:
        """Erases the keys whose tickets have all expired. [HS-75]"""
        while self._keys and now >= self._keys[0].made_at + KEYS_MAX * ROTATION_S:
            self._keys.pop(0).stek.wipe()
        ends = self._keys[0].made_at + KEYS_MAX * ROTATION_S if self._keys else None
        self._deadlines.set(self, ends)

    def issue(
        self,
        terms: TicketTerms,
        suite: SuiteId,
        peer: PeerKey,
        resumption_secret: Secret,
        epoch: int,
        now: float,
    ) -> NewTicket | None:
        """A ticket for a session; ``None`` where it would have expired already. [HS-73]"""
        unix_now = self._clock.unix_time()
        expires = expiry(unix_now, terms.full, terms.not_after)
        if expires <= unix_now:
            return None
        key = self._key_to_seal_with(now)
        id_ = self._rng.public_bytes(ID_BYTES)
        secret = ticket_secret(resumption_secret, id_)
        content = TicketContent(
            suite=suite,
            issued=int(unix_now),
            expires=expires,
            full=terms.full,
            not_after=terms.not_after,
            secret=secret.reveal(),
            peer=peer,
            extensions=terms.extensions,
        )
        secret.wipe()
        return NewTicket(epoch, id_, expires, seal_ticket(key.kid, key.stek, id_, content.encode()))

    def _key_to_seal_with(self, now: float) -> _Key:
        if not self._keys or now >= self._keys[-1].made_at + ROTATION_S:
            kid = self._rng.public_bytes(KID_BYTES)
            self._keys.append(_Key(kid, Secret(self._rng.secret_bytes(32)), now))
            self.on_timer(now)
        return self._keys[-1]

    # -- what comes back ---------------------------------------------------------------------------

    def open(self, ticket: tuple[bytes, bytes], suite: int) -> TicketContent | None:
        """The content of a ticket that may still be used with this suite; ``None``: it may not, for
        whatever reason. [HS-76]"""
        id_, encrypted_params = ticket
        unix_now = self._clock.unix_time()
        kid = kid_of(encrypted_params)
        key = next((key for key in self._keys if key.kid == kid), None)
        if key is None:
            return None
        try:
            content = TicketContent.decode(open_ticket(key.stek, id_, encrypted_params))
        except (CryptoError, RemoteProtocolError):
            return None
        ends = min(
            content.expires, content.issued + LIFETIME_S, content.full + CHAIN_S, content.not_after
        )
        if content.suite != suite or unix_now >= ends or content.expires <= self._floor:
            return None
        self._forget_expired(unix_now)
        return None if id_ in self._consumed else content

    def reserve(self, id_: bytes, path: NetworkPath) -> bool:
        """Whether an attempt on ``path`` may hold this ticket: nobody has used it, and attempts of
        no other 4-tuple hold it. Each success asks for one ``release`` or ``consume``. [HS-77]"""
        if id_ in self._consumed or len(self._consumed) >= USED_MAX:
            return False
        hold = self._holds.get(id_)
        if hold is None:
            hold = self._holds[id_] = _Hold(path)
        elif hold.path != path or hold.n >= ATTEMPTS_MAX:
            return False
        hold.n += 1
        return True

    def release(self, id_: bytes) -> None:
        """An attempt that held this ticket is over."""
        hold = self._holds.get(id_)
        if hold is None:
            return
        hold.n -= 1
        if not hold.n:
            del self._holds[id_]

    def consume(self, id_: bytes, expires: int) -> bool:
        """Uses the ticket up; false if it was, or can no longer be remembered. The caller then
        goes no further with it."""
        self._holds.pop(id_, None)
        if id_ in self._consumed or len(self._consumed) >= USED_MAX:
            return False
        self._consumed.add(id_)
        heappush(self._expiries, (expires, id_))
        return True

    def _forget_expired(self, unix_now: float) -> None:
        while self._expiries and self._expiries[0][0] <= unix_now:
            expires, id_ = heappop(self._expiries)
            self._consumed.discard(id_)
            self._floor = max(self._floor, expires)

    @property
    def n_used(self) -> int:
        return len(self._consumed)

    @property
    def n_held(self) -> int:
        return len(self._holds)

    def wipe(self) -> None:
        """Erases the keys: no ticket opens any more."""
        for key in self._keys:
            key.stek.wipe()
        self._keys.clear()
