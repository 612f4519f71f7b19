"""Key packages: how a client may be added while it is away (RFC 9420 §10).

Spec: mls §6 [ML-16, ML-17].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wraith.abc import Rng
from wraith.crypto.secret import Secret
from wraith.errors import InvalidKeyPackage, InvalidSignature
from wraith.mls.codec import MlsReader, decode, opaque, u16
from wraith.mls.nodes import (
    VERSION_MLS10,
    Capabilities,
    Credential,
    CredentialType,
    Extensions,
    LeafNode,
    LeafNodeSource,
    Lifetime,
    encode_extensions,
    leaf_content,
    read_extensions,
)
from wraith.mls.signing import Signer
from wraith.mls.suites import CipherSuite, suite_by_id

SIGN_LABEL: Final = b"KeyPackageTBS"
LEAF_LABEL: Final = b"LeafNodeTBS"
_REF_LABEL: Final = b"MLS 1.0 KeyPackage Reference"


@dataclass(frozen=True, slots=True)
class KeyPackage:
    """``raw`` is the whole encoding, the signature included."""

    version: int
    cipher_suite: int
    init_key: bytes
    leaf_node: LeafNode
    extensions: Extensions
    signature: bytes
    raw: bytes

    def encode(self) -> bytes:
        return self.raw

    @classmethod
    def read(cls, reader: MlsReader) -> KeyPackage:
        start = reader.offset
        version = reader.u16("key package version")
        cipher_suite = reader.u16("key package cipher_suite")
        init_key = reader.opaque("key package init_key")
        leaf_node = LeafNode.read(reader)
        extensions = read_extensions(reader)
        signature = reader.opaque("key package signature")
        raw = reader.since(start)
        return cls(version, cipher_suite, init_key, leaf_node, extensions, signature, raw)

    @classmethod
    def decode(cls, data: bytes) -> KeyPackage:
        return decode(cls.read, data, "key package")

    @property
    def suite(self) -> CipherSuite:
        """Raises ``UnsupportedSuite``."""
        return suite_by_id(self.cipher_suite)

    def reference(self, suite: CipherSuite) -> bytes:
        """``KeyPackageRef``."""
        return suite.ref_hash(_REF_LABEL, self.raw)

    def check(self, suite: CipherSuite) -> None:
        """The rules of RFC 9420 §10.1 that need no group and no clock. [ML-16]

        Raises:
            InvalidKeyPackage: with the rule.
        """
        if self.version != VERSION_MLS10:
            raise InvalidKeyPackage("version", f"{self.version} is not MLS 1.0")
        if self.cipher_suite != suite.number:
            raise InvalidKeyPackage("suite", f"it is for suite 0x{self.cipher_suite:04x}")
        if self.leaf_node.source is not LeafNodeSource.KEY_PACKAGE:
            raise InvalidKeyPackage("leaf-source", "its leaf was made for another purpose")
        if self.init_key == self.leaf_node.encryption_key:
            raise InvalidKeyPackage("init-key", "the init key is the leaf's encryption key")
        content = self.raw[: len(self.raw) - len(opaque(self.signature))]
        try:
            suite.verify_with_label(
                self.leaf_node.signature_key, SIGN_LABEL, content, self.signature
            )
        except InvalidSignature:
            raise InvalidKeyPackage("signature", "its signature does not verify") from None


def default_capabilities(suite: CipherSuite, credential: Credential) -> Capabilities:
    """The capabilities of this implementation: both kinds of credential, one suite."""
    return Capabilities(
        cipher_suites=(suite.number,),
        credentials=tuple(sorted({CredentialType.BASIC, CredentialType.X509, credential.type})),
    )


class KeyPackageSecrets:
    """A key package with the private keys behind it, kept until a Welcome uses them."""

    __slots__ = ("init_private", "key_package", "leaf_private", "signer")

    def __init__(
        self, key_package: KeyPackage, init_private: Secret, leaf_private: Secret, signer: Signer
    ) -> None:
        self.key_package = key_package
        self.init_private = init_private
        self.leaf_private = leaf_private
        self.signer = signer

    @classmethod
    def create(
        cls,
        suite: CipherSuite,
        signer: Signer,
        credential: Credential,
        lifetime: Lifetime,
        rng: Rng,
        *,
        capabilities: Capabilities | None = None,
        leaf_extensions: Extensions = (),
        extensions: Extensions = (),
    ) -> KeyPackageSecrets:
        """A fresh key package, for one use. [ML-17]

        Args:
            signer: not wiped with this object; it signs in the group later.
        """
        init, leaf = suite.generate_key_pair(rng), suite.generate_key_pair(rng)
        content = leaf_content(
            leaf.public,
            signer.public,
            credential,
            capabilities or default_capabilities(suite, credential),
            LeafNodeSource.KEY_PACKAGE,
            leaf_extensions,
            lifetime=lifetime,
        )
        leaf_raw = content + opaque(suite.sign_with_label(signer, LEAF_LABEL, content))
        package = b"".join(
            (
                u16(VERSION_MLS10),
                u16(suite.number),
                opaque(init.public),
                leaf_raw,
                encode_extensions(extensions),
            )
        )
        raw = package + opaque(suite.sign_with_label(signer, SIGN_LABEL, package))
        return cls(KeyPackage.decode(raw), init.private, leaf.private, signer)

    @classmethod
    def restore(
        cls, raw: bytes, init_private: bytes, leaf_private: bytes, signature_private: bytes
    ) -> KeyPackageSecrets:
        """From stored bytes; the private keys must belong to the package.

        Raises:
            DecodeError, InvalidKey, InvalidKeyPackage.
        """
        package = KeyPackage.decode(raw)
        suite = package.suite
        made = cls(
            package, Secret(init_private), Secret(leaf_private), suite.signer(signature_private)
        )
        publics = (
            suite.hpke.kem.public_of(made.init_private),
            suite.hpke.kem.public_of(made.leaf_private),
            made.signer.public,
        )
        leaf = package.leaf_node
        if publics != (package.init_key, leaf.encryption_key, leaf.signature_key):
            raise InvalidKeyPackage("private-keys", "the private keys belong to another package")
        return made

    def wipe(self) -> None:
        """Once a Welcome was used, or the package expired."""
        self.init_private.wipe()
        self.leaf_private.wipe()
