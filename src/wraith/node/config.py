"""The settings of a transfer at a node. Frozen, with units in the names."""

from __future__ import annotations

from dataclasses import dataclass

from wraith.config import check_kinds
from wraith.errors import ConfigError
from wraith.types import PeerKey, SuiteId


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """The defaults are those of the command line.

    Attributes:
        keep: a sender goes on offering after a complete receiver.
        expected_peers: only these identities may connect (or be connected to), e.g. ``--to NAME``;
            ``None``: anybody who has the code.
        bound_to: a sender's code was bound to this receiver by an earlier process.
        connect_timeout_s: how long a dialler tries before anyone ever answered.
        still_trying_s: after how long ``StillTrying`` says so.
        wait_s: how long to go on after a peer fell silent; ``None``: without limit.
        receipt_wait_s: a receiver that has everything waits this long for RECEIPT_OK.
        end_on_decline: a sender ends when its receiver declines; without it the sender waits on for
            whoever dials next. Who only looks at the listing ends nobody.
        limit_bytes_per_s: payload rate of a sender; ``None``: no limit.
        require_pq, suite: policy for dialling.
    """

    keep: bool = False
    expected_peers: frozenset[PeerKey] | None = None
    bound_to: PeerKey | None = None
    connect_timeout_s: float = 30.0
    still_trying_s: float = 10.0
    wait_s: float | None = 600.0
    receipt_wait_s: float = 10.0
    end_on_decline: bool = True
    limit_bytes_per_s: float | None = None
    require_pq: bool = True
    suite: SuiteId | None = None

    def __post_init__(self) -> None:
        check_kinds(self)
        if not 0 < self.connect_timeout_s <= 86_400:
            raise ConfigError("connect_timeout_s", self.connect_timeout_s, "0 to 86400 seconds")
        if self.wait_s is not None and not 0 <= self.wait_s <= 30 * 86_400:
            raise ConfigError("wait_s", self.wait_s, "0 to 30 days, in seconds")
        if self.limit_bytes_per_s is not None and self.limit_bytes_per_s < 1_000:
            raise ConfigError("limit_bytes_per_s", self.limit_bytes_per_s, "1000 or more")
