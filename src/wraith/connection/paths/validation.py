"""Whether the peer is at a 4-tuple: challenges, and how many of the peer's are answered.

``PathValidation`` is one challenge on one 4-tuple with its anti-amplification account. Sends
nothing: it says what is due. Spec: docs/spec/connection.md [CN-32 to CN-34].
"""

from __future__ import annotations

from wraith.connection.paths.open_path import Path
from wraith.types import NetworkPath

CHALLENGE_TRIES = 3
AMPLIFICATION = 3
CHALLENGE_PADDED_BYTES = 1_200
VALIDATIONS_MAX = 2
CHALLENGE_ANSWERS_PER_S = 10


class PathValidation:
    """A challenge on one 4-tuple. [CN-32]

    Args:
        network: the 4-tuple.
        path: whose it would be: an open path that the peer seems to have moved to ``network``, or
            the path of ``network`` itself, which is to be proven or looked after.
        is_own: this side wishes to know, and knows where it sends: the peer has not to come first.
        is_padded: the challenge has the size of the path's packets, so that its answer says more.
    """

    __slots__ = (
        "bytes_received",
        "bytes_sent",
        "challenge",
        "deadline",
        "is_due",
        "is_own",
        "is_padded",
        "keeps_estimates",
        "network",
        "path",
        "sent_at",
        "tries",
    )

    def __init__(
        self,
        network: NetworkPath,
        path: Path,
        challenge: bytes,
        *,
        keeps_estimates: bool = False,
        is_own: bool = False,
        is_padded: bool = False,
    ) -> None:
        self.network = network
        self.path = path
        self.challenge = challenge
        self.is_own = is_own
        self.is_padded = is_padded
        self.sent_at = 0.0
        self.keeps_estimates = keeps_estimates
        self.bytes_received = 0
        self.bytes_sent = 0
        self.tries = 0
        self.is_due = True
        self.deadline: float | None = None

    @property
    def is_move(self) -> bool:
        """An open path seems to have another 4-tuple now."""
        return self.path.network != self.network

    @property
    def room(self) -> int:
        """Bytes that may still be sent to an address that has proved nothing."""
        return AMPLIFICATION * self.bytes_received - self.bytes_sent

    def on_sent(self, n_bytes: int, now: float, patience_s: float) -> None:
        self.bytes_sent += n_bytes
        self.sent_at = now
        self.tries += 1
        self.is_due = False
        self.deadline = now + patience_s

    def ask_again(self) -> None:
        """Sends the challenge once more at once, and begins to count its tries anew; but an answer
        to one of several says nothing of the round trip."""
        self.is_due = True
        self.deadline = None
        self.tries = min(self.tries, 1)

    def on_timer(self, now: float) -> bool:
        """True when the last try has gone unanswered: the path is given up."""
        if self.deadline is None or now < self.deadline:
            return False
        if self.tries >= CHALLENGE_TRIES:
            return True
        self.is_due = True
        self.deadline = None
        return False


def only_port_changed(old: NetworkPath, new: NetworkPath) -> bool:
    """The usual NAT rebinding: what was learnt of the path still holds."""
    return old.remote.ip == new.remote.ip


class AnswerBudget:
    """PATH_CHALLENGE is answered ten times a second at most. [CN-34]"""

    __slots__ = ("_at", "_tokens")

    def __init__(self) -> None:
        self._tokens = float(CHALLENGE_ANSWERS_PER_S)
        self._at: float | None = None

    def take(self, now: float) -> bool:
        if self._at is not None:
            self._tokens = min(
                self._tokens + (now - self._at) * CHALLENGE_ANSWERS_PER_S,
                float(CHALLENGE_ANSWERS_PER_S),
            )
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
