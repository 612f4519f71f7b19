"""Messages of one epoch: signing, sealing, opening, and who may have sent them.

Functions over an ``Epoch``. Opening changes nothing: a ``Step`` comes back, which the caller takes
once it is content with what it got.

Spec: mls §12 [ML-32 to ML-36, ML-63].
"""

from __future__ import annotations

from dataclasses import dataclass

from wraith.abc import Rng
from wraith.crypto.secret import Secret
from wraith.errors import (
    InvalidCommit,
    InvalidProposal,
    LocalProtocolError,
    OwnMessage,
    UnknownEpoch,
    UnknownSender,
    WrongGroup,
)
from wraith.mls.epoch import Epoch
from wraith.mls.framing import (
    AuthenticatedContent,
    Content,
    ContentType,
    FramedContent,
    PrivateMessage,
    PublicMessage,
    Sender,
    SenderType,
    WireFormat,
    content_type,
    encode_content,
    handshake_padding,
    open_private,
    protect_private,
    ratchet_kind,
    sign_content,
)
from wraith.mls.proposals import Add, Commit, Proposal
from wraith.mls.ratchet_tree import RatchetTree
from wraith.mls.secret_tree import SecretTree, Step
from wraith.mls.signing import Signer
from wraith.mls.suites import CipherSuite
from wraith.mls.welcome import MessageBody, encode_message


def sign(
    epoch: Epoch,
    content: Content,
    wire_format: WireFormat,
    authenticated_data: bytes,
    signer: Signer,
) -> AuthenticatedContent:
    """A proposal or application data of one's own. (A commit is signed as it is made.)"""
    sender = Sender(SenderType.MEMBER, epoch.kem.leaf)
    framed = FramedContent(
        epoch.context.group_id, epoch.number, sender, authenticated_data, content
    )
    signature = sign_content(epoch.suite, wire_format, framed, epoch.encoded_context, signer)
    return AuthenticatedContent(wire_format, framed, signature, None)


def external_proposal(
    suite: CipherSuite,
    group_id: bytes,
    epoch: int,
    sender: Sender,
    proposal: Proposal,
    signer: Signer,
) -> bytes:
    """A proposal by somebody who is not in the group: a client that asks to be added, or one of
    the group context's external senders (RFC 9420 §12.1.8). It can be public only."""
    framed = FramedContent(group_id, epoch, sender, b"", proposal)
    signature = sign_content(suite, WireFormat.PUBLIC_MESSAGE, framed, b"", signer)
    content = AuthenticatedContent(WireFormat.PUBLIC_MESSAGE, framed, signature, None)
    return encode_message(PublicMessage(content, None))


def frame(epoch: Epoch, content: AuthenticatedContent, rng: Rng, pad_to: int = 0) -> bytes:
    """The message that carries ``content``. A sealed one uses a generation of the own ratchet up,
    whether or not the message is ever sent. [ML-63]

    Args:
        pad_to: pad application data to a multiple of this; handshake messages have buckets.
    """
    if content.wire_format is WireFormat.PUBLIC_MESSAGE:
        return encode_message(
            PublicMessage.protect(
                epoch.suite, content, epoch.secrets.membership, epoch.encoded_context
            )
        )
    inner = content.framed.content
    kind = content_type(inner)
    n = len(encode_content(inner)) + len(content.auth())
    if kind is not ContentType.APPLICATION:
        padding = handshake_padding(n)
    else:
        padding = -n % pad_to if pad_to else 0
    own, ratchet, tree = epoch.kem.leaf, ratchet_kind(kind), epoch.secret_tree
    step = tree.peek(own, ratchet, tree.next_generation(own, ratchet))
    sealed = protect_private(
        epoch.suite,
        content,
        step,
        epoch.secrets.sender_data,
        rng.public_bytes(4),
        padding,
    )
    tree.take(step)
    return encode_message(sealed)


def unframe(epoch: Epoch, body: MessageBody) -> tuple[AuthenticatedContent, Step | None]:
    """A handshake message of ``epoch`` by somebody else, its signature verified.

    Raises:
        WrongGroup, UnknownEpoch, OwnMessage, DecryptError, InvalidSignature, UnknownSender,
        MessageReplayed, GenerationTooFar, InvalidProposal, InvalidCommit.
    """
    step = None
    if isinstance(body, PublicMessage):
        content = body.content
        _check_place(epoch, content.framed.group_id, content.framed.epoch)
        sender = content.framed.sender
        if isinstance(content.framed.content, bytes):
            raise LocalProtocolError("application data never comes as a PublicMessage")
        if sender.type is SenderType.MEMBER:
            body.check_membership(epoch.suite, epoch.secrets.membership, epoch.encoded_context)
    elif isinstance(body, PrivateMessage):
        _check_place(epoch, body.group_id, body.epoch)
        if body.content_type is ContentType.APPLICATION:
            raise LocalProtocolError("an application message is opened, not staged")
        content, step = open_private(
            epoch.suite, body, epoch.secrets.sender_data, epoch.secret_tree
        )
        sender = content.framed.sender
    else:
        raise LocalProtocolError("this is neither a proposal nor a commit")
    if sender == Sender(SenderType.MEMBER, epoch.kem.leaf):
        raise OwnMessage
    content.verify(epoch.suite, _signature_key(epoch, content), epoch.encoded_context)
    return content, step


def _check_place(epoch: Epoch, group_id: bytes, number: int) -> None:
    if group_id != epoch.context.group_id:
        raise WrongGroup
    if number != epoch.number:
        raise UnknownEpoch(number, epoch.number)


def _signature_key(epoch: Epoch, content: AuthenticatedContent) -> bytes:
    sender, inner = content.framed.sender, content.framed.content
    if sender.type is SenderType.MEMBER:
        leaf = epoch.tree.leaf(sender.index)
        if leaf is None:
            raise UnknownSender
        return leaf.signature_key
    if isinstance(inner, Commit):
        if sender.type is not SenderType.NEW_MEMBER_COMMIT:
            raise UnknownSender("only a member or a joiner commits")
        if inner.path is None:
            raise InvalidCommit("path-missing", "an external commit has a path")
        return inner.path.leaf_node.signature_key
    if sender.type is SenderType.EXTERNAL:
        senders = epoch.context.external_senders
        if sender.index >= len(senders):
            raise UnknownSender
        return senders[sender.index].signature_key
    if sender.type is SenderType.NEW_MEMBER_PROPOSAL and isinstance(inner, Add):
        return inner.key_package.leaf_node.signature_key
    raise InvalidProposal("sender", "a client that is not in the group proposes its Add only")


@dataclass(frozen=True, slots=True)
class Openable:
    """The state that opens application messages, of the present epoch or of a kept one."""

    suite: CipherSuite
    encoded_context: bytes
    tree: RatchetTree
    sender_data: Secret
    secret_tree: SecretTree
    own_leaf: int


def open_application(held: Openable, message: PrivateMessage) -> tuple[bytes, int]:
    """``(data, sender's leaf)``; the message's key is used up.

    Raises:
        DecodeError, DecryptError, InvalidSignature, OwnMessage, UnknownSender, MessageReplayed,
        GenerationTooFar.
    """
    content, step = open_private(held.suite, message, held.sender_data, held.secret_tree)
    sender = content.framed.sender.index
    if sender == held.own_leaf:
        raise OwnMessage
    leaf = held.tree.leaf(sender)
    if leaf is None:
        raise UnknownSender
    content.verify(held.suite, leaf.signature_key, held.encoded_context)
    held.secret_tree.take(step)
    data = content.framed.content
    if not isinstance(data, bytes):
        raise LocalProtocolError("this is not an application message")
    return data, sender
