"""Every check of a libp2p certificate, each with the alert that it must cause."""

from __future__ import annotations

import pytest

from wraith.crypto.ed25519 import Identity
from wraith.errors import InvalidSignature
from wraith.libp2p.certificate import (
    CERTIFICATE_BYTES_MAX,
    host_key_of,
    make_certificate,
    verify_certificate,
    verify_host_signature,
)
from wraith.libp2p.peer_id import HostKeyType, HostPublicKey, PeerId
from wraith.libp2p.tls.alerts import AlertDescription, TlsAlert
from wraith.libp2p.tls.codec import SignatureScheme
from wraith.testing.bad_certificates import CertificatePlan, bad_certificate
from wraith.testing.quic_link import NOW
from wraith.testing.rng import SeededRng

BAD = AlertDescription.BAD_CERTIFICATE
EXPIRED = AlertDescription.CERTIFICATE_EXPIRED
UNSUPPORTED = AlertDescription.UNSUPPORTED_CERTIFICATE

REFUSED = {
    "expired": (CertificatePlan(starts=-7200, ends=-1), EXPIRED, "has expired"),
    "not yet valid": (CertificatePlan(starts=10), EXPIRED, "not valid yet"),
    "no libp2p extension": (CertificatePlan(with_extension=False), BAD, "no libp2p extension"),
    "empty extension": (CertificatePlan(extension_value=b""), BAD, "malformed libp2p"),
    "garbage extension": (CertificatePlan(extension_value=b"\x30\x02\x04\x00"), BAD, "malformed"),
    "wrong prefix signed": (CertificatePlan(signature_prefix=b"x"), BAD, "host key that it names"),
    "unknown critical": (CertificatePlan(unknown_critical=True), UNSUPPORTED, "critical extension"),
    "another signer": (CertificatePlan(signed_by_another_key=True), BAD, "does not verify"),
    "issued by another": (CertificatePlan(issuer_differs=True), BAD, "not self-signed"),
    "short RSA key": (CertificatePlan(key="rsa1024"), UNSUPPORTED, "not supported"),
}


def plan_certificate(plan: CertificatePlan) -> bytes:
    rng = SeededRng("plan")
    return bad_certificate(Identity.generate(rng), rng, NOW, plan).der


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.spec("LQ-5")
def test_refuses(name: str) -> None:
    plan, alert, words = REFUSED[name]
    with pytest.raises(TlsAlert, match=words) as refused:
        verify_certificate(plan_certificate(plan), NOW)
    assert refused.value.alert is alert
    assert refused.value.close_code == 0x100 + alert


@pytest.mark.parametrize(
    "plan",
    [
        CertificatePlan(extension_critical=True),
        CertificatePlan(unknown_not_critical=True),
        CertificatePlan(empty_subject=True),
        CertificatePlan(key="p256"),
        CertificatePlan(key="p384"),
        CertificatePlan(key="rsa2048"),
    ],
)
@pytest.mark.spec("LQ-7")
def test_accepts_what_the_specification_allows(plan: CertificatePlan) -> None:
    identity = Identity.generate(SeededRng("plan"))
    verified = verify_certificate(plan_certificate(plan), NOW)
    assert verified.peer_id == PeerId.from_public_key(host_key_of(identity))


def test_every_truncation_is_refused_cleanly() -> None:
    der = plan_certificate(CertificatePlan())
    for n in range(len(der)):
        with pytest.raises(TlsAlert):
            verify_certificate(der[:n], NOW)


def test_every_flipped_byte_is_refused_cleanly() -> None:
    """Every byte is under one of the two signatures, or is one."""
    der = plan_certificate(CertificatePlan())
    for position in range(len(der)):
        changed = bytearray(der)
        changed[position] ^= 0x01
        with pytest.raises(TlsAlert):
            verify_certificate(bytes(changed), NOW)


def test_length_is_bounded_before_parsing() -> None:
    with pytest.raises(TlsAlert, match="too long"):
        verify_certificate(bytes(CERTIFICATE_BYTES_MAX + 1), NOW)


@pytest.mark.parametrize(
    "scheme", [SignatureScheme.ED25519, SignatureScheme.ECDSA_SECP256R1_SHA256]
)
def test_handshake_signature(scheme: SignatureScheme) -> None:
    rng = SeededRng("signature")
    credential = make_certificate(Identity.generate(rng), rng, NOW, scheme=scheme)
    verified = verify_certificate(credential.der, NOW)
    signature = credential.sign(b"message")
    verified.verify(scheme, signature, b"message")
    with pytest.raises(TlsAlert) as wrong:
        verified.verify(scheme, signature, b"massage")
    assert wrong.value.alert is AlertDescription.DECRYPT_ERROR
    with pytest.raises(TlsAlert) as unfit:
        verified.verify(SignatureScheme.RSA_PSS_RSAE_SHA256, signature, b"message")
    assert unfit.value.alert is AlertDescription.ILLEGAL_PARAMETER


def test_a_wiped_key_does_not_sign() -> None:
    rng = SeededRng("wipe")
    credential = make_certificate(Identity.generate(rng), rng, NOW)
    assert "secret" not in repr(credential).lower()
    credential.wipe()
    with pytest.raises(InvalidSignature):
        credential.sign(b"message")


@pytest.mark.parametrize("key_type", list(HostKeyType))
def test_host_signature_of_a_malformed_key_is_invalid(key_type: HostKeyType) -> None:
    with pytest.raises(InvalidSignature):
        verify_host_signature(HostPublicKey(key_type, bytes(33)), bytes(64), b"message")
