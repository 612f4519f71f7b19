"""One handshake stage by stage, without an endpoint, a link or time: for laws and statistics."""

from __future__ import annotations

from collections.abc import Sequence

from wraith.config import EndpointConfig
from wraith.connection.data.flow import WindowBudget
from wraith.connection.handshake.endpoint_keys import EndpointKeys
from wraith.connection.handshake.handshake import AwaitingResponse, HandshakeContext, Proposal
from wraith.connection.handshake.header_masks import HeaderMaskKeys
from wraith.connection.handshake.negotiate import SuitePolicy, responder_suites
from wraith.connection.handshake.node_record import NodeRecord
from wraith.connection.handshake.responder import AwaitingFinish, AwaitingHello, open_first_hello
from wraith.crypto.elligator2 import decode
from wraith.errors import CryptoError
from wraith.testing.clock import VirtualCalendar, VirtualClock
from wraith.testing.rng import HashKem, SeededRng
from wraith.types import SuiteId

UNIX = VirtualCalendar(VirtualClock()).unix_time()
"""The calendar time at which all of this happens."""


def handshake_context(seed: str, config: EndpointConfig | None = None) -> HandshakeContext:
    """Keys and choices that follow from ``seed``. Not secure."""
    rng = SeededRng(seed)
    return HandshakeContext(
        config=config if config is not None else EndpointConfig(),
        keys=EndpointKeys.generate(rng),
        rng=rng,
        kem=HashKem(),
        clock=VirtualCalendar(VirtualClock()),
        hmks=HeaderMaskKeys(rng, 0.0),
        windows=WindowBudget(1 << 30),
    )


class StagedHandshake:
    """Initiator ``i`` and responder ``r``; ``waiting`` is the first attempt, ``attempt`` makes more
    with the same KEM key, as one ``connect()`` does."""

    def __init__(self, suite: SuiteId = SuiteId.A, *, seed: str = "") -> None:
        config = EndpointConfig(suites=(suite,))
        self.i = handshake_context("i" + seed, config)
        self.r = handshake_context("r" + seed, config)
        self.key = self.r.keys.access[0]
        record = NodeRecord(self.key.ak.public, self.r.keys.identity.public, (suite,))
        policy = SuitePolicy.of(config, require_pq=False)
        self.proposal = Proposal.first(record, policy)
        self._e1 = self.i.generate_kem(suite)
        self.waiting = self.attempt()

    def attempt(self) -> AwaitingResponse:
        """One more hello, with an ephemeral of its own."""
        return AwaitingResponse(self.i, self.proposal, e1=self._e1, cookie=None)

    def hello(self, datagrams: Sequence[bytes]) -> AwaitingHello:
        """The responder takes the parts of a hello. Raises ``CryptoError`` for one that is not."""
        head = datagrams[0]
        proven = open_first_hello(self.key, head, decode(head[:32]))
        stage = AwaitingHello(self.r, self.key, proven, self.proposal.suite)
        for datagram in datagrams[1:]:
            if not stage.receive(datagram):
                raise CryptoError
        return stage

    def answer(self, stage: AwaitingHello) -> AwaitingFinish:
        """The responder's RESPONSE."""
        return stage.answer(responder_suites(self.r.config), UNIX)
