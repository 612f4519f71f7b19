"""Which way to a peer: what is tried when, what is kept, what is gone back to, and why one failed.

Part of ``connection``; imports no other file of it. Pure: time is passed in. Start with ``race.py``
(until a session stands) and ``keeper.py`` (afterwards). Spec: docs/spec/roads.md.
"""
