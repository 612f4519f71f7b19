"""Numbers that messages, their reasons and what is offered have in common.

Spec: transfer §4.
"""

from __future__ import annotations

from enum import IntEnum

ABORT_TEXT_MAX = 400
"""Bytes of an ABORT's text."""


class OfferKind(IntEnum):
    """The kind of an offer: files and folders, a stream without a size, or a short text."""

    FILES = 0
    STREAM = 1
    TEXT = 2


class Reason(IntEnum):
    """Why something was declined, failed or aborted. Unknown values are kept as ``OTHER``."""

    OTHER = 0
    DECLINED = 1
    LIST_ONLY = 2
    NAME_EXISTS = 3
    UNSAFE_PATH = 4
    NO_SPACE = 5
    SOURCE_CHANGED = 6
    SOURCE_UNREADABLE = 7
    HASH_MISMATCH = 8
    INTERRUPTED = 9
    DISK = 10
    UNSUPPORTED = 11
    TOO_LATE = 12
    NO_TEXT = 13
