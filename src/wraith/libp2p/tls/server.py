"""The server's side of the handshake. See :mod:`wraith.libp2p.tls.engine` for how to drive it.

The client is authenticated before any application key is released: this server never sends data to
somebody it does not know yet [LQ-17].

Spec: libp2p-quic section 3.5; RFC 8446 §4.1 and appendix A.2.
"""

from __future__ import annotations

from typing import ClassVar

from wraith.abc import Rng
from wraith.crypto.mlkem import MlKem768
from wraith.crypto.secret import Secret
from wraith.errors import InvalidKey, LocalProtocolError
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
)
from wraith.libp2p.tls.groups import GROUPS, GroupId
from wraith.libp2p.tls.schedule import hash_name

_MAY_CHANGE_AFTER_RETRY = frozenset(
    {
        ExtensionType.KEY_SHARE,
        ExtensionType.COOKIE,
        ExtensionType.EARLY_DATA,
        ExtensionType.PRE_SHARED_KEY,
        ExtensionType.PADDING,
    }
)
HINT_PRIVATE_HERE = "this host runs `--policy private`; its peers must be told the same"
HINT_PREFER = "`--policy prefer` (PqPolicy.PREFER) also accepts classical peers"


class TlsServer(TlsEngine):
    """Waits for a ClientHello; :meth:`answer` sends the whole flight."""

    is_client: ClassVar[bool] = False

    def __init__(self, settings: TlsSettings, rng: Rng, unix_now: float) -> None:
        super().__init__(settings, rng, unix_now)
        self.state = TlsState.CLIENT_HELLO
        self._hello: codec.ClientHello | None = None
        self._chosen: tuple[CipherSuite, GroupId, bytes, CertificateKey] | None = None
        self._private_ek: bytes | None = None

    def _handle(self, kind: HandshakeType, message: bytes) -> None:
        match self.state:
            case TlsState.CLIENT_HELLO:
                self._handle_client_hello(message)
            case TlsState.CERTIFICATE:
                self._receive_certificate(message)
                self.state = TlsState.CERTIFICATE_VERIFY
            case TlsState.CERTIFICATE_VERIFY:
                self._receive_certificate_verify(message)
                self.state = TlsState.FINISHED
            case TlsState.FINISHED:
                self._receive_finished(message)
                self._release_application_keys()
                self._connected()
                self._hello = None
            case _:
                raise TlsAlert(
                    AlertDescription.UNEXPECTED_MESSAGE, f"{kind.name.lower()} after the handshake"
                )

    # ---- ClientHello -----------------------------------------------------------------------------

    def _handle_client_hello(self, message: bytes) -> None:
        hello = codec.ClientHello.decode(message)
        if hello.session_id:
            # QUIC has no middlebox compatibility mode (RFC 9001 §8.4).
            raise TlsAlert(AlertDescription.ILLEGAL_PARAMETER, "session id in a QUIC handshake")
        if self._hello is not None:
            self._check_second_hello(self._hello, hello)
        self._hello = hello
        self.client_random = hello.random
        suite = self._check_version_and_suite(hello)
        self._choose_alpn(hello)
        self._check_quic_parameters(hello.extensions)
        self._read_private_extension(hello)
        group, share = self._choose_group(hello)
        schemes = codec.find_extension(hello.extensions, ExtensionType.SIGNATURE_ALGORITHMS)
        if schemes is None:
            raise TlsAlert(
                AlertDescription.MISSING_EXTENSION, "ClientHello without signature_algorithms"
            )
        credential = self._choose_credential(schemes)
        self._transcript.add(message)
        if share is None:
            self._send_retry_request(suite, group)
            return
        self._choose_suite(suite)
        self._chosen = (suite, group, share, credential)
        self.state = TlsState.ANSWER

    def _check_version_and_suite(self, hello: codec.ClientHello) -> CipherSuite:
        versions = codec.find_extension(hello.extensions, ExtensionType.SUPPORTED_VERSIONS)
        if versions is None or codec.TLS_1_3 not in codec.read_u16_list(
            versions, "supported_versions", 1
        ):
            raise TlsAlert(AlertDescription.PROTOCOL_VERSION, "the client does not speak TLS 1.3")
        for suite in self.settings.suites:
            if suite in hello.cipher_suites:
                return suite
        raise TlsAlert(AlertDescription.HANDSHAKE_FAILURE, "no cipher suite in common")

    def _choose_alpn(self, hello: codec.ClientHello) -> None:
        body = codec.find_extension(hello.extensions, ExtensionType.ALPN)
        offered = codec.read_alpn(body) if body is not None else ()
        for name in self.settings.alpn:
            if name.encode() in offered:
                self.alpn = name
                return
        raise TlsAlert(
            AlertDescription.NO_APPLICATION_PROTOCOL,
            f"the client offers none of the protocols {', '.join(self.settings.alpn)}",
            hint=HINT_PRIVATE_HERE if self.settings.private_extension is not None else "",
        )

    def _read_private_extension(self, hello: codec.ClientHello) -> None:
        if self.settings.private_extension is None:
            return  # outside the profile 0xFF01 is RFC 5746's and means nothing in TLS 1.3 [LQ-32]
        body = codec.find_extension(hello.extensions, self.settings.private_extension)
        self._private_ek = private_ext.decode_client_body(body) if body is not None else None
        if self._private_ek is None:
            raise TlsAlert(
                AlertDescription.MISSING_EXTENSION, "the client left the private extension out"
            )

    def _choose_group(self, hello: codec.ClientHello) -> tuple[GroupId, bytes | None]:
        """Our first group that the client supports; its share, or ``None`` to ask for one.

        A client that supports a better group than those it sent shares for is asked again: one
        round trip is worth a post-quantum handshake [LQ-15].
        """
        supported_body = codec.find_extension(hello.extensions, ExtensionType.SUPPORTED_GROUPS)
        shares_body = codec.find_extension(hello.extensions, ExtensionType.KEY_SHARE)
        if supported_body is None or shares_body is None:
            raise TlsAlert(
                AlertDescription.MISSING_EXTENSION, "ClientHello without groups or key_share"
            )
        supported = codec.read_u16_list(supported_body, "supported_groups")
        shares = dict(codec.read_client_shares(shares_body))
        if any(group not in supported for group in shares):
            raise TlsAlert(
                AlertDescription.ILLEGAL_PARAMETER, "key share for a group that is not supported"
            )
        for group in self.settings.groups:
            if group in supported:
                share = shares.get(group)
                if share is None and self._retried:
                    raise TlsAlert(
                        AlertDescription.ILLEGAL_PARAMETER,
                        "the client ignored a HelloRetryRequest",
                    )
                return group, share
        if all(GROUPS[group].post_quantum for group in self.settings.groups):
            raise TlsAlert(
                AlertDescription.HANDSHAKE_FAILURE,
                "the peer offers no post-quantum key exchange",
                hint=HINT_PREFER,
            )
        raise TlsAlert(AlertDescription.HANDSHAKE_FAILURE, "no key exchange group in common")

    def _check_second_hello(self, first: codec.ClientHello, second: codec.ClientHello) -> None:
        """RFC 8446 §4.1.2: only what the retry asked for may change."""

        def fixed(hello: codec.ClientHello) -> list[codec.Extension]:
            return [ext for ext in hello.extensions if ext[0] not in _MAY_CHANGE_AFTER_RETRY]

        if (
            first.random != second.random
            or first.cipher_suites != second.cipher_suites
            or fixed(first) != fixed(second)
        ):
            raise TlsAlert(
                AlertDescription.ILLEGAL_PARAMETER, "the second ClientHello differs from the first"
            )
        body = codec.find_extension(second.extensions, ExtensionType.KEY_SHARE)
        if body is None or len(codec.read_client_shares(body)) != 1:
            raise TlsAlert(
                AlertDescription.ILLEGAL_PARAMETER, "the second ClientHello needs one key share"
            )

    def _send_retry_request(self, suite: CipherSuite, group: GroupId) -> None:
        retry = codec.ServerHello(
            codec.HELLO_RETRY_RANDOM,
            b"",
            suite,
            (
                (ExtensionType.SUPPORTED_VERSIONS, codec.TLS_1_3.to_bytes(2, "big")),
                (ExtensionType.KEY_SHARE, int(group).to_bytes(2, "big")),
            ),
        )
        self._retried = True
        self._suite = suite
        self._transcript.restart_for_retry(hash_name(suite))
        self._send(Level.INITIAL, retry.encode())

    # ---- the server's flight ---------------------------------------------------------------------

    def answer(self, quic_parameters: bytes) -> None:
        """Sends ServerHello to Finished. ``quic_parameters`` is the packet layer's own encoding.

        Raises:
            TlsAlert: ``illegal_parameter`` for a share that is not a valid key.
            LocalProtocolError: no ClientHello is waiting for an answer.
        """
        if self.state is not TlsState.ANSWER or self._chosen is None:
            raise LocalProtocolError("no ClientHello is waiting for an answer")
        suite, group, client_share, credential = self._chosen
        self._chosen = None
        try:
            share, secret = GROUPS[group].respond(client_share, self._rng)
            extensions: list[codec.Extension] = [
                (ExtensionType.SUPPORTED_VERSIONS, codec.TLS_1_3.to_bytes(2, "big")),
                (ExtensionType.KEY_SHARE, codec.write_server_share((group, share))),
            ]
            self._group = (GROUPS[group].name, GROUPS[group].post_quantum)
            if self._private_ek is not None:
                assert self.settings.private_extension is not None
                ciphertext, secret = self._encapsulate_private(secret, client_share, share)
                body = private_ext.encode_server_body(ciphertext)
                extensions.append((self.settings.private_extension, body))
                self._group = (private_ext.NAME, True)
        except InvalidKey as error:
            self._fail(AlertDescription.ILLEGAL_PARAMETER, f"key share: {error}")
        hello = codec.ServerHello(
            self._rng.public_bytes(codec.RANDOM_BYTES), b"", suite, tuple(extensions)
        )
        self._send(Level.INITIAL, hello.encode())
        self._enter_handshake_keys(secret)
        self._send_flight(quic_parameters, credential)

    def _send_flight(self, quic_parameters: bytes, credential: CertificateKey) -> None:
        assert self._handshake is not None and self.alpn is not None
        encrypted = codec.EncryptedExtensions(
            (
                (ExtensionType.ALPN, codec.write_alpn((self.alpn.encode(),))),
                (ExtensionType.QUIC_TRANSPORT_PARAMETERS, quic_parameters),
            )
        )
        self._send(Level.HANDSHAKE, encrypted.encode())
        if self.settings.require_client_certificate:
            schemes = codec.write_u16_list(READABLE_SCHEMES)
            request = codec.CertificateRequest(
                b"", ((ExtensionType.SIGNATURE_ALGORITHMS, schemes),)
            )
            self._send(Level.HANDSHAKE, request.encode())
        self._send_certificate(credential, b"")
        self._send_finished()
        self._application = self._handshake.application(self._transcript.digest())
        self.state = (
            TlsState.CERTIFICATE if self.settings.require_client_certificate else TlsState.FINISHED
        )

    def _encapsulate_private(
        self, secret: Secret, client_share: bytes, server_share: bytes
    ) -> tuple[bytes, Secret]:
        assert self._private_ek is not None
        pq_ss, ciphertext = MlKem768().encapsulate(self._private_ek, self._rng)
        combined = private_ext.combine(
            secret.reveal(), pq_ss, client_share, server_share, self._private_ek, ciphertext
        )
        secret.wipe()
        return ciphertext, combined
