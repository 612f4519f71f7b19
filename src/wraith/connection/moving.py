"""Where the peer is and how large datagrams may be, as a part of a connection's life.

A packet from elsewhere is a move of the peer or one more path; a challenge there proves it. This
side opens more paths by the same challenge, and says which one carries data. ``validation.py``
keeps the accounts, this applies them.
Spec: docs/spec/connection.md [CN-32] [CN-33] [CN-36] [CN-37] [CN-84 to CN-89].
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto

from wraith.connection import events as ev
from wraith.connection.data.buffer_pool import BufferPool
from wraith.connection.data.recovery import SUSPECT_PTOS
from wraith.connection.packet_builder import PacketBuilder
from wraith.connection.parts import ConnectionParts
from wraith.connection.paths.mtu import BASE_DATAGRAM_BYTES
from wraith.connection.paths.open_path import Path
from wraith.connection.paths.validation import (
    CHALLENGE_PADDED_BYTES,
    VALIDATIONS_MAX,
    PathValidation,
    only_port_changed,
)
from wraith.connection.road_reports import RoadReports
from wraith.connection.shared import Shared
from wraith.connection.state import Input, SessionState
from wraith.hotpath import OpenResult
from wraith.types import NetworkPath, Transmit
from wraith.wire.frame_types import FrameType
from wraith.wire.frames import Pad, PathChallenge, encode_frame
from wraith.wire.road_frames import PathRole, PathUse, RoadFrame

NEWS_MAX = 64
USES_MAX = 8
LOADED_PACKETS = 2
"""A padded challenge on a link comes behind so many packets of full size: 32 KiB that have to
arrive first."""


class PathNews(Enum):
    """What happened on a path that a guide should know."""

    ANSWER = auto()
    SUSPECT = auto()
    RECOVERED = auto()


class Moving:
    """Follows the peer to other 4-tuples, opens more paths, and finds the size of datagrams.

    Attributes:
        news: for whoever chooses the road of the session: what happened on which path, oldest
            first. Stays empty unless somebody sets ``has_guide``.
        reports: what the two sides tell each other of roads.
    """

    __slots__ = (
        "_n_uses", "_peer_use", "_shared", "_unmet", "_uses", "_wanted", "has_guide", "news",
        "reports",
    )  # fmt: skip

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        #: The path that the peer wishes to be used, as soon as it is proven.
        self._wanted: Path | None = None
        self.has_guide = False
        self.news: deque[tuple[PathNews, NetworkPath]] = deque()
        self.reports = RoadReports(shared)
        self._n_uses = 0
        #: The PATH_USE under way for each index.
        self._uses: dict[int, int] = {}
        self._peer_use = -1
        #: The index of a path that the peer wishes to be used and that is not known here yet.
        self._unmet: int | None = None

    # -- datagram sizes

    def handle_mtu_exceeded(self, network: NetworkPath, n_bytes: int, now: float) -> None:
        """The local network refused a datagram of ``n_bytes`` for its size. A probe of that size
        is given up; if it was the size in use, back to 1,200 bytes, and search later. [CN-37]"""
        parts = self._shared.parts
        if parts is None or not self._shared.life.is_open:
            return
        path = parts.paths.find(network)
        if path is None:
            return
        if n_bytes > path.mtu.current:
            path.mtu.on_refused(n_bytes, now)
        elif n_bytes > BASE_DATAGRAM_BYTES:
            self.shrink_mtu(path, now)
        self._shared.woken()

    def shrink_mtu(self, path: Path, now: float) -> None:
        assert self._shared.inbound is not None
        if path.mtu.on_black_hole(now):
            self._shared.inbound.resized(path)

    # -- where packets come from

    def arrived(
        self,
        parts: ConnectionParts,
        network: NetworkPath,
        result: OpenResult,
        is_newest: bool,
        now: float,
    ) -> Path:
        """The path on which packets have come that are authentic; not called for the main one.

        A known 4-tuple is its path. From an unknown one, an index of connection ids above all is
        one more path, whatever the numbers of its packets: on a new path they overtake nobody and
        are overtaken. A known index is a path of that index under another address, but only if the
        packet is the newest: a copy that somebody else has sent on is not. One that PATH_USE has
        named is one more path as well, though others have overtaken it. [CN-32] [CN-84] [CN-86]
        A link that is not proven may have come with such a copy: a newer packet of its index from
        elsewhere takes its place. [CN-84]
        """
        paths = parts.paths
        for validation in paths.validations:
            if validation.network == network:
                validation.bytes_received += result.authenticated_bytes
                return validation.path
        path = paths.find(network)
        if path is not None:
            return path
        index = result.cid_index
        is_fresh = index > parts.cids.highest and (parts.has_roads or network.link > 0)
        if is_fresh or index == self._unmet:
            return self._joined(parts, network, index, result.authenticated_bytes, now)
        before = paths.with_index(index)
        is_link = network.link or (before is not None and before.network.link)
        if before is not None and is_link and is_newest and not before.is_proven:
            self._was_copied(before)
            self._drop(parts, before)
            return self._joined(parts, network, index, result.authenticated_bytes, now)
        path = before or paths.main
        if not is_newest or network.link or path.network.link:
            return path  # nobody moves onto a link or off it
        self._challenge(
            parts,
            network,
            path,
            result.authenticated_bytes,
            keeps_estimates=only_port_changed(path.network, network)
            and path.pto_count < SUSPECT_PTOS,
        )
        self._shared.life.apply(Input.PATH)
        return path

    def _joined(
        self, parts: ConnectionParts, network: NetworkPath, index: int, n_bytes: int, now: float
    ) -> Path:
        """The peer has one more path, on which so many bytes have come."""
        parts.cids.on_received(index)
        path = parts.paths.join(network, index, now)
        parts.renew_cid_range()
        self._challenge(parts, network, path, n_bytes)
        self.on_index(path, now)
        return path

    def _was_copied(self, path: Path) -> None:
        """``path`` does not answer: if the peer wishes to use it, it is elsewhere. [CN-84]"""
        if path is self._wanted:
            self._unmet = path.index_received

    def on_index(self, path: Path, now: float) -> None:
        """The peer writes another index on ``path``: the one that PATH_USE has named, perhaps."""
        if path.index_received == self._unmet:
            self._unmet = None
            self._want(path, now)

    def _challenge(
        self,
        parts: ConnectionParts,
        network: NetworkPath,
        path: Path,
        n_bytes: int,
        *,
        keeps_estimates: bool = False,
    ) -> None:
        validation = PathValidation(
            network, path, self._shared.rng.public_bytes(8), keeps_estimates=keeps_estimates
        )
        validation.bytes_received = n_bytes
        theirs = [one for one in parts.paths.validations if not one.is_own]
        if len(theirs) >= VALIDATIONS_MAX:
            parts.paths.validations.remove(theirs[0])
        parts.paths.validations.append(validation)
        self._end_moves(parts)

    # -- more paths, as this side wishes

    def join(self, network: NetworkPath, now: float) -> bool:
        """One more path to the peer, which is challenged there; it stands by until ``use``. False:
        there is no fresh connection id for it now."""
        parts = self._shared.usable()
        if parts.paths.find(network) is not None:
            self.probe(network, now)
            return True
        index = None if network.link else parts.cids.take_silent()
        if index is None:
            index = parts.cids.take()
        if index is None:
            return False
        path = parts.paths.join(network, index, now)
        parts.renew_cid_range()
        self._ask(parts, path)
        return True

    def probe(self, network: NetworkPath, now: float, *, is_padded: bool = False) -> bool:
        """Asks whether the peer still answers on a path that is open; false if it is not. A
        challenge that is under way may be lost: it is sent again."""
        parts = self._shared.usable()
        path = parts.paths.find(network)
        if path is None:
            return False
        pending = [one for one in parts.paths.validations if one.path is path]
        own = next((one for one in pending if one.is_own), None)
        if own is not None and is_padded and not own.is_padded:
            parts.paths.validations.remove(own)  # what a small one would prove is not the question
            self._ask(parts, path, is_padded=True)
        elif own is not None:
            own.ask_again()
            self._shared.woken()
        elif not pending:
            self._ask(parts, path, is_padded=is_padded)
        return True

    def _ask(self, parts: ConnectionParts, path: Path, *, is_padded: bool = False) -> None:
        challenge = self._shared.rng.public_bytes(8)
        parts.paths.validations.append(
            PathValidation(path.network, path, challenge, is_own=True, is_padded=is_padded)
        )
        self._shared.woken()

    def leave(self, network: NetworkPath, now: float) -> None:
        """Gives up a path that stands by, and says so; no effect on others."""
        parts = self._shared.parts
        path = None if parts is None else parts.paths.find(network)
        if parts is not None and path is not None and path is not parts.paths.main:
            if path.is_proven:
                self._say(parts, path, PathRole.CLOSING)
            if network.link:
                parts.last_link = now
            self._give_up(parts, path)

    def _give_up(self, parts: ConnectionParts, path: Path) -> None:
        """``path`` is not the main one. The index of one over UDP that was never answered names the
        next try; that of a link may not, since the peer takes it for the link that is gone."""
        if not path.is_proven and not path.network.link:
            parts.cids.on_silent(path.index)
        self._drop(parts, path)

    def use(self, network: NetworkPath, now: float) -> None:
        """Data leave on this path from now on, as soon as it is proven, and the peer is told to
        send there too; no effect if it is not open. [CN-86]"""
        parts = self._shared.parts
        path = None if parts is None else parts.paths.find(network)
        if parts is not None and path is not None:
            parts.renew_index(path)
            self._say(parts, path, PathRole.ACTIVE)
            self._want(path, now)
            self._shared.woken()

    def _say(self, parts: ConnectionParts, path: Path, role: PathRole) -> None:
        """PATH_USE, until it is acknowledged or another one of this path takes its place."""
        if not parts.has_roads:
            return
        mux, kind = parts.mux, FrameType.PATH_USE
        before = self._uses.get(path.index)
        if before is not None:
            mux.withdraw(kind, before)
        self._n_uses += 1
        self._uses[path.index] = self._n_uses
        if len(self._uses) > USES_MAX:
            mux.withdraw(kind, self._uses.pop(next(iter(self._uses))))
        mux.post(kind, self._n_uses, encode_frame(PathUse(path.index, self._n_uses, role)))

    def on_road_frames(
        self,
        parts: ConnectionParts,
        frames: list[RoadFrame],
        network: NetworkPath,
        result: OpenResult,
        now: float,
    ) -> None:
        """Applies what the peer says of roads and paths, with packets that came from ``network``:
        PATH_USE may name the path on which it comes."""
        for frame in frames:
            if not isinstance(frame, PathUse):
                self.reports.on_frame(frame)
            elif frame.seq > self._peer_use:
                self._on_peer_use(parts, frame, now)
        frames.clear()
        if result.cid_index == self._unmet and parts.paths.find(network) is None:
            self._joined(parts, network, result.cid_index, result.authenticated_bytes, now)

    def _on_peer_use(self, parts: ConnectionParts, frame: PathUse, now: float) -> None:
        """The newest wish of the peer counts. One for a path that is not known here waits for it:
        what was acknowledged is not said again. [CN-86]"""
        self._peer_use = frame.seq
        path = parts.paths.with_index(frame.index)
        if frame.role is PathRole.ACTIVE or frame.index == self._unmet:
            self._unmet = None
        if path is None:
            if frame.role is PathRole.ACTIVE:
                self._unmet = frame.index
        elif frame.role is PathRole.ACTIVE:
            self._want(path, now)
        elif frame.role is PathRole.CLOSING and path is not parts.paths.main:
            self._drop(parts, path)

    def on_newest_data(self, path: Path, network: NetworkPath, now: float) -> None:
        """Stream bytes have come on a path that stands by, and nothing newer elsewhere: the peer
        sends there now. A NAT may have moved it without its knowledge. [CN-87]"""
        if not self.has_guide and path.network == network:
            self._want(path, now)

    def tell_suspect(self, path: Path) -> None:
        self._tell(PathNews.SUSPECT, path)

    def tell_recovered(self, path: Path) -> None:
        self._tell(PathNews.RECOVERED, path)

    def _tell(self, news: PathNews, path: Path) -> None:
        if self.has_guide and len(self.news) < NEWS_MAX:
            self.news.append((news, path.network))

    def on_link_closed(self, network: NetworkPath, now: float) -> None:
        """A link has ended. What is under way there goes on another path, if there is one that is
        proven; else it waits for one. [CN-88]"""
        shared = self._shared
        parts = shared.parts
        path = None if parts is None else parts.paths.find(network)
        if parts is None or path is None or not shared.life.is_open:
            return
        path.link_room = 0
        path.is_gone = True
        parts.last_link = now
        others = [one for one in parts.paths.open if one is not path and one.is_proven]
        if path is parts.paths.main:
            if not others:
                assert shared.inbound is not None
                shared.inbound.on_lost(parts.recovery.leave(path, path, now), now)
                path.pto_count = SUSPECT_PTOS
                if not path.is_suspect:
                    path.is_suspect = True
                    parts.rekey.suspend(now)
                    shared.events.append(ev.PathSuspect())
                return
            self._want(next((one for one in others if not one.is_suspect), others[0]), now)
        else:
            self._drop(parts, path)

    def _drop(self, parts: ConnectionParts, path: Path) -> None:
        """``path``, which is not the main one, is a path no more, and no move of it is awaited."""
        parts.paths.leave(path)
        parts.renew_cid_range()
        self._end_moves(parts)

    def _end_moves(self, parts: ConnectionParts) -> None:
        """The session is Migrating while the answer of a moved path is awaited, and no longer."""
        is_moving = any(one.is_move for one in parts.paths.validations)
        if not is_moving and self._shared.life.state is SessionState.MIGRATING:
            self._shared.life.apply(Input.PATH_DONE)

    def _want(self, path: Path, now: float) -> None:
        parts = self._shared.parts
        assert parts is not None
        self._wanted = None
        if path is parts.paths.main:
            return
        if not path.is_proven:
            self._wanted = path
            return
        left = parts.paths.main
        parts.paths.main = path
        parts.renew_index(path)
        self._left(left, path, now)
        if left.is_gone:
            self._drop(parts, left)

    def _left(self, left: Path, successor: Path, now: float) -> None:
        """What is under way on the path that was left goes to its successor. [RC-36]"""
        parts, inbound = self._shared.parts, self._shared.inbound
        assert parts is not None and inbound is not None
        self._shared.path = successor.network
        successor.acks.set_rtt(successor.rtt.srtt)
        inbound.on_lost(parts.recovery.leave(left, successor, now), now)
        self._shared.events.append(ev.PathChanged(successor.network))
        if left.is_suspect and not successor.is_suspect:
            parts.rekey.resume(now)
            self._shared.events.append(ev.PathRecovered())
        elif successor.is_suspect and not left.is_suspect:
            parts.rekey.suspend(now)
            self._shared.events.append(ev.PathSuspect())

    # -- answers

    def on_responses(self, parts: ConnectionParts, answers: list[bytes], now: float) -> None:
        for answer in answers:
            for validation in parts.paths.validations:
                if validation.tries and validation.challenge == answer:
                    self._on_response(parts, validation, now)
                    break
        answers.clear()

    def _on_response(self, parts: ConnectionParts, validation: PathValidation, now: float) -> None:
        path, paths = validation.path, parts.paths
        if validation.is_move:
            paths.validations = [one for one in paths.validations if not one.is_move]
            self._end_moves(parts)
            is_main = path is paths.main
            successor = paths.move(
                path, validation.network, keeps_estimates=validation.keeps_estimates, now=now
            )
            if is_main:
                self._left(path, successor, now)
            return
        paths.validations.remove(validation)
        path.is_proven = True
        if validation.tries == 1:
            path.rtt.update(now - validation.sent_at, 0.0, now)
            path.set_pace()
        if path is self._wanted:
            self._want(path, now)
        if validation.is_own:
            self._tell(PathNews.ANSWER, path)

    def handle_timer(self, parts: ConnectionParts, now: float) -> None:
        """Challenges that have not been answered go again, or are given up."""
        paths = parts.paths
        for validation in list(paths.validations):
            if validation not in paths.validations or not validation.on_timer(now):
                continue
            paths.validations.remove(validation)
            path = validation.path
            if validation.is_move:
                self._end_moves(parts)
            elif not path.is_proven and path is not paths.main:
                if not validation.is_own:
                    self._was_copied(path)
                self._give_up(parts, path)

    def send_elsewhere(
        self, builder: PacketBuilder, out: list[Transmit], pool: BufferPool, now: float
    ) -> None:
        """Challenges, answers to them, and acknowledgements of paths that stand by."""
        parts, inbound = self._shared.parts, self._shared.inbound
        assert parts is not None and inbound is not None
        for network, frame in inbound.path_answers:
            transmit = builder.single(network, now, pool, frame)
            if transmit is not None:
                out.append(transmit)
        inbound.path_answers.clear()
        paths = parts.paths
        for validation in paths.validations:
            if not validation.is_due:
                continue
            frame = encode_frame(PathChallenge(validation.challenge))
            fill = 0
            if validation.is_own or validation.room >= CHALLENGE_PADDED_BYTES:
                fill = validation.path.mtu.current if validation.is_padded else 0
                fill = max(fill, CHALLENGE_PADDED_BYTES)
            if validation.is_padded and validation.network.link:
                load = encode_frame(Pad(b"", eliciting=False))
                for _ in range(LOADED_PACKETS):
                    loaded = builder.single(validation.network, now, pool, load, fill_to=fill)
                    if loaded is not None:
                        out.append(loaded)
            transmit = builder.single(validation.network, now, pool, frame, fill_to=fill)
            if transmit is not None:
                validation.on_sent(len(transmit.data), now, paths.slowest_pto_s())
                out.append(transmit)
        if len(paths.open) == 1:
            return
        for path in paths.open:
            if path is not paths.main and path.is_proven and path.acks.is_due:
                out += builder.ack_run(path, now, pool, path.mtu.current)
