"""The way to a connection: hello, cookies, budgets, the stages of both sides, the dial.

Part of ``connection``: above ``connection.py``, which it makes, and below ``endpoint.py``, which
drives it. Start at ``handshake`` (the initiator) and ``responder``; strangers meet ``admission``.
Spec: docs/spec/handshake.md.
"""
