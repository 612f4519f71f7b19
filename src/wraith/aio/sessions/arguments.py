"""What programs pass: a value of another kind is one clear error, before anything is opened."""

from __future__ import annotations

from typing import Final

from wraith.errors import CloseCode, LocalProtocolError

_APPLICATION_MAX: Final = 0xFFFF_FFFF


def check_application_code(code: int) -> None:
    """Returns if a program may close or reset with ``code``: 0, or 0x1000 to 0xFFFFFFFF. Those in
    between are the protocol's.

    Raises:
        LocalProtocolError: it may not.
    """
    is_number = isinstance(code, int) and not isinstance(code, bool)
    if is_number and (code == 0 or CloseCode.APPLICATION <= code <= _APPLICATION_MAX):
        return
    shown = f"0x{code:04x}" if is_number else repr(code)
    raise LocalProtocolError(
        f"{shown} is no code of an application",
        hint="codes of applications are 0x1000 to 0xffffffff, and 0 is no error",
    )
