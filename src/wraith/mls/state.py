"""A group's state as bytes, and back.

The bytes hold secrets in the clear and come in a ``Secret``: whoever stores them keeps them as it
keeps a private key. They begin with a version; what another version wrote is refused by name.
Equal groups give equal bytes, so that a test can see that nothing changed.

A restored group must not run beside the one that was saved, and no state older than the last sent
message may come back: both would use a key twice.

Spec: mls §18 [ML-70, ML-71, ML-72].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Final

from wraith.abc import Rng
from wraith.crypto.secret import Secret
from wraith.errors import DecodeError, GroupLimit, InvalidKey
from wraith.mls import treemath as tm
from wraith.mls.codec import MlsReader, opaque, optional, u8, u16, u32, u64, vector
from wraith.mls.context import GroupContext
from wraith.mls.epoch import Epoch, PastEpoch
from wraith.mls.framing import Sender
from wraith.mls.group import MlsGroup
from wraith.mls.group_state import ClosedGroup, GroupState
from wraith.mls.key_schedule import EpochSecrets
from wraith.mls.limits import DEFAULT_LIMITS, Limits
from wraith.mls.pending import OwnUpdate, Pending
from wraith.mls.proposals import ReInit, read_proposal
from wraith.mls.ratchet_tree import RatchetTree
from wraith.mls.secret_tree import Ratchet, RatchetKind, SecretTree
from wraith.mls.suites import SUITES, CipherSuite
from wraith.mls.treekem import TreeKem
from wraith.mls.validation import Policy, Queued, Rules, StrictPolicy

_MAGIC: Final = b"WMLS"
VERSION: Final = 1
_N_MAX: Final = 1 << 20


def save(group: MlsGroup, now: float) -> Secret:
    """The state of ``group`` at monotonic ``now``. [ML-70]"""
    held = group.state
    pending = held.pending
    parts = [
        _MAGIC,
        u8(VERSION),
        u16(group.suite.number),
        opaque(held.signer.private_bytes()),
        _encode_epoch(held.epoch),
        _encode_closed(held.closed),
        u8(held.public_handshake),
        vector(u64(n) + _secret(psk) for n, psk in sorted(held.resumption.items())),
        vector(opaque(name) + _secret(psk) for name, psk in sorted(held.psks.items())),
        vector(
            opaque(reference) + one.sender.encode() + one.proposal.encode()
            for reference, one in pending.received.items()
        ),
        vector(
            opaque(key)
            + _secret(one.private)
            + optional(None if one.signer is None else opaque(one.signer.private_bytes()))
            for key, one in sorted(pending.own.items())
        ),
        vector(_encode_past(past, now) for past in held.past),
    ]
    return Secret(b"".join(parts))


def restore(
    data: bytes,
    rng: Rng,
    now: float,
    *,
    policy: Policy | None = None,
    limits: Limits = DEFAULT_LIMITS,
    suites: Mapping[int, CipherSuite] = SUITES,
) -> MlsGroup:
    """The group that ``save`` wrote. [ML-71]

    Raises:
        DecodeError: it is no such state, of another version, or its parts do not fit.
        GroupLimit: it is larger than the limits allow.
    """
    if len(data) > limits.state_bytes_max:
        raise GroupLimit(f"a state has at most {limits.state_bytes_max} bytes")
    reader = MlsReader(data)
    if reader.take(len(_MAGIC), "state") != _MAGIC or reader.u8("state version") != VERSION:
        raise DecodeError("state version", len(_MAGIC))
    number = reader.u16("state suite")
    suite = suites.get(number)
    if suite is None:
        raise reader.refuse("state suite")
    try:
        return _read(reader, suite, Rules(suite, policy or StrictPolicy(), limits), rng, now)
    except InvalidKey:
        raise reader.refuse("state keys") from None


def _read(reader: MlsReader, suite: CipherSuite, rules: Rules, rng: Rng, now: float) -> MlsGroup:
    limits = rules.limits
    signer = suite.signer(reader.opaque("state signer"))
    epoch = _read_epoch(reader, suite, limits)
    closed = _read_closed(reader)
    public_handshake = reader.present("state handshake")
    resumption = dict(
        reader.vector(lambda r: (r.u64("resumption epoch"), _read_secret(r)), "resumption", _N_MAX)
    )
    psks = dict(
        reader.vector(lambda r: (r.opaque("psk id"), _read_secret(r)), "psks", limits.psks_max)
    )
    pending = Pending(limits.pending_proposals_max)
    n_waiting = limits.pending_proposals_max
    pending.received = dict(reader.vector(_read_queued, "pending proposals", n_waiting))
    for key, private, signer_raw in reader.vector(_read_own_update, "own updates", n_waiting):
        own_signer = None if signer_raw is None else suite.signer(signer_raw)
        pending.own[key] = OwnUpdate(private, own_signer)
    past = list(
        reader.vector(
            lambda r: _read_past(r, suite, limits, now), "past epochs", limits.past_epochs_max
        )
    )
    reader.expect_end("state")
    if epoch.tree.leaf(epoch.kem.leaf) is None or closed == ClosedGroup.WIPED:
        raise reader.refuse("state leaf")
    if closed is None or isinstance(closed, ReInit):
        epoch.kem.check_private_keys()
    state = GroupState(
        limits, epoch, signer, pending, closed, public_handshake, past, psks, resumption
    )
    return MlsGroup(rules, state, rng)


def _secret(secret: Secret) -> bytes:
    return opaque(b"" if secret.is_wiped else secret.reveal())


def _read_secret(reader: MlsReader) -> Secret:
    secret = Secret(reader.opaque("secret"))
    if not len(secret):
        secret.wipe()
    return secret


def _encode_closed(closed: ReInit | ClosedGroup | None) -> bytes:
    if isinstance(closed, ReInit):
        return u8(2) + closed.encode()
    return u8(0 if closed is None else closed.value)


def _read_closed(reader: MlsReader) -> ReInit | ClosedGroup | None:
    kind = reader.u8("state end")
    if kind == 0:
        return None
    if kind == 2:
        proposal = read_proposal(reader)
        if isinstance(proposal, ReInit):
            return proposal
    elif kind == ClosedGroup.REMOVED.value:
        return ClosedGroup.REMOVED
    raise reader.refuse("state end")


def _encode_epoch(epoch: Epoch) -> bytes:
    leaf_secret, path = epoch.kem.private_keys()
    return b"".join(
        (
            epoch.encoded_context,
            epoch.tree.encode(),
            u32(epoch.kem.leaf),
            _secret(leaf_secret),
            vector(u32(node) + _secret(one) for node, one in sorted(path.items())),
            *(
                _secret(getattr(epoch.secrets, field.name))
                for field in fields(EpochSecrets)
                if field.name != "encryption"
            ),
            _encode_secret_tree(epoch.secret_tree),
            opaque(epoch.interim_transcript_hash),
            opaque(epoch.confirmation_tag),
        )
    )


def _read_epoch(reader: MlsReader, suite: CipherSuite, limits: Limits) -> Epoch:
    start = reader.offset
    context = GroupContext.read(reader)
    encoded = reader.since(start)
    tree = RatchetTree.read(reader, suite, limits.members_max)
    if context.tree_hash != tree.tree_hash():
        raise reader.refuse("state tree")
    leaf = reader.u32("state leaf")
    leaf_secret = _read_secret(reader)
    path = dict(reader.vector(lambda r: (r.u32("path node"), _read_secret(r)), "path secrets", 64))
    if any(node >= tm.n_nodes(tree.width) or tm.is_leaf(node) for node in path):
        raise reader.refuse("path secrets")
    held = {
        field.name: _read_secret(reader)
        for field in fields(EpochSecrets)
        if field.name != "encryption"
    }
    wiped = Secret(b"")
    wiped.wipe()
    secrets = EpochSecrets(encryption=wiped, **held)
    secret_tree = _read_secret_tree(reader, suite, tree.width, limits)
    interim = reader.opaque("interim_transcript_hash")
    tag = reader.opaque("confirmation_tag")
    kem = TreeKem(tree, leaf, leaf_secret, path)
    return Epoch(context, encoded, kem, secrets, secret_tree, interim, tag)


def _encode_secret_tree(tree: SecretTree) -> bytes:
    nodes, ratchets, order = tree.snapshot()
    return b"".join(
        (
            vector(u32(node) + _secret(secret) for node, secret in sorted(nodes.items())),
            vector(
                u32(leaf)
                + u8(kind)
                + _secret(ratchet.secret)
                + u64(ratchet.generation)
                + vector(u32(n) + _secret(kept) for n, kept in ratchet.kept.items())
                for (leaf, kind), ratchet in sorted(ratchets.items())
            ),
            vector(u32(leaf) + u8(kind) + u32(n) for leaf, kind, n in order),
        )
    )


def _read_kind(reader: MlsReader) -> RatchetKind:
    return RatchetKind(reader.present("ratchet kind"))


def _read_secret_tree(
    reader: MlsReader, suite: CipherSuite, width: int, limits: Limits
) -> SecretTree:
    nodes = dict(
        reader.vector(lambda r: (r.u32("tree node"), _read_secret(r)), "tree secrets", _N_MAX)
    )
    ratchets: dict[tuple[int, RatchetKind], Ratchet] = {}

    def read_ratchet(r: MlsReader) -> None:
        place = (r.u32("ratchet leaf"), _read_kind(r))
        secret, generation = _read_secret(r), r.u64("ratchet generation")
        kept = dict(
            r.vector(lambda k: (k.u32("kept generation"), _read_secret(k)), "kept keys", _N_MAX)
        )
        ratchets[place] = Ratchet(secret, generation, kept)

    reader.vector(read_ratchet, "ratchets", _N_MAX)
    order = list(
        reader.vector(
            lambda r: (r.u32("kept leaf"), _read_kind(r), r.u32("kept generation")),
            "kept order",
            _N_MAX,
        )
    )
    listed = {(leaf, kind, n) for (leaf, kind), ratchet in ratchets.items() for n in ratchet.kept}
    if listed != set(order) or len(order) != len(listed):
        raise reader.refuse("kept order")
    return SecretTree.restore(suite, width, limits, nodes, ratchets, order)


def _encode_past(past: PastEpoch, now: float) -> bytes:
    return b"".join(
        (
            opaque(past.encoded_context),
            u64(past.number),
            past.tree.encode(),
            _secret(past.sender_data),
            _encode_secret_tree(past.secret_tree),
            u32(past.own_leaf),
            u64(max(0, round((past.expires - now) * 1000))),
        )
    )


def _read_past(reader: MlsReader, suite: CipherSuite, limits: Limits, now: float) -> PastEpoch:
    context = reader.opaque("past context")
    number = reader.u64("past epoch")
    tree = RatchetTree.read(reader, suite, limits.members_max)
    sender_data = _read_secret(reader)
    secret_tree = _read_secret_tree(reader, suite, tree.width, limits)
    own_leaf = reader.u32("past leaf")
    left_s = min(reader.u64("past left") / 1000, limits.past_epoch_s)
    return PastEpoch(context, number, tree, sender_data, secret_tree, own_leaf, now + left_s)


def _read_queued(reader: MlsReader) -> tuple[bytes, Queued]:
    reference = reader.opaque("proposal reference")
    sender = Sender.read(reader)
    return reference, Queued(read_proposal(reader), sender, reference)


def _read_own_update(reader: MlsReader) -> tuple[bytes, Secret, bytes | None]:
    key = reader.opaque("own update key")
    private = _read_secret(reader)
    return key, private, reader.opaque("signer") if reader.present("signer") else None
