"""``HandshakeState``: runs any pattern of ``patterns`` message by message.

It does no I/O, keeps no clock, and draws randomness only through the ``Rng`` it is given. A call
that raises leaves the state as it was, so a forged message costs its sender nothing but our time.

The three things that differ from plain Noise, each switched on by an argument:

- ``hidden``: ``e`` travels as an Elligator representative; the transcript takes the decoded point.
- a KEM (``hfs`` with ``e1``/``ekem1``);
- ``combiner``: what ``ekem1`` mixes is ``combiner(dh_ee, kem_ss)`` instead of ``kem_ss``.

Spec: crypto §11.3 [CR-17, CR-18, CR-19, CR-20, CR-21]; Noise rev. 34 §5.3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol

from wraith.abc import Kem, KemSecret, Rng
from wraith.crypto.elligator2 import HiddenKey, decode
from wraith.crypto.hybrid_kem import combine
from wraith.crypto.noise.patterns import parse_protocol_name
from wraith.crypto.noise.symmetric import TAG_BYTES, CipherState, SymmetricState
from wraith.crypto.suite import SUITES
from wraith.crypto.x25519 import X25519Key
from wraith.errors import DecryptError, LocalProtocolError
from wraith.types import Buffer, Role, SuiteId

DH_BYTES = 32
MESSAGE_BYTES_MAX = 65_535


class KeyPair(Protocol):
    """The part of a key pair that a DH token needs."""

    @property
    def public(self) -> bytes: ...

    def exchange(self, peer: bytes, /) -> bytes: ...


Combiner = Callable[[bytes, bytes], bytes]


class HandshakeState:
    """One handshake of one side.

    Args:
        protocol_name: e.g. ``Noise_XX_25519_ChaChaPoly_BLAKE2s``; the DH is always 25519.
        role: who this side is; ``INITIATOR`` is the left side of the pattern.
        prologue: mixed in first; both sides must have the same.
        rng: for ephemerals that are not given. Not needed when none is generated.
        s, e: own key pairs. ``e`` is generated when its token comes, unless given; with ``hidden``
            it is a ``HiddenKey``.
        rs, re: the peer's public keys that are known beforehand (``re`` for fallback patterns).
        psks: 32 bytes each, in the order in which their tokens come.
        kem, e1: the KEM of an ``hfs`` pattern; the initiator's KEM key pair if it exists already.
        f, rf: key pair and peer key of a second DH, for ``hfs`` with two DH functions.
        hidden: ephemerals travel as Elligator representatives.
        combiner: see the module.
    """

    __slots__ = (
        "_cipher_states",
        "_combiner",
        "_dh_ee",
        "_hidden",
        "_index",
        "_kem",
        "_messages",
        "_protocol",
        "_psk_index",
        "_psks",
        "_rng",
        "_role",
        "_symmetric",
        "e",
        "e1",
        "f",
        "re",
        "re1",
        "rf",
        "rs",
        "s",
    )

    def __init__(
        self,
        protocol_name: str,
        role: Role,
        prologue: bytes,
        *,
        rng: Rng | None = None,
        s: KeyPair | None = None,
        e: KeyPair | None = None,
        rs: bytes | None = None,
        re: bytes | None = None,
        psks: Sequence[bytes] = (),
        kem: Kem | None = None,
        e1: KemSecret | None = None,
        f: KeyPair | None = None,
        rf: bytes | None = None,
        hidden: bool = False,
        combiner: Combiner | None = None,
    ) -> None:
        self._protocol = protocol = parse_protocol_name(protocol_name)
        if protocol.dh != "25519":
            raise ValueError(f"{protocol_name!r}: only 25519 is supported")
        if any(len(psk) != 32 for psk in psks):
            raise ValueError("a psk has 32 bytes")
        self._role = role
        self._rng = rng
        self.s, self.e, self.rs, self.re = s, e, rs, re
        self._psks, self._psk_index = tuple(psks), 0
        self._kem, self.e1, self.re1 = kem, e1, b""
        self.f, self.rf = f, rf
        self._hidden, self._combiner = hidden, combiner
        self._dh_ee = b""
        self._messages = protocol.pattern.messages
        self._index = 0
        self._symmetric = SymmetricState(protocol_name, protocol.cipher, protocol.hash)
        self._symmetric.mix_hash(prologue)
        self._cipher_states: tuple[CipherState, CipherState] | None = None
        for sender, tokens in protocol.pattern.pre:
            for token in tokens:
                self._mix_pre_message(sender, token)

    @property
    def is_finished(self) -> bool:
        return self._index == len(self._messages)

    @property
    def my_turn(self) -> bool:
        """Whether the next message is this side's to write."""
        return not self.is_finished and self._messages[self._index][0] is self._role

    @property
    def handshake_hash(self) -> bytes:
        """``h`` as it stands; after the last message, the channel binding."""
        return self._symmetric.h

    def write_message(self, payload: Buffer = b"") -> bytes:
        """The next message.

        Raises:
            LocalProtocolError: not this side's turn, or a key that the pattern needs is missing.
            InvalidKey: a public key of the peer is unusable. The state is unchanged.
        """
        tokens = self._tokens(own=True)
        saved = self._save()
        try:
            parts = [part for token in tokens if (part := self._write(token))]
            parts.append(self._symmetric.encrypt_and_hash(bytes(payload)))
            message = b"".join(parts)
            if len(message) > MESSAGE_BYTES_MAX:
                raise LocalProtocolError("a Noise message has at most 65535 bytes")
        except BaseException:
            self._restore(saved)
            raise
        self._index += 1
        return message

    def read_message(self, message: Buffer) -> bytes:
        """The payload of the peer's next message.

        Raises:
            LocalProtocolError: not the peer's turn, or a key that the pattern needs is missing.
            CryptoError: the message does not authenticate, is cut short, or carries an unusable
                key. The state is unchanged.
        """
        tokens = self._tokens(own=False)
        if len(message) > MESSAGE_BYTES_MAX:
            raise DecryptError
        saved = self._save()
        rest = memoryview(message)
        try:
            for token in tokens:
                rest = rest[self._read(token, rest) :]
            if self._symmetric.cipher is not None and len(rest) < TAG_BYTES:
                raise DecryptError
            payload = self._symmetric.decrypt_and_hash(rest)
        except BaseException:
            self._restore(saved)
            raise
        self._index += 1
        return payload

    def split(self) -> tuple[CipherState, CipherState]:
        """Transport ciphers, the same objects each time: first for what the sender of the first
        message sends (the initiator, but in fallback patterns the responder), then the other.

        Raises:
            LocalProtocolError: the handshake is not finished.
        """
        if not self.is_finished:
            self._refuse("the handshake is not finished")
        if self._cipher_states is None:
            self._cipher_states = self._symmetric.split()
        return self._cipher_states

    def chaining_key_and_hash(self) -> tuple[bytes, bytes]:
        """``(ck, h)`` of the finished handshake, from which the session secret is derived. [CR-21]

        Raises:
            LocalProtocolError: the handshake is not finished.
        """
        if not self.is_finished:
            self._refuse("the handshake is not finished")
        return self._symmetric.ck, self._symmetric.h

    def wipe(self) -> None:
        """Forget everything secret: the state cannot be used afterwards. Best effort."""
        for key in (self.e, self.e1, self.f):
            wipe = getattr(key, "wipe", None)
            if wipe is not None:
                wipe()
        self.e = self.s = self.f = self.e1 = None
        self._psks, self._dh_ee = (), b""
        self._symmetric.ck, self._symmetric.cipher, self._cipher_states = b"", None, None
        self._messages = ()
        self._index = 1  # neither a turn nor finished

    # -- tokens --------------------------------------------------------------------------------

    def _write(self, token: str) -> bytes:
        symmetric = self._symmetric
        if token == "e":
            if self.e is None:
                kind = HiddenKey if self._hidden else X25519Key
                self.e = kind.generate(self._need_rng())
            self._mix_ephemeral(self.e.public)
            if not self._hidden:
                return self.e.public
            if not isinstance(self.e, HiddenKey):
                self._refuse("a hidden handshake needs a HiddenKey as e")
            return self.e.representative
        if token == "s":
            if self.s is None:
                self._refuse("the pattern needs a static key")
            return symmetric.encrypt_and_hash(self.s.public)
        if token == "e1":
            if self.e1 is None:
                self.e1 = self._need_kem().generate(self._need_rng())
            return symmetric.encrypt_and_hash(self.e1.encapsulation_key)
        if token == "ekem1":
            kem_ss, ciphertext = self._need_kem().encapsulate(self.re1, self._need_rng())
            sealed = symmetric.encrypt_and_hash(ciphertext)
            self._mix_kem(kem_ss)
            return sealed
        if token == "f":
            if self.f is None:
                self._refuse("the pattern needs a second key pair")
            return symmetric.encrypt_and_hash(self.f.public)
        self._mix_token(token)
        return b""

    def _read(self, token: str, data: memoryview) -> int:
        """Apply ``token`` to the front of ``data``; returns how many bytes it took."""
        if token == "e":
            raw = bytes(self._take(data, DH_BYTES))
            self.re = decode(raw) if self._hidden else raw
            self._mix_ephemeral(self.re)
            return DH_BYTES
        tag_bytes = 0 if self._symmetric.cipher is None else TAG_BYTES
        if token == "s":
            n = DH_BYTES + tag_bytes
            self.rs = self._symmetric.decrypt_and_hash(self._take(data, n))
            return n
        if token == "e1":
            n = self._need_kem().encapsulation_key_bytes + tag_bytes
            self.re1 = self._symmetric.decrypt_and_hash(self._take(data, n))
            return n
        if token == "ekem1":
            n = self._need_kem().ciphertext_bytes + tag_bytes
            ciphertext = self._symmetric.decrypt_and_hash(self._take(data, n))
            if self.e1 is None:
                self._refuse("there is no KEM key pair")
            self._mix_kem(self.e1.decapsulate(ciphertext))
            return n
        if token == "f":
            if self.f is None:
                self._refuse("the pattern needs a second key pair")
            n = len(self.f.public) + tag_bytes
            self.rf = self._symmetric.decrypt_and_hash(self._take(data, n))
            return n
        self._mix_token(token)
        return 0

    def _mix_token(self, token: str) -> None:
        if token == "psk":
            if self._psk_index >= len(self._psks):
                self._refuse("the pattern needs another psk")
            self._symmetric.mix_key_and_hash(self._psks[self._psk_index])
            self._psk_index += 1
            return
        if token == "ee":
            shared = self._dh(self.e, self.re)
            self._dh_ee = shared
        elif token == "ss":
            shared = self._dh(self.s, self.rs)
        elif token == "ff":
            shared = self._dh(self.f, self.rf)
        elif (token == "es") == (self._role is Role.INITIATOR):
            # es: the initiator's e with the responder's s; se the other way round.
            shared = self._dh(self.e, self.rs)
        else:
            shared = self._dh(self.s, self.re)
        self._symmetric.mix_key(shared)

    def _mix_kem(self, kem_ss: bytes) -> None:
        combined = kem_ss if self._combiner is None else self._combiner(self._dh_ee, kem_ss)
        self._dh_ee = b""
        self._symmetric.mix_key(combined)

    def _mix_ephemeral(self, public: bytes) -> None:
        self._symmetric.mix_hash(public)
        if self._protocol.pattern.has_psk:
            self._symmetric.mix_key(public)

    def _mix_pre_message(self, sender: Role, token: str) -> None:
        own = sender is self._role
        pair = {"e": self.e, "s": self.s, "f": self.f}[token]
        peer = {"e": self.re, "s": self.rs, "f": self.rf}[token]
        public = (pair.public if pair is not None else None) if own else peer
        if public is None:
            self._refuse(f"the pattern needs the pre-message key {token!r}")
        if token == "e":
            self._mix_ephemeral(public)
        else:
            self._symmetric.mix_hash(public)

    def _dh(self, own: KeyPair | None, peer: bytes | None) -> bytes:
        if own is None or peer is None:
            self._refuse("the pattern needs a key that is missing")
        return own.exchange(peer)

    # -- guards --------------------------------------------------------------------------------

    def _tokens(self, *, own: bool) -> tuple[str, ...]:
        if self._index >= len(self._messages):
            self._refuse("the handshake is over")
        sender, tokens = self._messages[self._index]
        if (sender is self._role) is not own:
            self._refuse("it is the other side's turn")
        return tokens

    @staticmethod
    def _take(data: memoryview, n: int) -> memoryview:
        if len(data) < n:
            raise DecryptError
        return data[:n]

    def _need_rng(self) -> Rng:
        if self._rng is None:
            self._refuse("a random source is needed")
        return self._rng

    def _need_kem(self) -> Kem:
        if self._kem is None:
            self._refuse("the pattern needs a KEM")
        return self._kem

    @staticmethod
    def _refuse(what: str) -> NoReturn:
        raise LocalProtocolError(what)

    def _save(self) -> tuple[object, ...]:
        return (
            self._symmetric.snapshot(),
            self.e,
            self.re,
            self.rs,
            self.e1,
            self.re1,
            self.rf,
            self._psk_index,
            self._dh_ee,
        )

    def _restore(self, saved: tuple[object, ...]) -> None:
        snapshot, *rest = saved
        self._symmetric.restore(snapshot)  # type: ignore[arg-type]  # what _save put there
        (
            self.e,
            self.re,
            self.rs,
            self.e1,
            self.re1,
            self.rf,
            self._psk_index,
            self._dh_ee,
        ) = rest  # type: ignore[assignment]


def for_suite(
    suite: SuiteId,
    role: Role,
    prologue: bytes,
    *,
    rng: Rng,
    kem: Kem,
    s: X25519Key | None = None,
    e: HiddenKey | None = None,
    e1: KemSecret | None = None,
    psk: bytes | None = None,
) -> HandshakeState:
    """The handshake of this protocol: XXhfs of ``suite``; with ``psk`` the resumption NNhfs+psk0.

    Ephemerals are hidden and the KEM secret is combined with ``dh(e, e)``. [CR-18, CR-19]

    Args:
        prologue: magic, version, suite, access key; on a retry also what was refused.
        s: the Noise static key; not used in a resumption.
        e, e1: the initiator's, when they exist already.
        psk: 32 bytes, ``resume-psk``.

    Raises:
        LocalProtocolError: the suite is reserved.
    """
    entry = SUITES.get(suite)
    if entry is None:
        raise LocalProtocolError(f"suite {suite.name} is not available")
    return HandshakeState(
        entry.noise_name if psk is None else entry.noise_resumption_name,
        role,
        prologue,
        rng=rng,
        s=s if psk is None else None,
        e=e,
        psks=() if psk is None else (psk,),
        kem=kem if entry.post_quantum else None,
        e1=e1 if entry.post_quantum else None,
        hidden=True,
        combiner=combine,
    )
