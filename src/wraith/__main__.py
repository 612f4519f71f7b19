"""``python -m wraith`` and the installed command.

Ctrl-C while modules are still loaded ends the process by the signal, without a traceback: nothing
has begun then.
"""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Runs the command line."""
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_default:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        from wraith.cli import front_page

        if front_page.show(sys.argv[1:]):
            return
        from wraith.cli import main as command_line  # loads the rest

        if is_default:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        command_line.main()
    finally:
        if is_default:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    main()
