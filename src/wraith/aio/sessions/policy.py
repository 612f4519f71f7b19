"""Which suites a caller gets: what connect, listen, send and receive ask of a configuration."""

from __future__ import annotations

from dataclasses import replace

from wraith.config import EndpointConfig
from wraith.errors import ConfigError, PolicyRefused
from wraith.types import SuiteId


def effective_config(
    config: EndpointConfig | None, *, require_pq: bool, suites: tuple[SuiteId, ...] | None = None
) -> EndpointConfig:
    """The configuration with the caller's suites: without post-quantum key exchange only where the
    caller says so twice, by ``suites`` and by ``require_pq``.

    Raises:
        ConfigError: a value is of another type, or out of range.
        PolicyRefused: a suite without post-quantum key exchange together with ``require_pq``.
    """
    if not isinstance(config, EndpointConfig | None):
        raise ConfigError("config", config, "a wraith.EndpointConfig")
    if config is None:
        default = (SuiteId.A, SuiteId.B) if require_pq else (SuiteId.A, SuiteId.B, SuiteId.D)
        config = EndpointConfig(suites=suites or default)
    elif suites is not None:
        config = replace(config, suites=suites)
    if require_pq and SuiteId.D in config.suites:
        raise PolicyRefused(
            "suite D has no post-quantum key exchange",
            hint="pass require_pq=False as well if that is really wanted",
        )
    return config
