"""``python -m wraith.testing.vectors``: see the package."""

import sys

from wraith.testing.vectors.command import main

sys.exit(main(sys.argv[1:]))
