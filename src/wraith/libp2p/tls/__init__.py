"""A TLS 1.3 engine for QUIC with libp2p identities: hybrid groups and mutual certificates.

Floor: inside ``libp2p``; may import ``crypto`` and the rooms below. It has no record layer (QUIC
protects packets), no pre-shared keys, no resumption and no early data, in either role, ever.
Randomness and calendar time are arguments. Start reading at :mod:`wraith.libp2p.tls.engine`.

Spec: libp2p-quic section 3; RFC 8446, RFC 9001, draft-ietf-tls-ecdhe-mlkem.
"""
