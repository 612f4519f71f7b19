"""The result of a finished handshake, as the established connection takes it over."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from wraith.connection.tickets.store import TicketTerms
from wraith.crypto.secret import Secret
from wraith.types import PeerKey, Role, SuiteId
from wraith.wire.handshake import TransportParams


@dataclass(frozen=True, slots=True)
class HandshakeResult:
    """Values of one completed handshake, the same session seen from ``role``.

    Attributes:
        session_secret: 32 bytes; ``Connection.establish`` derives everything from it and wipes it.
        peer: the identity that the peer has proved, ``None`` if it showed none.
        peer_params, own_params: what each side promised; limits of the data phase.
        peer_hmk: header-mask key of the peer's endpoint (32 bytes) if it is known already: the
            responder has the initiator's from FINISH, the initiator waits for HANDSHAKE_CONFIRM.
        own_hmks: this endpoint's own header-mask keys, newest first, at most two.
        rtt_sample_s: the handshake's round trip if it was measured without ambiguity.
        authenticated_by: ``static-key`` or ``ticket``.
        ticket_terms: what tickets of this session are bound to; ``None`` where they were not agreed
            on, or this initiator shows no identity.
        has_roads: both sides speak the frames ROADS, ROAD_TRIED, ROAD_SEEN and PATH_USE.
        access_key: the public half (32 bytes) of the access key that the hello proved; ``None`` at
            the initiator.
    """

    session_secret: Secret
    suite: SuiteId
    role: Role
    peer: PeerKey | None
    peer_params: TransportParams
    own_params: TransportParams
    peer_hmk: bytes | None = field(repr=False)
    own_hmks: tuple[bytes, ...] = field(repr=False)
    rtt_sample_s: float | None = None
    authenticated_by: str = "static-key"
    has_roads: bool = False
    access_key: bytes | None = field(default=None, repr=False)
    ticket_terms: TicketTerms | None = None

    def measured(self, rtt_sample_s: float) -> HandshakeResult:
        """The same with the round trip that was measured since."""
        return replace(self, rtt_sample_s=rtt_sample_s)
