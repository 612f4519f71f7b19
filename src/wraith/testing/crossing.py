"""A transfer between two namespaces, and what happens to the network between them meanwhile.

::

    with crossing(work) as run:
        run.start(8 * MIB, limit="4MiB")
        run.wait_bytes(3 * MIB)
        run.net.drop_udp()
        run.finish()                          # everything crossed, and once
    assert run.n_bytes_over("tcp") > 2 * MIB  # as the router counted

Two ``wraith`` commands, each in a namespace of its own; the one in ``left`` dials. Needs what
``netns`` needs.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from wraith.testing.demo import Command, DemoFailed, compare_trees
from wraith.testing.netns import UDP, Direction, Flow, RoutedNet, Rule, routed
from wraith.testing.two_homes import TwoHomes, code_of, finish, number

WEB_HOST: Final = "192.0.2.2"
"""The other address of ``right``, in no private network: a code may name it in a URL."""
WEB_PORT: Final = 8080
FLOWS: Final = {
    "udp": UDP,
    "tcp": Flow("tcp", not_port=WEB_PORT),
    "ws": Flow("tcp", port=WEB_PORT),
}
"""What a router sees of each carrier."""
DEADLINE_S: Final = 90.0
#: Counts what is hashed of chunks. It stands in front of the modules that take the functions over.
_COUNT_HASHED: Final = """
import atexit, pathlib
from wraith.content import chunking
hashed = []
def counted(function, size_of):
    def call(data):
        hashed.append(size_of(data))
        return function(data)
    return call
chunking.chunk_digests = counted(chunking.chunk_digests, len)
chunking.chunk_digests_of = counted(
    chunking.chunk_digests_of, lambda parts: sum(len(part) for part in parts)
)
atexit.register(lambda: pathlib.Path({place!r}).write_text(str(sum(hashed))))
"""


class Crossing:
    """One transfer. Made by ``crossing``.

    Attributes:
        net: for rules; ``left`` is the side that dials.
        sender, receiver: the commands, from ``start`` on.
    """

    sender: Command
    receiver: Command

    def __init__(self, net: RoutedNet, work: Path) -> None:
        self.net = net
        self._homes = TwoHomes(work)
        self._counts: dict[str, Rule] = {name: net.count(flow) for name, flow in FLOWS.items()}
        self._n_bytes = 0
        self._source = work

    def start(
        self,
        n_bytes: int,
        *,
        limit: str,
        sender_dials: bool = False,
        carriers: tuple[str, ...] = (),
        dialler_options: tuple[str, ...] = (),
    ) -> None:
        """Begins to send a file of ``n_bytes``, ``limit`` at most in a second; returns when both
        are connected.

        Args:
            carriers: what both may use; with ``ws`` the side that waits has a URL. The usual ones
                without.
        """
        homes, left, right = self._homes, self.net.left, self.net.right
        self._n_bytes = n_bytes
        self._source = homes.file("holiday.mov", n_bytes)
        listen: tuple[str, ...] = ("--listen", f"{right.ipv4}:0")
        if carriers:
            listen = (*listen, "--carriers", ",".join(carriers))
            dialler_options = (*dialler_options, "--carriers", ",".join(carriers))
        if "ws" in carriers:
            self._give_web_host()
            url = f"ws://{WEB_HOST}:{WEB_PORT}/share"
            listen = (*listen, "--ws", url, "--ws-listen", f"{WEB_HOST}:{WEB_PORT}")
        send = ("send", "--json", "--limit", limit)
        receive = ("receive", "--json", "--yes", "--out", str(homes.out))
        words = [("sender", send), ("receiver", receive)]
        if not sender_dials:
            words.reverse()
        (dialler, dials), (waiter, waits) = words
        source = (str(self._source),)
        waits = (*waits, *listen, *(source if waiter == "sender" else ()))
        waiting = self._command(waits, waiter, under=right.command())
        code = code_of(waiting)
        dials = (*dials, *dialler_options, *(("--to", "-", *source) if sender_dials else ("-",)))
        dialling = self._command(dials, dialler, under=left.command(), stdin=code)
        self.sender, self.receiver = (dialling, waiting) if sender_dials else (waiting, dialling)
        if self.receiver.wait_event("connected", "error")["event"] == "error":
            raise DemoFailed(self._story())

    def _command(
        self, words: tuple[str, ...], home: str, *, under: list[str], stdin: str | None = None
    ) -> Command:
        prelude = _COUNT_HASHED.format(place=str(self._homes.work / f"{home}-hashed"))
        return self._homes.start(*words, home=home, under=under, stdin=stdin, prelude=prelude)

    def _give_web_host(self) -> None:
        net = self.net
        net.right.ip("address", "add", f"{WEB_HOST}/32", "dev", net.right.device)
        net.router.ip("route", "add", f"{WEB_HOST}/32", "via", net.right.ipv4)

    def drop(self, carrier: str, *directions: Direction) -> Rule:
        """``udp``, ``tcp`` or ``ws`` is lost without a word, as ``RoutedNet.drop``."""
        return self.net.drop(FLOWS[carrier], *directions)

    def reset(self, carrier: str) -> Rule:
        """Every connection of ``tcp`` or ``ws`` is reset, as ``RoutedNet.reset_tcp``."""
        return self.net.reset_tcp(FLOWS[carrier])

    def wait_bytes(self, n_bytes: int) -> None:
        """Until so many are verified at the receiver.

        Raises:
            DemoFailed: it took too long, or all has ended.
        """
        until = time.monotonic() + DEADLINE_S
        while True:
            event = self.receiver.wait_event(
                "progress", "done", "error", deadline_s=max(0.0, until - time.monotonic())
            )
            if event["event"] != "progress":
                raise DemoFailed(f"ended before {n_bytes} bytes\n{self._story()}")
            if number(event, "bytes_done") >= n_bytes:
                return

    def finish(self) -> None:
        """Until both have ended.

        Raises:
            DemoFailed: not well; or the file is another; or a byte was counted twice, a chunk
                hashed twice, an offer made twice.
        """
        try:
            self.receiver.wait_event("done", deadline_s=DEADLINE_S)
        except DemoFailed:
            raise DemoFailed(self._story()) from None
        codes = finish(self.sender, self.receiver)
        wrong = compare_trees(self._source, self._homes.out / self._source.name)
        if codes != (0, 0):
            wrong.append(f"exit codes {codes}")
        for name, command in (("sender", self.sender), ("receiver", self.receiver)):
            done = command.last("done")
            told = number(done, "bytes_transferred"), number(done, "bytes_reused")
            if told != (self._n_bytes, 0):
                wrong.append(f"{name}: transferred and reused {told} of {self._n_bytes}")
            n_hashed = int((self._homes.work / f"{name}-hashed").read_text())
            if n_hashed != self._n_bytes:
                wrong.append(f"{name}: hashed {n_hashed} of {self._n_bytes} bytes")
        names = [event["event"] for event in self.receiver.events]
        wrong += [f"{names.count(one)} times {one}" for one in _ONCE if names.count(one) != 1]
        if wrong:
            raise DemoFailed("\n".join([*wrong, self._story()]))

    def n_bytes_over(self, carrier: str) -> int:
        """What the router has let through over ``udp``, ``tcp`` or ``ws``, headers and both
        directions counted."""
        return self._counts[carrier].n_bytes

    def _story(self) -> str:
        carried = {name: rule.n_bytes for name, rule in self._counts.items()}
        return f"carried: {carried}\n{self.receiver.story()}\n{self.sender.story()}"

    def close(self) -> None:
        self._homes.close()


_ONCE: Final = ("connected", "offer", "accepted", "done")


@contextlib.contextmanager
def crossing(work: Path) -> Iterator[Crossing]:
    """A network and two homes in ``work``, for one transfer.

    Raises:
        NotAllowed: as ``routed``.
    """
    work.mkdir(parents=True, exist_ok=True)
    with routed() as net:
        run = Crossing(net, work)
        try:
            yield run
        finally:
            run.close()
