"""One peer, and many behind one socket: handshake, established connection, endpoint.

Floor: machines. Sans-I/O: datagrams, time and randomness come in as arguments; datagrams, a deadline
and events come out. May import ``hotpath``, ``wire``, ``crypto`` and what lies below them. Must
never touch a socket, a clock or the application's data. Start with ``connection.py`` (one peer) and
``endpoint.py`` (routing and first contact); docs/spec/connection.md and docs/spec/handshake.md.
"""
