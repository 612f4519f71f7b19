"""The heavy loops: seal and open runs of packets. Chooses native or Python once, at import.

Floor: above ``wire``. The only importer of ``wraith_native`` and, with ``aio`` and ``cli``, the
only reader of the environment: ``WRAITH_PURE_PYTHON=1`` forces the Python twin. Both
implementations have the same surface, results and errors; ``_python`` is the reference. Start
there.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import wraith
from wraith.hotpath._python import RECORD_HEADER_BYTES, OpenResult

if TYPE_CHECKING:
    from wraith.hotpath._python import (
        Opener,
        RecordReader,
        RecordSealer,
        Sealer,
        blake3_chunks,
        blake3_chunks_of,
    )

__all__ = [
    "INTERFACE",
    "NAME",
    "RECORD_HEADER_BYTES",
    "OpenResult",
    "Opener",
    "RecordReader",
    "RecordSealer",
    "Sealer",
    "blake3_chunks",
    "blake3_chunks_of",
    "reason",
]

#: Number of the calls that this package makes of the native part. It grows with every change of
#: their names, arguments or results, which a version that is not released yet does not.
INTERFACE: Final = 4


def _choose() -> tuple[str, str, type[Sealer], type[Opener]]:
    from wraith.hotpath import _python

    def python(why: str) -> tuple[str, str, type[Sealer], type[Opener]]:
        return "python", why, _python.Sealer, _python.Opener

    if os.environ.get("WRAITH_PURE_PYTHON", "") not in ("", "0"):
        return python("WRAITH_PURE_PYTHON is set")
    try:
        import wraith_native
    except ImportError:
        return python("the native part is not installed")
    native: Any = wraith_native  # its surface is that of the twin: tests/property compare them
    version = getattr(native, "VERSION", None)
    if version != wraith.__version__:
        return python(f"the native part is {version}, this is {wraith.__version__}")
    interface = getattr(native, "INTERFACE", None)
    if interface != INTERFACE:
        number = "without a number" if interface is None else f"number {interface}"
        return python(
            f"the native part has the interface {number}, this needs number {INTERFACE}: "
            "build it anew from the same sources"
        )
    return "native", "the native part is installed", native.Sealer, native.Opener


#: ``"native"`` or ``"python"``.
NAME, _REASON, _sealer, _opener = _choose()
if not TYPE_CHECKING:
    Sealer, Opener = _sealer, _opener
    if NAME == "native":
        from wraith_native import RecordReader, RecordSealer, blake3_chunks, blake3_chunks_of
    else:
        from wraith.hotpath._python import (
            RecordReader,
            RecordSealer,
            blake3_chunks,
            blake3_chunks_of,
        )


def reason() -> str:
    """Why this one runs, in one line for people."""
    return _REASON
