"""libp2p certificates: build, read, verify, and what a certificate's key signs in TLS.

The only door of this room to the certificate and signature library. Must not trust a subject, a
name or a chain: a certificate binds a TLS key to a host key, and the host key is the identity.

::

    X.509, self-signed by the TLS key, 90 days, subject CN = PeerId (shown, never trusted)
      extension 1.3.6.1.4.1.53594.1.1 (not critical):
        SEQUENCE { publicKey OCTET STRING (protobuf), signature OCTET STRING }
        signature = host key over "libp2p-tls-handshake:" ‖ DER SubjectPublicKeyInfo of the TLS key

Rotating a certificate (90 days, or a restart) keeps the PeerId; the TLS key is never the host key.

Spec: libp2p-quic [LQ-4] to [LQ-8]; libp2p TLS specification; RFC 5280.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature as _Mismatch
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtensionOID, NameOID

from wraith.abc import Rng
from wraith.crypto import ed25519 as identity_key
from wraith.crypto.ed25519 import Identity
from wraith.crypto.kdf import SignaturePrefix
from wraith.errors import DecodeError, InvalidSignature
from wraith.libp2p.peer_id import HostKeyType, HostPublicKey, PeerId
from wraith.libp2p.tls.alerts import AlertDescription, TlsAlert, WrongPeerAlert
from wraith.libp2p.tls.codec import SignatureScheme
from wraith.types import PeerKey

EXTENSION_OID = x509.ObjectIdentifier("1.3.6.1.4.1.53594.1.1")
VALIDITY_S = 90 * 86_400
CLOCK_SKEW_S = 3_600
"""``not before`` lies this far in the past, for peers whose clock is behind."""
CERTIFICATE_BYTES_MAX = 8 * 1024
RSA_BITS = range(2048, 8193)

_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)

# A critical extension that we do not process must refuse the certificate (RFC 5280 §4.2) [LQ-7].
_PROCESSED = frozenset(
    {
        EXTENSION_OID,
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    }
)
_RSA_HASHES = {
    SignatureScheme.RSA_PSS_RSAE_SHA256: hashes.SHA256(),
    SignatureScheme.RSA_PSS_RSAE_SHA384: hashes.SHA384(),
    SignatureScheme.RSA_PSS_RSAE_SHA512: hashes.SHA512(),
}


@asn1.sequence
class _SignedKey:
    public_key: bytes
    signature: bytes


def host_key_of(identity: Identity) -> HostPublicKey:
    """The libp2p form of an identity's public key."""
    return HostPublicKey(HostKeyType.ED25519, identity.public.raw)


def verify_host_signature(key: HostPublicKey, signature: bytes, message: bytes) -> None:
    """Returns if ``signature`` is ``key``'s. Raises :class:`InvalidSignature` for any reason."""
    try:
        match key.key_type:
            case HostKeyType.ED25519:
                identity_key.verify(PeerKey(key.data), signature, message)
            case HostKeyType.SECP256K1:
                point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), key.data)
                point.verify(signature, message, ec.ECDSA(hashes.SHA256()))
            case HostKeyType.ECDSA:
                loaded = serialization.load_der_public_key(key.data)
                if not isinstance(loaded, ec.EllipticCurvePublicKey):
                    raise InvalidSignature
                loaded.verify(signature, message, ec.ECDSA(hashes.SHA256()))
            case HostKeyType.RSA:
                loaded = serialization.load_der_public_key(key.data)
                if not isinstance(loaded, rsa.RSAPublicKey) or loaded.key_size not in RSA_BITS:
                    raise InvalidSignature
                # PKCS#1 v1.5 is what libp2p fixes for RSA host keys; TLS itself uses PSS.
                loaded.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    except (_Mismatch, ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidSignature from None


class CertificateKey:
    """A TLS key with its certificate: the side of it that signs.

    One per endpoint and key type. The private key stays inside; ``wipe`` drops it.
    """

    __slots__ = ("_key", "der", "not_after", "scheme")

    def __init__(
        self,
        key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey,
        scheme: SignatureScheme,
        der: bytes,
        not_after: float,
    ) -> None:
        self._key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | None = key
        self.scheme = scheme
        #: The certificate, DER.
        self.der = der
        #: Unix time at which the certificate ends.
        self.not_after = not_after

    def sign(self, message: bytes) -> bytes:
        """The signature of CertificateVerify under ``scheme``."""
        match self._key:
            case ed25519.Ed25519PrivateKey():
                return self._key.sign(message)
            case ec.EllipticCurvePrivateKey():
                return self._key.sign(message, ec.ECDSA(hashes.SHA256()))
            case _:
                raise InvalidSignature("this key was wiped")

    def pem(self) -> tuple[bytes, bytes]:
        """Certificate and private key in PEM, for a library that insists on loading them itself."""
        assert self._key is not None
        certificate = x509.load_der_x509_certificate(self.der)
        return certificate.public_bytes(serialization.Encoding.PEM), self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def wipe(self) -> None:
        self._key = None

    def __repr__(self) -> str:
        return f"CertificateKey({self.scheme.name}, {len(self.der)} bytes)"


def make_certificate(
    identity: Identity,
    rng: Rng,
    unix_now: float,
    *,
    scheme: SignatureScheme = SignatureScheme.ED25519,
    validity_s: float = VALIDITY_S,
) -> CertificateKey:
    """A fresh TLS key and a certificate that binds it to ``identity`` [LQ-4].

    Args:
        identity: the host key; it signs once and is not kept.
        rng: key material and serial number.
        unix_now: calendar time, seconds; the certificate starts ``CLOCK_SKEW_S`` earlier.
        scheme: Ed25519, or ECDSA P-256 for peers that cannot read Ed25519 certificates.
        validity_s: from ``unix_now``; 90 days.
    """
    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
    digest: hashes.SHA256 | None
    if scheme is SignatureScheme.ED25519:
        key = ed25519.Ed25519PrivateKey.from_private_bytes(rng.secret_bytes(32))
        digest = None
    elif scheme is SignatureScheme.ECDSA_SECP256R1_SHA256:
        # 16 surplus bytes make the bias of the reduction negligible (FIPS 186-5 A.2.1).
        order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
        scalar = int.from_bytes(rng.secret_bytes(48), "big") % (order - 1) + 1
        key = ec.derive_private_key(scalar, ec.SECP256R1())
        digest = hashes.SHA256()
    else:
        raise ValueError(f"certificates are made with Ed25519 or P-256 keys, not {scheme.name}")
    public = key.public_key()
    spki = public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    host_key = host_key_of(identity)
    signature = identity.sign(SignaturePrefix.LIBP2P_TLS.encode() + spki)
    extension = asn1.encode_der(_SignedKey(public_key=host_key.encode(), signature=signature))
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, str(PeerId.from_public_key(host_key)))]
    )
    not_after = unix_now + validity_s
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(int.from_bytes(rng.public_bytes(8), "big") >> 1 or 1)
        .not_valid_before(_utc(unix_now - CLOCK_SKEW_S))
        .not_valid_after(_utc(not_after))
        .add_extension(x509.UnrecognizedExtension(EXTENSION_OID, extension), critical=False)
    )
    certificate = builder.sign(key, digest)
    der = certificate.public_bytes(serialization.Encoding.DER)
    return CertificateKey(key, scheme, der, not_after)


def _utc(unix: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(unix), datetime.UTC)


@dataclass(frozen=True, slots=True)
class VerifiedCertificate:
    """The facts that a certificate proves. One exists only after every check of [LQ-5] passed."""

    peer_id: PeerId
    host_key: HostPublicKey
    der: bytes
    not_after: float
    _public: ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey

    def verify(self, scheme: int, signature: bytes, message: bytes) -> None:
        """Checks a CertificateVerify by this certificate's key.

        Raises:
            TlsAlert: ``illegal_parameter`` for a scheme that does not fit the key,
                ``decrypt_error`` for a wrong signature.
        """
        public = self._public
        try:
            match public:
                case ed25519.Ed25519PublicKey() if scheme == SignatureScheme.ED25519:
                    public.verify(signature, message)
                case ec.EllipticCurvePublicKey() if (
                    scheme == SignatureScheme.ECDSA_SECP256R1_SHA256
                    and isinstance(public.curve, ec.SECP256R1)
                ):
                    public.verify(signature, message, ec.ECDSA(hashes.SHA256()))
                case rsa.RSAPublicKey() if scheme in _RSA_HASHES:
                    digest = _RSA_HASHES[SignatureScheme(scheme)]
                    pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
                    public.verify(signature, message, pss, digest)
                case _:
                    raise TlsAlert(
                        AlertDescription.ILLEGAL_PARAMETER,
                        f"signature scheme 0x{scheme:04x} does not fit the peer's certificate",
                    )
        except _Mismatch:
            raise TlsAlert(
                AlertDescription.DECRYPT_ERROR, "the peer's handshake signature does not verify"
            ) from None


def _refuse(alert: AlertDescription, why: str) -> TlsAlert:
    return TlsAlert(alert, f"the peer's certificate {why}")


def verify_certificate(
    der: bytes, unix_now: float, *, expected_peer: PeerId | None = None
) -> VerifiedCertificate:
    """Every check of the libp2p TLS specification [LQ-5].

    Args:
        der: the end-entity certificate; the caller has made sure that it came alone.
        unix_now: calendar time in seconds.
        expected_peer: who was dialled; ``None`` accepts any identity and reports it.

    Raises:
        TlsAlert: ``bad_certificate`` (malformed, wrong signatures, no or wrong libp2p extension,
            other PeerId), ``certificate_expired`` (also: not yet valid),
            ``unsupported_certificate`` (key type, unknown critical extension).
    """
    bad = AlertDescription.BAD_CERTIFICATE
    unsupported = AlertDescription.UNSUPPORTED_CERTIFICATE
    if len(der) > CERTIFICATE_BYTES_MAX:
        raise _refuse(bad, "is too long")
    try:
        certificate = x509.load_der_x509_certificate(der)
        public = certificate.public_key()
        extensions = list(certificate.extensions)
        not_before = certificate.not_valid_before_utc.timestamp()
        not_after = certificate.not_valid_after_utc.timestamp()
        self_signed = certificate.issuer == certificate.subject
    except _UNREADABLE:
        raise _refuse(bad, "is malformed") from None
    if unix_now < not_before:
        raise _refuse(AlertDescription.CERTIFICATE_EXPIRED, "is not valid yet")
    if unix_now > not_after:
        raise _refuse(AlertDescription.CERTIFICATE_EXPIRED, "has expired")
    if not isinstance(
        public, ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey
    ) or (isinstance(public, rsa.RSAPublicKey) and public.key_size not in RSA_BITS):
        raise _refuse(unsupported, "has a key that is not supported")
    for extension in extensions:
        if extension.critical and extension.oid not in _PROCESSED:
            raise _refuse(
                unsupported, f"has an unknown critical extension {extension.oid.dotted_string}"
            )
    if not self_signed:
        raise _refuse(bad, "is not self-signed")
    _check_self_signature(certificate)
    found = [extension for extension in extensions if extension.oid == EXTENSION_OID]
    if not found or not isinstance(found[0].value, x509.UnrecognizedExtension):
        raise _refuse(bad, "has no libp2p extension")
    spki = public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    host_key = _check_host_binding(found[0].value.value, spki)
    peer_id = PeerId.from_public_key(host_key)
    if expected_peer is not None and peer_id != expected_peer:
        raise WrongPeerAlert(
            bad, f"the peer's certificate belongs to {peer_id}, not to {expected_peer}"
        )
    return VerifiedCertificate(peer_id, host_key, der, not_after, public)


def _check_self_signature(certificate: x509.Certificate) -> None:
    bad = AlertDescription.BAD_CERTIFICATE
    try:
        digest = certificate.signature_hash_algorithm
        if digest is not None and not isinstance(
            digest, hashes.SHA256 | hashes.SHA384 | hashes.SHA512
        ):
            raise _refuse(bad, "is signed with a weak hash")
        certificate.verify_directly_issued_by(certificate)
    except (_Mismatch, ValueError, TypeError, UnsupportedAlgorithm):
        raise _refuse(bad, "has a self-signature that does not verify") from None


def _check_host_binding(extension: bytes, spki: bytes) -> HostPublicKey:
    try:
        signed = asn1.decode_der(_SignedKey, extension)
        host_key = HostPublicKey.decode(signed.public_key)
    except (ValueError, DecodeError):
        raise _refuse(
            AlertDescription.BAD_CERTIFICATE, "has a malformed libp2p extension"
        ) from None
    try:
        verify_host_signature(
            host_key, signed.signature, SignaturePrefix.LIBP2P_TLS.encode() + spki
        )
    except InvalidSignature:
        raise _refuse(
            AlertDescription.BAD_CERTIFICATE, "is not signed by the host key that it names"
        ) from None
    return host_key
