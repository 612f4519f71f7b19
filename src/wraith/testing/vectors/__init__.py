"""The auditors' command: public test vectors against this code.

``python -m wraith.testing.vectors PATH...`` takes files or folders in the formats of the public
collections, recognises them by content, runs every case and prints one line per file. What it can
and cannot count as passed is explained in ``report``.

Start reading at ``command``; there is one module per family. Spec: docs/spec/crypto.md §18.
"""

from wraith.testing.vectors.command import FileOutcome, main, run_file

__all__ = ["FileOutcome", "main", "run_file"]
