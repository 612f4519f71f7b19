"""Judges which paths may be written on a receiver's disk, and shows a path to a person.

Paths are bytes with ``/`` between their parts, relative, as they stand on the sender's disk. This
module only judges names; whether a folder on the way is a link on *this* disk is checked by
whoever opens it (``aio/disk/file_target.py``), at the moment of opening.

Spec: transfer §3.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from wraith.errors import UnsafePath

PATH_BYTES_MAX = 4_096
NAME_BYTES_MAX = 255
DEPTH_MAX = 128
SHOWN_CHARACTERS_MAX = 200
STATE_PREFIX = b".wraith-"
"""Names of our own state folders beside the target. No offer may use one at its top."""

_PLAIN = re.compile(rb"[\x20-\x2e\x30-\x7e]+")
_WINDOWS_BAD = frozenset('<>:"|?*\\')
_WINDOWS_RESERVED = re.compile(
    r"con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class PathRules:
    """The names that the receiver's file system can hold. The default is a usual POSIX one."""

    windows: bool = False
    any_bytes: bool = True
    case_insensitive: bool = False
    normalises: bool = False

    @property
    def may_collide(self) -> bool:
        return self.case_insensitive or self.normalises


def check_name(name: bytes, rules: PathRules) -> None:
    """Return if ``name`` may be one part of a path on the receiver's disk.

    Raises:
        UnsafePath: it may not; the message is the reason alone, for people.
    """
    if name in (b"", b".", b".."):
        raise UnsafePath("leaves the destination folder" if name == b".." else "has an empty part")
    if len(name) > NAME_BYTES_MAX:
        raise UnsafePath("has a part that is too long")
    if not rules.windows and _PLAIN.fullmatch(name):
        return
    try:
        text = name.decode()
    except UnicodeDecodeError:
        if not rules.any_bytes:
            raise UnsafePath("is not valid UTF-8, which this system needs") from None
        text = name.decode("latin-1")
        if any(ord(c) < 0x20 or ord(c) == 0x7F for c in text):
            raise UnsafePath("holds control characters") from None
    else:
        if any(unicodedata.category(c) == "Cc" for c in text):
            raise UnsafePath("holds control characters")
    if "/" in text:
        raise UnsafePath("has a part that holds a slash")
    if rules.windows:
        _check_windows_name(text)


def _check_windows_name(text: str) -> None:
    if _WINDOWS_RESERVED.fullmatch(text.partition(".")[0].rstrip()):
        raise UnsafePath("is a name that Windows reserves")
    if _WINDOWS_BAD.intersection(text) or text[-1] in " .":
        raise UnsafePath("is a name that Windows cannot hold")


def check_path(path: bytes, rules: PathRules) -> None:
    """``check_name`` for every part of a whole relative path, and its length and depth.

    Raises:
        UnsafePath: absolute, with ``..`` or empty parts, too long, too deep, or a bad name.
    """
    if path.startswith(b"/") or (rules.windows and re.match(rb"[A-Za-z]:|\\", path)):
        raise UnsafePath("is absolute")
    if len(path) > PATH_BYTES_MAX:
        raise UnsafePath("is too long")
    parts = path.split(b"/")
    if len(parts) > DEPTH_MAX:
        raise UnsafePath("lies too deep")
    for part in parts:
        check_name(part, rules)
    if parts[0].lower().startswith(STATE_PREFIX):
        raise UnsafePath("is a name that wraith uses for itself")


def check_link(path: bytes, target: bytes, rules: PathRules) -> None:
    """Return if a symbolic link at ``path`` to ``target`` stays below the first part of ``path``.

    ``..`` may stand only in front, where it climbs through real folders (every parent of an
    entry is a folder of the same offer). Further on it would climb from wherever a link has led:
    ``l/../..`` with ``l -> .`` leaves a folder although its text does not. What then follows
    only descends, through folders or through links that obey the same rule, so no chain of them
    leaves either. [TR-23]

    Raises:
        UnsafePath: absolute, empty, climbing out, or a name that ``check_name`` refuses.
    """
    if not target or len(target) > PATH_BYTES_MAX:
        raise UnsafePath("is a link without a usable target")
    if target.startswith(b"/") or (rules.windows and b":" in target):
        raise UnsafePath("is a link to an absolute path")
    if b"/" not in path:
        raise UnsafePath("is a link to something outside the offer")
    room = path.count(b"/") - 1  # folders between the first part and the link
    descending = False
    for part in target.split(b"/"):
        if part == b"..":
            room -= 1
            if descending or room < 0:
                raise UnsafePath("is a link that leaves the folder it is sent in")
        elif part not in (b".", b""):
            descending = True
            check_name(part, rules)


def fold_name(name: bytes, rules: PathRules) -> bytes | str:
    """A key that two names share when they are one name on this file system. [TR-22]"""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        return name.lower() if rules.case_insensitive else name
    if rules.normalises or rules.case_insensitive:
        text = unicodedata.normalize("NFC", text)
    if rules.case_insensitive:
        text = unicodedata.normalize("NFC", text.casefold())
    return text


def shown_path(path: bytes) -> str:
    """``display_path`` for a line among others: its middle is left out where it is very long."""
    text = display_path(path)
    if len(text) <= SHOWN_CHARACTERS_MAX:
        return text
    half = SHOWN_CHARACTERS_MAX // 2
    return f"{text[:half]}…{text[-half:]}"


def display_path(path: bytes) -> str:
    """``path`` for a terminal or a message: nothing in it can move the cursor or hide text."""
    text = path.decode("utf-8", "surrogateescape")
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c
        if c.isprintable()
        else f"\\x{ord(c) - 0xDC00:02x}"
        if 0xDC80 <= ord(c) <= 0xDCFF
        else f"\\u{{{ord(c):x}}}"
        for c in text
    )
