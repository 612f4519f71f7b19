"""X.509 credentials: chains that hold, and each way in which one does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from wraith.errors import CredentialRefused
from wraith.mls import KeyPackageSecrets, MlsGroup, StrictPolicy, X509Credential
from wraith.mls.suites import DEFAULT_SUITE
from wraith.mls.x509 import check_chain
from wraith.testing.mls import LIFETIME, UNIX_NOW
from wraith.testing.rng import SeededRng

DAY = timedelta(days=1)
NOW = datetime.fromtimestamp(UNIX_NOW, UTC)


class Authority:
    """A certificate with its key, which may issue others."""

    name: str
    certificate: x509.Certificate

    def __init__(
        self,
        name: str,
        issuer: Authority | None = None,
        *,
        ca: bool | None = True,
        path_length: int | None = None,
        can_sign: bool = True,
        until: timedelta = DAY,
        critical_unknown: bool = False,
        key: Ed25519PrivateKey | None = None,
    ) -> None:
        seed = SeededRng(f"{name} {issuer.name if issuer else ''}").secret_bytes(32)
        self.name = name
        self.key = key or Ed25519PrivateKey.from_private_bytes(seed)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(self.key.public_key())
            .serial_number(1)
            .not_valid_before(NOW - DAY)
            .not_valid_after(NOW + until)
        )
        if ca is not None:
            constraints = x509.BasicConstraints(ca=ca, path_length=path_length if ca else None)
            builder = builder.add_extension(constraints, critical=True)
        if ca:
            builder = builder.add_extension(
                x509.KeyUsage(
                    digital_signature=not can_sign,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    key_cert_sign=can_sign,
                    crl_sign=False,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
        if critical_unknown:
            unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0")
            builder = builder.add_extension(unknown, critical=True)
        self.certificate = builder.sign(issuer.key if issuer else self.key, None)
        self.der = self.certificate.public_bytes(serialization.Encoding.DER)
        self.public = self.key.public_key().public_bytes_raw()


ROOT = Authority("root")
MIDDLE = Authority("middle", ROOT, path_length=0)
LEAF = Authority("leaf", MIDDLE, ca=None)
FALSE_ROOT = Authority("root", key=Ed25519PrivateKey.from_private_bytes(b"f" * 32))


def check(*chain: Authority, key: bytes | None = None, unix_now: float | None = UNIX_NOW) -> None:
    credential = X509Credential(tuple(one.der for one in chain))
    check_chain(credential, chain[0].public if key is None else key, [ROOT.der], unix_now)


@pytest.mark.spec("ML-39")
def test_a_chain_to_a_trusted_root_holds_with_and_without_the_root() -> None:
    check(LEAF, MIDDLE)
    check(LEAF, MIDDLE, ROOT)
    check(Authority("direct", ROOT, ca=None))


@pytest.mark.spec("ML-39")
@pytest.mark.parametrize(
    ("chain", "word"),
    [
        ((Authority("leaf", Authority("stranger"), ca=None),), "no trusted root"),
        ((LEAF,), "no trusted root"),
        ((LEAF, ROOT), "not signed by the next"),
        ((LEAF, Authority("middle", FALSE_ROOT), ROOT), "not signed"),
        (
            (
                Authority("low", Authority("no ca", ROOT, ca=False), ca=None),
                Authority("no ca", ROOT, ca=False),
            ),
            "not a CA",
        ),
        (
            (
                Authority("low", Authority("bare", ROOT, ca=None), ca=None),
                Authority("bare", ROOT, ca=None),
            ),
            "not a CA",
        ),
        (
            (
                Authority("deep", Authority("under", MIDDLE), ca=None),
                Authority("under", MIDDLE),
                MIDDLE,
            ),
            "not a CA for this length",
        ),
        (
            (
                Authority("low", Authority("mute", ROOT, can_sign=False), ca=None),
                Authority("mute", ROOT, can_sign=False),
            ),
            "may not sign",
        ),
        ((Authority("odd", ROOT, ca=None, critical_unknown=True),), "critical extension"),
        ((Authority("old", ROOT, ca=None, until=-DAY / 2),), "not valid now"),
    ],
    ids=[
        "stranger",
        "link missing",
        "link skipped",
        "other link of the name",
        "issuer is an end entity",
        "issuer without constraints",
        "longer than allowed",
        "issuer may not sign",
        "unknown critical extension",
        "expired",
    ],
)
def test_a_chain_that_does_not_verify(chain: tuple[Authority, ...], word: str) -> None:
    with pytest.raises(CredentialRefused, match=word):
        check(*chain)


def test_a_commit_is_not_judged_by_a_clock() -> None:
    check(Authority("old", ROOT, ca=None, until=-DAY / 2), unix_now=None)


@pytest.mark.spec("ML-39")
def test_a_certificate_of_another_key_and_what_is_no_certificate() -> None:
    with pytest.raises(CredentialRefused, match="another signature key"):
        check(LEAF, MIDDLE, key=ROOT.public)
    for chain in ((), (b"no certificate",), (LEAF.der,) * 9):
        with pytest.raises(CredentialRefused):
            check_chain(X509Credential(chain), LEAF.public, [ROOT.der], UNIX_NOW)


@pytest.mark.spec("ML-39")
def test_a_group_of_certificates() -> None:
    policy = StrictPolicy(x509_roots=(ROOT.der,))
    rng = SeededRng(1)

    def package(who: Authority, *chain: Authority) -> KeyPackageSecrets:
        return KeyPackageSecrets.create(
            DEFAULT_SUITE,
            DEFAULT_SUITE.signer(who.key.private_bytes_raw()),
            X509Credential(tuple(one.der for one in (who, *chain))),
            LIFETIME,
            rng,
        )

    ann = MlsGroup.create(b"room", package(LEAF, MIDDLE), rng, policy=policy)
    bob = package(Authority("bob", ROOT, ca=None))
    made = ann.commit(add=[bob.key_package], unix_now=UNIX_NOW)
    assert made.welcome is not None
    joined = MlsGroup.join(made.welcome, bob, rng, unix_now=UNIX_NOW, policy=policy)
    ann.merge(made.staged, 0.0)
    assert joined.epoch_authenticator() == ann.epoch_authenticator()

    stranger = package(Authority("eve", Authority("stranger"), ca=None))
    with pytest.raises(CredentialRefused, match="no trusted root"):
        ann.commit(add=[stranger.key_package], unix_now=UNIX_NOW)
    with pytest.raises(CredentialRefused, match="no trusted root"):
        MlsGroup.join(made.welcome, bob, rng, unix_now=UNIX_NOW)
