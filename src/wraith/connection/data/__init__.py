"""Data of a connection: streams, datagrams, acknowledgements and loss.

Part of ``connection``: it decides nothing about frames or keys. Start at ``mux`` (streams as a
connection uses them) and ``recovery`` (what left and what became of it). Spec:
docs/spec/connection.md and docs/spec/recovery.md.
"""
