"""The key schedule: from a commit's secret to everything an epoch needs (RFC 9420 §8).

::

    init_secret[n-1]   commit_secret
            └──── Extract ┘
                    │  "joiner", GroupContext
              JoinerSecret ──── psk_secret
                          Extract
                             │
                    ┌─ "welcome" ─ WelcomeSecret     (key and nonce of the GroupInfo)
                    └─ "epoch", GroupContext
                         │
                    EpochSecrets: sender data, encryption, exporter, external, confirm,
                                  membership, resumption, authentication, init

Each stage is a type of its own: a Welcome's receiver starts at the second.

Spec: mls §9 [ML-22, ML-23, ML-24].
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from wraith.crypto.secret import Secret
from wraith.errors import LocalProtocolError
from wraith.mls.codec import opaque
from wraith.mls.hpke import HpkeKeyPair
from wraith.mls.suites import CipherSuite

_EXTERNAL_INIT = b"MLS 1.0 external init secret"


def joiner_secret(
    suite: CipherSuite, init_secret: Secret, commit_secret: Secret, context: bytes
) -> Secret:
    """The secret that a Welcome carries. ``context`` is the new epoch's, encoded. [ML-22]"""
    prk = suite.extract(init_secret.reveal(), commit_secret.reveal())
    return Secret(suite.expand_with_label(prk, b"joiner", context, suite.hash_bytes))


@dataclass(frozen=True, slots=True)
class WelcomeSecret:
    """Seals the GroupInfo of a Welcome."""

    suite: CipherSuite
    secret: Secret

    def seal(self, group_info: bytes) -> bytes:
        return self.suite.seal(*self._key_and_nonce(), b"", group_info)

    def open(self, encrypted_group_info: bytes) -> bytes:
        """Raises ``DecryptError``."""
        return self.suite.open(*self._key_and_nonce(), b"", encrypted_group_info)

    def _key_and_nonce(self) -> tuple[bytes, bytes]:
        suite, secret = self.suite, self.secret.reveal()
        return (
            suite.expand_with_label(secret, b"key", b"", suite.key_bytes),
            suite.expand_with_label(secret, b"nonce", b"", suite.nonce_bytes),
        )


def member_secret(suite: CipherSuite, joiner: Secret, psk_secret: Secret) -> Secret:
    """The value between the joiner secret and the epoch secret; without a name in the RFC."""
    return Secret(suite.extract(joiner.reveal(), psk_secret.reveal()))


def welcome_secret(suite: CipherSuite, member: Secret) -> WelcomeSecret:
    return WelcomeSecret(suite, Secret(suite.derive_secret(member.reveal(), b"welcome")))


@dataclass(frozen=True, slots=True)
class EpochSecrets:
    """One epoch's secrets. ``encryption`` belongs to the secret tree, which wipes it as soon as
    it has derived something from it."""

    sender_data: Secret
    encryption: Secret
    exporter: Secret
    external: Secret
    confirmation: Secret
    membership: Secret
    resumption: Secret
    authenticator: Secret
    init: Secret

    @classmethod
    def derive(cls, suite: CipherSuite, member: Secret, context: bytes) -> EpochSecrets:
        """From the member secret and the encoded context of the epoch. [ML-23]"""
        epoch = suite.expand_with_label(member.reveal(), b"epoch", context, suite.hash_bytes)
        return cls.from_epoch_secret(suite, epoch)

    @classmethod
    def from_epoch_secret(cls, suite: CipherSuite, epoch: bytes) -> EpochSecrets:
        def secret(label: bytes) -> Secret:
            return Secret(suite.derive_secret(epoch, label))

        return cls(
            sender_data=secret(b"sender data"),
            encryption=secret(b"encryption"),
            exporter=secret(b"exporter"),
            external=secret(b"external"),
            confirmation=secret(b"confirm"),
            membership=secret(b"membership"),
            resumption=secret(b"resumption"),
            authenticator=secret(b"authentication"),
            init=secret(b"init"),
        )

    def external_key_pair(self, suite: CipherSuite) -> HpkeKeyPair:
        """Whose public half a GroupInfo may carry, for external commits."""
        return suite.derive_key_pair(self.external.reveal())

    def wipe(self) -> None:
        """All but ``encryption``, which goes with the secret tree."""
        for field in fields(self):
            if field.name != "encryption":
                getattr(self, field.name).wipe()


def export(suite: CipherSuite, exporter: Secret, label: bytes, context: bytes, n: int) -> bytes:
    """``MLS-Exporter``: ``n`` bytes under ``label`` and ``context`` (RFC 9420 §8.5). [ML-24]

    Raises:
        LocalProtocolError: more bytes than the suite's KDF gives.
    """
    if not 0 < n <= 255 * suite.hash_bytes:
        raise LocalProtocolError(f"the exporter gives 1 to {255 * suite.hash_bytes} bytes")
    secret = suite.derive_secret(exporter.reveal(), label)
    return suite.expand_with_label(secret, b"exported", suite.hash(context), n)


def confirmed_transcript_hash(
    suite: CipherSuite, interim: bytes, wire_format: bytes, content: bytes, signature: bytes
) -> bytes:
    """After a commit (RFC 9420 §8.2)."""
    return suite.hash(interim + wire_format + content + opaque(signature))


def interim_transcript_hash(suite: CipherSuite, confirmed: bytes, tag: bytes) -> bytes:
    return suite.hash(confirmed + opaque(tag))


def external_init_send(
    suite: CipherSuite, external_public: bytes, ephemeral_ikm: bytes
) -> tuple[bytes, Secret]:
    """``(kem_output, init secret)`` of an external commit (RFC 9420 §8.3)."""
    n = suite.hash_bytes
    kem_output, exported = suite.hpke.send_export(external_public, _EXTERNAL_INIT, n, ephemeral_ikm)
    return kem_output, Secret(exported)


def external_init_receive(suite: CipherSuite, external: HpkeKeyPair, kem_output: bytes) -> Secret:
    """Raises ``InvalidKey``."""
    n = suite.hash_bytes
    return Secret(suite.hpke.receive_export(kem_output, external.private, _EXTERNAL_INIT, n))
