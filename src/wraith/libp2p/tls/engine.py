"""The TLS 1.3 handshake as a pure machine: what both roles share.

::

    client                                        server
    ClientHello            --initial-->           checks, then waits for answer()
                           <--initial--           ServerHello | HelloRetryRequest (once)
                           <--handshake--         EncryptedExtensions, CertificateRequest,
                                                  Certificate, CertificateVerify, Finished
    Certificate, CertificateVerify, Finished --handshake-->

Driving it: put bytes in with :meth:`TlsEngine.receive`; call :meth:`TlsEngine.advance` until it
returns ``False``; after each call take the secrets, then the output. A server stops after the
ClientHello (``peer_quic_parameters`` and ``alpn`` are set) until ``answer`` gives its own.

A call that raises :class:`TlsAlert` leaves the engine failed for good. Nothing resumes: no PSK is
offered or selected, tickets are dropped, early data is never accepted [LQ-16].

Spec: libp2p-quic section 3; RFC 8446 §4 and appendix A, RFC 9001 §4.
"""

from __future__ import annotations

import hmac
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import ClassVar, NamedTuple, NoReturn

from wraith.abc import Rng
from wraith.crypto.secret import Secret
from wraith.errors import DecodeError, InvalidKey, LocalProtocolError
from wraith.libp2p.certificate import CertificateKey, VerifiedCertificate, verify_certificate
from wraith.libp2p.peer_id import PeerId
from wraith.libp2p.tls import codec
from wraith.libp2p.tls.alerts import AlertDescription, TlsAlert
from wraith.libp2p.tls.codec import CipherSuite, ExtensionType, HandshakeType, SignatureScheme
from wraith.libp2p.tls.groups import GroupId
from wraith.libp2p.tls.schedule import (
    ApplicationSecrets,
    EarlySecret,
    HandshakeSecrets,
    Transcript,
    hash_name,
)

SUITES = (
    CipherSuite.AES_128_GCM_SHA256,
    CipherSuite.CHACHA20_POLY1305_SHA256,
    CipherSuite.AES_256_GCM_SHA384,
)
READABLE_SCHEMES = (
    SignatureScheme.ED25519,
    SignatureScheme.ECDSA_SECP256R1_SHA256,
    SignatureScheme.RSA_PSS_RSAE_SHA256,
    SignatureScheme.RSA_PSS_RSAE_SHA384,
    SignatureScheme.RSA_PSS_RSAE_SHA512,
)
_SIGNATURE_PAD = b"\x20" * 64
_SERVER_CONTEXT = b"TLS 1.3, server CertificateVerify\x00"
_CLIENT_CONTEXT = b"TLS 1.3, client CertificateVerify\x00"


class Level(IntEnum):
    """Encryption levels of QUIC that carry handshake bytes; numbered as packet spaces are."""

    INITIAL = 0
    HANDSHAKE = 2
    APPLICATION = 3


class TrafficSecret(NamedTuple):
    """A secret that the packet layer installs; in the order in which it must do so."""

    level: Level
    sending: bool
    suite: CipherSuite
    secret: Secret


class TlsState(Enum):
    """The message that the engine waits for."""

    START = "start"
    SERVER_HELLO = "server hello"
    ENCRYPTED_EXTENSIONS = "encrypted extensions"
    CERTIFICATE_OR_REQUEST = "certificate or certificate request"
    CLIENT_HELLO = "client hello"
    ANSWER = "own answer"
    CERTIFICATE = "certificate"
    CERTIFICATE_VERIFY = "certificate verify"
    FINISHED = "finished"
    CONNECTED = "nothing"
    FAILED = "nothing: failed"


EXPECTED: dict[TlsState, tuple[Level, frozenset[HandshakeType]]] = {
    TlsState.SERVER_HELLO: (Level.INITIAL, frozenset({HandshakeType.SERVER_HELLO})),
    TlsState.CLIENT_HELLO: (Level.INITIAL, frozenset({HandshakeType.CLIENT_HELLO})),
    TlsState.ENCRYPTED_EXTENSIONS: (
        Level.HANDSHAKE,
        frozenset({HandshakeType.ENCRYPTED_EXTENSIONS}),
    ),
    TlsState.CERTIFICATE_OR_REQUEST: (
        Level.HANDSHAKE,
        frozenset({HandshakeType.CERTIFICATE_REQUEST, HandshakeType.CERTIFICATE}),
    ),
    TlsState.CERTIFICATE: (Level.HANDSHAKE, frozenset({HandshakeType.CERTIFICATE})),
    TlsState.CERTIFICATE_VERIFY: (
        Level.HANDSHAKE,
        frozenset({HandshakeType.CERTIFICATE_VERIFY}),
    ),
    TlsState.FINISHED: (Level.HANDSHAKE, frozenset({HandshakeType.FINISHED})),
    TlsState.CONNECTED: (Level.APPLICATION, frozenset({HandshakeType.NEW_SESSION_TICKET})),
}
"""State x message: the level it must come at and the legal types; all else is refused."""


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """The choices that one handshake has. ``groups`` and ``alpn`` are in order of preference.

    ``shares`` are the groups for which a client sends a key at once; ``private_extension`` is the
    code point of the private profile, ``None`` outside it. ``credentials`` are tried in order
    against what the peer can read.
    """

    groups: tuple[GroupId, ...]
    shares: tuple[GroupId, ...]
    alpn: tuple[str, ...]
    credentials: tuple[CertificateKey, ...]
    private_extension: int | None = None
    expected_peer: PeerId | None = None
    require_client_certificate: bool = True
    suites: tuple[CipherSuite, ...] = SUITES


@dataclass(frozen=True, slots=True)
class Negotiated:
    """The result of a finished handshake. Every field comes from its messages."""

    group: str
    post_quantum: bool
    suite: CipherSuite
    alpn: str
    peer: VerifiedCertificate | None
    retried: bool


class TlsEngine(ABC):
    """One handshake in one role. See the module for how to drive it."""

    is_client: ClassVar[bool]

    def __init__(self, settings: TlsSettings, rng: Rng, unix_now: float) -> None:
        self.settings = settings
        self.state = TlsState.START
        #: Transport parameters of the peer, opaque here; ``None`` until they have arrived.
        self.peer_quic_parameters: bytes | None = None
        #: Takes one line per traffic secret where somebody asked for it; never by itself [LQ-77].
        self.key_log: Callable[[str], None] | None = None
        #: The ClientHello's random (both roles), for key logs.
        self.client_random = b""
        self.alpn: str | None = None
        self.peer: VerifiedCertificate | None = None
        self._rng = rng
        self._unix_now = unix_now
        self._buffer = bytearray()
        self._level = Level.INITIAL
        self._output: list[tuple[Level, bytes]] = []
        self._secrets: list[TrafficSecret] = []
        self._transcript = Transcript()
        self._suite: CipherSuite | None = None
        self._group: tuple[str, bool] | None = None
        self._retried = False
        self._handshake: HandshakeSecrets | None = None
        self._application: ApplicationSecrets | None = None

    # ---- driving ---------------------------------------------------------------------------------

    def receive(self, level: Level, data: bytes) -> None:
        """Takes handshake bytes of one level, in order, without gaps.

        Raises:
            TlsAlert: ``unexpected_message`` when a message would span two levels.
        """
        if not data:
            return
        if level != self._level:
            if self._buffer:
                self._fail(AlertDescription.UNEXPECTED_MESSAGE, "a message spans a key change")
            self._level = level
        self._buffer += data

    def advance(self) -> bool:
        """Processes one whole message; ``False`` when there is none (or an answer is due).

        Raises:
            TlsAlert: the peer broke the protocol or a policy; the engine has failed.
        """
        if self.state in (TlsState.ANSWER, TlsState.START):
            return False
        try:
            length = codec.next_message_bytes(self._buffer)
            if length is None:
                return False
            message = bytes(self._buffer[:length])
            del self._buffer[:length]
            self._dispatch(message)
        except TlsAlert:
            self._enter_failed()
            raise
        except DecodeError as error:
            self._enter_failed()
            raise TlsAlert(AlertDescription.DECODE_ERROR, str(error)) from error
        except InvalidKey as error:
            self._enter_failed()
            raise TlsAlert(AlertDescription.ILLEGAL_PARAMETER, f"key share: {error}") from error
        return True

    def take_secrets(self) -> list[TrafficSecret]:
        """Secrets to install now, before the output is sent and before the next message."""
        taken, self._secrets = self._secrets, []
        return taken

    def take_output(self) -> list[tuple[Level, bytes]]:
        """Handshake bytes to send, in order."""
        taken, self._output = self._output, []
        return taken

    def has_heard(self, level: Level) -> bool:
        """Whether handshake bytes of ``level`` have come."""
        return self._level >= level

    @property
    def is_connected(self) -> bool:
        return self.state is TlsState.CONNECTED

    @property
    def negotiated(self) -> Negotiated:
        """Raises :class:`LocalProtocolError` before the handshake is complete."""
        if not self.is_connected or self._suite is None or self._group is None:
            raise LocalProtocolError("the handshake is not complete")
        name, post_quantum = self._group
        return Negotiated(
            name, post_quantum, self._suite, self.alpn or "", self.peer, self._retried
        )

    def export(self, label: str, context: bytes, n: int) -> bytes:
        """Keying material bound to this connection (RFC 8446 §7.5)."""
        if not self.is_connected or self._application is None:
            raise LocalProtocolError("the handshake is not complete")
        return self._application.export(label, context, n)

    # ---- shared by the roles ---------------------------------------------------------------------

    def _dispatch(self, message: bytes) -> None:
        kind = message[0]
        level, allowed = EXPECTED.get(self.state, (Level.INITIAL, frozenset()))
        if kind not in allowed or level != self._level:
            raise TlsAlert(
                AlertDescription.UNEXPECTED_MESSAGE,
                f"handshake message {kind} at level {self._level.name.lower()} while waiting for "
                f"{self.state.value}",
            )
        self._handle(HandshakeType(kind), message)

    @abstractmethod
    def _handle(self, kind: HandshakeType, message: bytes) -> None:
        """One legal message; sets the next state."""

    def _fail(self, alert: AlertDescription, why: str) -> NoReturn:
        self._enter_failed()
        raise TlsAlert(alert, why)

    def _enter_failed(self) -> None:
        self.state = TlsState.FAILED
        self._buffer.clear()
        self._output.clear()
        self._secrets.clear()
        if self._handshake is not None:
            self._handshake.wipe()
        if self._application is not None:
            self._application.wipe_traffic()

    def _send(self, level: Level, message: bytes) -> None:
        """Every message is in the transcript, so a changed one never goes unnoticed [LQ-19]."""
        self._transcript.add(message)
        self._output.append((level, message))

    def _choose_suite(self, suite: CipherSuite) -> None:
        self._suite = suite
        self._transcript.choose_hash(hash_name(suite))

    def _enter_handshake_keys(self, shared: Secret) -> None:
        assert self._suite is not None
        self._handshake = EarlySecret(self._suite).with_shared_secret(
            shared, self._transcript.digest()
        )
        own, peer = self._handshake.client, self._handshake.server
        if not self.is_client:
            own, peer = peer, own
        self._secrets.append(TrafficSecret(Level.HANDSHAKE, True, self._suite, own))
        self._secrets.append(TrafficSecret(Level.HANDSHAKE, False, self._suite, peer))

    def _release_application_keys(self) -> None:
        assert self._suite is not None and self._application is not None
        own, peer = self._application.client, self._application.server
        if not self.is_client:
            own, peer = peer, own
        self._secrets.append(TrafficSecret(Level.APPLICATION, True, self._suite, own))
        self._secrets.append(TrafficSecret(Level.APPLICATION, False, self._suite, peer))

    def _connected(self) -> None:
        """The last step: nothing of the handshake is needed any more [LQ-18]."""
        self.state = TlsState.CONNECTED
        self.settings = TlsSettings((), (), (), ())
        self._transcript = Transcript()
        self._handshake = None

    def _check_quic_parameters(self, extensions: codec.Extensions) -> None:
        parameters = codec.find_extension(extensions, ExtensionType.QUIC_TRANSPORT_PARAMETERS)
        if parameters is None:
            raise TlsAlert(
                AlertDescription.MISSING_EXTENSION, "the peer sent no QUIC transport parameters"
            )
        self.peer_quic_parameters = parameters

    # ---- certificates ----------------------------------------------------------------------------

    def _receive_certificate(self, message: bytes) -> None:
        """Reads the peer's Certificate; sets ``peer``."""
        certificate = codec.Certificate.decode(message)
        # In the main handshake both sides' contexts are empty: we request with an empty one.
        if certificate.context:
            raise TlsAlert(AlertDescription.ILLEGAL_PARAMETER, "unexpected certificate context")
        if not certificate.entries:
            if self.is_client:
                raise TlsAlert(AlertDescription.DECODE_ERROR, "the server sent no certificate")
            raise TlsAlert(AlertDescription.CERTIFICATE_REQUIRED, "the client sent no certificate")
        if len(certificate.entries) > 1:
            raise TlsAlert(
                AlertDescription.BAD_CERTIFICATE,
                f"the peer sent {len(certificate.entries)} certificates instead of exactly one",
            )
        der, extensions = certificate.entries[0]
        if extensions:
            raise TlsAlert(
                AlertDescription.UNSUPPORTED_EXTENSION,
                "unsolicited certificate extension",
            )
        self.peer = verify_certificate(
            der, self._unix_now, expected_peer=self.settings.expected_peer
        )
        self._transcript.add(message)

    def _receive_certificate_verify(self, message: bytes) -> None:
        assert self.peer is not None
        verify = codec.CertificateVerify.decode(message)
        if verify.scheme not in READABLE_SCHEMES:
            raise TlsAlert(
                AlertDescription.ILLEGAL_PARAMETER,
                f"signature scheme 0x{verify.scheme:04x} was not offered",
            )
        context = _SERVER_CONTEXT if self.is_client else _CLIENT_CONTEXT
        signed = _SIGNATURE_PAD + context + self._transcript.digest()
        self.peer.verify(verify.scheme, verify.signature, signed)
        self._transcript.add(message)

    def _choose_credential(self, schemes_body: bytes) -> CertificateKey:
        schemes = codec.read_u16_list(schemes_body, "signature_algorithms")
        for credential in self.settings.credentials:
            if credential.scheme in schemes:
                return credential
        raise TlsAlert(
            AlertDescription.HANDSHAKE_FAILURE, "the peer can read none of our signature schemes"
        )

    def _send_certificate(self, credential: CertificateKey, context: bytes) -> None:
        entry = ((credential.der, ()),)
        self._send(Level.HANDSHAKE, codec.Certificate(context, entry).encode())
        text = _CLIENT_CONTEXT if self.is_client else _SERVER_CONTEXT
        signature = credential.sign(_SIGNATURE_PAD + text + self._transcript.digest())
        self._send(Level.HANDSHAKE, codec.CertificateVerify(credential.scheme, signature).encode())

    def _send_finished(self) -> None:
        assert self._handshake is not None
        mac = self._handshake.finished_mac(
            of_client=self.is_client, transcript_hash=self._transcript.digest()
        )
        self._send(Level.HANDSHAKE, codec.Finished(mac).encode())

    def _receive_finished(self, message: bytes) -> None:
        assert self._handshake is not None
        expected = self._handshake.finished_mac(
            of_client=not self.is_client, transcript_hash=self._transcript.digest()
        )
        finished = codec.Finished.decode(message, len(expected))
        if not hmac.compare_digest(expected, finished.verify_data):
            raise TlsAlert(AlertDescription.DECRYPT_ERROR, "the peer's Finished does not verify")
        self._transcript.add(message)


def refuse_unlisted(
    extensions: codec.Extensions, allowed: frozenset[int], offered: frozenset[int], where: str
) -> None:
    """Extensions in an answer: unsolicited ones, and known ones in the wrong message [LQ-11].

    Raises:
        TlsAlert: ``unsupported_extension`` for one that was not offered, ``illegal_parameter`` for
            one that may not stand in this message.
    """
    for kind, _ in extensions:
        if kind not in offered:
            raise TlsAlert(
                AlertDescription.UNSUPPORTED_EXTENSION, f"unsolicited extension {kind} in {where}"
            )
        if kind not in allowed:
            raise TlsAlert(
                AlertDescription.ILLEGAL_PARAMETER, f"extension {kind} may not stand in {where}"
            )
