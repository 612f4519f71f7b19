"""UDP as fast as the kernel allows it from Python: whole bursts in and out, no decisions.

A raw non-blocking socket per address family. Incoming datagrams are read until the socket is
empty, at most 64 reads or ``TURN_S`` a turn; what is put aside does not count. The kernel joins
datagrams of one size where it can (``UDP_GRO``), and what consecutive reads bring from one path in
datagrams of one size is delivered together, since a call upwards costs as much as a read. Outgoing
bursts go down in one call
(``UDP_SEGMENT``), or one datagram a call where the kernel or the path refuses that. asyncio's own
datagram endpoint takes one datagram per loop turn, which is an order of magnitude slower
(``datagram_endpoint.py`` keeps it for loops without ``add_reader``).

Must not parse a datagram, keep one, or wait. Every network error means what a lost datagram
means: nothing is raised, the sender's recovery deals with it. Linux ``udp(7)``, ``ip(7)``.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import sys
import time
import weakref
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Final, Protocol

from wraith.abc import NullTracer, Tracer
from wraith.aio.transports.addresses import from_sockaddr, to_sockaddr
from wraith.aio.transports.udp_options import (
    IP_PKTINFO,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPPROTO_UDP,
    IPV6_PKTINFO,
    IS_LINUX,
    UDP_GRO,
    UDP_SEGMENT,
    ask_for_packet_info,
    bound_socket,
    forbid_fragments,
    grown,
    try_option,
)
from wraith.errors import TransportError
from wraith.types import Address, NetworkPath, Transmit

#: ``data`` is borrowed: it is valid until the call returns.
ReceiveBurst = Callable[[memoryview, int, NetworkPath], None]
#: The end of a group of bursts; false when the socket may hold more.
EndTurn = Callable[[bool], None]
#: Looks at what one read brought, before it is delivered; true when it has taken a copy to serve
#: later. ``data`` is borrowed, as above.
PutAside = Callable[[memoryview, int, NetworkPath], bool]
#: A single datagram of so many bytes was refused for its size (EMSGSIZE).
RefuseSize = Callable[[NetworkPath, int], None]

#: An ICMP error came for a datagram to this address: where to, and the ``errno`` of it. Anybody can
#: forge one, so it is a hint for people and decides nothing.
TellError = Callable[[Address, int], None]

READS_PER_TURN: Final = 64
#: Reads of a turn whatever they bring: what is put aside does not use up the others' turn.
READS_IN_ALL: Final = 512
#: A turn of reading also ends after this long, so that acknowledgements, timers and other tasks
#: are not held up by 64 bursts of slow cryptography (4 MiB take 60 ms in pure Python).
TURN_S: Final = 0.002
#: What one read may bring, and what is delivered in one call at most.
READ_BYTES: Final = 65_536
RECEIVE_BYTES: Final = 8 * READ_BYTES
BURST_BYTES_MAX: Final = 65_507
BURST_SEGMENTS_MAX: Final = 64
#: After a refused burst the path gets single datagrams for this long, then bursts are tried again.
NO_BURST_S: Final = 60.0
#: Strangers choose source addresses, so what is remembered per path is bounded.
_PATHS_MAX: Final = 4096

#: Plain numbers: ``&`` with one of ``socket``'s enum members costs microseconds.
_MSG_TRUNC: Final = int(socket.MSG_TRUNC)
#: ``IP_RECVERR`` and ``IPV6_RECVERR``: ICMP errors are queued, with the address of each.
_RECVERR: Final = {socket.AF_INET: (IPPROTO_IP, 11), socket.AF_INET6: (IPPROTO_IPV6, 25)}
_MSG_ERRQUEUE: Final = 0x2000
_ERRORS_PER_TURN: Final = 64
_BURST_REFUSED: Final = frozenset({errno.EMSGSIZE, errno.EINVAL, errno.EIO, errno.EOPNOTSUPP})
#: What kernels say, among other things, when a source address is not one of the host's.
_SOURCE_REFUSED: Final = frozenset({errno.EINVAL, errno.EADDRNOTAVAIL, errno.ENETUNREACH})
#: Ancillary messages that say which local address was called: level and type of each.
_PACKET_INFOS: Final = frozenset({(IPPROTO_IP, IP_PKTINFO), (IPPROTO_IPV6, IPV6_PKTINFO)})
#: One GRO size (int), one packet info of IPv6 (20 bytes), and an int that nobody here asks for.
_ANCILLARY_BYTES: Final = 2 * socket.CMSG_SPACE(4) + socket.CMSG_SPACE(20) if IS_LINUX else 128

_Ancillary = list[tuple[int, int, bytes]]


#: One buffer serves all sockets of a loop: what is in it is borrowed for one call only.
_shared_buffers: weakref.WeakKeyDictionary[AbstractEventLoop, bytearray] = (
    weakref.WeakKeyDictionary()
)


class DatagramSocket(Protocol):
    """A socket as the driver needs it.

    Attributes:
        family: ``AF_INET`` or ``AF_INET6``: what it can send to.
        on_refused_size: told of each single datagram that the host refuses for its size.
    """

    local: Address
    datagrams_dropped: int
    on_refused_size: RefuseSize | None

    @property
    def family(self) -> int: ...

    def start(
        self,
        loop: AbstractEventLoop,
        receive: ReceiveBurst,
        turn: EndTurn,
        put_aside: PutAside,
    ) -> None:
        """Begins to deliver bursts; ``turn`` follows each group of them and says whether the socket
        is empty. What ``put_aside`` takes
        is not delivered; a path that it let pass is not asked about again in the same group."""
        ...

    def send(self, transmit: Transmit, start: int) -> int:
        """Hands ``transmit.data[start:]`` to the kernel; returns the offset of what it left."""
        ...

    def when_writable(self, resume: Callable[[], None]) -> None:
        """Calls ``resume`` once, when a ``send`` that fell short may go on."""
        ...

    def close(self) -> None: ...


class _Route:
    """Everything that sending on one path needs, worked out once."""

    __slots__ = ("ancillary", "burst_after", "by_segment", "local", "sockaddr")

    def __init__(self, path: NetworkPath) -> None:
        self.sockaddr = to_sockaddr(path.remote)
        self.local = path.local
        self.ancillary = _packet_info(path.local)
        self.by_segment: dict[int, _Ancillary] = {}
        self.burst_after = 0.0

    def for_segments(self, segment_bytes: int) -> _Ancillary:
        """Ancillary data of a burst. A session uses few sizes; probes of others are bounded."""
        found = self.by_segment.get(segment_bytes)
        if found is None:
            if len(self.by_segment) >= 64:
                self.by_segment.clear()
            size = struct.pack("=H", segment_bytes)
            found = [*self.ancillary, (IPPROTO_UDP, UDP_SEGMENT, size)]
            self.by_segment[segment_bytes] = found
        return found

    def lost_source(self, exc: OSError) -> bool:
        """Whether ``exc`` means that this host no longer has the address that is sent from. If so
        the kernel chooses another one from now on, as it does for a socket that asks for none."""
        if exc.errno not in _SOURCE_REFUSED or not self.ancillary or _is_here(self.local):
            return False
        self.ancillary = []
        self.by_segment.clear()
        return True


class UdpSocket:
    """One bound UDP socket of one address family. Not thread-safe: belongs to its loop.

    Attributes:
        local: the bound address; its ``ip`` is empty when bound to every interface.
        receive_buffer_bytes, send_buffer_bytes: what the kernel really gave.
        bursts_out, bursts_in: True while the kernel segments (GSO) and joins (GRO).
        datagrams_dropped: datagrams that the kernel refused to send; recovery resends them.
        on_refused_size: told of single datagrams that were too large for the host's network.
    """

    def __init__(
        self, sock: socket.socket, *, offload: bool = True, tracer: Tracer | None = None
    ) -> None:
        """Takes over ``sock``, which must be a bound datagram socket."""
        self._sock = sock
        self._tracer = tracer or NullTracer()
        self.family: int = sock.family
        sock.setblocking(False)
        self.receive_buffer_bytes = grown(sock, socket.SO_RCVBUF)
        self.send_buffer_bytes = grown(sock, socket.SO_SNDBUF)
        ask_for_packet_info(sock)
        forbid_fragments(sock)
        self.bursts_in = offload and try_option(sock, IPPROTO_UDP, UDP_GRO, 1)
        self.bursts_out = offload and try_option(sock, IPPROTO_UDP, UDP_SEGMENT, 0)
        bound = from_sockaddr(sock.getsockname())
        self._any = not any(bound.ip)
        self.local = Address(b"", bound.port) if self._any else bound
        self.datagrams_dropped = 0
        self._routes: dict[NetworkPath, _Route] = {}
        self._paths: dict[tuple[object, bytes], NetworkPath] = {}
        self._view = memoryview(b"")
        self._loop: AbstractEventLoop | None = None
        self._resume: Callable[[], None] | None = None
        self.on_refused_size: RefuseSize | None = None
        self._tell_error: TellError | None = None

    @classmethod
    def bind(
        cls, address: Address, *, offload: bool = True, tracer: Tracer | None = None
    ) -> UdpSocket:
        """Binds to ``address``; an IPv6 socket never takes IPv4 traffic (V6ONLY).

        Raises:
            TransportError: the family is missing or the address cannot be bound.
        """
        return cls(bound_socket(address), offload=offload, tracer=tracer)

    # --- in ---------------------------------------------------------------------------------

    def start(
        self,
        loop: AbstractEventLoop,
        receive: ReceiveBurst,
        turn: EndTurn,
        put_aside: PutAside,
    ) -> None:
        """Begins to deliver. Raises ``NotImplementedError`` on a loop without ``add_reader``."""
        self._loop = loop
        buffer = _shared_buffers.get(loop)
        if buffer is None:
            buffer = _shared_buffers[loop] = bytearray(RECEIVE_BYTES)
        self._view = memoryview(buffer)
        loop.add_reader(self._sock.fileno(), self._read_turn, receive, turn, put_aside)

    def _read_turn(self, receive: ReceiveBurst, turn: EndTurn, put_aside: PutAside) -> None:
        receive_into, monotonic = self._sock.recvmsg_into, time.monotonic
        view, paths = self._view, self._paths
        stop_at = monotonic() + TURN_S
        # Read and not yet delivered: view[start:end], datagrams of ``segment`` bytes on ``path``.
        # While it is open, all of them are of that size, and more may follow.
        start = end = segment = 0
        path: NetworkPath | None = None
        passed: NetworkPath | None = None
        is_open = is_empty = False
        n_passed = 0
        for _ in range(READS_IN_ALL):
            try:
                n, ancillary, flags, source = receive_into(
                    (view[end : end + READ_BYTES],), _ANCILLARY_BYTES
                )
            except (BlockingIOError, InterruptedError):
                is_empty = True
                if self._tell_error is not None:
                    self._read_errors(self._tell_error)
                break
            except OSError as exc:
                if exc.errno == errno.EBADF:
                    return
                if self._tell_error is not None:
                    self._read_errors(self._tell_error)
                continue  # an ICMP error of some earlier datagram: anyone can forge those
            size = n
            local = b""
            for level, kind, value in ancillary:
                if level == IPPROTO_UDP:
                    if kind == UDP_GRO:
                        size = int.from_bytes(value[:4], sys.byteorder)
                elif (level, kind) in _PACKET_INFOS:
                    local = value
            if flags & _MSG_TRUNC or not 0 < size <= n:
                continue
            found = paths.get((source, local))
            if found is None:
                found = self._learn_path(source, local)
            if found is not passed:
                if put_aside(view[end : end + n], size, found):
                    # It lies behind what is open and is overwritten: known runs stay joined.
                    if monotonic() >= stop_at or self._loop is None:
                        break
                    continue
                passed = found
            joins = is_open and found is path and (size == segment or size == n < segment)
            if not joins:
                if path is not None:
                    receive(view[start:end], segment, path)
                start, segment, path = end, size, found
            end += n
            is_open = size == segment and n % size == 0
            if not is_open or end + READ_BYTES > RECEIVE_BYTES:
                receive(view[start:end], segment, found)
                start = end = 0
                path, is_open = None, False
            n_passed += 1
            if n_passed == READS_PER_TURN:
                break
            if monotonic() >= stop_at or self._loop is None:
                break
        if path is not None:
            receive(view[start:end], segment, path)
        turn(is_empty)

    def _learn_path(self, source: tuple[object, ...], info: bytes) -> NetworkPath:
        """Builds the 4-tuple and remembers it; ``info`` is ``in_pktinfo`` or ``in6_pktinfo``."""
        local = self.local
        if self.family == socket.AF_INET and len(info) == 12:
            local = Address(info[4:8], self.local.port)
        elif len(info) == 20:
            (scope,) = struct.unpack("=I", info[16:])
            linked = info[:2] == b"\xfe\x80"
            local = Address(info[:16], self.local.port, scope if linked else 0)
        path = NetworkPath(local, from_sockaddr(source))
        if len(self._paths) >= _PATHS_MAX:
            self._paths.clear()
        self._paths[(source, info)] = path
        return path

    def tell_errors(self, tell: TellError | None) -> None:
        """Asks the kernel for ICMP errors, which ``tell`` hears of; ``None`` ends it, and must
        before bulk data flow: while errors are asked for, one may cost the next datagram."""
        if not IS_LINUX:
            return
        level, option = _RECVERR[socket.AddressFamily(self.family)]
        if try_option(self._sock, level, option, int(tell is not None)):
            self._tell_error = tell

    def _read_errors(self, tell: TellError) -> None:
        """Empties the queue of errors: while something is in it the socket counts as readable."""
        for _ in range(_ERRORS_PER_TURN):
            try:
                _, ancillary, _, sent_to = self._sock.recvmsg(1, 512, _MSG_ERRQUEUE)
            except OSError:
                return
            for _, kind, value in ancillary:
                if kind in (11, 25) and len(value) >= 4 and sent_to:
                    tell(from_sockaddr(sent_to), int.from_bytes(value[:4], sys.byteorder))

    # --- out --------------------------------------------------------------------------------

    def send(self, transmit: Transmit, start: int) -> int:
        """Sends ``transmit.data[start:]``, ``start`` being a multiple of the segment size.

        Returns:
            The offset of the first byte that the kernel did not take: ``len(transmit.data)`` when
            all is done, less when the socket's buffer is full; call ``when_writable`` then and
            send the *same* bytes again: their packet numbers are spent.
        """
        data, segment_bytes = transmit.data, transmit.segment_bytes
        end = len(data)
        route = self._routes.get(transmit.path)
        if route is None:
            route = self._learn_route(transmit.path)
        send, sockaddr = self._sock.sendmsg, route.sockaddr
        burst_bytes = min(BURST_BYTES_MAX // segment_bytes, BURST_SEGMENTS_MAX) * segment_bytes
        in_bursts = segment_bytes < burst_bytes and self._may_burst(route)
        while start < end:
            left = end - start
            if in_bursts and segment_bytes < left:
                n = burst_bytes if burst_bytes < left else left
                piece = data if n == end else data[start : start + n]
                try:
                    send((piece,), route.for_segments(segment_bytes), 0, sockaddr)
                except (BlockingIOError, InterruptedError):
                    return start
                except OSError as exc:
                    if route.lost_source(exc):
                        continue
                    if exc.errno in _BURST_REFUSED:
                        self._refuse_bursts(route, exc)
                        in_bursts = False
                        continue
                    self._drop(transmit, start, n, exc)
                start += n
                continue
            n = min(segment_bytes, left)
            try:
                send((data[start : start + n],), route.ancillary, 0, sockaddr)
            except (BlockingIOError, InterruptedError):
                return start
            except OSError as exc:
                if route.lost_source(exc):
                    continue
                self._drop(transmit, start, n, exc)
            start += n
        return end

    def _learn_route(self, path: NetworkPath) -> _Route:
        if len(self._routes) >= _PATHS_MAX:
            self._routes.clear()
        route = self._routes[path] = _Route(path)
        return route

    def _may_burst(self, route: _Route) -> bool:
        if not self.bursts_out:
            return False
        if route.burst_after == 0.0:
            return True
        if time.monotonic() < route.burst_after:
            return False
        route.burst_after = 0.0
        return True

    def _refuse_bursts(self, route: _Route, exc: OSError) -> None:
        route.burst_after = time.monotonic() + NO_BURST_S
        self._tracer.record("udp.no_burst", errno=exc.errno, address=route.sockaddr)

    def _drop(self, transmit: Transmit, start: int, n: int, exc: OSError) -> None:
        """The kernel refused; it is a lost datagram. A probe above the link's MTU ends here too."""
        self.datagrams_dropped += -(-n // transmit.segment_bytes)
        self._tracer.record(
            "udp.dropped", errno=exc.errno, bytes=n, offset=start, address=transmit.path.remote
        )
        is_single = n <= transmit.segment_bytes
        if exc.errno == errno.EMSGSIZE and is_single and self.on_refused_size is not None:
            self.on_refused_size(transmit.path, n)

    def when_writable(self, resume: Callable[[], None]) -> None:
        """Calls ``resume`` once when the kernel has room again. One waiter at a time."""
        assert self._loop is not None and self._resume is None
        self._resume = resume
        self._loop.add_writer(self._sock.fileno(), self._on_writable)

    def _on_writable(self) -> None:
        assert self._loop is not None
        self._loop.remove_writer(self._sock.fileno())
        resume, self._resume = self._resume, None
        if resume is not None:
            resume()

    # --- end --------------------------------------------------------------------------------

    def close(self) -> None:
        """Stops reading and closes the socket. Idempotent."""
        loop, self._loop = self._loop, None
        self._resume = None
        descriptor = self._sock.fileno()
        if loop is not None and descriptor >= 0 and not loop.is_closed():
            loop.remove_reader(descriptor)
            loop.remove_writer(descriptor)
        self._sock.close()

    def __del__(self) -> None:
        self._sock.close()


def _packet_info(local: Address) -> _Ancillary:
    """Asks the kernel to send from ``local``, so that a host with several addresses answers from
    the one that was called."""
    if len(local.ip) == 4:
        return [(IPPROTO_IP, IP_PKTINFO, struct.pack("=I4s4s", 0, local.ip, bytes(4)))]
    if len(local.ip) == 16:
        info = struct.pack("=16sI", local.ip, local.scope)
        return [(IPPROTO_IPV6, IPV6_PKTINFO, info)]
    return []


def _is_here(address: Address) -> bool:
    """Whether this host has ``address`` now, whatever the port."""
    with contextlib.suppress(TransportError):
        bound_socket(Address(address.ip, 0, address.scope)).close()
        return True
    return False
