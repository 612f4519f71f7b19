"""A call of ``wraith.send`` or ``wraith.receive`` that is cancelled goes on when made again."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from pathlib import Path

import anyio
import pytest

import wraith
from wraith import events

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]
MIB = 1 << 20
SEED = 20_260_715
N_CANCELS = 30


class Attempt:
    """What one call told until it was cancelled."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.reused = 0
        self.done = 0
        self.reached = asyncio.Event()
        self._stop_at = stop_at

    def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.AcceptedEvent):
            self.reused = event.bytes_reused
        elif isinstance(event, events.ProgressEvent):
            self.done = event.bytes_done
            if self._stop_at is not None and event.bytes_done >= self._stop_at:
                self.reached.set()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def cancelled(task: asyncio.Task[events.DoneEvent]) -> bool:
    """Cancels it; false if it was done already."""
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return True
    return False


async def test_a_receive_cancelled_at_30_points_reuses_what_it_had(tmp_path: Path) -> None:
    """Points are byte counts beyond what is there, and moments of the first 0.3 s: before anybody
    has answered, while the offer is read, and in the middle of data."""
    rng = random.Random(SEED)
    source, out = tmp_path / "disk.img", tmp_path / "in"
    source.write_bytes(rng.randbytes(48 * MIB))
    out.mkdir()
    verified, n_cancelled, kept = 0, 0, []
    async with wraith.send(
        source, local="127.0.0.1:0", state=tmp_path / "s", limit_bytes_per_s=12e6
    ) as sending:

        def receive(attempt: Attempt) -> asyncio.Task[events.DoneEvent]:
            return asyncio.ensure_future(
                wraith.receive(
                    sending.code,
                    out,
                    accept=True,
                    state=tmp_path / "r",
                    on_event=attempt.on_event,
                )
            )

        while n_cancelled < N_CANCELS:
            by_bytes = rng.random() < 0.7
            attempt = Attempt(verified + rng.randrange(MIB) if by_bytes else None)
            task = receive(attempt)
            if by_bytes:
                await asyncio.wait({task, asyncio.ensure_future(attempt.reached.wait())},
                                   return_when=asyncio.FIRST_COMPLETED)  # fmt: skip
            else:
                await asyncio.wait({task}, timeout=rng.uniform(0, 0.3))
            assert await cancelled(task), f"seed {SEED}: complete after {n_cancelled} cancellations"
            n_cancelled += 1
            if attempt.done or attempt.reused:
                kept.append((verified, attempt.reused))
                verified = max(attempt.done, attempt.reused)
        attempt = Attempt()
        done = await receive(attempt)
        kept.append((verified, done.bytes_reused))
        await sending.done()
    assert all(reused >= before - MIB for before, reused in kept), f"seed {SEED}: {kept}"
    assert len(kept) > N_CANCELS // 2 and done.bytes_reused > 2 * MIB
    assert digest(out / "disk.img") == digest(source)
    assert sorted(path.name for path in out.iterdir()) == ["disk.img"]


async def test_a_send_cancelled_at_random_points_goes_on_under_the_same_code(
    tmp_path: Path,
) -> None:
    """The receiver waits meanwhile, and dials the same code again."""
    rng = random.Random(SEED + 1)
    source, out = tmp_path / "disk.img", tmp_path / "in"
    source.write_bytes(rng.randbytes(24 * MIB))
    out.mkdir()
    codes: set[str] = set()

    async def offer(attempt: Attempt) -> events.DoneEvent:
        async with wraith.send(
            source,
            local="127.0.0.1:0",
            state=tmp_path / "s",
            limit_bytes_per_s=12e6,
            on_event=attempt.on_event,
        ) as sending:
            codes.add(sending.code)
            shown.set()
            return await sending.done()

    shown = asyncio.Event()
    receiving: asyncio.Task[events.DoneEvent] | None = None
    verified, kept = 0, []
    for _ in range(6):
        attempt = Attempt(verified + rng.randrange(1, 2 * MIB))
        sending = asyncio.ensure_future(offer(attempt))
        await shown.wait()
        receiving = receiving or asyncio.ensure_future(
            wraith.receive(next(iter(codes)), out, accept=True, state=tmp_path / "r")
        )
        await attempt.reached.wait()
        assert await cancelled(sending), f"seed {SEED}"
        kept.append((verified, attempt.reused))
        verified = attempt.done
    assert receiving is not None
    sent, received = await asyncio.gather(offer(Attempt()), receiving)
    assert len(codes) == 1
    assert all(reused >= before - MIB for before, reused in kept), f"seed {SEED}: {kept}"
    assert sent.bytes_total == received.bytes_total == 24 * MIB
    assert digest(out / "disk.img") == digest(source)


async def test_a_receive_cancelled_twice_still_ends_in_good_order(tmp_path: Path) -> None:
    """The second cancellation comes while the first one tidies up, as ``wait_for`` may do: nobody
    waits any more, and the same call can be made again at once."""
    source, out = tmp_path / "disk.img", tmp_path / "in"
    source.write_bytes(os.urandom(16 * MIB))
    out.mkdir()
    async with wraith.send(source, local="127.0.0.1:0", state=tmp_path / "s") as sending:
        for _ in range(5):
            attempt = Attempt(1)
            task = asyncio.ensure_future(
                wraith.receive(
                    sending.code,
                    out,
                    accept=True,
                    state=tmp_path / "r",
                    on_event=attempt.on_event,
                )
            )
            await asyncio.wait(
                {task, asyncio.ensure_future(attempt.reached.wait())},
                return_when=asyncio.FIRST_COMPLETED,
            )
            if task.done():
                break
            task.cancel()
            await asyncio.sleep(0)
            assert await cancelled(task)
        done = await wraith.receive(sending.code, out, accept=True, state=tmp_path / "r",
                                    on_exists="skip")  # fmt: skip
    assert done.failed == 0 and digest(out / "disk.img") == digest(source)


async def test_under_anyio_which_cancels_again_and_again_the_same_call_goes_on(
    tmp_path: Path,
) -> None:
    """A scope of anyio lets nobody wait who is cancelled: both calls return before their end, and
    the next ones wait for it."""
    source, out = tmp_path / "disk.img", tmp_path / "in"
    source.write_bytes(os.urandom(4 * MIB))
    out.mkdir()
    codes: list[str] = []
    attempts = [Attempt(), Attempt(), Attempt()]

    async def one_turn(attempt: Attempt, limit: float | None) -> events.DoneEvent:
        options = {"local": "127.0.0.1:0", "limit_bytes_per_s": limit}
        async with wraith.send(source, state=tmp_path / "s", **options) as sending:  # type: ignore[arg-type]
            codes.append(sending.code)
            return await wraith.receive(
                sending.code, out, accept=True, state=tmp_path / "r", on_event=attempt.on_event
            )

    for attempt in attempts[:2]:
        with anyio.move_on_after(1):
            await one_turn(attempt, 1e6)
    done = await one_turn(attempts[2], None)
    assert len(set(codes)) == 1
    assert 0 < attempts[0].done < attempts[1].done <= done.bytes_reused + MIB
    assert attempts[1].reused >= attempts[0].done - MIB and digest(out / "disk.img") == digest(
        source
    )


async def test_a_loop_that_ends_in_the_middle_leaves_a_state_that_goes_on(tmp_path: Path) -> None:
    """``asyncio.run`` cancels what is left when its main task ends."""
    source, out = tmp_path / "disk.img", tmp_path / "in"
    source.write_bytes(os.urandom(8 * MIB))
    out.mkdir()
    reached: list[int] = []

    async def left_behind(code: str) -> None:
        attempt = Attempt(MIB)
        task = asyncio.ensure_future(
            wraith.receive(code, out, accept=True, state=tmp_path / "r", on_event=attempt.on_event)
        )
        await attempt.reached.wait()
        reached.append(attempt.done)
        del task

    async with wraith.send(
        source, local="127.0.0.1:0", state=tmp_path / "s", limit_bytes_per_s=8e6
    ) as sending:
        code = sending.code
        await asyncio.to_thread(lambda: asyncio.run(left_behind(code)))
        done = await wraith.receive(code, out, accept=True, state=tmp_path / "r")
    assert done.bytes_reused >= reached[0] - MIB
    assert digest(out / "disk.img") == digest(source)
