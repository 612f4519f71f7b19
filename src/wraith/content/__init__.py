"""Content: how bytes of a file are cut, named and checked.

Floor: above ``crypto``, below ``transfer``. It may import ``crypto``, ``config``, ``types``,
``errors``. It never touches a file, a socket or a clock: bytes come in as buffers.

Start at ``chunking`` (fixed chunks, their digests, the file id), then ``ranges``.
"""
