"""The libp2p protocols that every host speaks: negotiation, identify, ping, echo.

Must not know sockets; each function drives a pure machine over one stream.
Spec: libp2p-quic section 6.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final

from wraith.abc import Rng
from wraith.aio.libp2p.stream import Libp2pStream
from wraith.errors import DecodeError, RemoteProtocolError, StreamReset, TransportError
from wraith.libp2p import identify, ping
from wraith.libp2p.codes import Libp2pCode
from wraith.libp2p.identify import IdentifyInfo
from wraith.libp2p.multistream import MultistreamInitiator, MultistreamResponder

ECHO_PROTOCOL: Final = "/wraith/echo/1.0.0"

StreamHandler = Callable[[Libp2pStream], Awaitable[None]]


async def negotiate_out(stream: Libp2pStream, protocols: Sequence[str]) -> str:
    """Agrees on one of ``protocols``, in order of preference.

    Raises:
        RemoteProtocolError: the peer speaks none of them, or not multistream.
    """
    machine = MultistreamInitiator(protocols)
    await stream.write(machine.bytes_to_send())
    while machine.chosen is None:
        data = await stream.read()
        if not data:
            raise RemoteProtocolError("the peer ended the stream during the negotiation")
        machine.receive(data)
        if pending := machine.bytes_to_send():
            await stream.write(pending)
    stream.push_back(machine.rest)
    stream.protocol = machine.chosen
    return machine.chosen


async def negotiate_in(stream: Libp2pStream, protocols: Collection[str]) -> str | None:
    """Answers a peer's proposals; ``None`` when it ended the stream without an agreement.

    A peer that wants no answer, or has closed by now, may have sent all that it has to say.
    """
    machine = MultistreamResponder(protocols)
    while machine.chosen is None:
        with contextlib.suppress(StreamReset, TransportError):
            await stream.write(machine.bytes_to_send())
        data = await stream.read()
        if not data:
            return None
        machine.receive(data)
    with contextlib.suppress(StreamReset, TransportError):
        await stream.write(machine.bytes_to_send())
    stream.push_back(machine.rest)
    stream.protocol = machine.chosen
    return machine.chosen


async def serve_stream(stream: Libp2pStream, handlers: dict[str, StreamHandler]) -> None:
    """Negotiates one incoming stream and runs its handler. A peer's misdeeds end here."""
    try:
        async with asyncio.timeout(stream.connection.negotiation_timeout_s):
            chosen = await negotiate_in(stream, handlers)
        if chosen is None:
            stream.reset(Libp2pCode.PROTOCOL_NEGOTIATION_FAILED)
            return
        async with stream:
            await handlers[chosen](stream)
    except (RemoteProtocolError, DecodeError):
        stream.reset(Libp2pCode.PROTOCOL_VIOLATION)
    except (StreamReset, TransportError):  # before TimeoutError, which some of these are too
        stream.reset(Libp2pCode.NO_ERROR)
    except TimeoutError:
        stream.reset(Libp2pCode.PROTOCOL_NEGOTIATION_FAILED)


async def serve_ping(stream: Libp2pStream) -> None:
    """Echoes 32 bytes at a time until the peer ends its side."""
    while len(data := await stream.read_exactly(ping.PAYLOAD_BYTES)) == ping.PAYLOAD_BYTES:
        await stream.write(data)


async def ping_once(stream: Libp2pStream, rng: Rng) -> float:
    """Seconds that one ping took on an open ping stream."""
    clock = asyncio.get_running_loop().time
    payload = ping.make_payload(rng)
    began = clock()
    await stream.write(payload)
    ping.check_answer(payload, await stream.read_exactly(ping.PAYLOAD_BYTES))
    return clock() - began


async def serve_echo(stream: Libp2pStream) -> None:
    """Sends everything back as it comes; a slow reader slows the writer."""
    while data := await stream.read():
        await stream.write(data)


async def send_identify(stream: Libp2pStream, info: IdentifyInfo) -> None:
    """One message, or several where it is long, and the end."""
    await stream.write(info.encode())
    await stream.close_write()


async def receive_identify(stream: Libp2pStream) -> IdentifyInfo:
    """Reads messages up to the end; checks that their key is the connection's.

    A peer that never ends the stream is taken at what it has said after ``negotiation_timeout_s``.

    Raises:
        DecodeError, RemoteProtocolError: it is malformed, cut off, or names another key.
    """
    reader = identify.IdentifyReader()
    try:
        async with asyncio.timeout(stream.connection.negotiation_timeout_s):
            while data := await stream.read():
                reader.feed(data)
    except TransportError:  # the connection's own time-out is not that of the negotiation
        raise
    except TimeoutError:
        if not reader.is_whole:
            raise RemoteProtocolError("the peer did not say who it is") from None
    info = reader.finish()
    info.check_peer(stream.connection.security.peer_id)
    return info
