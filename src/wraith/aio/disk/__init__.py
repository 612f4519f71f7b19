"""How files of this machine are opened: never by a name that somebody else may have changed.

Part of ``aio``: it touches the disk and knows neither transfers nor sockets. It imports
``aio.safe_tree`` and what lies below ``aio``. Start at ``source_roots`` (what is sent) and at
``stamp`` (whether a file is still the one that was looked at).
"""
