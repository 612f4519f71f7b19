"""Welcome, GroupInfo, GroupSecrets, and the envelope of every message (RFC 9420 §12.4.3, §6).

Spec: mls §13 [ML-37, ML-38].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from wraith.crypto.secret import Secret
from wraith.errors import DecryptError, InvalidGroupInfo, InvalidSignature, InvalidWelcome
from wraith.mls.codec import MlsReader, decode, opaque, optional, u16, u32, vector
from wraith.mls.context import GroupContext
from wraith.mls.framing import PrivateMessage, PublicMessage, WireFormat
from wraith.mls.key_package import KeyPackage
from wraith.mls.nodes import (
    VERSION_MLS10,
    Extensions,
    ExtensionType,
    encode_extensions,
    find_extension,
    read_extensions,
)
from wraith.mls.psk import PreSharedKeyId, read_psk_id
from wraith.mls.signing import Signer
from wraith.mls.suites import CipherSuite
from wraith.mls.treekem import HpkeCiphertext

_SIGN_LABEL: Final = b"GroupInfoTBS"
_WELCOME_LABEL: Final = b"Welcome"
_N_SECRETS_MAX: Final = 1 << 16
_N_PSKS_MAX: Final = 1 << 10


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """An epoch as one of its members, at leaf ``signer``, describes it."""

    context: GroupContext
    extensions: Extensions
    confirmation_tag: bytes
    signer: int
    signature: bytes

    def encode(self) -> bytes:
        return self._content() + opaque(self.signature)

    @classmethod
    def read(cls, reader: MlsReader) -> GroupInfo:
        return cls(
            GroupContext.read(reader),
            read_extensions(reader),
            reader.opaque("confirmation_tag"),
            reader.u32("signer"),
            reader.opaque("group info signature"),
        )

    @classmethod
    def sign(
        cls,
        suite: CipherSuite,
        context: GroupContext,
        extensions: Extensions,
        confirmation_tag: bytes,
        leaf: int,
        signer: Signer,
    ) -> GroupInfo:
        unsigned = cls(context, extensions, confirmation_tag, leaf, b"")
        signature = suite.sign_with_label(signer, _SIGN_LABEL, unsigned._content())
        return cls(context, extensions, confirmation_tag, leaf, signature)

    def verify(self, suite: CipherSuite, public: bytes) -> None:
        """Raises ``InvalidGroupInfo``. [ML-37]"""
        try:
            suite.verify_with_label(public, _SIGN_LABEL, self._content(), self.signature)
        except InvalidSignature:
            raise InvalidGroupInfo("signature", "its signature does not verify") from None

    @property
    def ratchet_tree(self) -> bytes | None:
        return find_extension(self.extensions, ExtensionType.RATCHET_TREE)

    @property
    def external_pub(self) -> bytes | None:
        """The epoch's external public key, if it is handed out. Raises ``DecodeError``."""
        data = find_extension(self.extensions, ExtensionType.EXTERNAL_PUB)
        if data is None:
            return None
        return decode(lambda reader: reader.opaque("external_pub"), data, "external_pub")

    def _content(self) -> bytes:
        return b"".join(
            (
                self.context.encode(),
                encode_extensions(self.extensions),
                opaque(self.confirmation_tag),
                u32(self.signer),
            )
        )


@dataclass(frozen=True, slots=True)
class GroupSecrets:
    """The secrets that a Welcome seals for one new member. They are never shown."""

    joiner_secret: bytes
    path_secret: bytes | None
    psks: tuple[PreSharedKeyId, ...]

    def __repr__(self) -> str:
        return f"GroupSecrets({len(self.psks)} psks)"

    def encode(self) -> bytes:
        path = None if self.path_secret is None else opaque(self.path_secret)
        return (
            opaque(self.joiner_secret) + optional(path) + vector(psk.encode() for psk in self.psks)
        )

    @classmethod
    def read(cls, reader: MlsReader) -> GroupSecrets:
        joiner = reader.opaque("joiner_secret")
        path = reader.opaque("path_secret") if reader.present("path_secret") else None
        return cls(joiner, path, reader.vector(read_psk_id, "psks", _N_PSKS_MAX))


@dataclass(frozen=True, slots=True)
class EncryptedGroupSecrets:
    """``new_member`` is the reference of the key package that it is for."""

    new_member: bytes
    encrypted_group_secrets: HpkeCiphertext

    def encode(self) -> bytes:
        return opaque(self.new_member) + self.encrypted_group_secrets.encode()

    @classmethod
    def read(cls, reader: MlsReader) -> EncryptedGroupSecrets:
        return cls(reader.opaque("new_member"), HpkeCiphertext.read(reader))


@dataclass(frozen=True, slots=True)
class Welcome:
    cipher_suite: int
    secrets: tuple[EncryptedGroupSecrets, ...]
    encrypted_group_info: bytes

    def encode(self) -> bytes:
        return b"".join(
            (
                u16(self.cipher_suite),
                vector(one.encode() for one in self.secrets),
                opaque(self.encrypted_group_info),
            )
        )

    @classmethod
    def read(cls, reader: MlsReader) -> Welcome:
        return cls(
            reader.u16("welcome cipher_suite"),
            reader.vector(EncryptedGroupSecrets.read, "welcome secrets", _N_SECRETS_MAX),
            reader.opaque("encrypted_group_info"),
        )

    def open_secrets(
        self, suite: CipherSuite, key_package: KeyPackage, init_private: Secret
    ) -> GroupSecrets:
        """The secrets that are for ``key_package``. [ML-38]

        Raises:
            InvalidWelcome: it is for other packages, for another suite, or does not open.
            DecodeError: what it seals is malformed.
        """
        if self.cipher_suite != key_package.cipher_suite:
            raise InvalidWelcome("suite", "it is of another suite than the key package")
        reference = key_package.reference(suite)
        for one in self.secrets:
            if one.new_member == reference:
                break
        else:
            raise InvalidWelcome("recipient", "it is for other key packages")
        sealed = one.encrypted_group_secrets
        try:
            plain = suite.decrypt_with_label(
                init_private,
                _WELCOME_LABEL,
                self.encrypted_group_info,
                sealed.kem_output,
                sealed.ciphertext,
            )
        except DecryptError:
            raise InvalidWelcome("group-secrets", "its secrets do not open") from None
        return decode(GroupSecrets.read, plain, "group secrets")


def seal_group_secrets(
    suite: CipherSuite, key_package: KeyPackage, secrets: GroupSecrets, encrypted_info: bytes
) -> EncryptedGroupSecrets:
    """Raises ``InvalidKey``: the package's init key is none."""
    sealed = suite.encrypt_with_label(
        key_package.init_key, _WELCOME_LABEL, encrypted_info, secrets.encode()
    )
    return EncryptedGroupSecrets(key_package.reference(suite), HpkeCiphertext(*sealed))


MessageBody = PublicMessage | PrivateMessage | Welcome | GroupInfo | KeyPackage

_READERS: Final[dict[WireFormat, Callable[[MlsReader], MessageBody]]] = {
    WireFormat.PUBLIC_MESSAGE: PublicMessage.read,
    WireFormat.PRIVATE_MESSAGE: PrivateMessage.read,
    WireFormat.WELCOME: Welcome.read,
    WireFormat.GROUP_INFO: GroupInfo.read,
    WireFormat.KEY_PACKAGE: KeyPackage.read,
}
_FORMATS: Final = {
    PublicMessage: WireFormat.PUBLIC_MESSAGE,
    PrivateMessage: WireFormat.PRIVATE_MESSAGE,
    Welcome: WireFormat.WELCOME,
    GroupInfo: WireFormat.GROUP_INFO,
    KeyPackage: WireFormat.KEY_PACKAGE,
}


def read_message(reader: MlsReader) -> MessageBody:
    """``MLSMessage``."""
    if reader.u16("message version") != VERSION_MLS10:
        raise reader.refuse("message version")
    number = reader.u16("wire format")
    if not 1 <= number <= 5:
        raise reader.refuse("wire format")
    return _READERS[WireFormat(number)](reader)


def decode_message(data: bytes) -> MessageBody:
    """Raises ``DecodeError``."""
    return decode(read_message, data, "message")


def encode_message(body: MessageBody) -> bytes:
    """``MLSMessage`` around ``body``."""
    return u16(VERSION_MLS10) + u16(_FORMATS[type(body)]) + body.encode()
