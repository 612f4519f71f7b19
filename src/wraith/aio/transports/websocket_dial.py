"""From a name to a connected socket, and from there to TLS, with a reason for each way to fail.

Certificates are checked against the trust store of the system, and the name in them against the
name in the URL; what fails is a failed road and nothing else, never a question and never a second
try without the check. Spec: docs/spec/carriers.md [CA-68] [CA-69].
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from itertools import zip_longest
from typing import Final

from cryptography import x509

from wraith.aio.transports.addresses import from_sockaddr
from wraith.aio.transports.base import OpenFailed
from wraith.aio.transports.tcp import connect
from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.types import Address

#: The next address of a name is tried so long after the one before it (RFC 8305).
STAGGER_S: Final = 0.25
ADDRESSES_MAX: Final = 8


def failed(reason: RoadReason, detail: int | str | None = None) -> OpenFailed:
    """The exception for it."""
    return OpenFailed(RoadFailure(reason, detail))


# --- TCP ------------------------------------------------------------------------------------


async def connect_tcp(host: str, port: int) -> socket.socket:
    """A connected socket with the options of a link; the caller owns it.

    A name with several addresses: IPv6 first, families in turn, each 250 ms after the one before
    it or at once when that one failed; the first that connects wins, the rest are closed.

    Raises:
        OpenFailed: name-unknown; refused, unreachable or syn-timeout of the address tried first.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:  # a label of a name may be too long for its encoding
        raise failed(RoadReason.NAME_UNKNOWN) from exc
    tries: list[asyncio.Task[socket.socket]] = []
    pending: set[asyncio.Task[socket.socket]] = set()
    waiting = _in_turn([from_sockaddr(sockaddr) for *_, sockaddr in found])
    try:
        while waiting or pending:
            if waiting:
                tries.append(loop.create_task(connect(waiting.pop(0))))
                pending.add(tries[-1])
            done, pending = await asyncio.wait(
                pending,
                timeout=STAGGER_S if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for one in done:
                if one.exception() is None:
                    tries.remove(one)
                    return one.result()
        if not tries:
            raise failed(RoadReason.NAME_UNKNOWN)
        return tries[0].result()  # its failure
    finally:
        for one in tries:
            one.cancel()
            one.add_done_callback(_close_socket)


def _in_turn(found: list[Address]) -> list[Address]:
    """Families in turn, IPv6 first; each in the order of the resolver."""
    sixes = [address for address in found if len(address.ip) == 16]
    fours = [address for address in found if len(address.ip) == 4]
    pairs = zip_longest(sixes, fours)
    return [address for pair in pairs for address in pair if address is not None][:ADDRESSES_MAX]


def _close_socket(task: asyncio.Task[socket.socket]) -> None:
    """One that connected when another had won."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


# --- TLS ------------------------------------------------------------------------------------


def client_context() -> ssl.SSLContext:
    """What ``wss`` is checked with unless the caller has a context: the system's trust store, the
    name, TLS 1.2 or later."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class _IssuerTold(ssl.SSLObject):
    """Keeps the issuer of a certificate that is not trusted: it tells a person who is in between,
    where the bare error tells that something is."""

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except ssl.SSLCertVerificationError as exc:
            exc.add_note(_issuer_of(self))
            raise


def tell_issuers(context: ssl.SSLContext) -> ssl.SSLContext:
    """``context``, whose failures ``of_tls`` can tell in full. A class of the caller's stays."""
    if context.sslobject_class is ssl.SSLObject:
        context.sslobject_class = _IssuerTold
    return context


def _issuer_of(tls: ssl.SSLObject) -> str:
    # The chain that the peer has sent, before any of it is trusted. Python 3.13 made it public.
    chain_of = getattr(tls, "get_unverified_chain", None) or getattr(
        getattr(tls, "_sslobj", None), "get_unverified_chain", None
    )
    with suppress(ValueError, TypeError, ssl.SSLError):
        chain = chain_of() if chain_of is not None else None
        if chain:
            first = chain[0]
            der = (
                first
                if isinstance(first, bytes)
                else ssl.PEM_cert_to_DER_cert(first.public_bytes())
            )
            return x509.load_der_x509_certificate(der).issuer.rfc4514_string()
    return ""


def of_tls(exc: BaseException) -> OpenFailed:
    """Why a TLS handshake failed."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        notes: list[str] = getattr(exc, "__notes__", [])
        return failed(RoadReason.TLS_UNTRUSTED, next(filter(None, notes), exc.verify_message))
    if isinstance(exc, ssl.SSLError):
        return failed(RoadReason.TLS_ALERT, exc.reason)
    if isinstance(exc, TimeoutError | ConnectionAbortedError):  # asyncio's own deadline
        return failed(RoadReason.ACCEPTED_SILENT)
    return failed(RoadReason.RESET_AT_CLIENTHELLO)
