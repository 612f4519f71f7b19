"""Wishes, who fulfils them, and what a machine has to say."""

from __future__ import annotations

from itertools import count

import pytest

from wraith.errors import NoSpace, WraithError
from wraith.transfer.events import BeginAnew, KeptVoid, Progress
from wraith.transfer.message_codec import encode_message
from wraith.transfer.messages import HaveEnd, Start
from wraith.transfer.outbox import Outbox
from wraith.transfer.wishes import DropFiles, ReadPages, RemoveState, Store, StorePages


class Pages(Store):
    """Reads pages, and nothing else."""

    def read_pages(self, wish: ReadPages) -> list[bytes]:
        if wish.first == 7:
            raise NoSpace("full")
        if wish.first == 8:
            raise OSError(5, "no such page")
        return [b"page"] * wish.n

    def disk_error(self, exc: OSError) -> WraithError:
        return NoSpace(f"told: {exc.strerror}")


def test_a_store_answers_and_its_errors_are_values() -> None:
    store = Pages()
    assert store.fulfil(ReadPages(1, 0, 2)) == [b"page", b"page"]
    assert isinstance(store.fulfil(ReadPages(1, 7, 1)), NoSpace)
    told = store.fulfil(ReadPages(1, 8, 1))
    assert isinstance(told, NoSpace) and "told: no such page" in str(told)


def test_a_wish_for_another_store_is_a_defect() -> None:
    with pytest.raises(AssertionError, match="DropFiles"):
        Pages().fulfil(DropFiles(1, (0,)))


def test_an_answer_goes_to_whoever_asked() -> None:
    out, heard = Outbox(count(1)), list[tuple[str, object]]()
    for name in ("first", "second"):
        wish = ReadPages(out.next_id(), 0, 1)
        out.ask(wish, lambda result, name=name: heard.append((name, result)))  # type: ignore[misc]
    first, second = out.next_wish(), out.next_wish()
    assert first is not None and second is not None and out.next_wish() is None
    assert out.n_asked == 2
    out.answered(second.id, [b"2"])
    out.answered(first.id, [b"1"])
    assert heard == [("second", [b"2"]), ("first", [b"1"])] and out.n_asked == 0


def test_wishes_that_nobody_has_taken_can_be_taken_back() -> None:
    out, heard = Outbox(count(1)), list[object]()
    out.ask(StorePages(out.next_id(), 0, ()), heard.append)
    out.ask(RemoveState(out.next_id()), heard.append)
    out.ask(StorePages(out.next_id(), 1, ()), heard.append)
    out.drop_wishes(StorePages)
    assert out.n_asked == 1
    assert isinstance(out.next_wish(), RemoveState) and out.next_wish() is None
    out.drop_wishes()
    assert out.n_asked == 1  # what was taken is still answered
    out.answered(2, None)
    assert heard == [None]


def test_an_event_gives_way_only_to_a_newer_one_of_its_kind() -> None:
    out = Outbox(count(1))
    out.tell_instead(Progress(1, None, 0))
    out.tell_instead(Progress(2, None, 0))
    out.tell(KeptVoid("why"))
    out.tell_instead(Progress(3, None, 0))
    out.tell(BeginAnew())
    told = [out.next_event() for _ in range(5)]
    assert told == [Progress(2, None, 0), KeptVoid("why"), Progress(3, None, 0), BeginAnew(), None]


def test_each_message_is_given_once() -> None:
    out = Outbox(count(1))
    out.say(Start())
    out.say(HaveEnd())
    assert out.has_messages
    assert out.take_messages() == [encode_message(Start()), encode_message(HaveEnd())]
    assert not out.has_messages and out.take_messages() == []
    out.say(Start())
    out.drop_messages()
    assert out.take_messages() == []
