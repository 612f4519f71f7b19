"""Acceptance tests 2 to 7, 10 and 11 of libp2p-quic section 9: what needs no socket."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519

from wraith.abc import KemSecret
from wraith.crypto.ed25519 import Identity
from wraith.crypto.mlkem import MlKem768
from wraith.errors import DecodeError, InvalidKey
from wraith.libp2p import private_ext
from wraith.libp2p.certificate import VALIDITY_S, host_key_of, make_certificate, verify_certificate
from wraith.libp2p.config import PqPolicy
from wraith.libp2p.peer_id import PeerId
from wraith.libp2p.private_ext import LiteralExtension
from wraith.libp2p.tls import codec
from wraith.libp2p.tls.alerts import AlertDescription, TlsAlert
from wraith.libp2p.tls.codec import ExtensionType, SignatureScheme
from wraith.libp2p.tls.engine import Level
from wraith.libp2p.tls.groups import GROUPS, GroupId
from wraith.testing.quic_link import NOW, TlsPair
from wraith.testing.rng import SeededRng

POST_QUANTUM = (PqPolicy.REQUIRE, PqPolicy.PRIVATE_EXT)


def test_ml_kem_encapsulation() -> None:
    """Test 2: sizes, equal secrets, and implicit rejection of a changed ciphertext."""
    rng = SeededRng(2)
    kem = MlKem768()
    key = kem.generate(rng)
    secret, ciphertext = kem.encapsulate(key.encapsulation_key, rng)
    assert (len(secret), len(ciphertext), len(key.encapsulation_key)) == (32, 1088, 1184)
    assert key.decapsulate(ciphertext) == secret
    changed = bytes((ciphertext[0] ^ 1,)) + ciphertext[1:]
    assert key.decapsulate(changed) != secret
    with pytest.raises(InvalidKey):
        key.decapsulate(ciphertext[:-1])
    with pytest.raises(InvalidKey):
        kem.encapsulate(b"\xff" * 1184, rng)


@pytest.mark.spec("LQ-12")
def test_ml_kem_encapsulation_inside_the_group() -> None:
    """Test 2 in TLS: the shares have exact sizes, ML-KEM first, both ends get the same 64 bytes."""
    rng = SeededRng(3)
    group = GROUPS[GroupId.X25519MLKEM768]
    from wraith.crypto.x25519 import X25519Key

    classical = X25519Key.generate(rng)
    exchange = group.begin(rng, classical)
    share, secret = group.respond(exchange.share, rng)
    assert (len(exchange.share), len(share)) == (1216, 1120)
    assert exchange.share[1184:] == classical.public
    assert exchange.finish(share) == secret
    assert len(secret) == 64
    assert secret.reveal()[32:] == classical.exchange(share[1088:])


@pytest.mark.parametrize("size", [0, 1215, 1217])
def test_ml_kem_encapsulation_refuses_other_share_sizes(size: int) -> None:
    with pytest.raises(InvalidKey):
        GROUPS[GroupId.X25519MLKEM768].respond(bytes(size), SeededRng(4))


@pytest.mark.spec("LQ-31")
def test_tls_extension_encoding() -> None:
    """Test 3: our layout and the literal one, lossless, exact."""
    key, ciphertext = bytes(range(256)) * 4 + bytes(160), bytes(1088)
    assert private_ext.decode_client_body(private_ext.encode_client_body(key)) == key
    assert private_ext.decode_server_body(private_ext.encode_server_body(ciphertext)) == ciphertext
    assert private_ext.encode_client_body(key)[:3] == bytes((1, 0x04, 0xA0))

    for extension in (LiteralExtension(key), LiteralExtension(key, ciphertext)):
        encoded = extension.encode()
        assert encoded[:2] == b"\xff\x01" and encoded[4:6] == b"\x03\x04"
        assert len(encoded) == (2278 if extension.ciphertext else 1190)
        assert LiteralExtension.decode(encoded) == extension
    assert private_ext.decode_client_body(b"\x00") is None  # RFC 5746's renegotiation_info


@pytest.mark.parametrize(
    "body",
    [b"", b"\x01", b"\x02" + private_ext.encode_client_body(bytes(1184))[1:]]
    + [private_ext.encode_client_body(bytes(n)) for n in (0, 1183, 1185)]
    + [private_ext.encode_client_body(bytes(1184)) + b"\x00", b"\x00\x00"],
)
@pytest.mark.spec("LQ-31")
def test_tls_extension_encoding_refuses(body: bytes) -> None:
    with pytest.raises(DecodeError):
        private_ext.decode_client_body(body)


@pytest.mark.spec("LQ-4")
@pytest.mark.parametrize(
    "scheme", [SignatureScheme.ED25519, SignatureScheme.ECDSA_SECP256R1_SHA256]
)
def test_certificate_generation(scheme: SignatureScheme) -> None:
    """Test 4: DER X.509, subject is the node id, 90 days from now, the extension not critical."""
    rng = SeededRng(5)
    identity = Identity.generate(rng)
    credential = make_certificate(identity, rng, NOW, scheme=scheme)
    certificate = x509.load_der_x509_certificate(credential.der)
    peer_id = PeerId.from_public_key(host_key_of(identity))
    assert certificate.subject.rfc4514_string() == f"CN={peer_id}"
    assert certificate.subject == certificate.issuer
    end = datetime.datetime.fromtimestamp(NOW + VALIDITY_S, datetime.UTC)
    assert certificate.not_valid_after_utc == end
    assert VALIDITY_S == 90 * 86400
    extension = certificate.extensions.get_extension_for_oid(
        x509.ObjectIdentifier("1.3.6.1.4.1.53594.1.1")
    )
    assert not extension.critical
    public = certificate.public_key()
    assert isinstance(public, ed25519.Ed25519PublicKey) == (scheme is SignatureScheme.ED25519)
    if isinstance(public, ed25519.Ed25519PublicKey):
        assert public.public_bytes_raw() != identity.public.raw, "the TLS key is not the host key"


@pytest.mark.spec("LQ-5")
def test_certificate_validation() -> None:
    """Test 5: a valid one passes, others get the alert that fits (more in test_certificate)."""
    rng = SeededRng(6)
    identity = Identity.generate(rng)
    credential = make_certificate(identity, rng, NOW)
    assert verify_certificate(credential.der, NOW).host_key == host_key_of(identity)

    def alert_at(der: bytes, when: float) -> AlertDescription:
        with pytest.raises(TlsAlert) as refused:
            verify_certificate(der, when)
        return refused.value.alert

    assert alert_at(credential.der, NOW + VALIDITY_S + 1) is AlertDescription.CERTIFICATE_EXPIRED
    assert alert_at(credential.der, NOW - 3601) is AlertDescription.CERTIFICATE_EXPIRED
    wrongly_signed = credential.der[:-1] + bytes((credential.der[-1] ^ 1,))
    assert alert_at(wrongly_signed, NOW) is AlertDescription.BAD_CERTIFICATE
    verify_certificate(credential.der, NOW + VALIDITY_S - 1)


@pytest.mark.spec("LQ-8")
def test_peer_id_certificate_mapping() -> None:
    """Test 6: certificate -> host key -> PeerId; rotation keeps it, another identity changes it."""
    rng = SeededRng(7)
    identity, other = Identity.generate(rng), Identity.generate(rng)
    first, second = (make_certificate(identity, rng, NOW) for _ in range(2))
    assert first.der != second.der
    peer_id = verify_certificate(first.der, NOW).peer_id
    assert verify_certificate(second.der, NOW).peer_id == peer_id
    assert str(peer_id).startswith("12D3KooW") and len(str(peer_id)) == 52
    assert PeerId.parse(str(peer_id)) == peer_id
    assert verify_certificate(make_certificate(other, rng, NOW).der, NOW).peer_id != peer_id
    verify_certificate(first.der, NOW, expected_peer=peer_id)
    with pytest.raises(TlsAlert, match="belongs to"):
        verify_certificate(make_certificate(other, rng, NOW).der, NOW, expected_peer=peer_id)


@pytest.mark.spec("LQ-33")
def test_hybrid_secret_derivation() -> None:
    """Test 7: 32 bytes, deterministic, and every single input matters."""
    parts = [bytes((i,)) * n for i, n in enumerate((32, 32, 32, 32, 1184, 1088))]
    base = private_ext.combine(*parts)
    assert len(base) == 32 and private_ext.combine(*parts) == base
    for index, part in enumerate(parts):
        changed = [*parts]
        changed[index] = bytes((part[0] ^ 1,)) + part[1:]
        assert private_ext.combine(*changed) != base, f"input {index} does not matter"
        with pytest.raises(InvalidKey):
            private_ext.combine(*[*parts[:index], part + b"\x00", *parts[index + 1 :]])


@pytest.mark.parametrize("policy", POST_QUANTUM)
@pytest.mark.spec("LQ-18")
def test_forward_secrecy_verification(policy: PqPolicy) -> None:
    """Test 10: connections share no secret, long-term keys do not help, keys are dropped."""
    rng = SeededRng(10)
    first = TlsPair(policy, rng=rng).run()
    second = TlsPair(policy, rng=rng).run()
    assert len(set(first.secrets["client"])) == 4
    assert not set(first.secrets["client"]) & set(second.secrets["client"])
    assert set(first.secrets["client"]) == set(first.secrets["server"])

    # Whoever holds both host keys, both TLS keys and the recording has no share key: with the same
    # long-term keys and other ephemerals the secrets differ.
    def same_certificate(pair: TlsPair) -> TlsPair:
        own = replace(pair.client.settings, credentials=(first.client_credential,))
        other = replace(pair.server.settings, credentials=(first.server_credential,))
        pair.client.settings, pair.server.settings = own, other
        return pair

    third = same_certificate(TlsPair(policy, seed="other ephemerals")).run()
    assert not set(first.secrets["client"]) & set(third.secrets["client"])

    for engine in (first.client, first.server):
        assert engine.take_secrets() == [], "secrets are handed out once"


@pytest.mark.parametrize("policy", POST_QUANTUM)
def test_quantum_resistance_verification(policy: PqPolicy) -> None:
    """Test 11: key and ciphertext cross the wire, and one flipped bit of either breaks Finished."""
    pair = TlsPair(policy).run()
    assert pair.client.negotiated.post_quantum and pair.server.negotiated.post_quantum
    hello = codec.ClientHello.decode(pair.messages_of("client")[0])
    answer = codec.ServerHello.decode(pair.messages_of("server")[0])
    key, ciphertext = _post_quantum_parts(policy, hello, answer)
    assert (len(key), len(ciphertext)) == (1184, 1088)

    for sender, part in (("client", key), ("server", ciphertext)):
        tampered = TlsPair(policy)
        position = pair.messages_of(sender)[0].index(part)

        def flip(
            who: str, level: int, message: bytes, at: int = position, by: str = sender
        ) -> bytes:
            if who != by or message[0] not in (1, 2):
                return message
            return message[:at] + bytes((message[at] ^ 1,)) + message[at + 1 :]

        tampered.tap = flip
        with pytest.raises(TlsAlert):
            tampered.run()
        assert not tampered.client.is_connected or not tampered.server.is_connected


class OtherDecapsulation:
    """A KEM key that shows the same encapsulation key and gets another secret out."""

    def __init__(self, real: KemSecret) -> None:
        self._real = real
        self.encapsulation_key = real.encapsulation_key

    def decapsulate(self, ciphertext: bytes) -> bytes:
        secret = self._real.decapsulate(ciphertext)
        return bytes((secret[0] ^ 1,)) + secret[1:]

    def wipe(self) -> None:
        self._real.wipe()


@pytest.mark.parametrize("policy", POST_QUANTUM)
@pytest.mark.parametrize("other", [False, True])
@pytest.mark.spec("LQ-18")
def test_quantum_resistance_verification_with_an_equal_transcript(
    policy: PqPolicy, other: bool
) -> None:
    """Test 11 without touching the wire: both ends see the same messages, one ML-KEM secret differs
    in one bit, and the client cannot open what the server says. A secret that was thrown away
    would let it.
    """
    pair = TlsPair(policy)
    pair.client.start(b"client transport parameters")
    holder: Any = pair.client
    if policy is PqPolicy.REQUIRE:
        holder = holder._exchanges[GroupId.X25519MLKEM768]
    name = "_private_key" if policy is PqPolicy.PRIVATE_EXT else "_kem"
    if other:
        setattr(holder, name, OtherDecapsulation(getattr(holder, name)))
    ((_, hello),) = pair.client.take_output()
    pair.server.receive(Level.INITIAL, hello)
    while pair.server.advance():
        pass
    pair.server.answer(b"server transport parameters")
    flight = pair.server.take_output()
    secrets = [each.secret.reveal() for each in pair.server.take_secrets()]

    def read() -> None:
        for level, message in flight:
            pair.client.receive(level, message)
            while pair.client.advance():
                pass

    if other:
        with pytest.raises(TlsAlert, match=r"Finished|CertificateVerify|signature") as refused:
            read()
        assert refused.value.alert is AlertDescription.DECRYPT_ERROR
        assert not pair.client.is_connected
        return
    read()
    assert pair.client.is_connected
    derived = [each.secret.reveal() for each in pair.client.take_secrets()]
    assert set(secrets) <= set(derived)


def _post_quantum_parts(
    policy: PqPolicy, hello: codec.ClientHello, answer: codec.ServerHello
) -> tuple[bytes, bytes]:
    if policy is PqPolicy.PRIVATE_EXT:
        bodies = (
            codec.find_extension(hello.extensions, private_ext.DEFAULT_CODE_POINT),
            codec.find_extension(answer.extensions, private_ext.DEFAULT_CODE_POINT),
        )
        assert bodies[0] is not None and bodies[1] is not None
        return bodies[0][3:], bodies[1][3:]
    offered = codec.find_extension(hello.extensions, ExtensionType.KEY_SHARE)
    chosen = codec.find_extension(answer.extensions, ExtensionType.KEY_SHARE)
    assert offered is not None and chosen is not None
    shares = dict(codec.read_client_shares(offered))
    return shares[GroupId.X25519MLKEM768][:1184], codec.read_server_share(chosen)[1][:1088]
