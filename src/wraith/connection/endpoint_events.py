"""Events of an endpoint that belong to no connection."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ClockSkew:
    """Someone who holds the access key dialled with a clock that differs too much.

    They were not answered: an answer to a stale hello would be an answer to a recording. Carries
    no address. ``skew_s`` is their clock minus ours, in seconds; ``access_key`` is the public half
    (32 bytes) of the key that their hello proved.
    """

    skew_s: float
    access_key: bytes = field(repr=False)


EndpointEvent = ClockSkew
