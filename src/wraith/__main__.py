"""``python -m wraith`` is the command ``wraith``."""

from wraith.cli.main import main

main()
