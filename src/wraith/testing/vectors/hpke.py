"""RFC 9180 and draft-ietf-hpke-pq: key derivation, encapsulation, the exporter secret, exports.

Two layouts: exports listed one by one, and the Go project's shorter one, where 1,000 exports are
hashed into one value. Sealing in sequence is not the product's (the library seals in one shot), so
only a first ciphertext with empty associated data could be compared, and the collections have none.
"""

from __future__ import annotations

import hashlib

from wraith.mls.hpke import Hpke, labeled_expand
from wraith.mls.suites import P256, P384, P521, SUITES, X25519, X_WING
from wraith.testing.vectors.report import CaseSkipped, Fields, Report, equal, objects

_KEMS = {kem.kem_id: kem for kem in (X25519, P256, P384, P521, X_WING)}
_HASHES = {1: "sha256", 2: "sha384", 3: "sha512"}


def recognises(data: object) -> bool:
    return (
        isinstance(data, list)
        and bool(data)
        and isinstance(data[0], dict)
        and {"kem_id", "kdf_id", "aead_id", "ikmR", "skRm", "pkRm", "enc"} <= data[0].keys()
    )


def run(data: object, report: Report) -> None:
    for index, vector in enumerate(objects(data)):
        report.run(f"vector {index}", lambda v=vector: _case(v))  # type: ignore[misc]


def _case(vector: Fields) -> None:
    kem, hash_name = _KEMS.get(vector.number("kem_id")), _HASHES.get(vector.number("kdf_id"))
    if kem is None or hash_name is None or vector.number("mode") != 0:
        raise CaseSkipped("a KEM, KDF or mode that MLS does not use here")
    pair = kem.derive_key_pair(vector.hex("ikmR"))
    equal("skRm", pair.private.reveal(), vector.hex("skRm"))
    equal("pkRm", pair.public, vector.hex("pkRm"))
    if kem is not X_WING:
        shared, enc = kem.encapsulate(pair.public, vector.hex("ikmE"))
        equal("enc", enc, vector.hex("enc"))
    received = kem.decapsulate(vector.hex("enc"), pair.private)
    if kem is not X_WING:
        equal("both sides", received, shared)
    if "shared_secret" in vector:
        equal("shared_secret", received, vector.hex("shared_secret"))
    library = SUITES[1].hpke.library  # nothing is sealed here
    hpke = Hpke(kem, hash_name, vector.number("kdf_id"), vector.number("aead_id"), library)
    secret = hpke.exporter_secret(received, vector.hex("info"))
    if "exporter_secret" in vector:
        equal("exporter_secret", secret, vector.hex("exporter_secret"))
    if "exports" in vector:
        for one in vector.objects("exports"):
            got = _export(hpke, secret, one.hex("exporter_context"), one.number("L"))
            equal("export", got, one.hex("exported_value"))
    else:
        equal("exports", _accumulated(hpke, secret), vector.hex("exports_accumulated"))
    sent, mine = hpke.send_export(pair.public, b"label", 32, bytes(64))
    received_export = hpke.receive_export(sent, pair.private, b"label", 32)
    equal("own export", received_export, mine)


def _export(hpke: Hpke, secret: bytes, context: bytes, n: int) -> bytes:
    return labeled_expand(hpke.hash_name, hpke.suite_id, secret, b"sec", context, n)


def _accumulated(hpke: Hpke, secret: bytes) -> bytes:
    """1,000 exports of 0 to 999 bytes over contexts drawn from SHAKE128, hashed with SHAKE128."""
    source, at = hashlib.shake_128(b"").digest(1000 * 256), 0
    sink = hashlib.shake_128()
    for n in range(1000):
        length = source[at]
        context = source[at + 1 : at + 1 + length]
        at += 1 + length
        sink.update(_export(hpke, secret, context, n))
    return sink.digest(16)
