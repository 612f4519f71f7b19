"""A listener whose code outlives its process, over real sockets."""

from __future__ import annotations

import asyncio
import warnings
from pathlib import Path

import pytest

import wraith
from wraith.aio.disk.home_folder import FolderLocked

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]


async def answer(listener: wraith.Listener) -> None:
    async for session in listener:
        async for stream in session:
            await stream.write(await stream.read_all())
            stream.finish()


async def ask(code: str) -> bytes:
    async with wraith.connect(code) as session, session.open_stream() as stream:
        await stream.write(b"still there?")
        stream.finish()
        return await stream.read_all()


@pytest.mark.parametrize("at_a_node", [False, True])
async def test_a_code_goes_on_after_a_restart(tmp_path: Path, at_a_node: bool) -> None:
    identity = wraith.Identity.load_or_create(tmp_path / "server.key")
    port = 0
    codes: list[str] = []
    for _ in range(3):
        where = ("127.0.0.1", port)
        if at_a_node:
            from wraith.aio import open_node

            node = await open_node(where, identity=identity)
            listener = await wraith.listen(at=node, access=tmp_path / "access")
        else:
            node = None
            listener = await wraith.listen(where, identity=identity, access=tmp_path / "access")
        port = listener.port
        codes.append(listener.code)
        answering = asyncio.create_task(answer(listener))
        assert await ask(codes[0]) == b"still there?"
        await listener.close()
        if node is not None:
            await node.close()
        await asyncio.wait_for(answering, 10)
    assert len(set(codes)) == 1


async def test_an_access_key_serves_one_listener(tmp_path: Path) -> None:
    async with wraith.listen("127.0.0.1:0", access=tmp_path / "access"):
        with pytest.raises(FolderLocked):
            await wraith.listen("127.0.0.1:0", access=str(tmp_path / "access"))
    async with wraith.listen("127.0.0.1:0", access=tmp_path / "access"):
        pass


async def test_a_port_that_is_taken_lets_go_of_the_access_key(tmp_path: Path) -> None:
    async with wraith.listen("127.0.0.1:0") as other:
        for _ in range(2):
            with pytest.raises(wraith.TransportError, match="cannot bind"):
                await wraith.listen(f"127.0.0.1:{other.port}", access=tmp_path / "access")


async def test_the_old_name_of_a_code_goes_on_and_warns() -> None:
    async with wraith.listen("127.0.0.1:0") as listener:
        with pytest.warns(DeprecationWarning, match=r"use Listener\.code"):
            assert listener.record == listener.code
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert listener.code.startswith("wr1")
