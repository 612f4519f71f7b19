"""``wraith quic``: listen, dial and ping over post-quantum QUIC with libp2p identities.

Parses, calls :mod:`wraith.aio.libp2p`, prints. No protocol here.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import signal
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wraith.aio.disk.home_folder import HomeFolder
from wraith.aio.entropy import OsRng
from wraith.aio.key_log import KeyLog
from wraith.cli.helping import Helped
from wraith.cli.output import Output, printable
from wraith.cli.running import ending_signals
from wraith.errors import ContentError, TransportTimeout, WraithError
from wraith.libp2p.config import PqPolicy, QuicTransportConfig
from wraith.libp2p.events import QuicSecurity

if TYPE_CHECKING:  # needs the extra; the help of these commands does not
    from wraith.aio.libp2p import Libp2pConnection, Libp2pHost

DEFAULT_LISTEN = ("/ip4/127.0.0.1/udp/0/quic-v1",)
ECHO_BYTES_MAX = 1 << 30
INTERRUPTED = 130

_policy = click.option(
    "--policy",
    type=click.Choice([each.value for each in PqPolicy]),
    default=PqPolicy.REQUIRE.value,
    show_default=True,
    envvar="WRAITH_QUIC_POLICY",
    show_envvar=True,
    help="require: post-quantum peers only. prefer: also classical ones, each of them logged. "
    "classical: X25519 only. private: the closed profile.",
)
_backend = click.option(
    "--backend",
    type=click.Choice(["aioquic", "qh3"]),
    default="aioquic",
    show_default=True,
    help="The QUIC packet layer; qh3 needs its extra.",
)
_timeout = click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0.1, 120),
    default=10.0,
    show_default=True,
    help="Seconds for the handshake, and for each answer after it.",
)
_key_log = click.option(
    "--key-log",
    "key_log",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the connections' secrets to FILE, a new one, for a packet analyser. Whoever reads "
    "it reads the connections. SSLKEYLOGFILE is not looked at.",
)
_json = click.option("--json", "json_events", is_flag=True, help="JSON lines on stdout.")


@click.group("quic", cls=Helped)
def quic_group() -> None:
    """Post-quantum QUIC for libp2p: X25519MLKEM768, mutual libp2p certificates.

    \b
    Exit codes: 0 done, 1 failed, 2 usage, 11 not reached or refused, 12 no answer to the
    handshake, 13 another peer answered, 20 a peer broke the protocol, 130 interrupted.
    """


@quic_group.command("listen", short_help="Serve ping, identify and an echo.")
@click.option(
    "--multiaddr",
    "multiaddrs",
    multiple=True,
    metavar="MULTIADDR",
    help="Where to listen, at most one per IP version. [default: /ip4/127.0.0.1/udp/0/quic-v1]",
)
@_policy
@_backend
@_key_log
@_json
def listen(
    multiaddrs: tuple[str, ...],
    policy: str,
    backend: str,
    key_log: Path | None,
    json_events: bool,
) -> int:
    """Serve /ipfs/ping/1.0.0, /ipfs/id/1.0.0 and an echo on /wraith/echo/1.0.0.

    The first line of stdout is the full address with this host's PeerId; further lines are
    further addresses. Ends on SIGINT, SIGTERM or SIGHUP, telling its peers.
    """
    output = Output(json_events=json_events, quiet=False)
    config = QuicTransportConfig(policy=PqPolicy(policy), backend=backend)
    with _opened(key_log, output) as log:
        return _run(_listen(multiaddrs or DEFAULT_LISTEN, config, log, output))


@quic_group.command("dial", short_help="Connect, identify the peer, show what was reached.")
@click.argument("multiaddr")
@click.option(
    "--echo",
    "echo_bytes",
    type=click.IntRange(0, ECHO_BYTES_MAX),
    default=0,
    show_default=True,
    help="Also echo this many random bytes and compare their SHA-256.",
)
@_policy
@_backend
@_timeout
@_key_log
@_json
def dial(
    multiaddr: str,
    echo_bytes: int,
    policy: str,
    backend: str,
    timeout_s: float,
    key_log: Path | None,
    json_events: bool,
) -> int:
    """Connect to MULTIADDR (it ends in /p2p/<PeerId>), identify the peer, show what was reached."""
    output = Output(json_events=json_events, quiet=False)
    config = QuicTransportConfig(
        policy=PqPolicy(policy), backend=backend, handshake_timeout_s=timeout_s
    )
    with _opened(key_log, output) as log:
        return _run(_dial(multiaddr, echo_bytes, config, timeout_s, log, output))


@quic_group.command("ping", short_help="Measure round trips.")
@click.argument("multiaddr")
@click.option("--count", type=click.IntRange(1, 100_000), default=1, show_default=True, metavar="N")
@_policy
@_backend
@_timeout
@_key_log
@_json
def ping(
    multiaddr: str,
    count: int,
    policy: str,
    backend: str,
    timeout_s: float,
    key_log: Path | None,
    json_events: bool,
) -> int:
    """Measure round trips over /ipfs/ping/1.0.0 to MULTIADDR (it ends in /p2p/<PeerId>).

    With --json one object per ping: peer_id, group, post_quantum, handshake_ms, rtt_ms.
    """
    output = Output(json_events=json_events, quiet=False)
    config = QuicTransportConfig(
        policy=PqPolicy(policy), backend=backend, handshake_timeout_s=timeout_s
    )
    with _opened(key_log, output) as log:
        return _run(_ping(multiaddr, count, config, timeout_s, log, output))


# ---- what the commands do ----------------------------------------------------------------------


def _run(work: Coroutine[Any, Any, int]) -> int:
    return asyncio.run(work)


@contextlib.contextmanager
def _opened(path: Path | None, output: Output) -> Iterator[KeyLog | None]:
    """The key log that was asked for, with its warning; says when the disk ended it."""
    if path is None:
        yield None
        return
    log = KeyLog(path)
    output.event("key_log", path=str(path))
    output.warning(f"{printable(str(path))} opens these connections to everybody who can read it")
    try:
        yield log
    finally:
        log.close()
        if log.failure is not None:
            output.say(f"the key log is not whole: {log.failure.strerror}")


class RefusalLog:
    """Lets ``LINES_MAX`` refusals through in ``WINDOW_S``, and then says how many more there were.

    Strangers choose how often a listener refuses: without a limit they fill its disk.
    """

    LINES_MAX = 5
    WINDOW_S = 10.0

    def __init__(self) -> None:
        self._began: float | None = None
        self._n = 0

    def admit(self, now: float) -> tuple[bool, int]:
        """Says if this one is told, and counts those of the window before that were not."""
        left_out = 0
        if self._began is None or now - self._began >= self.WINDOW_S:
            left_out = max(0, self._n - self.LINES_MAX)
            self._began, self._n = now, 0
        self._n += 1
        return self._n <= self.LINES_MAX, left_out

    @property
    def left_out(self) -> int:
        """The number of refusals in the present window that were not told."""
        return max(0, self._n - self.LINES_MAX)


def _fields(security: QuicSecurity) -> dict[str, object]:
    return {
        "peer_id": str(security.peer_id),
        "group": security.group,
        "post_quantum": security.post_quantum,
        "handshake_ms": round(security.handshake_ms, 3),
    }


def _describe(security: QuicSecurity) -> str:
    kind = "post-quantum" if security.post_quantum else "NOT post-quantum"
    return (
        f"{security.peer_id}  {security.group} ({kind})  handshake {security.handshake_ms:.1f} ms"
    )


async def _listen(
    multiaddrs: tuple[str, ...],
    config: QuicTransportConfig,
    key_log: KeyLog | None,
    output: Output,
) -> int:
    from wraith.aio.libp2p import Libp2pHost
    from wraith.aio.libp2p.protocols import ECHO_PROTOCOL, serve_echo

    identity = HomeFolder.default().identity(OsRng())
    host = await Libp2pHost.create(identity, listen=multiaddrs, config=config, key_log=key_log)
    refusals = RefusalLog()
    received: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def stop(number: int) -> None:
        if not received.done():
            received.set_result(number)

    def show(connection: Libp2pConnection) -> None:
        security = connection.security
        output.event("connected", **_fields(security))
        output.say(f"connected: {_describe(security)}")

    def tell_left_out(n: int) -> None:
        if n:
            output.event("refused_more", count=n)
            output.say(f"{n} more were refused")

    def refuse(error: WraithError) -> None:
        told, left_out = refusals.admit(asyncio.get_running_loop().time())
        tell_left_out(left_out)
        if not told:
            return
        output.event("refused", code=error.code, message=str(error), hint=error.hint)
        output.say(f"refused: {printable(str(error))}")
        if error.hint:
            output.hint(error.hint)

    for each in ending_signals():
        asyncio.get_running_loop().add_signal_handler(each, stop, each)
    async with host:
        host.handle(ECHO_PROTOCOL, serve_echo)
        host.on_connection = show
        host.on_refused = refuse
        for address in host.listen_addresses:
            output.event("listening", multiaddr=str(address), peer_id=str(host.peer_id))
            output.result(str(address))
        number = await received
        tell_left_out(refusals.left_out)
    return INTERRUPTED if number == signal.SIGINT else 0


async def _connect(
    host: Libp2pHost, multiaddr: str, timeout_s: float, output: Output
) -> Libp2pConnection:
    connection = await host.dial(multiaddr, timeout_s=timeout_s)
    if not connection.security.post_quantum:
        output.say("this connection is not safe against quantum computers")
    return connection


async def _ping(
    multiaddr: str,
    count: int,
    config: QuicTransportConfig,
    timeout_s: float,
    key_log: KeyLog | None,
    output: Output,
) -> int:
    from wraith.aio.libp2p import Libp2pHost

    async with await Libp2pHost.create(config=config, key_log=key_log) as host:
        connection = await _connect(host, multiaddr, timeout_s, output)
        output.result(_describe(connection.security))
        for number in range(count):
            async with _answer_within(timeout_s):
                (rtt_s,) = await connection.ping()
            rtt_ms = round(rtt_s * 1000, 3)
            output.event("ping", **_fields(connection.security), rtt_ms=rtt_ms, number=number + 1)
            output.result(f"ping {number + 1}: {rtt_ms:.3f} ms")
        connection.close()
    return 0


async def _dial(
    multiaddr: str,
    echo_bytes: int,
    config: QuicTransportConfig,
    timeout_s: float,
    key_log: KeyLog | None,
    output: Output,
) -> int:
    from wraith.aio.libp2p import Libp2pHost

    async with await Libp2pHost.create(config=config, key_log=key_log) as host:
        connection = await _connect(host, multiaddr, timeout_s, output)
        async with _answer_within(timeout_s):
            info = await connection.identify()
            (rtt_s,) = await connection.ping()
        fields = _fields(connection.security)
        fields |= {"rtt_ms": round(rtt_s * 1000, 3), "agent": info.agent_version}
        output.result(_describe(connection.security))
        output.result(f"agent {printable(info.agent_version)}  ping {rtt_s * 1000:.3f} ms")
        if echo_bytes:
            digest = await _echo(connection, echo_bytes, host.rng)
            fields |= {"echo_bytes": echo_bytes, "sha256": digest}
            output.result(f"echo {echo_bytes} bytes  sha256 {digest}")
        output.event("dialled", **fields, protocols=list(info.protocols))
        connection.close()
    return 0


async def _echo(connection: Libp2pConnection, n_bytes: int, rng: OsRng) -> str:
    """Sends random bytes, reads them back; the SHA-256 of both, which must be equal."""
    from wraith.aio.libp2p.protocols import ECHO_PROTOCOL

    sent, received = hashlib.sha256(), hashlib.sha256()
    stream = await connection.open_stream(ECHO_PROTOCOL)

    async def send() -> None:
        remaining = n_bytes
        while remaining:
            piece = rng.public_bytes(min(remaining, 1 << 16))
            sent.update(piece)
            await stream.write(piece)
            remaining -= len(piece)
        await stream.close_write()

    async with stream, asyncio.TaskGroup() as tasks:
        tasks.create_task(send())
        while data := await stream.read():
            received.update(data)
    if sent.digest() != received.digest():
        raise ContentError("the peer echoed other bytes than were sent")
    return received.hexdigest()


class _answer_within:
    """A deadline on a peer's answer, as the package's own error."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            raise TransportTimeout(f"no answer within {self._seconds:g} s") from None


def _main() -> None:
    """``python -m wraith.cli.quic``: the group without the rest of the command line."""
    import sys

    arguments = sys.argv[1:]
    output = Output(json_events="--json" in arguments, quiet=False)
    try:
        sys.exit(quic_group.main(args=arguments, prog_name="quic", standalone_mode=False) or 0)
    except click.UsageError as error:
        output.failure("usage", error.format_message(), "")
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    except WraithError as error:
        output.error(error)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    _main()
