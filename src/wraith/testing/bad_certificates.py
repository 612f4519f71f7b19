"""Certificates that the product cannot make: the frankenstein kit for negative tests."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from wraith.abc import Rng
from wraith.crypto.ed25519 import Identity
from wraith.libp2p.certificate import EXTENSION_OID, CertificateKey, host_key_of
from wraith.libp2p.tls.codec import SignatureScheme

UNKNOWN_OID = x509.ObjectIdentifier("1.3.6.1.4.1.53594.99.1")


@asn1.sequence
class _PlannedSignedKey:
    public_key: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificatePlan:
    """What differs from a good certificate. Times are seconds relative to ``unix_now``."""

    starts: float = -3600
    ends: float = 90 * 86_400
    with_extension: bool = True
    extension_critical: bool = False
    extension_value: bytes | None = None
    signature_prefix: bytes = b"libp2p-tls-handshake:"
    unknown_critical: bool = False
    unknown_not_critical: bool = False
    signed_by_another_key: bool = False
    issuer_differs: bool = False
    empty_subject: bool = False
    key: str = "ed25519"


def bad_certificate(
    identity: Identity, rng: Rng, unix_now: float, plan: CertificatePlan
) -> CertificateKey:
    """A certificate for ``identity`` that follows ``plan``; signs like a good one."""
    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    match plan.key:
        case "ed25519":
            key = ed25519.Ed25519PrivateKey.from_private_bytes(rng.secret_bytes(32))
        case "p256":
            key = ec.generate_private_key(ec.SECP256R1())
        case "p384":
            key = ec.generate_private_key(ec.SECP384R1())
        case "rsa1024":
            key = rsa.generate_private_key(65537, 1024)
        case "rsa2048":
            key = rsa.generate_private_key(65537, 2048)
        case other:
            raise ValueError(other)
    public = key.public_key()
    spki = public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    signed = asn1.encode_der(
        _PlannedSignedKey(
            public_key=host_key_of(identity).encode(),
            signature=identity.sign(plan.signature_prefix + spki),
        )
    )
    subject = x509.Name(
        [] if plan.empty_subject else [x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "node")]
    )
    issuer = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "another")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer if plan.issuer_differs else subject)
        .public_key(public)
        .serial_number(7)
        .not_valid_before(_utc(unix_now + plan.starts))
        .not_valid_after(_utc(unix_now + plan.ends))
    )
    if plan.with_extension:
        value = signed if plan.extension_value is None else plan.extension_value
        builder = builder.add_extension(
            x509.UnrecognizedExtension(EXTENSION_OID, value), critical=plan.extension_critical
        )
    if plan.unknown_critical or plan.unknown_not_critical:
        builder = builder.add_extension(
            x509.UnrecognizedExtension(UNKNOWN_OID, b"\x05\x00"), critical=plan.unknown_critical
        )
    signer = key
    if plan.signed_by_another_key:
        signer = ed25519.Ed25519PrivateKey.from_private_bytes(rng.secret_bytes(32))
    digest = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    certificate = builder.sign(signer, digest)
    scheme = (
        SignatureScheme.ED25519
        if isinstance(key, ed25519.Ed25519PrivateKey)
        else SignatureScheme.ECDSA_SECP256R1_SHA256
    )
    kept = (
        key if not isinstance(key, rsa.RSAPrivateKey) else ec.generate_private_key(ec.SECP256R1())
    )
    der = certificate.public_bytes(serialization.Encoding.DER)
    return CertificateKey(kept, scheme, der, unix_now + plan.ends)


def _utc(unix: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(unix), datetime.UTC)
