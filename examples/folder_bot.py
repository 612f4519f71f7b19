"""A bot between friends: ``python folder_bot.py OUTBOX INBOX KEY...``.

What is moved into OUTBOX is offered to the friends with these keys (``wraith id`` prints one's own)
and to nobody else: its code stands beside it, in NAME.code, until it is fetched. A NAME.code that
is put into INBOX is received there, if a friend made it. Stopped in the middle, it goes on.
"""

import asyncio
import sys
from pathlib import Path

import wraith


async def offer(path: Path, friends: set[wraith.PeerKey]) -> None:
    async with wraith.send(path, allow=friends) as sending:
        note = path.with_name(path.name + ".code")
        note.touch(mode=0o600)
        note.write_text(sending.code)
        done = await sending.done()
    note.unlink()
    path.rename(path.parent / "sent" / path.name)
    print("sent", path.name, done.bytes_total, flush=True)


async def take(note: Path, friends: set[wraith.PeerKey]) -> None:
    done = await wraith.receive(note.read_text(), note.parent, accept=friends, on_exists="rename")
    note.unlink()
    print("received", *done.paths or ["a text:", done.text], flush=True)


async def main(outbox: Path, inbox: Path, *keys: str) -> None:
    friends = {wraith.PeerKey.parse(key) for key in keys}
    (outbox / "sent").mkdir(exist_ok=True)
    work: dict[Path, asyncio.Task[None]] = {}
    while True:
        new = [(path, offer) for path in outbox.iterdir() if path.suffix != ".code"]
        for path, do in [*new, *((path, take) for path in inbox.glob("*.code"))]:
            if path.name != "sent" and path not in work:
                work[path] = asyncio.create_task(do(path, friends))
        for path in [path for path, task in work.items() if task.done()]:
            if error := work[path].exception():  # told once; what failed stays where it is
                print("failed:", path.name, error, flush=True)
                work[path] = asyncio.create_task(asyncio.sleep(3600))
            elif not path.exists():
                del work[path]
        await asyncio.sleep(1)


asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]))
