"""multistream-select 1.0: two parties agree on the protocol of a stream. Pure machines.

Must not interpret what follows the negotiation: surplus bytes are handed back.

::

    message = varint(length of the rest) ‖ text ‖ "\\n"
    initiator: /multistream/1.0.0   then one /protocol after another until it is echoed
    responder: /multistream/1.0.0   then each proposal echoed, or "na"

The initiator sends the header and its first proposal together, so an accepted first choice costs
one round trip. Spec: libp2p-quic [LQ-60]; multistream-select specification.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from wraith.errors import DecodeError, RemoteProtocolError
from wraith.libp2p.reader import Libp2pReader, encode_uvarint

HEADER = "/multistream/1.0.0"
NOT_AVAILABLE = "na"
MESSAGE_BYTES_MAX = 1024
PROPOSALS_MAX = 32


def encode_message(text: str) -> bytes:
    body = text.encode() + b"\n"
    if len(body) > MESSAGE_BYTES_MAX:
        raise ValueError("a protocol name has at most 1023 bytes")
    return encode_uvarint(len(body)) + body


class _Messages:
    """Splits incoming bytes into the messages behind the header, which both sides send first and
    which is checked here. Keeps what is incomplete."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._has_header = False

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> str | None:
        """The next whole message, ``None`` until it is here.

        Raises:
            DecodeError: it is malformed.
            RemoteProtocolError: the peer began with something else than the header.
        """
        if not self._has_header:
            header = self._cut()
            if header is None:
                return None
            if header != HEADER:
                raise RemoteProtocolError("the peer does not speak multistream 1.0.0")
            self._has_header = True
        return self._cut()

    def _cut(self) -> str | None:
        start = next((i + 1 for i, byte in enumerate(self._buffer[:3]) if byte < 0x80), None)
        if start is None:
            if len(self._buffer) >= 3:
                raise DecodeError("multistream length")
            return None
        length = Libp2pReader(bytes(self._buffer[:start]), "multistream length").uvarint()
        if not 0 < length <= MESSAGE_BYTES_MAX:
            raise DecodeError("multistream length")
        if len(self._buffer) < start + length:
            return None
        body = bytes(self._buffer[start : start + length])
        del self._buffer[: start + length]
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            raise DecodeError("multistream message") from error
        if not text.endswith("\n") or "\n" in text[:-1]:
            raise DecodeError("multistream message")
        return text[:-1]

    def rest(self) -> bytes:
        taken, self._buffer = bytes(self._buffer), bytearray()
        return taken


class MultistreamInitiator:
    """Proposes ``protocols`` in order. ``chosen`` is set when one was accepted.

    ``rest`` then holds what followed; :class:`RemoteProtocolError` means that none was accepted.
    """

    def __init__(self, protocols: Sequence[str]) -> None:
        if not protocols:
            raise ValueError("at least one protocol is proposed")
        self.chosen: str | None = None
        self.rest = b""
        self._protocols = list(protocols)
        self._index = 0
        self._messages = _Messages()
        self._output = encode_message(HEADER) + encode_message(protocols[0])

    def bytes_to_send(self) -> bytes:
        taken, self._output = self._output, b""
        return taken

    def receive(self, data: bytes) -> None:
        self._messages.feed(data)
        while self.chosen is None and (message := self._messages.next()) is not None:
            if message == self._protocols[self._index]:
                self.chosen = message
                self.rest = self._messages.rest()
            elif message == NOT_AVAILABLE:
                self._index += 1
                if self._index >= len(self._protocols):
                    raise RemoteProtocolError(
                        f"the peer speaks none of {', '.join(self._protocols)}"
                    )
                self._output += encode_message(self._protocols[self._index])
            else:
                raise RemoteProtocolError(f"the peer answered {message[:64]!r} to a proposal")


class MultistreamResponder:
    """Accepts the first proposal in ``protocols``. ``chosen`` and ``rest`` as for the initiator."""

    def __init__(self, protocols: Collection[str]) -> None:
        self.chosen: str | None = None
        self.rest = b""
        self._protocols = protocols
        self._n_proposals = 0
        self._messages = _Messages()
        self._output = encode_message(HEADER)

    def bytes_to_send(self) -> bytes:
        taken, self._output = self._output, b""
        return taken

    def receive(self, data: bytes) -> None:
        self._messages.feed(data)
        while self.chosen is None and (message := self._messages.next()) is not None:
            self._n_proposals += 1
            if self._n_proposals > PROPOSALS_MAX:
                raise RemoteProtocolError("the peer proposes too many protocols")
            if message in self._protocols:
                self.chosen = message
                self.rest = self._messages.rest()
                self._output += encode_message(message)
            else:
                self._output += encode_message(NOT_AVAILABLE)
