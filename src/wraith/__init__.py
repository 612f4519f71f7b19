"""WRAITH: a secure peer-to-peer transport with a hybrid post-quantum handshake.

The public names below load on first use, so that ``import wraith`` costs nothing and brings in no
asyncio: a program may use ``wraith.connection`` (the machine without I/O) with a loop of its own.
Start reading at ``wraith.aio`` (sessions over sockets) or ``wraith.connection`` (the protocol).
What is public, provisional and private: docs/reference/api.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "2.0.0"

if TYPE_CHECKING:
    from wraith.aio import sync as sync
    from wraith.aio.disk.home_folder import FolderLocked as FolderLocked
    from wraith.aio.disk.identity_file import Identity as Identity
    from wraith.aio.disk.own_state import OwnFolder as OwnFolder
    from wraith.aio.disk.private_folder import UntrustedPath as UntrustedPath
    from wraith.aio.disk.source_scan import SourceUnreadable as SourceUnreadable
    from wraith.aio.files import events as events
    from wraith.aio.files.receiving import Answer as Answer
    from wraith.aio.files.receiving import receive as receive
    from wraith.aio.files.send import send as send
    from wraith.aio.files.sending import Sending as Sending
    from wraith.aio.sessions.dial import connect as connect
    from wraith.aio.sessions.listener import Listener as Listener
    from wraith.aio.sessions.listener import listen as listen
    from wraith.aio.sessions.roads import SessionRoad as SessionRoad
    from wraith.aio.sessions.session import Session as Session
    from wraith.aio.sessions.stream import Stream as Stream
    from wraith.config import Budgets as Budgets
    from wraith.config import EndpointConfig as EndpointConfig
    from wraith.connection.handshake.node_record import NodeRecord as NodeRecord
    from wraith.connection.stats import ConnectionStats as ConnectionStats
    from wraith.connection.tickets.store import MemoryTickets as MemoryTickets
    from wraith.errors import Busy as Busy
    from wraith.errors import CloseCode as CloseCode
    from wraith.errors import CodeInvalid as CodeInvalid
    from wraith.errors import ConfigError as ConfigError
    from wraith.errors import ConnectFailed as ConnectFailed
    from wraith.errors import ConnectionLost as ConnectionLost
    from wraith.errors import ContentError as ContentError
    from wraith.errors import CredentialRefused as CredentialRefused
    from wraith.errors import CryptoError as CryptoError
    from wraith.errors import DecodeError as DecodeError
    from wraith.errors import DecryptError as DecryptError
    from wraith.errors import GenerationTooFar as GenerationTooFar
    from wraith.errors import GroupClosed as GroupClosed
    from wraith.errors import GroupError as GroupError
    from wraith.errors import GroupInputRefused as GroupInputRefused
    from wraith.errors import GroupLimit as GroupLimit
    from wraith.errors import HandshakeTimeout as HandshakeTimeout
    from wraith.errors import HashMismatch as HashMismatch
    from wraith.errors import InvalidCommit as InvalidCommit
    from wraith.errors import InvalidGroupInfo as InvalidGroupInfo
    from wraith.errors import InvalidKey as InvalidKey
    from wraith.errors import InvalidKeyPackage as InvalidKeyPackage
    from wraith.errors import InvalidLeaf as InvalidLeaf
    from wraith.errors import InvalidProposal as InvalidProposal
    from wraith.errors import InvalidSignature as InvalidSignature
    from wraith.errors import InvalidTree as InvalidTree
    from wraith.errors import InvalidWelcome as InvalidWelcome
    from wraith.errors import LimitExceeded as LimitExceeded
    from wraith.errors import LocalProtocolError as LocalProtocolError
    from wraith.errors import MessageReplayed as MessageReplayed
    from wraith.errors import MissingChunk as MissingChunk
    from wraith.errors import MissingExtra as MissingExtra
    from wraith.errors import NonceExhausted as NonceExhausted
    from wraith.errors import NoSpace as NoSpace
    from wraith.errors import NotAuthorised as NotAuthorised
    from wraith.errors import OfferRefused as OfferRefused
    from wraith.errors import OwnMessage as OwnMessage
    from wraith.errors import PeerClosed as PeerClosed
    from wraith.errors import PeerFinished as PeerFinished
    from wraith.errors import PeerKeyMismatch as PeerKeyMismatch
    from wraith.errors import PolicyRefused as PolicyRefused
    from wraith.errors import RemoteProtocolError as RemoteProtocolError
    from wraith.errors import SourceChanged as SourceChanged
    from wraith.errors import StaleStage as StaleStage
    from wraith.errors import StateViolation as StateViolation
    from wraith.errors import StreamReset as StreamReset
    from wraith.errors import TransferError as TransferError
    from wraith.errors import TransportError as TransportError
    from wraith.errors import TransportTimeout as TransportTimeout
    from wraith.errors import UnknownEpoch as UnknownEpoch
    from wraith.errors import UnknownPsk as UnknownPsk
    from wraith.errors import UnknownSender as UnknownSender
    from wraith.errors import UnsafePath as UnsafePath
    from wraith.errors import UnsupportedSuite as UnsupportedSuite
    from wraith.errors import WraithError as WraithError
    from wraith.errors import WrongGroup as WrongGroup
    from wraith.node.closes import CodeSpent as CodeSpent
    from wraith.transfer.reasons import DiskFailed as DiskFailed
    from wraith.transfer.reasons import Interrupted as Interrupted
    from wraith.transfer.reasons import NewerNeeded as NewerNeeded
    from wraith.transfer.reasons import OfferTaken as OfferTaken
    from wraith.transfer.reasons import PeerAborted as PeerAborted
    from wraith.transfer.reasons import TooLate as TooLate
    from wraith.types import Address as Address
    from wraith.types import PeerKey as PeerKey
    from wraith.types import SecurityInfo as SecurityInfo
    from wraith.types import SuiteId as SuiteId

#: Every exception that the package raises, and the codes that some of them carry.
_ERRORS = (
    "CloseCode",
    "WraithError",
    "LocalProtocolError",
    "PolicyRefused",
    "RemoteProtocolError",
    "DecodeError",
    "StateViolation",
    "LimitExceeded",
    "CryptoError",
    "DecryptError",
    "InvalidKey",
    "InvalidSignature",
    "NonceExhausted",
    "ContentError",
    "HashMismatch",
    "MissingChunk",
    "TransferError",
    "OfferRefused",
    "Busy",
    "SourceChanged",
    "UnsafePath",
    "NoSpace",
    "CodeInvalid",
    "TransportError",
    "ConnectFailed",
    "HandshakeTimeout",
    "PeerKeyMismatch",
    "NotAuthorised",
    "PeerClosed",
    "PeerFinished",
    "ConnectionLost",
    "TransportTimeout",
    "StreamReset",
    "GroupError",
    "UnsupportedSuite",
    "UnknownEpoch",
    "UnknownPsk",
    "UnknownSender",
    "WrongGroup",
    "OwnMessage",
    "MessageReplayed",
    "GenerationTooFar",
    "CredentialRefused",
    "StaleStage",
    "GroupClosed",
    "GroupLimit",
    "GroupInputRefused",
    "InvalidTree",
    "InvalidLeaf",
    "InvalidKeyPackage",
    "InvalidProposal",
    "InvalidCommit",
    "InvalidWelcome",
    "InvalidGroupInfo",
    "ConfigError",
    "MissingExtra",
)

#: Public name -> the module that defines it.
_HOMES = {
    "connect": "wraith.aio.sessions.dial",
    "listen": "wraith.aio.sessions.listener",
    "receive": "wraith.aio.files.receiving",
    "send": "wraith.aio.files.send",
    "Answer": "wraith.aio.files.receiving",
    "Sending": "wraith.aio.files.sending",
    "Listener": "wraith.aio.sessions.listener",
    "Session": "wraith.aio.sessions.session",
    "SessionRoad": "wraith.aio.sessions.roads",
    "Stream": "wraith.aio.sessions.stream",
    "Identity": "wraith.aio.disk.identity_file",
    "Budgets": "wraith.config",
    "ConnectionStats": "wraith.connection.stats",
    "EndpointConfig": "wraith.config",
    "MemoryTickets": "wraith.connection.tickets.store",
    "NodeRecord": "wraith.connection.handshake.node_record",
    "Address": "wraith.types",
    "PeerKey": "wraith.types",
    "SecurityInfo": "wraith.types",
    "SuiteId": "wraith.types",
    **dict.fromkeys(_ERRORS, "wraith.errors"),
}

#: Exceptions that the rooms of a transfer define themselves.
_TRANSFER_ERRORS = {
    "CodeSpent": "wraith.node.closes",
    "DiskFailed": "wraith.transfer.reasons",
    "FolderLocked": "wraith.aio.disk.home_folder",
    "Interrupted": "wraith.transfer.reasons",
    "NewerNeeded": "wraith.transfer.reasons",
    "OfferTaken": "wraith.transfer.reasons",
    "OwnFolder": "wraith.aio.disk.own_state",
    "PeerAborted": "wraith.transfer.reasons",
    "SourceUnreadable": "wraith.aio.disk.source_scan",
    "TooLate": "wraith.transfer.reasons",
    "UntrustedPath": "wraith.aio.disk.private_folder",
}
_HOMES |= _TRANSFER_ERRORS

#: Public modules that load when they are used.
_MODULES = {"events": "wraith.aio.files.events", "sync": "wraith.aio.sync"}

__all__ = [
    "__version__",
    "connect",
    "events",
    "listen",
    "receive",
    "send",
    "sync",
    "Address",
    "Answer",
    "Budgets",
    "ConnectionStats",
    "EndpointConfig",
    "Identity",
    "Listener",
    "MemoryTickets",
    "NodeRecord",
    "PeerKey",
    "SecurityInfo",
    "Sending",
    "Session",
    "SessionRoad",
    "Stream",
    "SuiteId",
    *_ERRORS,
    *_TRANSFER_ERRORS,
]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _MODULES:
        return import_module(_MODULES[name])
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'wraith' has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    # What is public, and no room that happened to be loaded: docs/reference/api.md, "Stability".
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
