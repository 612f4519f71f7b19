"""Chooses suite and extensions: every choice is a function of two lists and ``require_pq``.

Nothing falls back by itself. The initiator takes the first suite of the record that its own policy
allows; the responder checks, inside the authenticated transcript, that it would have taken the same
one; a refusal allows one retry that names the refusal in its prologue. What is allowed is local:
the enabled suites, without suite D where post-quantum security is required. No message adds to it.

Spec: handshake.md [HS-60] [HS-61] [HS-62] [HS-63] [HS-64].
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wraith.abc import Rng
from wraith.config import EndpointConfig
from wraith.connection.handshake.node_record import usable_suites
from wraith.crypto.suite import SUITES
from wraith.errors import ConfigError, PolicyRefused, RemoteProtocolError
from wraith.types import SuiteId
from wraith.wire.extensions import Extension, ExtensionId, grease
from wraith.wire.handshake import VERSION, Unsupported


@dataclass(frozen=True, slots=True)
class SuitePolicy:
    """The policy of one side: the suites that it would use, best first."""

    allowed: tuple[SuiteId, ...]

    @classmethod
    def of(
        cls, config: EndpointConfig, *, require_pq: bool, suite: SuiteId | None = None
    ) -> SuitePolicy:
        """The policy of one ``connect()``. ``suite`` narrows it to a single one.

        Raises:
            ConfigError: ``suite`` is one that has a number and nothing else yet.
            PolicyRefused: nothing is left; says which setting excludes what.
        """
        if suite is not None and suite not in SUITES:
            raise ConfigError("suite", suite.name, "A, B or D; C is reserved")
        wanted = config.suites if suite is None else (suite,)
        if suite is not None and suite not in config.suites:
            raise PolicyRefused(
                f"suite {suite.name} is not enabled here",
                hint=f"add {suite.name} to suites",
            )
        allowed = tuple(
            s for s in usable_suites(wanted) if SUITES[s].post_quantum or not require_pq
        )
        if not allowed:
            raise PolicyRefused(
                "post-quantum key exchange is required, and no suite that has it is enabled",
                hint="allow suite A or B, or turn the requirement off explicitly",
            )
        return cls(allowed)

    def first_of(self, theirs: Sequence[SuiteId]) -> SuiteId:
        """The first of ``theirs`` that is allowed here.

        Raises:
            PolicyRefused: none is.
        """
        for suite in theirs:
            if suite in self.allowed:
                return suite
        raise PolicyRefused(
            "the peer offers no cipher suite that is allowed here",
            hint="the peer's suites: " + ", ".join(suite.name for suite in theirs),
        )


def responder_suites(config: EndpointConfig) -> tuple[SuiteId, ...]:
    """Lists what a responder with this configuration accepts, in its order."""
    return usable_suites(config.suites)


def responder_choice(own: Sequence[SuiteId], offered: Iterable[int]) -> SuiteId | None:
    """The responder's preferred suite among those the initiator offered. [HS-61]"""
    theirs = set(offered)
    return next((suite for suite in own if suite in theirs), None)


def unsupported_body(own: Sequence[SuiteId]) -> bytes:
    """The body of UNSUPPORTED: the same bytes for the same configuration. [HS-62]"""
    return Unsupported((VERSION,), tuple(own)).encode()


def suite_after_refusal(policy: SuitePolicy, body: bytes) -> SuiteId:
    """The suite of the one retry that UNSUPPORTED allows. [HS-63]

    Raises:
        PolicyRefused: no suite or version in ``body`` is allowed here.
        DecodeError: ``body`` is malformed.
    """
    refusal = Unsupported.decode(body)
    if VERSION not in refusal.versions:
        raise PolicyRefused("the peer speaks another version of the protocol only")
    known = {suite.value for suite in SuiteId}
    theirs = [SuiteId(code) for code in refusal.suites if code in known]
    return policy.first_of(theirs)


DATAGRAM_FRAME_BYTES_MAX = 65_535
"""The longest DATAGRAM frame that is taken, as the DATAGRAM extension tells it (a u16)."""
ROADS_VERSION = 1


def make_offer(suite: SuiteId, rng: Rng, *, tickets: bool = False) -> tuple[Extension, ...]:
    """EXT_OFFER: what is implemented, and one GREASE id that nobody may stumble over. RESUMPTION
    stands there only where ``tickets`` can be kept. [HS-64]"""
    return (*_implemented(suite, tickets=tickets), grease(rng))


def accept_offer(
    suite: SuiteId, offer: Sequence[Extension], *, tickets: bool = False
) -> tuple[Extension, ...]:
    """EXT_ACCEPT: the part of ``offer`` that is implemented here, RESUMPTION only where this side
    issues ``tickets``. [HS-64]

    Raises:
        RemoteProtocolError: an id twice, or POST_QUANTUM does not agree with the suite.
    """
    _check_ids(suite, [extension.id for extension in offer])
    own = {extension.id: extension for extension in _implemented(suite, tickets=tickets)}
    if not has_roads(offer):
        del own[ExtensionId.ROADS]
    return tuple(own[extension.id] for extension in offer if extension.id in own)


def check_accept(suite: SuiteId, offer: Sequence[Extension], accept: Sequence[Extension]) -> None:
    """Checks that everything accepted was offered. [HS-64]

    Raises:
        RemoteProtocolError: something was accepted that was not offered, or twice, or POST_QUANTUM
            does not agree with the suite.
    """
    ids = [extension.id for extension in accept]
    _check_ids(suite, ids)
    if not set(ids) <= {extension.id for extension in offer}:
        raise RemoteProtocolError("an extension was accepted that was not offered")
    if ExtensionId.ROADS in ids and not has_roads(accept):
        raise RemoteProtocolError("a version of ROADS was accepted that does not exist")


def has_roads(extensions: Sequence[Extension]) -> bool:
    """Whether a list offers, or accepts, ROADS in a version that is spoken here. Its parameter is
    the highest version that the sender speaks, and every one speaks those below it. [HS-64]"""
    return any(
        extension.id == ExtensionId.ROADS and extension.params[:1] >= bytes((ROADS_VERSION,))
        for extension in extensions
    )


def has_tickets(extensions: Sequence[Extension]) -> bool:
    """Whether a list offers, or accepts, RESUMPTION."""
    return any(extension.id == ExtensionId.RESUMPTION for extension in extensions)


def by_id(extensions: Sequence[Extension]) -> tuple[Extension, ...]:
    """The same list, ascending by id: two that agree on the same are equal then."""
    return tuple(sorted(extensions, key=lambda extension: extension.id))


def _implemented(suite: SuiteId, *, tickets: bool) -> tuple[Extension, ...]:
    own = [
        Extension(ExtensionId.DATAGRAM, DATAGRAM_FRAME_BYTES_MAX.to_bytes(2, "big")),
        Extension(ExtensionId.ROADS, bytes((ROADS_VERSION,))),
    ]
    if SUITES[suite].post_quantum:
        own.insert(0, Extension(ExtensionId.POST_QUANTUM))
    if tickets:
        own.append(Extension(ExtensionId.RESUMPTION))
    return tuple(own)


def _check_ids(suite: SuiteId, ids: Sequence[int]) -> None:
    if len(set(ids)) != len(ids):
        raise RemoteProtocolError("an extension stands there twice")
    if (ExtensionId.POST_QUANTUM in ids) is not SUITES[suite].post_quantum:
        raise RemoteProtocolError("the suite and its extension do not agree")
