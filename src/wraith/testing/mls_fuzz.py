"""The target of ``tests/fuzz/fuzz_mls.py``: every decoder of MLS gets the same bytes.

Each takes any bytes and returns; it raises only for a defect: an exception that the decoder does
not document, or a value that encodes to other bytes than it was read from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wraith.errors import WraithError
from wraith.mls import state
from wraith.mls.codec import MlsReader, decode, encode_with
from wraith.mls.context import GroupContext
from wraith.mls.framing import AuthenticatedContent, PrivateMessage, PublicMessage, SenderData
from wraith.mls.key_package import KeyPackage
from wraith.mls.nodes import (
    Capabilities,
    ExternalSender,
    LeafNode,
    RequiredCapabilities,
    X509Credential,
    encode_extensions,
    encode_node,
    read_credential,
    read_extensions,
    read_node,
)
from wraith.mls.proposals import Commit, read_proposal
from wraith.mls.psk import read_psk_id
from wraith.mls.ratchet_tree import RatchetTree
from wraith.mls.suites import SUITES
from wraith.mls.treekem import UpdatePath
from wraith.mls.welcome import GroupInfo, GroupSecrets, Welcome, encode_message, read_message
from wraith.mls.x509 import check_chain
from wraith.testing.mls import AnyPolicy
from wraith.testing.rng import RaisingRng

DECODERS: tuple[tuple[Callable[[MlsReader], Any], Callable[[Any], bytes]], ...] = (
    (read_message, encode_message),
    (PublicMessage.read, encode_with),
    (PrivateMessage.read, encode_with),
    (AuthenticatedContent.read, encode_with),
    (SenderData.read, encode_with),
    (Welcome.read, encode_with),
    (GroupInfo.read, encode_with),
    (GroupSecrets.read, encode_with),
    (GroupContext.read, encode_with),
    (KeyPackage.read, encode_with),
    (LeafNode.read, encode_with),
    (Capabilities.read, encode_with),
    (RequiredCapabilities.read, encode_with),
    (ExternalSender.read, encode_with),
    (read_credential, encode_with),
    (read_extensions, encode_extensions),
    (read_node, encode_node),
    (read_proposal, encode_with),
    (read_psk_id, encode_with),
    (Commit.read, encode_with),
    (UpdatePath.read, encode_with),
    (lambda reader: RatchetTree.read(reader, SUITES[1], 1024), encode_with),
)


def mls(data: bytes) -> None:
    """Every structure, the state, and a certificate chain of one certificate."""
    for read, encode in DECODERS:
        try:
            value = decode(read, data, "input")
        except WraithError:
            continue
        if encode(value) != data:
            raise AssertionError(f"{read} does not give back what it read: {data.hex()}")
    for work in (
        lambda: state.restore(data, RaisingRng(), 0.0, policy=AnyPolicy()),
        lambda: check_chain(X509Credential((data,)), data, [], None),
    ):
        try:
            work()
        except WraithError:
            continue
