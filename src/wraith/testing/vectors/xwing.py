"""X-Wing: our X25519 and ML-KEM-768 under its combiner.

The combiner is X-Wing's (SHA3-256) and lives here only; what goes into it is the product's.
"""

from __future__ import annotations

import hashlib

from wraith.crypto.mlkem import MlKem768
from wraith.crypto.x25519 import X25519Key
from wraith.testing import mlkem_reference as reference
from wraith.testing.vectors.report import Report, equal, objects


def recognises(data: object) -> bool:
    return (
        isinstance(data, list)
        and bool(data)
        and isinstance(data[0], dict)
        and {"seed", "eseed", "ss", "pk", "ct"} <= data[0].keys()
    )


def run(data: object, report: Report) -> None:
    for index, vector in enumerate(objects(data)):
        seed, eseed = vector.hex("seed"), vector.hex("eseed")
        ct, pk, ss = vector.hex("ct"), vector.hex("pk"), vector.hex("ss")
        report.run(f"vector {index}", lambda v=(seed, eseed, pk, ct, ss): _case(*v))  # type: ignore[misc]


def _case(seed: bytes, eseed: bytes, pk: bytes, ct: bytes, ss: bytes) -> None:
    expanded = hashlib.shake_256(seed).digest(96)
    post_quantum = MlKem768().from_seed(expanded[:64])
    classical = X25519Key.from_secret(expanded[64:])
    equal("pk", post_quantum.encapsulation_key + classical.public, pk)

    ephemeral = X25519Key.from_secret(eseed[32:])
    _, pq_ct = reference.encapsulate(
        reference.ML_KEM_768, post_quantum.encapsulation_key, eseed[:32]
    )
    equal("ct", pq_ct + ephemeral.public, ct)

    pq_ss = post_quantum.decapsulate(ct[:1088])
    c_ss = classical.exchange(ct[1088:])
    equal("both sides", ephemeral.exchange(classical.public), c_ss)
    material = pq_ss + c_ss + ct[1088:] + classical.public + _XWING_LABEL
    equal("ss", hashlib.sha3_256(material).digest(), ss)


#: A little X-wing fighter, six ASCII characters.
_XWING_LABEL = bytes.fromhex("5c2e2f2f5e5c")
