"""Messaging Layer Security: the group cryptography of RFC 9420, as values and machines.

Floor: beside ``wraith.wire``, above ``wraith.crypto``. It imports ``crypto``, ``errors``, ``abc``
(and the values of ``types``) alone, and the ``cryptography`` library behind three doors: ``hpke``,
``signing`` and ``x509``. It knows nothing of WRAITH's wire: whoever carries the messages decides
how. It reads no clock and draws from an ``Rng`` argument; only HPKE's and ML-KEM's encapsulation
draw inside the library.

Start reading at ``group`` (``MlsGroup``, what a program uses), then ``commit`` (what one commit
does), then ``treekem``. Every structure of the RFC is in ``nodes``, ``proposals``, ``framing`` and
``welcome``; ``validation`` says what is refused and why.

Specification: docs/spec/mls.md; RFC 9420.
"""

from __future__ import annotations

from wraith.mls.group import CommitResult, Member, MlsGroup, Opened
from wraith.mls.key_package import KeyPackage, KeyPackageSecrets
from wraith.mls.limits import Limits
from wraith.mls.nodes import BasicCredential, X509Credential
from wraith.mls.signing import Signer
from wraith.mls.suites import DEFAULT_SUITE, CipherSuite, suite_by_id
from wraith.mls.validation import Policy, StrictPolicy

__all__ = [
    "BasicCredential",
    "CipherSuite",
    "CommitResult",
    "DEFAULT_SUITE",
    "KeyPackage",
    "KeyPackageSecrets",
    "Limits",
    "Member",
    "MlsGroup",
    "Opened",
    "Policy",
    "Signer",
    "StrictPolicy",
    "X509Credential",
    "suite_by_id",
]
