"""The TLS 1.3 key schedule: one class per stage, so that a secret cannot be asked for too early.

::

    EarlySecret --with_shared_secret--> HandshakeSecrets --application--> ApplicationSecrets
                  (ECDHE, hybrid or        client, server    master          client, server,
                   private profile)        finished keys                     exporter

No pre-shared key exists here: the early secret is always that of an all-zero PSK, and nothing is
derived from it but the next stage [LQ-16]. Spec: libp2p-quic section 3.3; RFC 8446 §7.1, RFC 5869.
"""

from __future__ import annotations

import hashlib
import hmac

from wraith.crypto.secret import Secret
from wraith.libp2p.reader import prefixed
from wraith.libp2p.tls.codec import CipherSuite, HandshakeType, encode_message

_HASHES = {
    CipherSuite.AES_128_GCM_SHA256: "sha256",
    CipherSuite.AES_256_GCM_SHA384: "sha384",
    CipherSuite.CHACHA20_POLY1305_SHA256: "sha256",
}


def hash_name(suite: CipherSuite) -> str:
    return _HASHES[suite]


def hkdf_extract(name: str, salt: bytes, material: bytes) -> bytes:
    return hmac.digest(salt, material, name)


def hkdf_expand_label(name: str, secret: bytes, label: str, context: bytes, n: int) -> bytes:
    """RFC 8446 §7.1; ``n`` is at most 255 hash lengths (never more than two here)."""
    info = n.to_bytes(2, "big") + prefixed(1, b"tls13 " + label.encode()) + prefixed(1, context)
    block, out, counter = b"", b"", 1
    while len(out) < n:
        block = hmac.digest(secret, block + info + bytes((counter,)), name)
        out += block
        counter += 1
    return out[:n]


class Transcript:
    """The handshake messages so far. Kept as bytes until the hash is known, then hashed on."""

    __slots__ = ("_hash", "_pending")

    def __init__(self) -> None:
        self._pending = bytearray()
        self._hash: hashlib._Hash | None = None

    def add(self, message: bytes) -> None:
        if self._hash is None:
            self._pending += message
        else:
            self._hash.update(message)

    def choose_hash(self, name: str) -> None:
        """Called once, when the cipher suite is known."""
        if self._hash is None:
            self._hash = hashlib.new(name, bytes(self._pending))
            self._pending.clear()

    def restart_for_retry(self, name: str) -> None:
        """Replaces the first ClientHello by its hash (RFC 8446 §4.4.1). Before ``choose_hash``."""
        digest = hashlib.new(name, bytes(self._pending)).digest()
        self._pending.clear()
        self.add(encode_message(HandshakeType.MESSAGE_HASH, digest))
        self.choose_hash(name)

    def digest(self) -> bytes:
        assert self._hash is not None, "the cipher suite is not chosen yet"
        return self._hash.digest()


class EarlySecret:
    """The start of the schedule."""

    __slots__ = ("_name", "_secret")

    def __init__(self, suite: CipherSuite) -> None:
        self._name = hash_name(suite)
        zeros = bytes(hashlib.new(self._name).digest_size)
        self._secret = hkdf_extract(self._name, zeros, zeros)

    def with_shared_secret(self, shared: Secret, transcript_hash: bytes) -> HandshakeSecrets:
        """``shared`` is what the key exchange gave (32 or 64 bytes); it is wiped here.

        ``transcript_hash`` covers everything up to and including the ServerHello.
        """
        name = self._name
        size = hashlib.new(name).digest_size
        empty = hashlib.new(name).digest()
        salt = hkdf_expand_label(name, self._secret, "derived", empty, size)
        secret = hkdf_extract(name, salt, shared.reveal())
        shared.wipe()
        return HandshakeSecrets(name, secret, transcript_hash)


class HandshakeSecrets:
    """Traffic secrets of the handshake and the keys of both Finished messages."""

    __slots__ = ("_finished", "_master", "_name", "client", "server")

    def __init__(self, name: str, secret: bytes, transcript_hash: bytes) -> None:
        size = hashlib.new(name).digest_size
        self._name = name
        client = hkdf_expand_label(name, secret, "c hs traffic", transcript_hash, size)
        server = hkdf_expand_label(name, secret, "s hs traffic", transcript_hash, size)
        self.client = Secret(client)
        self.server = Secret(server)
        self._finished = {
            True: Secret(hkdf_expand_label(name, client, "finished", b"", size)),
            False: Secret(hkdf_expand_label(name, server, "finished", b"", size)),
        }
        empty = hashlib.new(name).digest()
        salt = hkdf_expand_label(name, secret, "derived", empty, size)
        self._master = Secret(hkdf_extract(name, salt, bytes(size)))

    def finished_mac(self, *, of_client: bool, transcript_hash: bytes) -> bytes:
        """``verify_data`` of that side's Finished over ``transcript_hash``."""
        return hmac.digest(self._finished[of_client].reveal(), transcript_hash, self._name)

    def application(self, transcript_hash: bytes) -> ApplicationSecrets:
        """``transcript_hash`` covers everything up to and including the server's Finished."""
        return ApplicationSecrets(self._name, self._master, transcript_hash)

    def wipe(self) -> None:
        for secret in (self.client, self.server, self._master, *self._finished.values()):
            secret.wipe()


class ApplicationSecrets:
    """Traffic secrets of the connection, and the exporter."""

    __slots__ = ("_exporter", "_name", "client", "server")

    def __init__(self, name: str, master: Secret, transcript_hash: bytes) -> None:
        size = hashlib.new(name).digest_size
        secret = master.reveal()
        self._name = name
        self.client = Secret(hkdf_expand_label(name, secret, "c ap traffic", transcript_hash, size))
        self.server = Secret(hkdf_expand_label(name, secret, "s ap traffic", transcript_hash, size))
        self._exporter = Secret(
            hkdf_expand_label(name, secret, "exp master", transcript_hash, size)
        )

    def export(self, label: str, context: bytes, n: int) -> bytes:
        """Keying material bound to this connection (RFC 8446 §7.5)."""
        name = self._name
        size = hashlib.new(name).digest_size
        empty = hashlib.new(name).digest()
        secret = hkdf_expand_label(name, self._exporter.reveal(), label, empty, size)
        digest = hashlib.new(name, context).digest()
        return hkdf_expand_label(name, secret, "exporter", digest, n)

    def wipe_traffic(self) -> None:
        """Drops what the packet layer has taken over; the exporter stays."""
        self.client.wipe()
        self.server.wipe()
