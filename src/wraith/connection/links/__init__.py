"""Links: stream connections that carry packets. Pure: no sockets, time and randomness passed in.

``preface`` opens one, ``link`` is the bytes of one, ``pools`` bounds those that nobody has proven.
Spec: carriers.md.
"""
