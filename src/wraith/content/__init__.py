"""Content: how bytes of a file are cut, named and checked, and sets of ranges of numbers.

Floor: above ``hotpath``, below ``transfer`` and ``connection``, which share ``ranges``. It may
import ``hotpath``, ``crypto``, ``config``, ``types``, ``errors``. It never touches a file, a socket
or a clock: bytes come in as buffers.

Start at ``chunking`` (fixed chunks, their digests, the file id), then ``ranges``.
"""
