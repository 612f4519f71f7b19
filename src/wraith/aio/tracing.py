"""From the machines' structured records to ``logging``. Never logs secrets, hides addresses.

``WRAITH_LOG`` switches it on for a command or a program that does not configure logging itself:
``WRAITH_LOG=debug`` for everything, ``WRAITH_LOG=info,recovery=debug`` for one part in detail, and
``WRAITH_LOG=debug,addresses`` to show peer addresses. A library must not print, so without the
variable nothing is set up and records go wherever the program sends the ``wraith`` logger.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

LOGGER_NAME = "wraith"
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING}
#: Field names whose values never reach a log, whatever their type.
_SECRET_FIELDS = frozenset({"key", "psk", "seed", "secret", "root", "code", "ticket"})
#: What ``logging`` keeps in a record under names of its own.
_TAKEN = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime"})


class LoggingTracer:
    """Implements ``wraith.abc.Tracer`` over the logger ``wraith.<first word of the record>``.

    A record's name is ``part.what``; its level is DEBUG, or WARNING or INFO when a field
    ``warning`` or ``info`` is true. Values under the name ``address`` are hidden unless
    ``show_addresses``; bytes are shown as a length only, and what cannot be printed is escaped: a
    peer chooses some of the words.

    The fields are attributes of the ``logging.LogRecord`` too, beside ``event``, the record's name,
    for handlers that keep fields apart. A name that ``logging`` has itself gets an underscore.
    """

    __slots__ = ("_loggers", "_show_addresses")

    def __init__(self, *, show_addresses: bool = False) -> None:
        self._loggers: dict[str, logging.Logger] = {}
        self._show_addresses = show_addresses

    def record(self, name: str, /, **fields: object) -> None:
        """Logs one record; costs one dictionary look-up when its level is off."""
        part = name.partition(".")[0]
        logger = self._loggers.get(part)
        if logger is None:
            logger = self._loggers[part] = logging.getLogger(f"{LOGGER_NAME}.{part}")
        level = logging.INFO if fields.pop("info", False) else logging.DEBUG
        if fields.pop("warning", False):
            level = logging.WARNING
        if logger.isEnabledFor(level):
            shown = {key: self._shown(key, value) for key, value in fields.items()}
            extra = {f"{key}_" if key in _TAKEN else key: value for key, value in shown.items()}
            extra["event"] = name
            words = " ".join(f"{key}={value}" for key, value in shown.items())
            logger.log(level, "%s %s", name, words, extra=extra)

    def _shown(self, key: str, value: object) -> object:
        if key in _SECRET_FIELDS:
            return "[secret]"
        if key == "address" and not self._show_addresses:
            return "[address]"
        if isinstance(value, bytes | bytearray | memoryview):
            return f"<{len(value)} bytes>"
        if value is None or isinstance(value, bool | int | float):
            return value
        text = str(value)
        return text if text.isprintable() else text.encode("unicode_escape").decode()


def make_tracer(environ: Mapping[str, str] | None = None) -> LoggingTracer:
    """The process's tracer, with logging to stderr set up when ``WRAITH_LOG`` asks for it.

    Unknown words in the variable are ignored: a diagnostic switch must never stop a program.
    """
    words = (os.environ if environ is None else environ).get("WRAITH_LOG", "").lower()
    show_addresses = False
    asked = False
    for word in filter(None, (part.strip() for part in words.split(","))):
        part, _, level_name = word.rpartition("=")
        if word == "addresses":
            show_addresses = True
        elif level_name in _LEVELS:
            name = f"{LOGGER_NAME}.{part}" if part else LOGGER_NAME
            logging.getLogger(name).setLevel(_LEVELS[level_name])
            asked = True
    root = logging.getLogger(LOGGER_NAME)
    if asked and not root.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        root.addHandler(handler)
    return LoggingTracer(show_addresses=show_addresses)
