"""The secret tree: one key and nonce for each message of each sender (RFC 9420 §9).

Each leaf has two ratchets, for handshake and for application messages. A step is *peeked*: the key
is derived and nothing changes, so that a message that turns out to be bad costs its sender nothing
and the group no key. ``take`` then uses the step up: keys before it are kept for messages that
come late, within bounds, and secrets that could derive used keys are wiped.

Bounds: jumps of ``skip_generations_max`` at most, ``kept_per_sender_max`` keys kept of one ratchet
and ``kept_in_all_max`` of the tree; the oldest go first.

Spec: mls §10 [ML-25, ML-26, ML-27, ML-28].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise

from wraith.crypto.secret import Secret
from wraith.errors import (
    GenerationTooFar,
    LocalProtocolError,
    MessageReplayed,
    NonceExhausted,
)
from wraith.mls import treemath as tm
from wraith.mls.limits import Limits
from wraith.mls.suites import CipherSuite

GENERATION_MAX = 0xFFFFFFFF


class RatchetKind(IntEnum):
    HANDSHAKE = 0
    APPLICATION = 1


_ROOT_LABELS = {RatchetKind.HANDSHAKE: b"handshake", RatchetKind.APPLICATION: b"application"}


@dataclass(slots=True)
class Ratchet:
    """``generation`` is the next one that was not derived; ``kept`` has those skipped before."""

    secret: Secret
    generation: int = 0
    kept: dict[int, Secret] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """One peeked step: ``key`` and ``nonce`` of ``generation`` of a leaf's ratchet."""

    leaf: int
    kind: RatchetKind
    generation: int
    key: bytes = field(repr=False)
    nonce: bytes = field(repr=False)


class SecretTree:
    """The ratchets of one epoch, derived from its encryption secret as they are first used."""

    __slots__ = ("_kept_order", "_limits", "_nodes", "_ratchets", "suite", "width")

    def __init__(
        self, suite: CipherSuite, encryption_secret: Secret, width: int, limits: Limits
    ) -> None:
        self.suite = suite
        self.width = width
        self._limits = limits
        self._nodes: dict[int, Secret] = {tm.root(width): encryption_secret}
        self._ratchets: dict[tuple[int, RatchetKind], Ratchet] = {}
        # Insertion order of all kept keys; a dict, for removal from the middle.
        self._kept_order: dict[tuple[int, RatchetKind, int], None] = {}

    def next_generation(self, leaf: int, kind: RatchetKind) -> int:
        ratchet = self._ratchets.get((leaf, kind))
        return 0 if ratchet is None else ratchet.generation

    def peek(self, leaf: int, kind: RatchetKind, generation: int) -> Step:
        """The key of ``generation``; the tree stays as it is. [ML-25]

        Raises:
            MessageReplayed: it was used, or dropped as too old. [ML-26]
            GenerationTooFar: it is further ahead than the limit. [ML-27]
        """
        ratchet = self._ratchets.get((leaf, kind))
        reached = 0 if ratchet is None else ratchet.generation
        if generation < reached:
            kept = ratchet.kept.get(generation) if ratchet is not None else None
            if kept is None:
                raise MessageReplayed
            return self._step(leaf, kind, generation, kept.reveal())
        if generation - reached > self._limits.skip_generations_max:
            raise GenerationTooFar
        secret = (self._root(leaf, kind) if ratchet is None else ratchet.secret).reveal()
        for passed in range(reached, generation):
            secret = self._next(secret, passed)
        return self._step(leaf, kind, generation, self._key_material(secret, generation))

    def take(self, step: Step) -> None:
        """Use ``step`` up: its generation cannot be had again. [ML-28]

        Raises:
            MessageReplayed: it was used since it was peeked.
        """
        place = (step.leaf, step.kind)
        ratchet = self._ratchets.get(place)
        if ratchet is not None and step.generation < ratchet.generation:
            kept = ratchet.kept.pop(step.generation, None)
            if kept is None:
                raise MessageReplayed
            kept.wipe()
            del self._kept_order[(*place, step.generation)]
            return
        if ratchet is None:
            ratchet = self._open_leaf(step.leaf)[step.kind]
        if step.generation == GENERATION_MAX:
            raise NonceExhausted
        secret = ratchet.secret.reveal()
        for passed in range(ratchet.generation, step.generation):
            # The ratchet's secret of a skipped generation gives its key, nonce and successor: what
            # is kept must give the first two alone.
            self._keep(place, ratchet, passed, self._key_material(secret, passed))
            secret = self._next(secret, passed)
        ratchet.secret.wipe()
        ratchet.secret = Secret(self._next(secret, step.generation))
        ratchet.generation = step.generation + 1

    def wipe(self) -> None:
        for secret in self._nodes.values():
            secret.wipe()
        for ratchet in self._ratchets.values():
            ratchet.secret.wipe()
            for kept in ratchet.kept.values():
                kept.wipe()
        self._nodes.clear()
        self._ratchets.clear()
        self._kept_order.clear()

    @property
    def n_kept(self) -> int:
        """Skipped keys held, of all senders."""
        return len(self._kept_order)

    def snapshot(
        self,
    ) -> tuple[
        dict[int, Secret],
        dict[tuple[int, RatchetKind], Ratchet],
        list[tuple[int, RatchetKind, int]],
    ]:
        """``(nodes, ratchets, order of kept keys)``, for ``state`` alone; borrowed."""
        return self._nodes, self._ratchets, list(self._kept_order)

    @classmethod
    def restore(
        cls,
        suite: CipherSuite,
        width: int,
        limits: Limits,
        nodes: dict[int, Secret],
        ratchets: dict[tuple[int, RatchetKind], Ratchet],
        order: list[tuple[int, RatchetKind, int]],
    ) -> SecretTree:
        tree = cls(suite, Secret(b""), width, limits)
        tree._nodes = nodes
        tree._ratchets = ratchets
        tree._kept_order = dict.fromkeys(order)
        return tree

    # Inside.

    def _keep(
        self, place: tuple[int, RatchetKind], ratchet: Ratchet, generation: int, material: bytes
    ) -> None:
        if len(ratchet.kept) >= self._limits.kept_per_sender_max:
            self._drop((*place, next(iter(ratchet.kept))))
        if len(self._kept_order) >= self._limits.kept_in_all_max:
            self._drop(next(iter(self._kept_order)))
        ratchet.kept[generation] = Secret(material)
        self._kept_order[(*place, generation)] = None

    def _drop(self, which: tuple[int, RatchetKind, int]) -> None:
        leaf, kind, generation = which
        self._ratchets[leaf, kind].kept.pop(generation).wipe()
        del self._kept_order[which]

    def _step(self, leaf: int, kind: RatchetKind, generation: int, material: bytes) -> Step:
        n_key = self.suite.key_bytes
        return Step(leaf, kind, generation, material[:n_key], material[n_key:])

    def _key_material(self, secret: bytes, generation: int) -> bytes:
        suite = self.suite
        return suite.derive_tree_secret(
            secret, b"key", generation, suite.key_bytes
        ) + suite.derive_tree_secret(secret, b"nonce", generation, suite.nonce_bytes)

    def _next(self, secret: bytes, generation: int) -> bytes:
        return self.suite.derive_tree_secret(secret, b"secret", generation, self.suite.hash_bytes)

    def _root(self, leaf: int, kind: RatchetKind) -> Secret:
        """The first secret of a ratchet that was not opened yet."""
        path = self._path_from_known(leaf)
        secret = self._nodes[path[0]].reveal()
        for above, below in pairwise(path):
            secret = self._child(secret, below == tm.left(above))
        return self._ratchet_root(secret, kind)

    def _open_leaf(self, leaf: int) -> dict[RatchetKind, Ratchet]:
        """Derive both ratchets of ``leaf``; what could derive them again is wiped, the secrets of
        the other children on the way are kept."""
        path = self._path_from_known(leaf)
        known = self._nodes.pop(path[0])
        secret = known.reveal()
        known.wipe()
        for above, below in pairwise(path):
            is_left = below == tm.left(above)
            self._nodes[tm.sibling(below)] = Secret(self._child(secret, not is_left))
            secret = self._child(secret, is_left)
        made = {kind: Ratchet(self._ratchet_root(secret, kind)) for kind in RatchetKind}
        for kind, ratchet in made.items():
            self._ratchets[leaf, kind] = ratchet
        return made

    def _path_from_known(self, leaf: int) -> list[int]:
        """From the lowest ancestor whose secret is held, down to ``leaf``."""
        node = tm.node_of(leaf)
        path = [node]
        top = tm.root(self.width)
        while node not in self._nodes:
            if node == top:
                raise LocalProtocolError("these keys were wiped")
            node = tm.parent(node)
            path.append(node)
        path.reverse()
        return path

    def _child(self, secret: bytes, is_left: bool) -> bytes:
        context = b"left" if is_left else b"right"
        return self.suite.expand_with_label(secret, b"tree", context, self.suite.hash_bytes)

    def _ratchet_root(self, secret: bytes, kind: RatchetKind) -> Secret:
        n = self.suite.hash_bytes
        return Secret(self.suite.expand_with_label(secret, _ROOT_LABELS[kind], b"", n))
