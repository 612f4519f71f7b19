"""Changes any value of the MLS structures a little, and signs again where that reaches deeper.

``mutated`` walks into a frozen value, changes one field of it, and rebuilds what stands around it:
leaves and key packages, whose encoding is part of the value, are encoded and, with ``signer``,
signed anew.
"""

from __future__ import annotations

import random
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any

from wraith.mls.codec import MlsReader, decode, opaque, u16
from wraith.mls.key_package import LEAF_LABEL, SIGN_LABEL, KeyPackage
from wraith.mls.nodes import LeafNode, encode_extensions, leaf_binding, leaf_content
from wraith.mls.signing import Signer
from wraith.mls.suites import CipherSuite


class Mutator:
    """Seeded. Leaves of updates and paths are signed for ``group_id`` and ``leaf``."""

    def __init__(
        self, dice: random.Random, suite: CipherSuite, signer: Signer, group_id: bytes, leaf: int
    ) -> None:
        self.dice = dice
        self.suite = suite
        self.signer = signer
        self.group_id = group_id
        self.leaf = leaf

    def mutated(self, value: Any) -> Any:
        """``value`` with one field changed, of the same type."""
        if isinstance(value, KeyPackage):
            return self._key_package(value)
        if isinstance(value, LeafNode):
            return self._leaf(value)
        if isinstance(value, Enum):
            return self.dice.choice(list(type(value)))
        if is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in fields(value)]
            if not names:
                return value
            name = self.dice.choice(names)
            return replace(value, **{name: self.mutated(getattr(value, name))})
        if isinstance(value, bytes):
            return self.bytes(value)
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, int):
            return max(0, self.dice.choice((value ^ 1, value + 1, value - 1, 0, 255, value << 3)))
        if isinstance(value, tuple):
            return self._tuple(value)
        return value

    def bytes(self, value: bytes) -> bytes:
        dice = self.dice
        deed = dice.randrange(6)
        if not value or deed == 0:
            return value + dice.randbytes(dice.randrange(1, 4))
        if deed == 1:
            return value[: dice.randrange(len(value))]
        if deed == 2:
            return bytes(len(value))
        if deed == 3:
            at = dice.randrange(len(value))
            return value[:at] + dice.randbytes(1) + value[at + 1 :]
        bit = dice.randrange(8 * len(value))
        changed = bytearray(value)
        changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed)

    def _tuple(self, value: tuple[Any, ...]) -> tuple[Any, ...]:
        dice = self.dice
        if not value:
            return value
        at = dice.randrange(len(value))
        deed = dice.randrange(5)
        if deed == 0:
            return value[:at] + value[at + 1 :]
        if deed == 1:
            return (*value, value[at])
        if deed == 2:
            return value[::-1]
        return (*value[:at], self.mutated(value[at]), *value[at + 1 :])

    def _leaf(self, leaf: LeafNode) -> LeafNode:
        dice = self.dice
        parts = {
            name: getattr(leaf, name)
            for name in (
                "encryption_key",
                "signature_key",
                "credential",
                "capabilities",
                "source",
                "extensions",
                "lifetime",
                "parent_hash",
            )
        }
        name = dice.choice([name for name, part in parts.items() if part is not None])
        parts[name] = self.mutated(parts[name])
        content = leaf_content(**parts)
        signature = leaf.signature
        if dice.random() < 0.8:
            bound = leaf_binding(parts["source"], self.group_id, self.leaf)
            signature = self.suite.sign_with_label(self.signer, LEAF_LABEL, content + bound)
        raw = content + opaque(signature)
        return decode(LeafNode.read, raw, "leaf")

    def _key_package(self, package: KeyPackage) -> KeyPackage:
        dice = self.dice
        version, suite, init_key = package.version, package.cipher_suite, package.init_key
        leaf, extensions = package.leaf_node, package.extensions
        match dice.randrange(5):
            case 0:
                version = self.mutated(version)
            case 1:
                suite = self.mutated(suite)
            case 2:
                init_key = self.mutated(init_key)
            case _:
                leaf = self._leaf(leaf)
        content = b"".join(
            (
                u16(version & 0xFFFF),
                u16(suite & 0xFFFF),
                opaque(init_key),
                leaf.encode(),
                encode_extensions(extensions),
            )
        )
        signature = package.signature
        if dice.random() < 0.8:
            signature = self.suite.sign_with_label(self.signer, SIGN_LABEL, content)
        return KeyPackage.read(MlsReader(content + opaque(signature)))
