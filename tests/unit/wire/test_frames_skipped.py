"""What a session walks over without looking must be told apart as strictly as all the rest."""

from __future__ import annotations

import random

import pytest

from wraith.errors import DecodeError
from wraith.wire.frames import ExtensionFrame, FecRepair, MtuProbe, Pad, decode_frames


@pytest.mark.spec("FR-3", "FR-4")
@pytest.mark.parametrize("seed", range(20))
def test_skipping_changes_nothing_but_what_is_left_out(seed: int) -> None:
    rnd = random.Random(seed)
    for _ in range(300):
        payload = b""
        for _ in range(rnd.randrange(1, 6)):
            body = rnd.choice([b"", b"\4", bytes(8), bytes(12), rnd.randbytes(3)])
            kind = rnd.choice([0, 3, 5, 8, 0x14, 0x15, 0x1F, 0x20, 0x3F, 0x40])
            payload += bytes([kind, rnd.randrange(2)]) + len(body).to_bytes(2, "big") + body
        payload = payload[: rnd.choice([len(payload), rnd.randrange(1, len(payload) + 1)])]
        try:
            whole = decode_frames(payload)
        except DecodeError as error:
            with pytest.raises(DecodeError) as caught:
                decode_frames(payload, skips=True)
            assert str(caught.value) == str(error)
            continue
        left = [
            frame
            for frame in whole
            if not isinstance(frame, Pad | FecRepair | MtuProbe | ExtensionFrame)
        ]
        assert decode_frames(payload, skips=True) == left
