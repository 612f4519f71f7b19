"""Files, folders and texts, sent and received: ``wraith.send``, ``wraith.receive``, and what the
commands of these names share with them.

Stands above ``transfers`` (one transfer at a node) and ``disk``. Adds what makes a call repeatable:
the kept code of a send, the notes of a receive, the answer to an offer, and facts in the words of
docs/reference/json-events.md. It must not print, ask a person or know a command's options. Start
reading at ``send.py`` and ``sending.py``.
"""
