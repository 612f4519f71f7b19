"""Where the peer is and how large datagrams may be, as a part of a connection's life.

A packet from elsewhere begins a validation there; its answer moves the session. ``path.py`` keeps
the accounts, this applies them. Spec: docs/spec/connection.md [CN-32] [CN-33] [CN-36] [CN-37].
"""

from __future__ import annotations

from wraith.abc import Rng
from wraith.connection import events as ev
from wraith.connection.data.buffer_pool import BufferPool
from wraith.connection.data.recovery import SUSPECT_PTOS
from wraith.connection.ending import Ending
from wraith.connection.packet_builder import PacketBuilder
from wraith.connection.parts import ConnectionParts
from wraith.connection.paths.path import (
    BASE_DATAGRAM_BYTES,
    CHALLENGE_PADDED_BYTES,
    VALIDATIONS_MAX,
    PathValidation,
    only_port_changed,
)
from wraith.connection.state import Input
from wraith.hotpath import OpenResult
from wraith.types import NetworkPath, Transmit
from wraith.wire.frames import PathChallenge, encode_frame


class Moving(Ending):
    """The paths of a connection. ``Connection`` sets the attributes."""

    __slots__ = ("_rng", "_validations", "path")

    path: NetworkPath
    _rng: Rng
    _validations: list[PathValidation]

    def handle_mtu_exceeded(self, n_bytes: int, now: float) -> None:
        """The local network refused a datagram of ``n_bytes`` for its size. A probe of that size
        is given up; if it was the size in use, back to 1,200 bytes, and search later. [CN-37]"""
        parts = self._parts
        if parts is None or not self._life.is_open:
            return
        if n_bytes > parts.mtu.current:
            parts.mtu.on_refused(n_bytes, now)
        elif n_bytes > BASE_DATAGRAM_BYTES:
            self._shrink_mtu(parts, now)
        self._woken()

    def _on_other_path(
        self,
        parts: ConnectionParts,
        path: NetworkPath,
        result: OpenResult,
        is_newest: bool,
        now: float,
    ) -> None:
        """Packets from another 4-tuple: a reordered one says nothing, the newest a move. [CN-32]"""
        for validation in self._validations:
            if validation.path == path:
                validation.bytes_received += result.authenticated_bytes
                return
        if not is_newest:
            return
        validation = PathValidation(
            path,
            self._rng.public_bytes(8),
            keeps_estimates=only_port_changed(parts.path, path)
            and parts.recovery.pto_count < SUSPECT_PTOS,
        )
        validation.bytes_received = result.authenticated_bytes
        if len(self._validations) >= VALIDATIONS_MAX:
            self._validations.pop(0)
        self._validations.append(validation)
        self._life.apply(Input.PATH)

    def _on_path_responses(self, parts: ConnectionParts, answers: list[bytes], now: float) -> None:
        for answer in answers:
            for validation in self._validations:
                if validation.tries and validation.challenge == answer:
                    self._use_path(parts, validation, now)
                    break
        answers.clear()

    def _use_path(self, parts: ConnectionParts, validation: PathValidation, now: float) -> None:
        self._validations.clear()
        self._life.apply(Input.PATH_DONE)
        self.path = parts.path = validation.path
        parts.is_path_proven = True  # the answer came back over it
        if not validation.keeps_estimates:
            parts.start_path_anew(now)
        assert self._inbound is not None
        self._inbound.on_lost(parts.recovery.leave_path(now), now)
        self._events.append(ev.PathChanged())

    def _send_on_other_paths(
        self, builder: PacketBuilder, out: list[Transmit], pool: BufferPool, now: float
    ) -> None:
        parts, inbound = self._parts, self._inbound
        assert parts is not None and inbound is not None
        for path, frame in inbound.path_answers:
            transmit = builder.single(now, pool, frame, path)
            if transmit is not None:
                out.append(transmit)
        inbound.path_answers.clear()
        for validation in self._validations:
            if not validation.is_due:
                continue
            frame = encode_frame(PathChallenge(validation.challenge))
            fill = CHALLENGE_PADDED_BYTES if validation.room >= CHALLENGE_PADDED_BYTES else 0
            transmit = builder.single(now, pool, frame, validation.path, fill_to=fill)
            if transmit is not None:
                patience = parts.recovery.pto_s()
                validation.on_sent(len(transmit.data), now, patience)
                out.append(transmit)

    def _shrink_mtu(self, parts: ConnectionParts, now: float) -> None:
        if parts.mtu.on_black_hole(now):
            self._set_datagram_bytes(parts)

    def _set_datagram_bytes(self, parts: ConnectionParts) -> None:
        size = parts.mtu.current
        parts.recovery.controller.set_datagram_bytes(size)
        parts.datagrams.drop_oversized(parts.keys.sealer.capacity(size))
        self._events.append(ev.MtuChanged(size))
