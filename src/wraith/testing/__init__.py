"""Tools to test wraith and programs that use it: virtual time, seeded links, deterministic keys.

Floor: above all others; may import all, and nothing in the package imports it. Shipped, so that
users can run their own protocols over a simulated network. Nothing here is secure, on purpose.
Start with ``pair.py``.
"""
