"""Post-quantum QUIC for libp2p: pure machines, beside the main transport.

Floor: machines (like ``connection``). May import ``crypto``, ``config``, ``abc``, ``types`` and
``errors``; must never touch a socket, a clock or the operating system's randomness. The packet
layer is a library behind :mod:`wraith.libp2p.quic`, which does draw randomness of its own: a run
is reproducible only up to that door.

Start reading at :mod:`wraith.libp2p.tls.engine` (the handshake), then :mod:`wraith.libp2p.quic`
(the seam to the library), then :mod:`wraith.libp2p.endpoint` (many connections on one socket).
Specification: ``docs/spec/libp2p-quic.md``.
"""
