"""A value of another kind that a program passes is one clear error, before anything is opened."""

from __future__ import annotations

from wraith.crypto.ed25519 import Identity
from wraith.errors import ConfigError


def check_identity(identity: Identity | None) -> None:
    """Returns if ``identity`` is one, or ``None``.

    Raises:
        ConfigError: it is not. The value may be a secret and is not shown.
    """
    if not isinstance(identity, Identity | None):
        kind = type(identity).__name__
        accepted = "a wraith.Identity (Identity.load_or_create, Identity.from_seed)"
        raise ConfigError("identity", f"a value of type {kind}", accepted)
