"""Elligator 2: Monocypher's, Kleshni's and RFC 9380's vectors for Curve25519."""

from __future__ import annotations

from wraith.crypto.elligator2 import DirtyPublicKey, HiddenKey, decode, encode
from wraith.crypto.x25519 import X25519Key
from wraith.testing.vectors.report import CaseSkipped, Fields, Malformed, Report, equal, unhex

_P = 2**255 - 19


# -- Monocypher --------------------------------------------------------------------------------


def recognises_monocypher(data: object) -> bool:
    return isinstance(data, dict) and "elligator" in str(data.get("map", "")) and "vectors" in data


def run_monocypher(data: object, report: Report) -> None:
    for vector in Fields(data).objects("vectors"):
        if "hidden" in vector:
            case = _key_pair
        elif "dirty_point_u" in vector:
            case = _dirty
        elif "tweak" in vector:
            case = _inverse
        else:
            case = _direct
        report.run(f"id {vector.raw.get('id')}", lambda c=case, v=vector: c(v))  # type: ignore[misc]


def _direct(vector: Fields) -> None:
    equal("point", decode(vector.hex("representative")), vector.hex("point_u"))


def _inverse(vector: Fields, point: str = "point_u") -> None:
    u, tweak = vector.hex(point), vector.hex("tweak")
    if len(tweak) != 1:
        raise Malformed("a tweak is one byte")
    got = encode(DirtyPublicKey(u), tweak[0])
    if not vector.flag("ok"):
        equal("refusal", got, None)
        return
    equal("representative", got, vector.hex("representative"))
    equal("point", decode(vector.hex("representative")), u)


def _dirty(vector: Fields) -> None:
    """The representative is ours. The dirty multiplication itself is not exposed by the library;
    that the point belongs to the secret is checked through a key exchange, where clamping removes
    the low-order part."""
    _inverse(vector, "dirty_point_u")
    own = X25519Key.from_secret(vector.hex("secret_key"))
    other = X25519Key.from_secret(bytes(range(32)))
    equal("exchange", other.exchange(vector.hex("dirty_point_u")), other.exchange(own.public))


def _key_pair(vector: Fields) -> None:
    key = HiddenKey.from_seed(vector.hex("seed"))
    equal("hidden", key.representative, vector.hex("hidden"))
    equal("secret key", key.secret_bytes(), vector.hex("secret_key"))
    equal("point", key.public, vector.hex("point_u"))
    clean = X25519Key.from_secret(key.secret_bytes())
    equal("clean key", clean.public, vector.hex("x25519_public_key"))
    other = X25519Key.from_secret(bytes(range(32)))
    equal("exchange", other.exchange(key.public), key.exchange(other.public))


# -- Kleshni -----------------------------------------------------------------------------------


def recognises_kleshni(data: object) -> bool:
    return isinstance(data, dict) and {"encoding_tests", "decoding_tests"} <= data.keys()


def run_kleshni(data: object, report: Report) -> None:
    top = Fields(data)
    for index, test in enumerate(top.objects("encoding_tests")):
        report.run(f"encoding {index}", lambda t=test: _kleshni_encoding(t))  # type: ignore[misc]
    for index, test in enumerate(top.objects("decoding_tests")):
        report.run(f"decoding {index}", lambda t=test: _kleshni_decoding(t))  # type: ignore[misc]
    for name in ("least_square_root_tests", "conversion_tests"):
        report.skipped["inner arithmetic that the product does not expose"] += sum(
            1 for _ in top.objects(name)
        )


def _kleshni_encoding(test: Fields) -> None:
    got = encode(DirtyPublicKey(test.hex("point")), int(test.flag("high_y")))
    equal("representative", got, test.hex("representative") if test.flag("result") else None)


def _kleshni_decoding(test: Fields) -> None:
    representative = test.hex("representative")
    if not test.flag("result"):
        # That code refuses representatives above (p-1)/2; here every string decodes by design.
        raise CaseSkipped("refusal of non-canonical representatives, which decode here by design")
    equal("point", decode(representative), test.hex("point"))


# -- RFC 9380 ----------------------------------------------------------------------------------


def recognises_rfc9380(data: object) -> bool:
    if not isinstance(data, dict):
        return False
    suite = str(data.get("ciphersuite", ""))
    return suite.startswith("curve25519_") and "ELL2" in suite


def run_rfc9380(data: object, report: Report) -> None:
    """Only the map is ours: field element u to the x coordinate of Q. The RFC fixes the sign of y
    otherwise, so y is not compared."""
    for index, vector in enumerate(Fields(data).objects("vectors")):
        points = ["Q"] if "Q" in vector else ["Q0", "Q1"]
        elements = vector.texts("u")
        if len(elements) != len(points):
            raise Malformed("as many u as Q were expected")
        for u, name in zip(elements, points, strict=True):
            x = vector.object(name).text("x")
            report.run(f"{index} {name}", lambda a=u, b=x: _rfc9380(a, b))  # type: ignore[misc]


def _rfc9380(u: str, x: str) -> None:
    element = int.from_bytes(unhex(u.removeprefix("0x").zfill(64)), "big")
    if element >= _P:
        raise Malformed("u is not a field element")
    # u and -u map to one point; a representative is the smaller of the two.
    representative = min(element, _P - element).to_bytes(32, "little")
    equal("x", decode(representative)[::-1], unhex(x.removeprefix("0x").zfill(64)))
