"""Bounds the size of everything. Reaching a limit is a named error, never memory.

Spec: mls §1 [ML-29]; the numbers are those of the group design.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one group. Sizes in bytes, times in seconds."""

    members_max: int = 1024
    application_bytes_max: int = 64 * 1024
    message_bytes_max: int = 4 * 1024 * 1024
    tree_bytes_max: int = 8 * 1024 * 1024
    state_bytes_max: int = 64 * 1024 * 1024
    proposals_per_commit_max: int = 256
    pending_proposals_max: int = 64
    leaf_extensions_bytes_max: int = 4 * 1024
    skip_generations_max: int = 4096
    kept_per_sender_max: int = 1024
    kept_in_all_max: int = 4096
    past_epochs_max: int = 2
    past_epoch_s: float = 60.0
    resumption_epochs_max: int = 8
    psks_max: int = 64


DEFAULT_LIMITS = Limits()
