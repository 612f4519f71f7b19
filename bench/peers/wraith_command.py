"""The command ``wraith`` with the congestion control of ``kernel_tcp`` on its links."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import kernel_tcp

from wraith.cli.main import main

if __name__ == "__main__":
    kernel_tcp.choose_for_links()
    main()
