"""``wraith.send`` and ``wraith.receive`` over real sockets and disks."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import wraith
from wraith import events
from wraith.aio import open_node
from wraith.aio.disk.source_scan import SourceUnreadable
from wraith.aio.entropy import OsRng
from wraith.errors import (
    CodeInvalid,
    ConfigError,
    HandshakeTimeout,
    LocalProtocolError,
    OfferRefused,
    PeerKeyMismatch,
    PolicyRefused,
)
from wraith.transfer.reasons import Interrupted, OfferTaken

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(120)]
LOCAL = "127.0.0.1:0"
MIB = 1 << 20


class Two:
    """A sender and a receiver on one machine, each with its own state."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.source, self.out = work / "source", work / "in"
        self.source.mkdir()
        self.out.mkdir()

    def file(self, name: str, content: bytes) -> Path:
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def send(self, *paths: Path, **options: Any) -> Any:
        options.setdefault("state", self.work / "state-sender")
        if "at" not in options and "to" not in options:
            options.setdefault("local", LOCAL)
        return wraith.send(paths, **options)

    async def receive(self, code: str, **options: Any) -> events.DoneEvent:
        options.setdefault("state", self.work / "state-receiver")
        options.setdefault("accept", True)
        out = options.pop("out", self.out)
        return await wraith.receive(code, out, **options)


@pytest.fixture
def two(tmp_path: Path) -> Two:
    return Two(tmp_path)


@asynccontextmanager
async def task_of(awaitable: Any) -> AsyncIterator[asyncio.Task[Any]]:
    """A task that is cancelled at the end."""
    task = asyncio.ensure_future(awaitable)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


def leftovers(folder: Path) -> list[Path]:
    return sorted(folder.glob(".wraith-*"))


async def test_files_and_folders_arrive_and_both_sides_say_the_same(two: Two) -> None:
    big = two.file("big.bin", os.urandom(3 * MIB))
    inner = two.file("folder/inner.txt", b"inner")
    seen: list[events.Event] = []
    async with two.send(big, two.source / "folder") as sending:
        received = await two.receive(sending.code, on_event=seen.append)
        sent = await sending.done()
        assert [event async for event in sending][-1] == sent
    assert (two.out / "big.bin").read_bytes() == big.read_bytes()
    assert (two.out / "folder/inner.txt").read_bytes() == inner.read_bytes()
    assert (sent.files, sent.failed, sent.bytes_total) == (2, 0, 3 * MIB + 5)
    assert received.file_ids == sent.file_ids and set(sent.file_ids) == {"big.bin"}
    assert set(received.paths or ()) == {str(two.out / "big.bin"), str(two.out / "folder")}
    assert seen[-1] == received and leftovers(two.out) == []
    kinds = [type(event) for event in seen]
    for kind in (events.WaitingEvent, events.ConnectedEvent, events.OfferEvent, events.DoneEvent):
        assert kinds.count(kind) == 1
    progress = [event.bytes_done for event in seen if isinstance(event, events.ProgressEvent)]
    assert progress == sorted(progress) and progress[-1] == 3 * MIB + 5


async def test_a_text_arrives_as_a_text(two: Two) -> None:
    async with wraith.send(text="meet at noon", local=LOCAL, state=two.work / "s") as sending:
        done = await two.receive(sending.code)
    assert done.text == "meet at noon" and list(two.out.iterdir()) == []


async def test_paths_are_real_where_a_name_is_no_text(two: Two) -> None:
    name = os.fsdecode(b"caf\xe9.txt")
    async with two.send(two.file(name, b"x")) as sending:
        done = await two.receive(sending.code)
    assert done.paths == (str(two.out / name),) and Path(done.paths[0]).read_bytes() == b"x"


async def test_the_code_is_a_secret_that_nothing_shows(
    two: Two, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[object] = []
    async with two.send(two.file("a", b"a"), on_event=seen.append) as sending:
        code = sending.code
        await two.receive(code, on_event=seen.append)
        await sending.done()
        shown = [repr(sending), str(sending), caplog.text, *map(repr, seen)]
    assert len(code) > 100 and not any(code[3:40] in text for text in shown)
    assert not [event for event in seen if isinstance(event, str)]


# --- who decides ------------------------------------------------------------------------------


async def test_an_offer_is_shown_whole_before_it_is_accepted(two: Two) -> None:
    shown: list[events.OfferEvent] = []

    async def accept(offer: events.OfferEvent) -> bool:
        shown.append(offer)
        assert list(two.out.iterdir()) == []
        return offer.bytes_total == 7

    two.file("folder/.hidden", b"ab")
    async with two.send(two.source / "folder", two.file("b.txt", b"other")) as sending:
        await two.receive(sending.code, accept=accept)
    (offer,) = shown
    assert (offer.kind, offer.files, offer.folders, offer.hidden) == ("files", 2, 1, 1)
    assert offer.names == ("b.txt", "folder") and len(offer.offer_id) == 32
    assert offer.peer is not None and offer.place == str(two.out)


async def test_the_whole_listing_can_be_read_before_the_answer(two: Two) -> None:
    listed: list[str] = []

    async def accept(offer: events.OfferEvent) -> bool:
        listed.extend(f"{entry.kind} {entry.path}" for entry in offer.entries())
        return False

    two.file("folder/inner.txt", b"ab")
    async with two.send(two.source / "folder") as sending:
        with pytest.raises(OfferRefused):
            await two.receive(sending.code, accept=accept)
        with pytest.raises(OfferRefused):
            await sending.done()
        with pytest.raises(OfferRefused):
            async for _ in sending:
                pass
    assert listed == ["folder folder", "file folder/inner.txt"]
    assert list(two.out.iterdir()) == []


async def test_a_set_of_keys_is_looked_at_before_anybody_is_dialled(two: Two) -> None:
    me = wraith.Identity.generate(OsRng())
    other = wraith.Identity.generate(OsRng())
    async with two.send(two.file("a", b"a"), identity=me) as sending:
        with pytest.raises(PeerKeyMismatch, match="not among those accepted"):
            await two.receive(sending.code, accept={other.public})
        done = await two.receive(sending.code, accept={other.public, me.public})
    assert done.files == 1


@pytest.mark.spec("TR-101")
async def test_what_is_accepted_is_what_was_shown(two: Two) -> None:
    """Another offer comes while the program decides: its call is cancelled, and it is asked anew;
    a late yes to the first would have been for that one alone."""
    path = two.file("a.txt", b"first")
    shown: list[int | None] = []
    cancelled = asyncio.Event()
    asked = asyncio.Event()

    async def accept(offer: events.OfferEvent) -> bool:
        shown.append(offer.bytes_total)
        asked.set()
        if len(shown) == 1:
            assert not offer.changed
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.set()
                raise
        assert offer.changed
        return True

    async with two.send(path) as sending:
        code = sending.code
        async with task_of(two.receive(code, accept=accept)) as receiving:
            await asked.wait()
            await sending.close()
            path.write_bytes(b"the second one")
            async with two.send(path) as again:
                assert again.code == code
                assert (await receiving).bytes_total == 14
    assert shown == [5, 14] and cancelled.is_set()
    assert (two.out / "a.txt").read_bytes() == b"the second one"


@pytest.mark.spec("TR-101")
async def test_a_yes_is_for_one_offer_and_the_next_one_is_asked_about(two: Two) -> None:
    path = two.file("a.bin", os.urandom(6 * MIB))
    sizes: list[int | None] = []
    moving = asyncio.Event()

    async def accept(offer: events.OfferEvent) -> bool:
        sizes.append(offer.bytes_total)
        return len(sizes) == 1

    def on_event(event: events.Event) -> None:
        if isinstance(event, events.ProgressEvent) and event.bytes_done:
            moving.set()

    async with two.send(path, limit_bytes_per_s=4e6) as sending:
        receiving = two.receive(sending.code, accept=accept, on_event=on_event)
        async with task_of(receiving) as task:
            await moving.wait()
            await sending.close()
            path.write_bytes(b"something else")
            async with two.send(path):
                with pytest.raises(OfferRefused):
                    await task
    assert sizes == [6 * MIB, 14] and not (two.out / "a.bin").exists()


async def test_the_same_offer_is_asked_about_once(two: Two) -> None:
    """The sender goes away after the answer and comes back with the same."""
    path = two.file("a.bin", os.urandom(6 * MIB))
    n_asked = 0

    async def accept(offer: events.OfferEvent) -> bool:
        nonlocal n_asked
        n_asked += 1
        return True

    moving = asyncio.Event()

    def on_event(event: events.Event) -> None:
        if isinstance(event, events.ProgressEvent) and event.bytes_done:
            moving.set()

    async with two.send(path, limit_bytes_per_s=4e6) as sending:
        receiving = two.receive(sending.code, accept=accept, on_event=on_event)
        async with task_of(receiving) as task:
            await moving.wait()
            await sending.close()
            async with two.send(path) as again:
                done = await task
                await again.done()
    assert n_asked == 1 and done.files == 1
    assert (two.out / "a.bin").read_bytes() == path.read_bytes()


async def test_what_accept_raises_is_raised_and_the_sender_is_refused(two: Two) -> None:
    async def accept(offer: events.OfferEvent) -> bool:
        raise KeyError("mine")

    async def nonsense(offer: events.OfferEvent) -> Any:
        return "yes"

    def plain(offer: events.OfferEvent) -> Any:
        return True

    for ask, error in ((accept, KeyError), (nonsense, TypeError), (plain, TypeError)):
        async with two.send(two.file("a", b"a")) as sending:
            with pytest.raises(error):
                await two.receive(sending.code, accept=ask)
            with pytest.raises(OfferRefused):
                await sending.done()


@pytest.mark.parametrize("asks", [False, True], ids=["True", "asked"])
async def test_a_name_that_exists_is_refused_unless_one_says_otherwise(
    two: Two, asks: bool
) -> None:
    async def yes(offer: events.OfferEvent) -> bool:
        assert offer.existing == 1
        return True

    (two.out / "a.txt").write_bytes(b"mine")
    path = two.file("a.txt", b"theirs")
    accept = yes if asks else True
    async with two.send(path) as sending:
        with pytest.raises(OfferTaken, match=r"already there: a\.txt") as taken:
            await two.receive(sending.code, accept=accept)
    assert "on_exists" in taken.value.hint and "--" not in taken.value.hint
    assert (two.out / "a.txt").read_bytes() == b"mine" and leftovers(two.out) == []
    for choice, expected in (("skip", b"mine"), ("rename", b"mine"), ("overwrite", b"theirs")):
        async with two.send(path) as sending:
            done = await two.receive(sending.code, accept=accept, on_exists=choice)
        assert (two.out / "a.txt").read_bytes() == expected
        assert done.failed == 0
    assert (two.out / "a (1).txt").read_bytes() == b"theirs"


async def test_an_answer_says_what_becomes_of_names(two: Two) -> None:
    (two.out / "a.txt").write_bytes(b"mine")

    def answer(choice: Any) -> Callable[[events.OfferEvent], Any]:
        async def accept(offer: events.OfferEvent) -> wraith.Answer:
            return wraith.Answer(choice)

        return accept

    path = two.file("a.txt", b"theirs")
    async with two.send(path) as sending:
        with pytest.raises(OfferTaken):
            await two.receive(sending.code, accept=answer("refuse"), on_exists="overwrite")
    assert (two.out / "a.txt").read_bytes() == b"mine"
    async with two.send(path) as sending:
        await two.receive(sending.code, accept=answer("overwrite"))
    assert (two.out / "a.txt").read_bytes() == b"theirs"
    with pytest.raises(ConfigError, match="refuse, overwrite, rename, skip"):
        wraith.Answer("replace")  # type: ignore[arg-type]


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"accept": False}, ConfigError),
        ({"accept": ["key"]}, ConfigError),
        ({"accept": None}, ConfigError),
        ({"accept": {"a key as text"}}, ConfigError),
        ({"on_exists": "ask"}, ConfigError),
        ({"out": "nowhere/at/all"}, ConfigError),
        ({"local": "localhost"}, ConfigError),
        ({"connect_timeout_s": 0}, ConfigError),
        ({"suites": (wraith.SuiteId.D,)}, PolicyRefused),
    ],
    ids=repr,
)
async def test_arguments_of_receive_that_mean_nothing(
    two: Two, options: dict[str, Any], error: type[Exception]
) -> None:
    async with two.send(two.file("a", b"a")) as sending:
        with pytest.raises(error):
            await two.receive(sending.code, **options)
    assert list(two.out.iterdir()) == []


async def test_accept_cannot_be_left_out() -> None:
    with pytest.raises(TypeError, match="accept"):
        await wraith.receive("wr1", ".")  # type: ignore[call-arg]


async def test_codes_that_are_none_or_for_the_other_side(two: Two) -> None:
    with pytest.raises(CodeInvalid):
        await two.receive("wr1abc")
    with pytest.raises(CodeInvalid, match="a code is text, and not of type bytes"):
        await two.receive(b"wr1abc")  # type: ignore[arg-type]
    async with two.send(two.file("a", b"a")) as sending:
        with pytest.raises(CodeInvalid, match="for `wraith receive`"):
            await wraith.send(two.source / "a", to=sending.code, state=two.work / "s")
        mistyped = sending.code[:-1] + ("a" if sending.code[-1] != "a" else "b")
        with pytest.raises(CodeInvalid, match="mistyped"):
            await two.receive(mistyped)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"text": "a", "paths": ["b"]},
        {"paths": ["a"], "limit_bytes_per_s": 1},
        {"paths": ["a"], "local": "everywhere"},
        {"paths": ["a"], "local": 70_000},
        {"paths": ["a"], "identity": "me"},
        {"paths": ["a"], "at": "node"},
        {"paths": ["a"], "wait_s": -1},
        {"text": b"bytes"},
        {"text": "é" * (MIB // 2 + 1)},
        {"text": "half a \ud83d"},
        {"paths": ["a"], "allow": {"a key as text"}},
        {"paths": ["a"], "allow": "text"},
    ],
    ids=lambda options: repr(options)[:40],
)
async def test_arguments_of_send_that_mean_nothing(two: Two, options: dict[str, Any]) -> None:
    two.file("a", b"a")
    paths = [two.source / name for name in options.pop("paths", ())]
    with pytest.raises(ConfigError):
        await wraith.send(paths, **options, state=two.work / "s")


@pytest.mark.parametrize("paths", [None, 5, b"a", [b"a"], [5], ["a\0b"]], ids=repr)
async def test_paths_that_are_none(two: Two, paths: Any) -> None:
    with pytest.raises(ConfigError, match="paths"):
        await wraith.send(paths, state=two.work / "s")
    with pytest.raises(ConfigError, match="out"):
        await wraith.receive("wr1", paths, accept=True, state=two.work / "s")


async def test_where_to_bind_may_be_a_pair_as_asyncio_has_it(two: Two) -> None:
    async with two.send(two.file("a", b"abc"), local=("127.0.0.1", 0)) as sending:
        assert (await two.receive(sending.code, local=("127.0.0.1", 0))).bytes_total == 3


async def test_a_send_that_is_never_awaited_is_told(two: Two) -> None:
    with pytest.warns(ResourceWarning, match=r"wraith\.send\(\.\.\.\) was never awaited"):
        wraith.send(two.source)


async def test_one_glob_may_be_given_as_it_is(two: Two) -> None:
    two.file("folder/a.txt", b"a")
    two.file("folder/a.pyc", b"b")
    async with two.send(two.source / "folder", exclude="*.pyc") as sending:
        assert (await two.receive(sending.code)).files == 1
    assert [path.name for path in (two.out / "folder").iterdir()] == ["a.txt"]


async def test_cancelled_while_it_walks_the_paths_nothing_stays_open(two: Two) -> None:
    for n in range(2_000):
        two.file(f"folder/{n % 50}/{n}", b"")
    before = len(os.listdir("/proc/self/fd"))
    for delay in (0, 0.001, 0.005, 0.02):
        task = asyncio.ensure_future(_opened(two))
        await asyncio.sleep(delay)
        task.cancel()
        await asyncio.wait({task})
    async with two.send(two.source / "folder") as sending:
        assert (await two.receive(sending.code)).files == 2_000
    assert len(os.listdir("/proc/self/fd")) <= before + 2


async def _opened(two: Two) -> None:
    async with two.send(two.source / "folder"):
        await asyncio.sleep(60)


async def test_what_cannot_be_read_is_named_and_leaves_no_code(two: Two) -> None:
    with pytest.raises(SourceUnreadable, match=r"nobody\.txt"):
        await two.send(two.source / "nobody.txt")
    assert not list((two.work / "state-sender").rglob("code.json"))


async def test_nobody_answers(two: Two) -> None:
    async with two.send(two.file("a", b"a")) as sending:
        code = sending.code
    with pytest.raises(HandshakeTimeout, match=r"nobody answered at 127\.0\.0\.1:\d+ within 1 s"):
        await two.receive(code, connect_timeout_s=1)


async def test_a_state_folder_of_others_is_refused(two: Two) -> None:
    state = two.work / "open"
    state.mkdir(mode=0o777)
    state.chmod(0o777)
    with pytest.raises(wraith.WraithError):
        await two.send(two.file("a", b"a"), state=state)


# --- the end ----------------------------------------------------------------------------------


async def test_what_on_event_raises_ends_it_at_both_sides(two: Two) -> None:
    def fail(event: events.Event) -> None:
        if isinstance(event, events.ConnectedEvent):
            raise ZeroDivisionError

    path = two.file("a", b"a")
    async with two.send(path) as sending:
        with pytest.raises(ZeroDivisionError):
            await two.receive(sending.code, on_event=fail)
        assert (await two.receive(sending.code)).files == 1
    async with (
        two.send(path, on_event=fail) as sending,
        task_of(two.receive(sending.code, wait_s=1, on_exists="skip")),
    ):
        with pytest.raises(ZeroDivisionError):
            await sending.done()


async def test_an_offer_that_is_closed_ends_its_loop_and_its_done(two: Two) -> None:
    sending = await two.send(two.file("a", b"a"))
    seen = []

    async def look() -> None:
        seen.extend([event async for event in sending])

    async with task_of(look()) as looking, task_of(sending.done()) as done:
        await asyncio.sleep(0.05)
        await sending.close()
        await sending.close()
        await looking
        with pytest.raises(LocalProtocolError, match="closed before it was complete"):
            await done
    assert [type(event) for event in seen] == [events.WaitingEvent]
    assert "closed" in repr(sending)


async def test_closing_at_once_leaves_nothing_open(two: Two) -> None:
    path = two.file("a", b"a")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        sending = await two.send(path)
        await sending.close()
    assert len(os.listdir("/proc/self/fd")) <= before + 2


async def test_a_call_that_fails_leaves_nothing_open(two: Two) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(SourceUnreadable):
            await two.send(two.source / "nobody")
        with pytest.raises(wraith.WraithError):
            await two.send(two.file("a", b"a"), local="192.0.2.77:0")
    assert len(os.listdir("/proc/self/fd")) <= before + 2


async def test_keep_serves_one_receiver_after_the_other_and_a_refusal_ends_nothing(
    two: Two,
) -> None:
    async def no(offer: events.OfferEvent) -> bool:
        return False

    async with two.send(two.file("a", b"abc"), keep=True) as sending:
        with pytest.raises(OfferRefused):
            await two.receive(sending.code, accept=no, state=two.work / "r0")
        for n in range(2):
            (two.work / f"in{n}").mkdir()
            done = await two.receive(
                sending.code, out=two.work / f"in{n}", state=two.work / f"r{n}"
            )
            assert done.files == 1
        assert (await sending.done()).bytes_total == 3


@pytest.mark.spec("TR-91")
async def test_only_those_who_are_allowed_come_in(two: Two) -> None:
    friend, stranger = (wraith.Identity.generate(OsRng()) for _ in range(2))
    told: list[events.Event] = []
    options = {"allow": {friend.public}, "on_event": told.append}
    async with two.send(two.file("a", b"a"), **options) as sending:
        with pytest.raises(wraith.WraithError):
            await two.receive(sending.code, identity=stranger)
        assert (await two.receive(sending.code, identity=friend)).files == 1
    assert events.TurnedAwayEvent(stranger.public, busy=False) in told


async def test_progress_that_nobody_takes_is_kept_once(two: Two) -> None:
    async with two.send(two.file("a", os.urandom(8 * MIB)), limit_bytes_per_s=8e6) as sending:
        await two.receive(sending.code)
        await sending.done()
        late = [event async for event in sending]
    assert sum(isinstance(event, events.ProgressEvent) for event in late) == 1


# --- at a node, and with the command ----------------------------------------------------------


async def test_two_offers_and_a_receive_at_one_node(two: Two) -> None:
    a, b = two.file("a", b"aaa"), two.file("b", b"bb")
    async with open_node(LOCAL) as node:
        async with (
            two.send(a, at=node) as one,
            two.send(b, at=node, state=two.work / "other") as other,
            two.send(a, state=two.work / "third") as elsewhere,
        ):
            assert one.code != other.code
            (two.work / "mine").mkdir()
            mine = await two.receive(elsewhere.code, at=node, out=two.work / "mine")
            first = await two.receive(one.code)
            second = await two.receive(other.code)
            await one.done()
            await other.done()
        with pytest.raises(ConfigError, match="local"):
            await two.send(a, at=node, local=LOCAL)
        with pytest.raises(ConfigError, match="identity"):
            identity = wraith.Identity.generate(OsRng())
            await two.receive(elsewhere.code, at=node, identity=identity)
    assert (mine.bytes_total, first.bytes_total, second.bytes_total) == (3, 3, 2)


async def test_a_node_that_closes_ends_what_runs_there(two: Two) -> None:
    async with open_node(LOCAL) as node:
        sending = await two.send(two.file("a", b"a"), at=node)
        await asyncio.sleep(0.05)
        await node.close()
        with pytest.raises(LocalProtocolError, match="closed"):
            await sending.done()
        await sending.close()


async def test_a_program_waits_for_no_receipt_that_came(two: Two) -> None:
    """The same call again after everything is there says so."""
    async with two.send(two.file("a", b"abc")) as sending:
        code = sending.code
        await two.receive(code)
        await sending.done()
    again = await two.receive(code, connect_timeout_s=1)
    assert again.earlier and again.paths == (str(two.out / "a"),) and again.bytes_reused == 3


async def test_interrupted_is_what_the_other_side_hears(two: Two) -> None:
    told: list[events.Event] = []
    moving = asyncio.Event()

    def on_event(event: events.Event) -> None:
        if isinstance(event, events.ProgressEvent) and event.bytes_done:
            moving.set()

    path = two.file("a", os.urandom(8 * MIB))
    async with two.send(path, limit_bytes_per_s=4e6, on_event=told.append) as sending:
        async with task_of(two.receive(sending.code, on_event=on_event)):
            await moving.wait()
        gave_up = [event for event in told if isinstance(event, events.GaveUpEvent)]
        assert [event.reason for event in gave_up] == [Interrupted.code]
