"""SafeTree: nothing below a root is reached through a link."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wraith.aio.disk.safe_tree import FOLDERS_KEPT, SafeTree


@pytest.fixture
def tree(tmp_path: Path) -> SafeTree:
    (tmp_path / "root" / "real").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "root" / "file").symlink_to(tmp_path / "outside" / "secret")
    return SafeTree(os.fsencode(tmp_path / "root"))


@pytest.mark.spec("TR-24")
def test_neither_a_folder_nor_a_file_is_opened_through_a_link(tree: SafeTree) -> None:
    for path in (b"link/secret", b"link/new", b"link/deep/new", b"file"):
        with pytest.raises(OSError):
            tree.open(path, os.O_RDWR | os.O_CREAT, create=True)
    assert tree.lstat(b"link/secret") is None
    with pytest.raises(OSError):
        tree.mkdir(b"link/new")
    with pytest.raises(OSError):
        tree.unlink(b"link/secret")


@pytest.mark.spec("TR-24")
def test_a_link_is_not_taken_for_a_folder(tree: SafeTree) -> None:
    with pytest.raises(FileExistsError):
        tree.mkdir(b"link")
    assert tree.mkdir(b"real") is False and tree.mkdir(b"other") is True


@pytest.mark.spec("TR-24")
def test_nothing_is_moved_through_a_link(tree: SafeTree, tmp_path: Path) -> None:
    os.close(tree.open(b"real/x", os.O_WRONLY | os.O_CREAT))
    with pytest.raises(OSError):
        tree.move(b"real/x", tree, b"link/x", replace=True)
    with pytest.raises(FileExistsError):
        tree.move(b"real/x", tree, b"file", replace=False)
    tree.move(b"real/x", tree, b"file", replace=True)  # the link itself gives way
    assert (tmp_path / "outside" / "secret").read_text() == "secret"


def test_only_the_folders_last_used_are_kept_open(tree: SafeTree) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for i in range(3 * FOLDERS_KEPT):
        os.close(tree.open(b"d%d/f" % i, os.O_WRONLY | os.O_CREAT, create=True))
    assert len(os.listdir("/proc/self/fd")) - before <= FOLDERS_KEPT
    tree.close()
    assert len(os.listdir("/proc/self/fd")) < before
