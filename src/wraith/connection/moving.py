"""Where the peer is and how large datagrams may be, as a part of a connection's life.

A packet from elsewhere begins a validation there; its answer moves the session. ``path.py`` keeps
the accounts, this applies them. Spec: docs/spec/connection.md [CN-32] [CN-33] [CN-36] [CN-37].
"""

from __future__ import annotations

from wraith.connection import events as ev
from wraith.connection.data.buffer_pool import BufferPool
from wraith.connection.data.recovery import SUSPECT_PTOS
from wraith.connection.packet_builder import PacketBuilder
from wraith.connection.parts import ConnectionParts
from wraith.connection.paths.path import (
    BASE_DATAGRAM_BYTES,
    CHALLENGE_PADDED_BYTES,
    VALIDATIONS_MAX,
    PathValidation,
    only_port_changed,
)
from wraith.connection.shared import Shared
from wraith.connection.state import Input
from wraith.hotpath import OpenResult
from wraith.types import NetworkPath, Transmit
from wraith.wire.frames import PathChallenge, encode_frame


class Moving:
    """Follows the peer to other addresses, and the size of datagrams to what the path takes."""

    __slots__ = ("_shared",)

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def handle_mtu_exceeded(self, n_bytes: int, now: float) -> None:
        """The local network refused a datagram of ``n_bytes`` for its size. A probe of that size
        is given up; if it was the size in use, back to 1,200 bytes, and search later. [CN-37]"""
        parts = self._shared.parts
        if parts is None or not self._shared.life.is_open:
            return
        mtu = parts.paths.main.mtu
        if n_bytes > mtu.current:
            mtu.on_refused(n_bytes, now)
        elif n_bytes > BASE_DATAGRAM_BYTES:
            self.shrink_mtu(parts, now)
        self._shared.woken()

    def on_other_path(
        self,
        parts: ConnectionParts,
        path: NetworkPath,
        result: OpenResult,
        is_newest: bool,
        now: float,
    ) -> None:
        """Packets from another 4-tuple: a reordered one says nothing, the newest a move. [CN-32]"""
        paths = parts.paths
        for validation in paths.validations:
            if validation.path == path:
                validation.bytes_received += result.authenticated_bytes
                return
        if not is_newest:
            return
        validation = PathValidation(
            path,
            self._shared.rng.public_bytes(8),
            keeps_estimates=only_port_changed(paths.main.network, path)
            and paths.main.pto_count < SUSPECT_PTOS,
        )
        validation.bytes_received = result.authenticated_bytes
        if len(paths.validations) >= VALIDATIONS_MAX:
            paths.validations.pop(0)
        paths.validations.append(validation)
        self._shared.life.apply(Input.PATH)

    def on_responses(self, parts: ConnectionParts, answers: list[bytes], now: float) -> None:
        for answer in answers:
            for validation in parts.paths.validations:
                if validation.tries and validation.challenge == answer:
                    self._use_path(parts, validation, now)
                    break
        answers.clear()

    def _use_path(self, parts: ConnectionParts, validation: PathValidation, now: float) -> None:
        paths = parts.paths
        paths.validations.clear()
        self._shared.life.apply(Input.PATH_DONE)
        left = paths.move(validation.path, keeps_estimates=validation.keeps_estimates, now=now)
        self._shared.path = paths.main.network
        parts.acks.set_rtt(paths.main.rtt.srtt)
        assert self._shared.inbound is not None
        self._shared.inbound.on_lost(parts.recovery.leave(left, paths.main, now), now)
        self._shared.events.append(ev.PathChanged())

    def send_elsewhere(
        self, builder: PacketBuilder, out: list[Transmit], pool: BufferPool, now: float
    ) -> None:
        parts, inbound = self._shared.parts, self._shared.inbound
        assert parts is not None and inbound is not None
        for path, frame in inbound.path_answers:
            transmit = builder.single(path, now, pool, frame)
            if transmit is not None:
                out.append(transmit)
        inbound.path_answers.clear()
        for validation in parts.paths.validations:
            if not validation.is_due:
                continue
            frame = encode_frame(PathChallenge(validation.challenge))
            fill = CHALLENGE_PADDED_BYTES if validation.room >= CHALLENGE_PADDED_BYTES else 0
            transmit = builder.single(validation.path, now, pool, frame, fill_to=fill)
            if transmit is not None:
                validation.on_sent(len(transmit.data), now, parts.paths.slowest_pto_s())
                out.append(transmit)

    def shrink_mtu(self, parts: ConnectionParts, now: float) -> None:
        assert self._shared.inbound is not None
        if parts.paths.main.mtu.on_black_hole(now):
            self._shared.inbound.resized(parts.paths.main)
