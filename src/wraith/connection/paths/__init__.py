"""The network between two peers: where the peer is, how much fits, how fast, under which ids.

Part of ``connection``; imports no other file of it. Spec: docs/spec/recovery.md and
docs/spec/connection.md.
"""
