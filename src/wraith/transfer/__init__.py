"""Transfer: moving files between two peers, as machines that never touch a disk or a socket.

Floor: beside ``connection`` (which it must not import), above ``content``. Stream bytes go in and
come out; what must be read or written comes out as a *wish* (``wishes``), a plain value that
someone with a disk, or a test with a dictionary, fulfils and answers.

Read in this order: ``code`` (what a person types), ``listing`` and ``path_rules`` (what is offered
and refused), ``messages`` with ``message_codec`` (the control stream), ``chunk_records`` (the
data stream), ``state`` (the tables), ``wishes`` with ``answers`` (what is asked of a disk),
``sender`` with ``planning`` (what to read next), ``receiver`` with ``offer_reading``, ``holdings``
and ``collecting`` (the files, behind ``intake``), ``journal_records`` (what is noted beside partial
data).

Spec: docs/spec/transfer.md; docs/reference/code-format.md.
"""
