"""A sender and a receiver joined by two byte pipes: transfers without any connection.

A step fulfils one of the target's wishes. Bytes may be cut at any place (``cut``), so that parsers
meet every boundary.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Protocol

from wraith.transfer.events import OfferReceived, TransferEvent
from wraith.transfer.path_rules import PathRules
from wraith.transfer.receiver import Receiver
from wraith.transfer.sender import Outgoing, Sender
from wraith.transfer.wishes import Fulfils
from wraith.types import PeerKey

PIPE_PEER = PeerKey(bytes(31) + b"\x01")


class Source(Fulfils, Protocol):
    """A store that has something to offer."""

    @property
    def outgoing(self) -> Outgoing: ...


class TransferPipe:
    """Runs one connection after the other between ``source`` and ``target``.

    Args:
        accept: answers ``OfferReceived`` by itself.
        cut: bytes handed over at a time on both streams.
        tap: sees each data buffer and may return another one.
    """

    def __init__(
        self,
        source: Source,
        target: Fulfils,
        *,
        rules: PathRules | None = None,
        accept: bool = True,
        cut: int = 1 << 20,
        tap: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self.source = source
        self.target = target
        self.accept = accept
        self.cut = cut
        self.tap = tap
        self.now = 0.0
        self.ids = count(1)
        self.receiver = Receiver(rules if rules is not None else PathRules(), self.ids)
        self.sender: Sender | None = None
        self.sent_events: list[TransferEvent] = []
        self.received_events: list[TransferEvent] = []
        self.n_target_wishes = 0
        self.data_bytes = 0

    def connect(self) -> Sender:
        """A new connection; the old one, if any, is gone with all that was on it."""
        self.sender = Sender(self.source.outgoing, self.ids)
        self.receiver.begin(PIPE_PEER)
        return self.sender

    def run(self, *, stop: Callable[[], bool] | None = None, rounds: int = 200_000) -> None:
        """Until nothing moves any more, or ``stop()``."""
        if self.sender is None:
            self.connect()
        for _ in range(rounds):
            if stop is not None and stop():
                return
            if not self.step():
                return
        raise RuntimeError("a transfer that never rests")

    def step(self) -> bool:
        """One round: bytes across, wishes fulfilled, time on if nothing else. True if it moved."""
        sender, receiver = self.sender, self.receiver
        assert sender is not None
        moved = False
        for buffer in sender.control_to_send():
            moved = True
            for at in range(0, len(buffer), self.cut):
                receiver.receive_control(buffer[at : at + self.cut], self.now)
        for buffer in receiver.control_to_send():
            moved = True
            for at in range(0, len(buffer), self.cut):
                sender.receive_control(buffer[at : at + self.cut])
        room = receiver.data_room()
        for block in sender.data_to_send(min(room, 1 << 20)) if room else ():
            moved = True
            sent = self.tap(bytes(block)) if self.tap is not None else block
            self.data_bytes += len(sent)
            for at in range(0, len(sent), self.cut):
                receiver.receive_data(sent[at : at + self.cut], self.now)
        moved |= self._fulfil()
        moved |= self._take_events()
        if not moved and (timer := receiver.next_timer()) is not None:
            self.now = max(self.now, timer)
            receiver.handle_timer(self.now)
            moved = True
        return moved

    def _fulfil(self) -> bool:
        moved = False
        sender, receiver = self.sender, self.receiver
        assert sender is not None
        while (wish := sender.next_wish()) is not None:
            sender.io_done(wish.id, self.source.fulfil(wish))
            moved = True
        # One at a time, so that a test can stop between any two.
        if (receiver_wish := receiver.next_wish()) is not None:
            self.n_target_wishes += 1
            receiver.io_done(receiver_wish.id, self.target.fulfil(receiver_wish), self.now)
            moved = True
        return moved

    def _take_events(self) -> bool:
        moved = False
        assert self.sender is not None
        while (event := self.sender.next_event()) is not None:
            self.sent_events.append(event)
            moved = True
        while (event := self.receiver.next_event()) is not None:
            self.received_events.append(event)
            moved = True
            if isinstance(event, OfferReceived) and self.accept:
                self.receiver.accept(event.offer_id)
        return moved
