"""Handshake patterns as data, and the modifiers that change them.

A pattern is read as in the Noise text: pre-messages above the dots, then messages, ``>`` from the
initiator and ``<`` from the responder.

Spec: crypto §11.1 [CR-15]; Noise rev. 34 §7 and §9; Noise HFS extension.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from wraith.types import Role

_PATTERNS = """
N    <s ... >e,es
K    >s <s ... >e,es,ss
X    <s ... >e,es,s,ss
NN   >e <e,ee
NK   <s ... >e,es <e,ee
NX   >e <e,ee,s,es
XN   >e <e,ee >s,se
XK   <s ... >e,es <e,ee >s,se
XX   >e <e,ee,s,es >s,se
KN   >s ... >e <e,ee,se
KK   >s <s ... >e,es,ss <e,ee,se
KX   >s ... >e <e,ee,se,s,es
IN   >e,s <e,ee,se
IK   <s ... >e,es,s,ss <e,ee,se
IX   >e,s <e,ee,se,s,es
NK1  <s ... >e <e,ee,es
NX1  >e <e,ee,s >es
X1N  >e <e,ee >s <se
X1K  <s ... >e,es <e,ee >s <se
XK1  <s ... >e <e,ee,es >s,se
X1K1 <s ... >e <e,ee,es >s <se
X1X  >e <e,ee,s,es >s <se
XX1  >e <e,ee,s >es,s,se
X1X1 >e <e,ee,s >es,s <se
K1N  >s ... >e <e,ee >se
K1K  >s <s ... >e,es <e,ee >se
KK1  >s <s ... >e <e,ee,se,es
K1K1 >s <s ... >e <e,ee,es >se
K1X  >s ... >e <e,ee,s,es >se
KX1  >s ... >e <e,ee,se,s >es
K1X1 >s ... >e <e,ee,s >se,es
I1N  >e,s <e,ee >se
I1K  <s ... >e,es,s <e,ee >se
IK1  <s ... >e,s <e,ee,se,es
I1K1 <s ... >e,s <e,ee,es >se
I1X  >e,s <e,ee,s,es >se
IX1  >e,s <e,ee,se,s >es
I1X1 >e,s <e,ee,s >se,es
"""

Message = tuple[Role, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Pattern:
    """``pre``: tokens that both sides know beforehand; ``messages`` in order."""

    pre: tuple[Message, ...]
    messages: tuple[Message, ...]
    has_psk: bool = False


@dataclass(frozen=True, slots=True)
class ProtocolName:
    """A parsed protocol name. ``hybrid`` is the part after ``+`` of the DH field, or empty."""

    name: str
    pattern: Pattern
    dh: str
    hybrid: str
    cipher: str
    hash: str


def _line(text: str) -> Message:
    return (Role.INITIATOR if text[0] == ">" else Role.RESPONDER, tuple(text[1:].split(",")))


def _parse(line: str) -> tuple[str, Pattern]:
    name, *parts = line.split()
    dots = parts.index("...") if "..." in parts else -1
    pre = tuple(_line(part) for part in parts[:dots]) if dots >= 0 else ()
    return name, Pattern(pre, tuple(_line(part) for part in parts[dots + 1 :]))


PATTERNS: dict[str, Pattern] = dict(_parse(line) for line in _PATTERNS.split("\n") if line)

_NAME = re.compile(r"Noise_([A-Z][A-Z0-9]*)([a-z0-9+]*)_([^_+]+)(?:\+([^_]+))?_([^_]+)_([^_]+)")


@lru_cache(maxsize=1024)
def parse_protocol_name(name: str) -> ProtocolName:
    """Read a full protocol name, apply its modifiers in order.

    Raises:
        ValueError: not a protocol name, or a pattern or modifier that is not known here.
    """
    match = _NAME.fullmatch(name)
    if match is None or match[1] not in PATTERNS:
        raise ValueError(f"not a known Noise protocol: {name!r}")
    base, modifiers, dh, hybrid, cipher, hash_name = match.groups()
    pattern = PATTERNS[base]
    for modifier in modifiers.split("+") if modifiers else ():
        pattern = _modified(
            pattern, modifier, "kem" if (hybrid or "").startswith("MLKEM") else "dh"
        )
    if ("hfs" in modifiers) != (hybrid is not None):
        raise ValueError(f"{name!r}: hfs and a second key exchange go together")
    return ProtocolName(name, pattern, dh, hybrid or "", cipher, hash_name)


def _modified(pattern: Pattern, modifier: str, hybrid_kind: str) -> Pattern:
    if modifier == "fallback":
        return _fallback(pattern)
    if modifier == "hfs":
        return _hfs(pattern, ("e1", "ekem1") if hybrid_kind == "kem" else ("f", "ff"))
    if re.fullmatch(r"psk[0-9]", modifier):
        return _psk(pattern, int(modifier[3:]))
    raise ValueError(f"unknown Noise modifier {modifier!r}")


def _psk(pattern: Pattern, position: int) -> Pattern:
    """``psk0`` begins the first message, ``pskN`` ends the N-th."""
    index = max(position - 1, 0)
    if index >= len(pattern.messages):
        raise ValueError(f"psk{position}: there is no such message")
    messages = list(pattern.messages)
    sender, tokens = messages[index]
    messages[index] = (sender, ("psk", *tokens) if position == 0 else (*tokens, "psk"))
    return replace(pattern, messages=tuple(messages), has_psk=True)


def _fallback(pattern: Pattern) -> Pattern:
    """The initiator's first message becomes a pre-message; the responder speaks first."""
    first, *rest = pattern.messages
    if any(token not in ("e", "s", "f", "e1") for token in first[1]):
        raise ValueError("fallback needs a first message without a key exchange")
    return replace(pattern, pre=(*pattern.pre, first), messages=tuple(rest))


def _hfs(pattern: Pattern, tokens: tuple[str, str]) -> Pattern:
    """A second ephemeral exchange: its public value after ``e``, its result after ``ee``.

    With a KEM only the initiator has a public value (``e1``); with a second DH both have (``f``).
    """
    public, result = tokens

    def extended(message: Message) -> Message:
        sender, old = message
        new: list[str] = []
        for token in old:
            new.append(token)
            if token == "ee":
                new.append(result)
            elif token == "e" and (public == "f" or sender is Role.INITIATOR):
                new.append(public)
        return sender, tuple(new)

    return replace(
        pattern,
        pre=tuple(extended(message) for message in pattern.pre),
        messages=tuple(extended(message) for message in pattern.messages),
    )
