"""A host that listens gets another address while a session runs: the peer hears of it, and takes
the road there."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

import wraith
from wraith.testing.netns import DEVICE, Namespace, paired, require_netns

pytestmark = pytest.mark.interop

LATER = "10.213.22.77"
DEADLINE_S = 20.0
QUIET_S = 2.0
LISTENER = """
import asyncio, sys, wraith
async def main():
    async with wraith.listen(sys.argv[1] or None, carriers=("udp", "tcp")) as listener:
        print(listener.code, flush=True)
        session = await listener.accept()
        print(await (await session.accept_stream()).read_all(), session.carrier, flush=True)
        await asyncio.to_thread(sys.stdin.read)
asyncio.run(main())
"""


@contextlib.contextmanager
def listening(right: Namespace, at: str) -> Iterator[subprocess.Popen[str]]:
    """A process in ``right`` that prints its code, and what it gets over which carrier."""
    command = [*right.command(), sys.executable, "-c", LISTENER, at]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.spec("RO-64", "RO-65")
@pytest.mark.parametrize("is_given", [False, True], ids=["bound to all", "bound to one"])
def test_a_new_address_of_the_listener_is_a_road_of_the_sessions_that_run(is_given: bool) -> None:
    require_netns()
    with paired() as (left, right), left.entered():
        at = f"{right.ipv4}:0" if is_given else ""
        with listening(right, at) as process:
            asyncio.run(_meet(process, right, is_told=not is_given))


async def _meet(process: subprocess.Popen[str], right: Namespace, *, is_told: bool) -> None:
    async with wraith.connect(line_of(process), carriers=("udp", "tcp")) as session:
        assert LATER not in addresses_of(session)
        right.ip("address", "add", f"{LATER}/24", "dev", DEVICE)
        if not is_told:
            await asyncio.sleep(QUIET_S)
            assert LATER not in addresses_of(session)
            return
        async with asyncio.timeout(DEADLINE_S):
            while LATER not in addresses_of(session):
                await asyncio.sleep(0.02)
        road = next(
            one
            for one in session.roads
            if one.carrier == "tcp" and one.address.startswith(f"{LATER}:")
        )
        session.migrate(road)
        async with asyncio.timeout(DEADLINE_S):
            while session.carrier != "tcp":
                await asyncio.sleep(0.02)
        async with session.open_stream() as stream:
            await stream.write(b"by the new road")
        assert await asyncio.to_thread(line_of, process) == "b'by the new road' tcp"
        active = next(one for one in session.roads if one.state == "active")
        assert active.address == road.address


def addresses_of(session: wraith.Session) -> set[str]:
    return {one.address.rpartition(":")[0] for one in session.roads}
