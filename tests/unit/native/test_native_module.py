"""What only the native part promises: buffers, the interpreter lock, fork, exit, errors."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

import wraith
from wraith import hotpath
from wraith.errors import NonceExhausted
from wraith.hotpath import _python

native: Any = pytest.importorskip("wraith_native", reason="the native part is not installed")

ROOT = Path(__file__).resolve().parents[3]
FORMAT = bytes((0, 1, 2, 3, 3, 4, 5, 4))
KEYS = (FORMAT, b"\1" * 32, b"\2" * 32)


def pair(aead: int = 2) -> tuple[Any, Any]:
    sealer, opener = native.Sealer(aead, 0, *KEYS), native.Opener(aead, 0, *KEYS, 8192)
    for half in (sealer, opener):
        half.add_epoch(0, b"\3" * 32)
    opener.set_cids(0, 7)
    return sealer, opener


def seal(sealer: Any, data: list[Any], out: Any, **changes: Any) -> Any:
    arguments = {
        "epoch": 0,
        "cid_index": 0,
        "form": 0,
        "lead": b"",
        "sid": 1,
        "offset": 0,
        "data": data,
        "fin": False,
        "datagram_bytes": 1400,
        "n_max": 46,
        "random": bytes(7 * 46),
        "out": out,
    }
    return sealer.seal_run(**(arguments | changes))


def test_version_is_the_package_s() -> None:
    manifest = tomllib.loads((ROOT / "native" / "Cargo.toml").read_text())
    assert native.VERSION == wraith.__version__ == manifest["workspace"]["package"]["version"]


#: Digest of what types say of the calls, by the number of the interface. A change of the calls has
#: a new number, here, in `native/py/src/lib.rs` and in `wraith.hotpath`.
SURFACES = {4: "47456362d13877fa"}


def test_the_interface_has_another_number_when_its_calls_change() -> None:
    tree = ast.parse((ROOT / "native" / "py" / "wraith_native.pyi").read_text("utf-8"))
    surface = blake3(ast.dump(tree).encode()).hexdigest()[:16]
    assert native.INTERFACE == hotpath.INTERFACE
    assert SURFACES == {hotpath.INTERFACE: surface}


def test_the_twin_has_the_calls_of_the_native_part() -> None:
    names = {
        "Sealer": _python.Sealer,
        "Opener": _python.Opener,
        "RecordSealer": _python.RecordSealer,
        "RecordReader": _python.RecordReader,
    }
    for name, twin in names.items():
        ours = {call for call in dir(twin) if not call.startswith("_")}
        ours.discard("state_digest")  # of the twin's tests
        assert ours == {call for call in dir(getattr(native, name)) if not call.startswith("_")}


def test_buffers_that_overlap_are_refused() -> None:
    sealer, opener = pair()
    memory = bytearray(4000)
    view = memoryview(memory)
    with pytest.raises(ValueError, match="overlaps"):
        seal(sealer, [b"a", view[100:200]], memory)
    for changes in ({"lead": view[3999:]}, {"random": view[:322]}):
        with pytest.raises(ValueError, match="overlaps"):
            seal(sealer, [b"x"], memory, **changes)
    with pytest.raises(ValueError, match="overlaps"):
        opener.open_run(view[:2000], 1400, view[1999:], 0.0)
    assert sealer.next_pn(0) == 0
    assert memory == bytes(4000)
    assert seal(sealer, [view[:2000]], view[2000:])[1] == 1


def test_buffers_of_the_wrong_kind_are_refused() -> None:
    sealer, opener = pair()
    with pytest.raises(BufferError):
        seal(sealer, [b"x"], bytes(2000))
    with pytest.raises(BufferError):
        seal(sealer, [memoryview(bytes(20))[::2]], bytearray(2000))
    with pytest.raises(BufferError):
        opener.open_run(b"x", 1, bytes(1), 0.0)
    with pytest.raises(TypeError):
        seal(sealer, ["text"], bytearray(2000))
    assert sealer.next_pn(0) == 0


def test_buffers_are_given_back() -> None:
    sealer, opener = pair()
    source, out, target = bytearray(b"abc"), bytearray(2000), bytearray(2000)
    n = seal(sealer, [source], out)[0]
    opener.open_run(memoryview(out)[:n], n, target, 0.0)
    for buffer in (source, out, target):
        buffer.clear()  # BufferError while somebody holds a view
        assert len(buffer) == 0


def test_every_bad_number_is_a_value_error() -> None:
    sealer, opener = pair()
    out = bytearray(2000)
    for changes in (
        {"epoch": -1},
        {"epoch": 1 << 32},
        {"cid_index": 1 << 32},
        {"sid": -1},
        {"offset": 1 << 64},
        {"form": 2},
        {"at": -1},
        {"at": 2001},
        {"n_max": -5},
        {"datagram_bytes": -1},
    ):
        with pytest.raises(ValueError):
            seal(sealer, [b"x"], out, **changes)
    for arguments in ((b"x", 0, out, 0.0), (b"x", -1, out, 0.0), (bytes(2001), 1400, out, 0.0)):
        with pytest.raises(ValueError):
            opener.open_run(*arguments)
    for bad in ((3, 0, *KEYS), (1, 2, *KEYS), (1, 0, b"", *KEYS[1:]), (1, 0, FORMAT, b"", b"")):
        with pytest.raises(ValueError):
            native.Sealer(*bad)
    assert sealer.next_pn(0) == 0


@pytest.mark.slow
def test_the_end_of_an_epoch_is_our_own_error() -> None:
    sealer, _ = pair()
    out, data = bytearray(46 * 1024), [bytes(1024)]
    small = {"datagram_bytes": 29 + 7 + 17, "n_max": 868, "random": bytes(7 * 868)}
    while sealer.next_pn(0) + 868 <= 1 << 21:
        assert seal(sealer, data, out, **small)[1] == 868
    before = sealer.next_pn(0)
    with pytest.raises(NonceExhausted):
        seal(sealer, data, out, **small)
    assert sealer.next_pn(0) == before


def test_results_have_names() -> None:
    sealer, opener = pair()
    out = bytearray(2000)
    n = seal(sealer, [b"abc"], out, fin=True)[0]
    result = opener.open_run(memoryview(out)[:n], n, bytearray(n), 0.0)
    received = [(0, 0, 0, True)]
    assert result == (3, [(1, 0, 0, 3, True)], [], received, 1, [], (0, 0), 0, n, 0, 0, False)
    assert (result.stream_bytes, result.highest, result.form_b) == (3, (0, 0), False)
    assert isinstance(result, native.OpenResult)


def test_the_interpreter_lock_is_released() -> None:
    """Another thread makes progress while one long call runs."""
    data = bytes(64 << 20)
    ticks: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0)

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        begin = time.perf_counter()
        native.blake3_chunks(data, 1 << 20)
        end = time.perf_counter()
    finally:
        stop.set()
        thread.join()
    assert sum(begin < t < end for t in ticks) > 2


def test_chunk_digests() -> None:
    data = bytes(range(256)) * 5
    digests = native.blake3_chunks(memoryview(data), 500)
    want = [blake3(data[i : i + 500]).digest() for i in range(0, len(data), 500)]
    assert digests == b"".join(want)
    assert native.blake3_chunks(b"", 1) == b""
    for size in (0, -1):
        with pytest.raises(ValueError):
            native.blake3_chunks(data, size)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_is_sound() -> None:
    """There are no threads and no global state: objects made before the fork work in the child."""
    code = (
        "import os, wraith_native as n\n"
        f"s = n.Sealer(2, 0, {KEYS[0]!r}, {KEYS[1]!r}, {KEYS[2]!r})\n"
        "s.add_epoch(0, bytes(32))\n"
        "out = bytearray(2000)\n"
        "pid = os.fork()\n"
        "r = s.seal_run(epoch=0, cid_index=0, form=0, lead=b'', sid=1, data=[b'x'],"
        " datagram_bytes=1400, n_max=1, random=bytes(7), out=out)\n"
        "assert r[1] == 1\n"
        "if pid: assert os.waitpid(pid, 0)[1] == 0\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30)
    assert (run.returncode, run.stderr) == (0, b"")


def test_objects_may_outlive_the_interpreter() -> None:
    code = (
        "import sys, wraith_native as n\n"
        f"sys.kept = n.Opener(1, 0, {KEYS[0]!r}, {KEYS[1]!r}, {KEYS[2]!r}, 256)\n"
        "sys.kept.add_epoch(0, bytes(32))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30)
    assert (run.returncode, run.stderr) == (0, b"")
