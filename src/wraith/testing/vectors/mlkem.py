"""ML-KEM: ACVP, Wycheproof and CCTV.

The product keeps decapsulation keys as seeds and cannot encapsulate with a given ``m``. So:

- key generation from a seed and decapsulation under a seed are ours;
- a case that gives ek and an expanded dk is turned round: ours encapsulates to ek, the reference
  opens the result with dk, and both secrets must agree; the vector's own c and K are checked by the
  reference on the way;
- a case that gives ek and m, or an expanded dk and c, alone is the reference's: ``oracle``.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Callable

from wraith.crypto.mlkem import MlKem768, MlKem1024, MlKemSecret
from wraith.errors import InvalidKey
from wraith.testing import mlkem_reference as reference
from wraith.testing.rng import RaisingRng
from wraith.testing.vectors.report import (
    ORACLE,
    CaseSkipped,
    Fields,
    Malformed,
    Report,
    equal,
    refused,
    unhex,
)
from wraith.testing.vectors.wycheproof import expected

_KEMS: dict[str, MlKem768 | MlKem1024] = {"ML-KEM-768": MlKem768(), "ML-KEM-1024": MlKem1024()}
#: The accumulated CCTV hashes that are recomputed; more tests than that take minutes.
_ACCUMULATED_TESTS_MAX = 100


class _Set:
    """One parameter set: the product's KEM and the reference's parameters."""

    def __init__(self, name: str) -> None:
        if name not in _KEMS:
            raise CaseSkipped(f"{name} is not in the product")
        self.kem = _KEMS[name]
        self.reference = reference.PARAMETER_SETS[name]

    @classmethod
    def by_ek_bytes(cls, n: int) -> _Set:
        for name, kem in _KEMS.items():
            if kem.encapsulation_key_bytes == n:
                return cls(name)
        raise Malformed("an encapsulation key of unknown size")

    def from_seed(self, d: bytes, z: bytes) -> MlKemSecret:
        return self.kem.from_seed(d + z)

    def check_expanded(self, ek: bytes, dk: bytes) -> None:
        """Ours encapsulates to ``ek``; the reference must find the same secret with ``dk``."""
        ss, c = self.kem.encapsulate(ek, RaisingRng())
        equal("secret opened with dk", reference.decapsulate(self.reference, dk, c), ss)


# -- ACVP --------------------------------------------------------------------------------------


def recognises_acvp(data: object) -> bool:
    return isinstance(data, dict) and data.get("algorithm") == "ML-KEM" and "mode" in data


def run_acvp(data: object, report: Report) -> None:
    top = Fields(data)
    mode = top.text("mode")
    for group in top.objects("testGroups"):
        name = group.text("parameterSet")
        function = "keyGen" if mode == "keyGen" else group.text("function")
        case = _ACVP.get(function)
        if case is None:
            raise Malformed(f"unknown function {function!r}")
        for test in group.objects("tests"):
            report.run(
                f"tcId {test.number('tcId')}",
                lambda c=case, n=name, t=test: c(_Set(n), t),  # type: ignore[misc]
            )


def _acvp_keygen(s: _Set, test: Fields) -> None:
    _check_keygen(s, test.hex("d"), test.hex("z"), test.hex("ek"), test.hex("dk"))


def _acvp_encapsulation(s: _Set, test: Fields) -> None:
    ek, c, k = test.hex("ek"), test.hex("c"), test.hex("k")
    equal("reference", reference.encapsulate(s.reference, ek, test.hex("m")), (k, c))
    s.check_expanded(ek, test.hex("dk"))


def _acvp_decapsulation(s: _Set, test: Fields) -> None:
    c, k = test.hex("c"), test.hex("k")
    if "d" in test and "z" in test:
        key = s.from_seed(test.hex("d"), test.hex("z"))
        equal("ek", key.encapsulation_key, test.hex("ek"))
        equal("k", key.decapsulate(c), k)
        return
    equal("reference", reference.decapsulate(s.reference, test.hex("dk"), c), k)
    raise CaseSkipped(ORACLE)


def _acvp_encapsulation_key_check(s: _Set, test: Fields) -> None:
    ek = test.hex("ek")
    if test.flag("testPassed"):
        ss, c = s.kem.encapsulate(ek, RaisingRng())
        equal("sizes", (len(ss), len(c)), (32, s.kem.ciphertext_bytes))
    else:
        refused("the key", InvalidKey, lambda: s.kem.encapsulate(ek, RaisingRng()))


def _acvp_decapsulation_key_check(s: _Set, test: Fields) -> None:
    passes = reference.check_decapsulation_key(s.reference, test.hex("dk"))
    equal("reference", passes, test.flag("testPassed"))
    raise CaseSkipped(ORACLE)


_ACVP: dict[str, Callable[[_Set, Fields], None]] = {
    "keyGen": _acvp_keygen,
    "encapsulation": _acvp_encapsulation,
    "decapsulation": _acvp_decapsulation,
    "encapsulationKeyCheck": _acvp_encapsulation_key_check,
    "decapsulationKeyCheck": _acvp_decapsulation_key_check,
}


def _check_keygen(s: _Set, d: bytes, z: bytes, ek: bytes, dk: bytes) -> None:
    equal("ek", s.from_seed(d, z).encapsulation_key, ek)
    # The product does not export an expanded dk; its public tail must be ours, and it must open.
    equal("tail of dk", dk[384 * s.reference.k :], ek + hashlib.sha3_256(ek).digest() + z)
    s.check_expanded(ek, dk)


# -- Wycheproof --------------------------------------------------------------------------------


def recognises_wycheproof(data: object) -> bool:
    return isinstance(data, dict) and data.get("algorithm") == "ML-KEM" and "schema" in data


def run_wycheproof(data: object, report: Report) -> None:
    for group in Fields(data).objects("testGroups"):
        kind, name = group.text("type"), group.text("parameterSet")
        case = _WYCHEPROOF.get(kind)
        if case is None:
            raise Malformed(f"unknown type {kind!r}")
        for test in group.objects("tests"):
            report.run(
                f"tcId {test.number('tcId')}",
                lambda c=case, n=name, t=test: c(_Set(n), t),  # type: ignore[misc]
            )


def _wycheproof_decaps(s: _Set, test: Fields) -> None:
    seed, c = test.hex("seed"), test.hex("c")
    if expected(test) == "valid":
        key = s.kem.from_seed(seed)
        equal("ek", key.encapsulation_key, test.hex("ek"))
        equal("K", key.decapsulate(c), test.hex("K"))
    else:
        refused("seed or c", InvalidKey, lambda: s.kem.from_seed(seed).decapsulate(c))


def _wycheproof_encaps(s: _Set, test: Fields) -> None:
    ek, m = test.hex("ek"), test.hex("m")
    if expected(test) != "valid":
        refused("ek", InvalidKey, lambda: s.kem.encapsulate(ek, RaisingRng()))
        return
    want = (test.hex("K"), test.hex("c"))
    equal("reference", reference.encapsulate(s.reference, ek, m), want)
    raise CaseSkipped(ORACLE)


def _wycheproof_keygen(s: _Set, test: Fields) -> None:
    seed = test.hex("seed")
    _check_keygen(s, seed[:32], seed[32:], test.hex("ek"), test.hex("dk"))


def _wycheproof_expanded(s: _Set, test: Fields) -> None:
    dk, c = test.hex("dk"), test.hex("c")
    if expected(test) == "valid":
        equal("reference", reference.decapsulate(s.reference, dk, c), test.hex("K"))
    else:
        sizes = (len(dk), len(c)) == (s.reference.dk_bytes, s.reference.ct_bytes)
        accepted = sizes and reference.check_decapsulation_key(s.reference, dk)
        equal("reference", accepted, False)
    raise CaseSkipped(ORACLE)


_WYCHEPROOF: dict[str, Callable[[_Set, Fields], None]] = {
    "MLKEMTest": _wycheproof_decaps,
    "MLKEMEncapsTest": _wycheproof_encaps,
    "MLKEMKeyGen": _wycheproof_keygen,
    "MLKEMDecapsValidationTest": _wycheproof_expanded,
}


# -- CCTV --------------------------------------------------------------------------------------

_PAIR = re.compile(r"^(\w+) = ([0-9a-fA-F]+)$", re.MULTILINE)


def recognises_cctv_text(text: str) -> bool:
    return (
        text.startswith(("dk = ", "d = ")) and {"dk", "c", "K"} <= dict(_PAIR.findall(text)).keys()
    )


def run_cctv_text(text: str, report: Report) -> None:
    # Names that occur twice (intermediate values) keep the last; those used here occur once.
    fields = Fields(dict(_PAIR.findall(text)))

    def case() -> None:
        dk, c, k = fields.hex("dk"), fields.hex("c"), fields.hex("K")
        s = next(
            (_Set(n) for n, p in reference.PARAMETER_SETS.items() if p.dk_bytes == len(dk)), None
        )
        if s is None:
            raise Malformed("a decapsulation key of unknown size")
        equal("reference", reference.decapsulate(s.reference, dk, c), k)
        if "ek" not in fields or "m" not in fields:
            raise CaseSkipped(ORACLE)
        ek = fields.hex("ek")
        equal("reference", reference.encapsulate(s.reference, ek, fields.hex("m")), (k, c))
        s.check_expanded(ek, dk)

    report.run("the case", case)


def recognises_cctv_modulus(text: str) -> bool:
    lines = text.split()
    sizes = {2 * kem.encapsulation_key_bytes for kem in _KEMS.values()}
    return (
        len(lines) > 1
        and len(lines[0]) in sizes
        and re.fullmatch("[0-9a-f]+", lines[0]) is not None
    )


def run_cctv_modulus(text: str, report: Report) -> None:
    lines = text.split()
    s = _Set.by_ek_bytes(len(lines[0]) // 2)
    for number, line in enumerate(lines, 1):
        ek = unhex(line)
        if len(ek) != s.kem.encapsulation_key_bytes:
            raise Malformed(f"line {number} has another length")
        report.run(
            f"line {number}",
            lambda e=ek: refused("ek", InvalidKey, lambda: s.kem.encapsulate(e, RaisingRng())),  # type: ignore[misc]
        )


def recognises_cctv_accumulated(data: object) -> bool:
    return isinstance(data, dict) and {"rng", "per_test_draw_order", "final"} <= data.keys()


def run_cctv_accumulated(data: object, report: Report) -> None:
    top = Fields(data)
    for block, reason in (("final", ""), ("initial_public_draft", "draft key generation")):
        if block not in top:
            continue
        for name in _KEMS:
            for count, digest in top.object(block).object(name).raw.items():
                n = int(count)
                why = reason or (f"more than {_ACCUMULATED_TESTS_MAX} tests" if n > 100 else "")
                report.run(
                    f"{block} {name} {n}",
                    lambda a=name, b=n, c=str(digest), d=why: _accumulated(a, b, c, d),  # type: ignore[misc]
                )


def _accumulated(name: str, n: int, digest: str, why_not: str) -> None:
    """Keys and secrets are ours; only the ciphertext for the drawn ``m`` is the reference's, and it
    is an input here: ours must decapsulate it to the same secret."""
    if why_not:
        raise CaseSkipped(why_not)
    s = _Set(name)
    per_test = 96 + s.kem.ciphertext_bytes
    stream = hashlib.shake_128().digest(n * per_test)
    total = hashlib.shake_128()
    for i in range(n):
        drawn = stream[i * per_test : (i + 1) * per_test]
        key = s.from_seed(drawn[:32], drawn[32:64])
        total.update(key.encapsulation_key)
        _, c = reference.encapsulate(s.reference, key.encapsulation_key, drawn[64:96])
        total.update(c + key.decapsulate(c) + key.decapsulate(drawn[96:]))
    equal("accumulated hash", total.digest(32), unhex(digest))


def gunzip(raw: bytes) -> bytes:
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, ValueError) as error:
        raise Malformed(f"not a gzip file: {error}") from None
