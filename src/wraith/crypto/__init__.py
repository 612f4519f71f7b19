"""Cryptography: primitives from well-kept libraries, and the few constructions that are ours.

Floor: above ``wraith.config``, below ``wraith.wire``. It may import ``cryptography``, ``blake3``
and ``monocypher`` and nothing else from outside. It takes its randomness from an ``Rng`` argument,
never reads a clock, never logs.

Start reading at ``kdf`` (every label of the protocol), then ``suite``, then ``noise.handshake``.
Specification: docs/spec/crypto.md.
"""
