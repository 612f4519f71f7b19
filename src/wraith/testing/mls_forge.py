"""Messages that a member of a group could make, and an honest one never would.

The product cannot lie; this can. Each function signs and tags what it is given with the member's
real keys, so that the receiver's deeper checks are reached.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from wraith.crypto.secret import Secret
from wraith.mls.channel import frame
from wraith.mls.codec import u16
from wraith.mls.commit import MadeCommit, NewLeaf, make_commit
from wraith.mls.epoch import EpochKeys
from wraith.mls.framing import (
    AuthenticatedContent,
    Content,
    FramedContent,
    Sender,
    SenderType,
    WireFormat,
    sign_content,
)
from wraith.mls.group import MlsGroup
from wraith.mls.key_schedule import confirmed_transcript_hash
from wraith.mls.proposals import Commit, Proposal
from wraith.mls.psk import psk_secret
from wraith.mls.validation import Queued
from wraith.testing.rng import SeededRng


def signed(
    group: MlsGroup,
    content: Content,
    *,
    confirmation_tag: bytes | None = None,
    wire_format: WireFormat = WireFormat.PUBLIC_MESSAGE,
    sender: Sender | None = None,
    epoch: int | None = None,
) -> bytes:
    """``content`` as a message of ``group``'s member, with a good signature and membership tag."""
    state = group.state
    framed = FramedContent(
        group.group_id,
        group.epoch if epoch is None else epoch,
        sender or Sender(SenderType.MEMBER, group.own_leaf),
        b"",
        content,
    )
    signature = sign_content(
        group.suite, wire_format, framed, state.epoch.encoded_context, state.signer
    )
    tag = confirmation_tag
    if tag is None and isinstance(content, Commit):
        tag = bytes(group.suite.hash_bytes)
    made = AuthenticatedContent(wire_format, framed, signature, tag)
    return frame(state.epoch, made, SeededRng(b"forge"))


def made_commit(
    group: MlsGroup, proposals: list[Proposal], *, seed: bytes = b"", force_path: bool = True
) -> MadeCommit:
    """An honest commit of ``proposals``, with everything that its maker knows about it."""
    state = group.state
    me = Sender(SenderType.MEMBER, group.own_leaf)
    leaf = state.epoch.tree.leaf(group.own_leaf)
    assert leaf is not None
    return make_commit(
        group.rules,
        state.epoch,
        [Queued(proposal, me) for proposal in proposals],
        signer=state.signer,
        new_leaf=NewLeaf.like(leaf, state.signer),
        find_psk=state.find_psk,
        rng=SeededRng(b"forge " + seed),
        wire_format=WireFormat.PUBLIC_MESSAGE,
        force_path=force_path,
    )


def forged_commit(
    group: MlsGroup, made: MadeCommit, change: Callable[[Commit], Commit], *, tagged: bool = True
) -> bytes:
    """``made`` with its commit changed, then signed and, with ``tagged``, confirmed anew: whoever
    does not look at what was changed accepts it."""
    state, suite = group.state, group.suite
    commit = made.content.framed.content
    assert isinstance(commit, Commit)
    framed = replace(made.content.framed, content=change(commit))
    wire_format = made.content.wire_format
    signature = sign_content(suite, wire_format, framed, state.epoch.encoded_context, state.signer)
    following = made.staged.epoch
    assert following is not None
    confirmed = confirmed_transcript_hash(
        suite, state.epoch.interim_transcript_hash, u16(wire_format), framed.encode(), signature
    )
    commit_secret = (
        Secret(bytes(suite.hash_bytes)) if made.update is None else made.update.commit_secret
    )
    psk = psk_secret(suite, [(one, state.find_psk(one)) for one in made.applied.psks])
    context = following.context.with_transcript(confirmed)
    keys = EpochKeys.derive(suite, state.epoch.secrets.init, commit_secret, psk, context.encode())
    tag = keys.confirmation_tag(suite, confirmed)
    if not tagged:
        tag = bytes(len(tag))
    content = AuthenticatedContent(wire_format, framed, signature, tag)
    return frame(state.epoch, content, SeededRng(b"forge"))
