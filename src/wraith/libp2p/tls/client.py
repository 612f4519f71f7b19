"""The client's side of the handshake. See :mod:`wraith.libp2p.tls.engine` for how to drive it.

Spec: libp2p-quic section 3.4; RFC 8446 §4.1 and appendix A.1.
"""

from __future__ import annotations

from typing import ClassVar

from wraith.abc import KemSecret, Rng
from wraith.crypto.mlkem import MlKem768
from wraith.crypto.secret import Secret
from wraith.crypto.x25519 import X25519Key
from wraith.errors import LocalProtocolError
from wraith.libp2p import private_ext
from wraith.libp2p.certificate import CertificateKey
from wraith.libp2p.tls import codec
from wraith.libp2p.tls.alerts import AlertDescription, TlsAlert
from wraith.libp2p.tls.codec import CipherSuite, ExtensionType, HandshakeType
from wraith.libp2p.tls.engine import (
    READABLE_SCHEMES,
    Level,
    TlsEngine,
    TlsSettings,
    TlsState,
    refuse_unlisted,
)
from wraith.libp2p.tls.groups import GROUPS, ClientExchange, GroupId
from wraith.libp2p.tls.schedule import hash_name

_IN_SERVER_HELLO = frozenset({ExtensionType.SUPPORTED_VERSIONS, ExtensionType.KEY_SHARE})
_IN_RETRY = _IN_SERVER_HELLO | {ExtensionType.COOKIE}
_IN_ENCRYPTED = frozenset(
    {
        ExtensionType.ALPN,
        ExtensionType.QUIC_TRANSPORT_PARAMETERS,
        ExtensionType.SUPPORTED_GROUPS,
    }
)


class TlsClient(TlsEngine):
    """Begins with :meth:`start`; offers what its settings name and accepts nothing else."""

    is_client: ClassVar[bool] = True

    def __init__(self, settings: TlsSettings, rng: Rng, unix_now: float) -> None:
        super().__init__(settings, rng, unix_now)
        self.client_random = rng.public_bytes(codec.RANDOM_BYTES)
        self._classical: X25519Key | None = None
        self._exchanges: dict[GroupId, ClientExchange] = {}
        self._private_key: KemSecret | None = None
        self._quic_parameters = b""
        self._hello: codec.ClientHello | None = None
        self._requested: codec.CertificateRequest | None = None

    def start(self, quic_parameters: bytes) -> None:
        """Sends the ClientHello. ``quic_parameters`` is opaque: the packet layer's own encoding."""
        if self.state is not TlsState.START:
            raise LocalProtocolError("a handshake starts once")
        self._quic_parameters = quic_parameters
        for group in self.settings.shares:
            self._begin_exchange(group)
        if self.settings.private_extension is not None:
            self._private_key = MlKem768().generate(self._rng)
        self._send_hello(cookie=None)
        self.state = TlsState.SERVER_HELLO

    def _begin_exchange(self, group: GroupId) -> None:
        if self._classical is None:
            self._classical = X25519Key.generate(self._rng)
        self._exchanges[group] = GROUPS[group].begin(self._rng, self._classical)

    def _send_hello(self, cookie: bytes | None) -> None:
        settings = self.settings
        shares = tuple((int(group), each.share) for group, each in self._exchanges.items())
        extensions: list[codec.Extension] = [
            (ExtensionType.SUPPORTED_GROUPS, codec.write_u16_list(settings.groups)),
            (ExtensionType.KEY_SHARE, codec.write_client_shares(shares)),
            (ExtensionType.SUPPORTED_VERSIONS, codec.write_u16_list((codec.TLS_1_3,), 1)),
            (ExtensionType.SIGNATURE_ALGORITHMS, codec.write_u16_list(READABLE_SCHEMES)),
            (
                ExtensionType.ALPN,
                codec.write_alpn(tuple(name.encode() for name in settings.alpn)),
            ),
            (ExtensionType.QUIC_TRANSPORT_PARAMETERS, self._quic_parameters),
        ]
        if self._private_key is not None:
            assert settings.private_extension is not None
            body = private_ext.encode_client_body(self._private_key.encapsulation_key)
            extensions.append((settings.private_extension, body))
        if cookie is not None:
            extensions.append((ExtensionType.COOKIE, codec.write_cookie(cookie)))
        self._hello = codec.ClientHello(
            self.client_random, b"", tuple(settings.suites), tuple(extensions)
        )
        self._send(Level.INITIAL, self._hello.encode())

    @property
    def _offered(self) -> frozenset[int]:
        assert self._hello is not None
        return frozenset(kind for kind, _ in self._hello.extensions)

    def _handle(self, kind: HandshakeType, message: bytes) -> None:
        match self.state:
            case TlsState.SERVER_HELLO:
                self._handle_server_hello(message)
            case TlsState.ENCRYPTED_EXTENSIONS:
                self._handle_encrypted_extensions(message)
            case TlsState.CERTIFICATE_OR_REQUEST if kind is HandshakeType.CERTIFICATE_REQUEST:
                self._handle_certificate_request(message)
            case TlsState.CERTIFICATE_OR_REQUEST | TlsState.CERTIFICATE:
                self._receive_certificate(message)
                self.state = TlsState.CERTIFICATE_VERIFY
            case TlsState.CERTIFICATE_VERIFY:
                self._receive_certificate_verify(message)
                self.state = TlsState.FINISHED
            case TlsState.FINISHED:
                self._handle_finished(message)
            case _:
                codec.NewSessionTicket.decode(message)  # checked, dropped: nothing resumes [LQ-16]

    # ---- ServerHello -----------------------------------------------------------------------------

    def _handle_server_hello(self, message: bytes) -> None:
        hello = codec.ServerHello.decode(message)
        if hello.session_id:
            raise TlsAlert(AlertDescription.ILLEGAL_PARAMETER, "session id that was not sent")
        version = codec.find_extension(hello.extensions, ExtensionType.SUPPORTED_VERSIONS)
        if version is None or codec.read_u16(version, "supported_versions") != codec.TLS_1_3:
            raise TlsAlert(AlertDescription.PROTOCOL_VERSION, "the server does not speak TLS 1.3")
        if hello.cipher_suite not in self.settings.suites or (
            self._suite is not None and hello.cipher_suite != self._suite
        ):
            raise TlsAlert(
                AlertDescription.ILLEGAL_PARAMETER,
                f"cipher suite 0x{hello.cipher_suite:04x} was not offered",
            )
        suite = CipherSuite(hello.cipher_suite)
        if hello.is_retry_request:
            self._handle_retry_request(hello, suite, message)
            return
        allowed = _IN_SERVER_HELLO | {self.settings.private_extension or 0}
        refuse_unlisted(hello.extensions, allowed, self._offered, "ServerHello")
        share_body = codec.find_extension(hello.extensions, ExtensionType.KEY_SHARE)
        if share_body is None:
            raise TlsAlert(AlertDescription.MISSING_EXTENSION, "ServerHello without key_share")
        group, share = codec.read_server_share(share_body)
        exchange = self._exchanges.get(GroupId(group)) if group in set(GroupId) else None
        if exchange is None:
            raise TlsAlert(
                AlertDescription.ILLEGAL_PARAMETER, f"group 0x{group:04x} was not offered a share"
            )
        self._transcript.add(message)
        self._choose_suite(suite)
        secret = exchange.finish(share)
        chosen = GROUPS[GroupId(group)]
        self._group = (chosen.name, chosen.post_quantum)
        if self._private_key is not None:
            secret = self._finish_private(hello, secret, share)
        for each in self._exchanges.values():
            each.wipe()
        self._exchanges.clear()
        self._enter_handshake_keys(secret)
        self.state = TlsState.ENCRYPTED_EXTENSIONS

    def _handle_retry_request(
        self, hello: codec.ServerHello, suite: CipherSuite, message: bytes
    ) -> None:
        """Honoured once, and only when it changes something [LQ-15]."""
        if self._retried:
            raise TlsAlert(AlertDescription.UNEXPECTED_MESSAGE, "a second HelloRetryRequest")
        offered = self._offered | {ExtensionType.COOKIE}
        refuse_unlisted(hello.extensions, _IN_RETRY, offered, "HelloRetryRequest")
        share_body = codec.find_extension(hello.extensions, ExtensionType.KEY_SHARE)
        cookie_body = codec.find_extension(hello.extensions, ExtensionType.COOKIE)
        if share_body is not None:
            group = codec.read_u16(share_body, "key_share")
            if group not in self.settings.groups or group in self._exchanges:
                raise TlsAlert(
                    AlertDescription.ILLEGAL_PARAMETER,
                    f"HelloRetryRequest for group 0x{group:04x}",
                )
            self._exchanges.clear()
            self._begin_exchange(GroupId(group))
        elif cookie_body is None:
            raise TlsAlert(
                AlertDescription.ILLEGAL_PARAMETER, "HelloRetryRequest that changes nothing"
            )
        self._retried = True
        self._suite = suite
        self._transcript.restart_for_retry(hash_name(suite))
        self._transcript.add(message)
        self._send_hello(cookie=codec.read_cookie(cookie_body) if cookie_body else None)

    def _finish_private(self, hello: codec.ServerHello, secret: Secret, share: bytes) -> Secret:
        assert self._private_key is not None and self._classical is not None
        body = codec.find_extension(hello.extensions, self.settings.private_extension or 0)
        ciphertext = private_ext.decode_server_body(body) if body is not None else None
        if ciphertext is None:
            raise TlsAlert(
                AlertDescription.MISSING_EXTENSION, "the server left the private extension out"
            )
        key = self._private_key
        combined = private_ext.combine(
            secret.reveal(),
            key.decapsulate(ciphertext),
            self._classical.public,
            share,
            key.encapsulation_key,
            ciphertext,
        )
        secret.wipe()
        key.wipe()
        self._private_key = None
        self._group = (private_ext.NAME, True)
        return combined

    # ---- the server's encrypted flight -----------------------------------------------------------

    def _handle_encrypted_extensions(self, message: bytes) -> None:
        extensions = codec.EncryptedExtensions.decode(message).extensions
        refuse_unlisted(extensions, _IN_ENCRYPTED, self._offered, "EncryptedExtensions")
        body = codec.find_extension(extensions, ExtensionType.ALPN)
        names = codec.read_alpn(body) if body is not None else ()
        offered = [name.encode() for name in self.settings.alpn]
        if len(names) != 1 or names[0] not in offered:
            raise TlsAlert(
                AlertDescription.NO_APPLICATION_PROTOCOL,
                "the server did not choose one of the offered protocols",
            )
        self.alpn = names[0].decode()
        self._check_quic_parameters(extensions)
        self._transcript.add(message)
        self.state = TlsState.CERTIFICATE_OR_REQUEST

    def _handle_certificate_request(self, message: bytes) -> None:
        request = codec.CertificateRequest.decode(message)
        if request.context:
            raise TlsAlert(AlertDescription.ILLEGAL_PARAMETER, "request context in a handshake")
        if codec.find_extension(request.extensions, ExtensionType.SIGNATURE_ALGORITHMS) is None:
            raise TlsAlert(
                AlertDescription.MISSING_EXTENSION,
                "CertificateRequest without signature_algorithms",
            )
        self._requested = request
        self._transcript.add(message)
        self.state = TlsState.CERTIFICATE

    def _handle_finished(self, message: bytes) -> None:
        assert self._handshake is not None
        self._receive_finished(message)
        self._application = self._handshake.application(self._transcript.digest())
        if self._requested is not None:
            self._send_certificate(self._credential_for(self._requested), b"")
        self._send_finished()
        self._release_application_keys()
        self._connected()
        self._hello = self._requested = self._classical = None

    def _credential_for(self, request: codec.CertificateRequest) -> CertificateKey:
        schemes = codec.find_extension(request.extensions, ExtensionType.SIGNATURE_ALGORITHMS)
        assert schemes is not None
        return self._choose_credential(schemes)
