"""Over which carriers ``wraith.send`` is reached and ``wraith.receive`` goes."""

from __future__ import annotations

from pathlib import Path

import pytest

import wraith
from wraith.testing.proxies import free_port

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("carrier", ["udp", "tcp", "ws", "quic"])
async def test_a_file_comes_over_the_carrier_that_the_receiver_was_told(
    tmp_path: Path, carrier: str
) -> None:
    source, out = tmp_path / "a.bin", tmp_path / "out"
    source.write_bytes(bytes(200_000))
    out.mkdir()
    port = free_port()
    async with wraith.send(
        source,
        local="127.0.0.1:0",
        carriers=("udp", "tcp", "ws", "quic"),
        ws=f"ws://localhost:{port}/share",
        ws_listen=("127.0.0.1", port),
        state=tmp_path / "sender",
    ) as sending:
        done = await wraith.receive(
            sending.code, out, accept=True, carriers=(carrier,), state=tmp_path / "receiver"
        )
        await sending.done()
    assert [(use.carrier, use.bytes) for use in done.roads] == [(carrier, 200_000)]
    assert (out / "a.bin").read_bytes() == source.read_bytes()


async def test_a_side_that_dials_has_no_url(tmp_path: Path) -> None:
    async with wraith.send(text="a", local="127.0.0.1:0", state=tmp_path / "a") as sending:
        with pytest.raises(wraith.ConfigError):
            await wraith.send(
                text="b",
                to=sending.code,
                ws="wss://example.org/",
                ws_listen="127.0.0.1:1",
                state=tmp_path / "b",
            )
