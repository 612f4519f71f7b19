"""Every exception that may leave this package, in one tree.

::

    WraithError
    ├─ LocalProtocolError        a command that is not allowed now      (raised by commands)
    │  └─ PolicyRefused          what was asked for breaks the local policy
    ├─ RemoteProtocolError       the peer broke the rules; .close_code  (after authentication)
    │  ├─ DecodeError            .what (field), .offset
    │  ├─ StateViolation         ├─ LimitExceeded
    ├─ CryptoError               one message for every failure; never which check
    │  ├─ DecryptError  ├─ InvalidKey  ├─ InvalidSignature  └─ NonceExhausted
    ├─ ContentError              ├─ HashMismatch (.file, .chunk)  └─ MissingChunk
    ├─ TransferError             ├─ OfferRefused ├─ Busy ├─ SourceChanged ├─ UnsafePath
    │                            ├─ NoSpace      └─ CodeInvalid
    ├─ TransportError            ├─ ConnectFailed ├─ HandshakeTimeout ├─ PeerKeyMismatch
    │                            ├─ NotAuthorised ├─ PeerClosed (.close_code, .reason)
    │                            │                   └─ PeerFinished   (without error: code 0)
    │                            ├─ ConnectionLost (.reason)  └─ TransportTimeout
    ├─ StreamReset (.stream_code)
    ├─ GroupError                ├─ UnsupportedSuite (.number) ├─ UnknownEpoch (.epoch)
    │  │                         ├─ UnknownPsk ├─ UnknownSender ├─ WrongGroup ├─ OwnMessage
    │  │                         ├─ MessageReplayed ├─ GenerationTooFar ├─ CredentialRefused
    │  │                         └─ StaleStage ├─ GroupClosed ├─ GroupLimit   (of the caller)
    │  └─ GroupInputRefused      .check (a rule of docs/spec/mls.md)
    │                            ├─ InvalidTree ├─ InvalidLeaf ├─ InvalidKeyPackage
    │                            ├─ InvalidProposal ├─ InvalidCommit
    │                            └─ InvalidWelcome ├─ InvalidGroupInfo
    ├─ ConfigError               .key, .value, what is accepted
    └─ MissingExtra              which optional part to install

``HandshakeTimeout`` and ``TransportTimeout`` are a ``TimeoutError`` as well; ``ConnectFailed``,
``NotAuthorised``, ``PeerClosed`` and ``ConnectionLost`` are a ``ConnectionError``. So all of these
are an ``OSError``, with ``errno`` ``None``: a block that means the operating system catches
``WraithError`` before it. Every exception can be pickled and copied.

The docstring of a class is the sentence that a person reads. ``exit_code`` is the command's exit
status and ``code`` the word in ``--json`` events; both are part of the interface and listed in
docs/reference/exit-codes.md. Anything else that leaves a ``receive_*`` call is a defect of ours.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class CloseCode(IntEnum):
    """Codes of a CLOSE frame (docs/spec/frames.md). Application codes start at ``APPLICATION``."""

    NO_ERROR = 0x0000
    INTERNAL_ERROR = 0x0001
    PROTOCOL_ERROR = 0x0002
    CRYPTO_ERROR = 0x0100
    DECRYPTION_FAILED = 0x0101
    AUTHENTICATION_FAILED = 0x0102
    REKEY_FAILED = 0x0103
    FLOW_CONTROL_ERROR = 0x0200
    WINDOW_EXCEEDED = 0x0201
    STREAM_ERROR = 0x0300
    STREAM_LIMIT_EXCEEDED = 0x0301
    INVALID_STREAM_ID = 0x0302
    STREAM_CLOSED = 0x0303
    CONNECTION_ERROR = 0x0400
    IDLE_TIMEOUT = 0x0401
    HANDSHAKE_TIMEOUT = 0x0402
    VERSION_MISMATCH = 0x0403
    TRANSPORT_ERROR = 0x0500
    MTU_EXCEEDED = 0x0501
    APPLICATION = 0x1000


def code_words(code: int) -> str:
    """A code of a close or of a reset, as people read it: ``STREAM_LIMIT_EXCEEDED (0x0301)``."""
    if code >= CloseCode.APPLICATION:
        return f"application code 0x{code:04x}"
    try:
        return f"{CloseCode(code).name} (0x{code:04x})"
    except ValueError:
        return f"unknown code 0x{code:04x}"


def _without_init(
    kind: type[WraithError], args: tuple[object, ...], state: dict[str, object]
) -> WraithError:
    """Makes a pickled exception again: its arguments are those of the message, not of ``kind``."""
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class WraithError(Exception):
    """Something went wrong inside wraith."""

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "failed"
    #: What the user can do next; empty when nothing useful can be said.
    hint: str = ""

    def __init__(self, message: str | None = None, *, hint: str | None = None) -> None:
        super().__init__(message if message is not None else (type(self).__doc__ or "").strip())
        if hint is not None:
            self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        return _without_init, (type(self), self.args, self.__dict__.copy())


class LocalProtocolError(WraithError):
    """This command is not allowed in the present state."""

    code = "not-allowed"


class PolicyRefused(LocalProtocolError):
    """The local security policy refuses this."""

    exit_code = 2
    code = "policy-refused"


class RemoteProtocolError(WraithError):
    """The peer broke the protocol."""

    exit_code = 20
    code = "protocol-violation"

    def __init__(
        self,
        message: str | None = None,
        *,
        close_code: int = CloseCode.PROTOCOL_ERROR,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.close_code = close_code


class DecodeError(RemoteProtocolError):
    """A message from the peer could not be read."""

    code = "decode-error"

    def __init__(self, what: str, offset: int = 0) -> None:
        super().__init__(f"malformed {what} at byte {offset}")
        self.what = what
        self.offset = offset


class StateViolation(RemoteProtocolError):
    """The peer sent something that its state does not allow."""

    code = "state-violation"


class LimitExceeded(RemoteProtocolError):
    """The peer went beyond a limit that it was told."""

    code = "limit-exceeded"


class CryptoError(WraithError):
    """A cryptographic check failed."""

    exit_code = 21
    code = "crypto-error"


class DecryptError(CryptoError):
    """Decryption failed."""

    code = "decrypt-error"


class InvalidKey(CryptoError):
    """A key is malformed or of the wrong kind."""

    code = "invalid-key"


class InvalidSignature(CryptoError):
    """A signature does not verify."""

    code = "invalid-signature"


class NonceExhausted(CryptoError):
    """A key has reached the end of its life."""

    code = "nonce-exhausted"


class ContentError(WraithError):
    """Content does not match its description."""

    exit_code = 15
    code = "content-error"


class HashMismatch(ContentError):
    """A chunk does not have the hash that was announced for it."""

    code = "hash-mismatch"

    def __init__(self, file: str, chunk: int) -> None:
        super().__init__(
            f"{file}: chunk {chunk} does not match its hash",
            hint="run the same command again; only this chunk is fetched anew",
        )
        self.file = file
        self.chunk = chunk


class MissingChunk(ContentError):
    """A chunk that was promised never came."""

    code = "missing-chunk"


class TransferError(WraithError):
    """The transfer failed."""

    code = "transfer-error"


class OfferRefused(TransferError):
    """The receiver refused the offer."""

    exit_code = 16
    code = "offer-refused"


class Busy(TransferError):
    """This code is already being used by another receiver."""

    exit_code = 17
    code = "busy"
    hint = "ask the sender for a code of your own"


class SourceChanged(TransferError):
    """A file changed while it was being sent."""

    exit_code = 3
    code = "source-changed"


class UnsafePath(TransferError):
    """The offer names a path that must not be written here."""

    exit_code = 18
    code = "unsafe-path"


class NoSpace(TransferError):
    """There is not enough free space for this transfer."""

    exit_code = 19
    code = "no-space"


class CodeInvalid(TransferError):
    """This is not a valid code."""

    exit_code = 2
    code = "code-invalid"
    hint = "copy the whole code again; case, spaces and line breaks do not matter"


class TransportError(WraithError):
    """The network failed."""

    exit_code = 10
    code = "transport-error"


class ConnectFailed(TransportError, ConnectionError):
    """The peer could not be reached."""

    exit_code = 11
    code = "connect-failed"


class HandshakeTimeout(TransportError, TimeoutError):
    """Nobody answered the handshake."""

    exit_code = 12
    code = "handshake-timeout"
    hint = "check the clock, the code, and whether a firewall filters UDP"


class PeerKeyMismatch(TransportError):
    """The peer has another key than the one expected."""

    exit_code = 13
    code = "peer-key-mismatch"


class NotAuthorised(TransportError, ConnectionError):
    """The peer did not accept this identity."""

    exit_code = 14
    code = "not-authorised"


class PeerClosed(TransportError, ConnectionError):
    """The peer closed the connection."""

    exit_code = 22
    code = "peer-closed"

    def __init__(self, close_code: int, reason: str = "", *, words: str | None = None) -> None:
        """``words`` stand for the code in the message, where it is not one of ``CloseCode``."""
        text = f"the peer closed the connection with {words or code_words(close_code)}"
        super().__init__(f"{text}: {reason}" if reason else text)
        self.close_code = close_code
        self.reason = reason

    @classmethod
    def of(cls, close_code: int, reason: str = "") -> PeerClosed:
        """The exception for this end: ``PeerFinished`` when the code says no error."""
        if close_code == CloseCode.NO_ERROR:
            return PeerFinished(reason)
        return cls(close_code, reason)


class PeerFinished(PeerClosed):
    """The peer has finished and closed the connection without an error."""

    code = "peer-finished"

    def __init__(self, reason: str = "") -> None:
        super().__init__(CloseCode.NO_ERROR, reason)


class ConnectionLost(TransportError, ConnectionError):
    """The connection was lost."""

    exit_code = 23
    code = "connection-lost"

    def __init__(self, reason: str = "") -> None:
        super().__init__(f"the connection was lost: {reason}" if reason else None)
        self.reason = reason


class TransportTimeout(TransportError, TimeoutError):
    """The peer did not answer in time."""

    exit_code = 24
    code = "timeout"


class StreamReset(WraithError):
    """The peer reset this stream."""

    code = "stream-reset"

    def __init__(self, stream_code: int, *, words: str | None = None) -> None:
        """``words`` stand for the code in the message, where it is not one of ``CloseCode``."""
        super().__init__(f"the peer reset this stream with {words or code_words(stream_code)}")
        self.stream_code = stream_code


class GroupError(WraithError):
    """A group operation failed; the group's state is as it was."""

    code = "group-error"


class UnsupportedSuite(GroupError):
    """This cipher suite is not supported."""

    code = "unsupported-suite"

    def __init__(self, number: int, why: str) -> None:
        super().__init__(f"cipher suite 0x{number:04x} is not supported: {why}")
        self.number = number


class UnknownEpoch(GroupError):
    """The message belongs to an epoch whose keys are not held here."""

    code = "unknown-epoch"

    def __init__(self, epoch: int, present: int) -> None:
        super().__init__(f"the message is of epoch {epoch}, the group is at {present}")
        self.epoch = epoch
        self.present = present


class UnknownPsk(GroupError):
    """A pre-shared key that the message names is not held here."""

    code = "unknown-psk"


class UnknownSender(GroupError):
    """The message names a sender that the group does not have."""

    code = "unknown-sender"


class WrongGroup(GroupError):
    """The message belongs to another group."""

    code = "wrong-group"


class OwnMessage(GroupError):
    """The message is one's own; its keys were used up when it was made."""

    code = "own-message"


class MessageReplayed(GroupError):
    """The key of this message was used or dropped before."""

    code = "message-replayed"


class GenerationTooFar(GroupError):
    """The message is too many generations ahead of the last one from its sender."""

    code = "generation-too-far"


class CredentialRefused(GroupError):
    """The application does not accept this credential."""

    code = "credential-refused"


class StaleStage(GroupError):
    """A staged commit no longer fits the group's present state; stage it again."""

    code = "stale-stage"


class GroupClosed(GroupError):
    """This group has ended for its member: removed from it, or it was replaced by a new one."""

    code = "group-closed"


class GroupLimit(GroupError):
    """The group or the message would be larger than the limits allow."""

    code = "group-limit"


class GroupInputRefused(GroupError):
    """Something that came from outside breaks a rule of the group protocol.

    ``check`` is the rule's name in docs/spec/mls.md.
    """

    code = "group-input-refused"

    def __init__(self, check: str, detail: str = "") -> None:
        text = f"{(type(self).__doc__ or '').splitlines()[0].rstrip('.')} ({check})"
        super().__init__(f"{text}: {detail}" if detail else text)
        self.check = check


class InvalidTree(GroupInputRefused):
    """The ratchet tree is not valid."""

    code = "invalid-tree"


class InvalidLeaf(GroupInputRefused):
    """A member's leaf is not valid."""

    code = "invalid-leaf"


class InvalidKeyPackage(GroupInputRefused):
    """The key package is not valid."""

    code = "invalid-key-package"


class InvalidProposal(GroupInputRefused):
    """The proposal is not valid."""

    code = "invalid-proposal"


class InvalidCommit(GroupInputRefused):
    """The commit is not valid."""

    code = "invalid-commit"


class InvalidWelcome(GroupInputRefused):
    """The Welcome is not valid."""

    code = "invalid-welcome"


class InvalidGroupInfo(GroupInputRefused):
    """The group info is not valid."""

    code = "invalid-group-info"


class ConfigError(WraithError):
    """A setting has a value that is not accepted."""

    exit_code = 2
    code = "config-error"

    def __init__(self, key: str, value: object, accepted: str) -> None:
        super().__init__(f"{key} = {value!r} is not accepted: {accepted}")
        self.key = key
        self.value = value
        self.accepted = accepted


#: What each optional part is made of. Hints name these, which exist and have their owners, and
#: never a name of ours: nobody has registered it, and whoever did would own who follows the hint.
EXTRAS = {
    "qr": ("segno>=1.6.6,<1.7",),
    "ws": ("websockets>=17.4,<18",),
    "quic": ("aioquic>=1.7.2,<1.8",),
    "qh3": ("aioquic>=1.7.2,<1.8", "qh3>=2.1.0,<2.2"),
    "socks": ("python-socks>=3.2.1,<3.3",),
}


def install_command(extra: str) -> str:
    """The line that installs what an optional part needs, wherever wraith itself came from."""
    return " ".join(["pip install", *(f"'{each}'" for each in EXTRAS[extra])])


class MissingExtra(WraithError):
    """An optional part is not installed."""

    exit_code = 2
    code = "missing-extra"

    def __init__(self, extra: str, needed_for: str) -> None:
        super().__init__(
            f"{needed_for} needs an optional part that is not installed",
            hint=install_command(extra),
        )
        self.extra = extra
