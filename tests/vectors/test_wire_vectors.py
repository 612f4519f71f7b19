"""Published layouts and packets: derived again in straight-line code, opened by both hot paths."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from wraith.wire.format import WireFormatSpec
from wraith.wire.frames import Data, decode_frames

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "vectors" / "wire"
LAYOUTS = json.loads((FOLDER / "wire_format.json").read_text())["cases"]
PACKETS = json.loads((FOLDER / "packets.json").read_text())["cases"]


def words(seed: bytes) -> Iterator[int]:
    stream = Cipher(algorithms.ChaCha20(seed, bytes(16)), mode=None).encryptor()
    while True:
        yield int.from_bytes(stream.update(bytes(4)), "little")


def layout(secret: bytes) -> tuple[list[str], int, int]:
    """The specification once more, without the product."""
    draws = words(blake3(secret, derive_key_context="wire-format-v2").digest())

    def below(n: int) -> int:
        while (word := next(draws)) >= 2**32 // n * n:
            pass
        return word % n

    d1, d2 = below(9), below(9)
    groups = [["CID", "HDR", "DUMMY1"], ["PAYLOAD", "TAG", "DUMMY2"]]
    for group in groups:
        for i in (2, 1):
            j = below(i + 1)
            group[i], group[j] = group[j], group[i]
    return groups[0] + groups[1], d1, d2


@pytest.mark.spec("WF-1", "WF-2", "WF-11")
def test_layouts() -> None:
    assert len(LAYOUTS) == 100
    for case in LAYOUTS:
        secret = bytes.fromhex(case["session_secret"])
        assert layout(secret) == (case["order"], case["d1"], case["d2"])
        spec = WireFormatSpec.derive(secret)
        assert [field.id.name for field in spec.fields] == case["order"]
        assert spec.pack().hex() == case["packed"]
        assert (spec.cid_offset, spec.fixed_overhead) == (
            case["cid_offset"],
            case["fixed_overhead"],
        )


@pytest.mark.spec("WF-4", "WF-5", "WF-7", "WF-8", "RT-1", "RT-2")
@pytest.mark.parametrize("name", ["wraith.hotpath._python", "wraith_native"])
def test_packets(name: str) -> None:
    module: Any = pytest.importorskip(name, reason="the native part is not installed")
    for case in PACKETS:
        keys = {key: bytes.fromhex(case[key]) for key in ("format", "hp_key", "cid_key", "hmk")}
        opener = module.Opener(
            case["aead"], case["direction"], keys["format"], keys["hp_key"], keys["cid_key"], 8192
        )
        opener.set_hmk([keys["hmk"]])
        opener.set_cids(0, 5)
        opener.add_epoch(case["epoch"], bytes.fromhex(case["root"]))
        datagram = bytes.fromhex(case["datagram"])
        out = bytearray(len(datagram))
        result = opener.open_run(datagram, len(datagram), out, 0.0)
        assert result.highest == (case["epoch"], case["pn"])
        assert (result.cid_index, result.form_b) == (case["cid_index"], bool(case["form"]))
        expected = decode_frames(bytes.fromhex(case["frames"]))
        others = [frame for _, _, raw in result.others for frame in decode_frames(raw)]
        runs = [
            Data(sid, offset, bytes(out[at : at + n]), fin)
            for sid, offset, at, n, fin in result.runs
        ]
        assert others + runs == expected


def test_the_generator_still_writes_these_files(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location(
        "make_wire_vectors", ROOT / "tools" / "make_wire_vectors.py"
    )
    assert spec is not None and spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    assert generator.wire_format()["cases"] == LAYOUTS
    assert generator.packets()["cases"] == PACKETS
