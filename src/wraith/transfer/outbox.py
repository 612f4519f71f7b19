"""Keeps what a machine has to say until somebody takes it: messages, events, wishes.

The parts of a machine share one outbox, so none of them needs to know who stands above it.

Spec: transfer §4, §6.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from wraith.errors import WraithError
from wraith.transfer.events import TransferEvent
from wraith.transfer.message_codec import encode_message
from wraith.transfer.messages import Message
from wraith.transfer.wishes import AnswerT, Asked, Wish


class Outbox:
    """Oldest first, each of the three by itself.

    Args:
        ids: numbers for wishes, shared with other machines.
    """

    def __init__(self, ids: Iterator[int]) -> None:
        self._wishes: deque[Wish[object]] = deque()
        self._ids = ids
        self._asked = Asked()
        self._control: deque[bytes] = deque()
        self._events: deque[TransferEvent] = deque()

    # --- what goes in ---------------------------------------------------------------------------

    def next_id(self) -> int:
        """A number for a wish."""
        return next(self._ids)

    def say(self, message: Message) -> None:
        """To the peer."""
        self._control.append(encode_message(message))

    def tell(self, event: TransferEvent) -> None:
        """To whoever runs the machine."""
        self._events.append(event)

    def tell_instead(self, event: TransferEvent) -> None:
        """As ``tell``; one of its kind that nobody has taken yet gives way to it."""
        if self._events and type(self._events[-1]) is type(event):
            self._events.pop()
        self._events.append(event)

    def ask(self, wish: Wish[AnswerT], hears: Callable[[AnswerT | WraithError], None]) -> None:
        """Of the disk. ``hears`` is called with the answer or an error."""
        self._asked.ask(wish, hears)
        self._wishes.append(wish)

    # --- what comes out -------------------------------------------------------------------------

    @property
    def n_asked(self) -> int:
        """Wishes whose answers have not come."""
        return len(self._asked)

    @property
    def has_messages(self) -> bool:
        return bool(self._control)

    def take_messages(self) -> list[bytes]:
        """All messages, encoded; each is given once."""
        out = list(self._control)
        self._control.clear()
        return out

    def next_event(self) -> TransferEvent | None:
        return self._events.popleft() if self._events else None

    def next_wish(self) -> Wish[object] | None:
        return self._wishes.popleft() if self._wishes else None

    def answered(self, wish_id: int, result: object) -> None:
        """The answer to a wish: of the type that it names, or a ``WraithError``."""
        self._asked.answered(wish_id, result)

    def drop_messages(self) -> None:
        """The connection they were for is gone."""
        self._control.clear()

    def drop_wishes(self, *kinds: type[Wish[object]]) -> None:
        """Takes back the wishes of these kinds (none: of all) that nobody has taken yet."""
        stale = [wish for wish in self._wishes if not kinds or isinstance(wish, kinds)]
        for wish in stale:
            self._wishes.remove(wish)
            self._asked.forget(wish)
