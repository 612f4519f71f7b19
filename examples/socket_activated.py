"""The echo server as a service of systemd, which binds the port: see ``examples/systemd``.

Its code stays the same over restarts: ``journalctl -u echo`` shows it. What a peer sends while the
service is down waits in the socket.
"""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import wraith

FIRST_DESCRIPTOR = 3  # sd_listen_fds(3)


def passed_sockets() -> list[socket.socket]:
    """The sockets that systemd has bound for this process."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        sys.exit("no sockets were passed: start echo.socket")
    n = int(os.environ["LISTEN_FDS"])
    return [socket.socket(fileno=FIRST_DESCRIPTOR + each) for each in range(n)]


async def echo(session: wraith.Session) -> None:
    try:
        async for stream in session:
            async for data in stream:
                await stream.write(data)
            stream.finish()
    except wraith.WraithError as error:
        print("ended:", error, file=sys.stderr)


async def main() -> None:
    sockets = passed_sockets()
    state = Path(os.environ["STATE_DIRECTORY"])
    async with (
        asyncio.TaskGroup() as sessions,
        wraith.listen(
            sock=sockets,
            identity=wraith.Identity.load_or_create(state / "identity.key"),
            access=state / "access",
        ) as listener,
    ):
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, lambda: loop.create_task(listener.close()))
        print(listener.code, flush=True)
        async for session in listener:
            sessions.create_task(echo(session))


asyncio.run(main())
