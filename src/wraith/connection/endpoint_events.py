"""What an endpoint can tell that belongs to no connection."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClockSkew:
    """Someone who holds the access key dialled with a clock that differs too much.

    They were not answered: an answer to a stale hello would be an answer to a recording. Carries
    no address. ``skew_s`` is their clock minus ours, in seconds.
    """

    skew_s: float


EndpointEvent = ClockSkew
