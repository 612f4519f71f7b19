"""The commands. Floor: people, the highest one.

A command module parses its options, calls ``wraith.aio`` and prints; there is no protocol here.
May import everything but ``wraith.testing``. Never prints a secret, the code that its user needs
aside. Start with ``main.py`` (the group and the exit codes) and ``output.py`` (the voice).
"""
