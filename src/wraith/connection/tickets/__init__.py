"""Tickets: what one is, where the side that dials keeps them, how the side that listens makes and
takes them. No handshakes and no sessions; those use this.

Start at ``store``. Spec: docs/spec/handshake.md §9.
"""
