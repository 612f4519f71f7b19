"""X.509 credentials: does a chain lead from the leaf's signature key to a trusted root?

RFC 9420 §5.3 leaves the rules to the application; these are the strict ones of RFC 5280 that a
chain of end entity, intermediates and root can break: each signature, each issuer's name, each
issuer a CA that may sign certificates within its path length, no unknown critical extension, and,
where a clock is given, each validity. Nothing is fetched, so revocation is not seen.

Spec: mls §6 [ML-39].
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature as _Mismatch
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from wraith.errors import CredentialRefused
from wraith.mls.nodes import X509Credential

_CHAIN_MAX = 8
_UNDERSTOOD = (
    x509.BasicConstraints.oid,
    x509.KeyUsage.oid,
    x509.ExtendedKeyUsage.oid,
    x509.SubjectAlternativeName.oid,
)


def check_chain(
    credential: X509Credential,
    signature_key: bytes,
    roots: Sequence[bytes],
    unix_now: float | None,
) -> None:
    """Return if the chain is good and its first certificate is for ``signature_key``.

    Args:
        roots: trusted certificates, DER. A chain may leave its root out.
        unix_now: judge validities at this time, in Unix seconds; ``None`` does not judge them.

    Raises:
        CredentialRefused: with the reason in a sentence.
    """
    chain = [_load(der) for der in credential.certificates]
    if not 1 <= len(chain) <= _CHAIN_MAX:
        raise CredentialRefused(f"a certificate chain has 1 to {_CHAIN_MAX} certificates")
    if _raw_key(chain[0]) != signature_key:
        raise CredentialRefused("the certificate is for another signature key")
    trusted = [_load(der) for der in roots]
    if chain[-1] not in trusted:
        chain.append(_issuer_among(chain[-1], trusted))
    for depth, certificate in enumerate(chain):
        _check_extensions(certificate)
        if unix_now is not None:
            _check_validity(certificate, unix_now)
        if depth:
            _check_issuer(certificate, n_below=depth - 1)
            _check_signed(chain[depth - 1], certificate)


def subject_of(credential: X509Credential) -> bytes:
    """The subject's name in the first certificate, DER. Raises ``CredentialRefused``."""
    if not credential.certificates:
        raise CredentialRefused("a certificate chain is empty")
    return _load(credential.certificates[0]).subject.public_bytes()


def _load(der: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError:
        raise CredentialRefused("a certificate is malformed") from None


def _raw_key(certificate: x509.Certificate) -> bytes:
    try:
        key = certificate.public_key()
    except Exception:
        # The library has several errors for keys that it does not know or cannot read.
        raise CredentialRefused("a certificate's key is of an unknown kind") from None
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key.public_bytes_raw()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    raise CredentialRefused("the certificate's key is of a kind that no suite uses")


def _issuer_among(
    certificate: x509.Certificate, trusted: Sequence[x509.Certificate]
) -> x509.Certificate:
    for root in trusted:
        if root.subject == certificate.issuer and _is_signed(certificate, root):
            return root
    raise CredentialRefused("the certificate chain leads to no trusted root")


def _is_signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (_Mismatch, ValueError, TypeError):
        return False
    return True


def _check_signed(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    if not _is_signed(certificate, issuer):
        raise CredentialRefused("a certificate of the chain is not signed by the next")


def _check_issuer(certificate: x509.Certificate, n_below: int) -> None:
    try:
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        raise CredentialRefused("an issuer of the chain is not a CA") from None
    if not basic.ca or (basic.path_length is not None and basic.path_length < n_below):
        raise CredentialRefused("an issuer of the chain is not a CA for this length")
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not usage.key_cert_sign:
        raise CredentialRefused("an issuer of the chain may not sign certificates")


def _check_extensions(certificate: x509.Certificate) -> None:
    try:
        extensions = list(certificate.extensions)
    except (ValueError, x509.DuplicateExtension):
        raise CredentialRefused("a certificate's extensions are malformed") from None
    for extension in extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise CredentialRefused("a certificate has a critical extension that is not known")


def _check_validity(certificate: x509.Certificate, unix_now: float) -> None:
    at = datetime.fromtimestamp(unix_now, UTC)
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        raise CredentialRefused("a certificate of the chain is not valid now")
