"""Wycheproof: X25519, AEADs, Ed25519, HKDF, HMAC. ML-KEM files go to ``mlkem``."""

from __future__ import annotations

from collections.abc import Callable

from wraith.crypto.aead import TAG_BYTES, Aead, open_, seal
from wraith.crypto.ed25519 import verify
from wraith.crypto.hkdf import expand, extract, hmac_digest
from wraith.crypto.x25519 import X25519Key
from wraith.errors import CryptoError, InvalidKey, InvalidSignature
from wraith.testing.vectors.report import CaseSkipped, Fields, Malformed, Report, equal, refused
from wraith.types import PeerKey

Case = Callable[[Fields, Fields], None]

#: What a hash is called in the files -> in ``hashlib``; those that the product uses.
_HASHES = {"SHA-256": "sha256", "SHA-512": "sha512", "SHA256": "sha256", "SHA512": "sha512"}


def recognises(data: object) -> bool:
    return isinstance(data, dict) and {"algorithm", "schema", "testGroups"} <= data.keys()


def run(data: object, report: Report) -> None:
    top = Fields(data)
    case = _case_of(top.text("algorithm"))
    for group in top.objects("testGroups"):
        for test in group.objects("tests"):
            report.run(
                f"tcId {test.number('tcId')}",
                lambda g=group, t=test: case(g, t),  # type: ignore[misc]
            )


def expected(test: Fields) -> str:
    result = test.text("result")
    if result not in ("valid", "invalid", "acceptable"):
        raise Malformed(f"unknown result {result!r}")
    return result


def _case_of(algorithm: str) -> Case:
    if algorithm == "XDH":
        return _x25519
    if algorithm == "EDDSA":
        return _ed25519
    aeads = {
        "CHACHA20-POLY1305": Aead.CHACHA20_POLY1305,
        "XCHACHA20-POLY1305": Aead.XCHACHA20_POLY1305,
        "AES-GCM": Aead.AES_256_GCM,
    }
    if algorithm in aeads:
        return lambda group, test: _aead(aeads[algorithm], group, test)
    if algorithm.startswith("HKDF-") and algorithm[5:] in _HASHES:
        return lambda _, test: _hkdf(_HASHES[algorithm[5:]], test)
    if algorithm.startswith("HMAC") and algorithm[4:] in _HASHES:
        return lambda group, test: _hmac(_HASHES[algorithm[4:]], group, test)

    def unavailable(group: Fields, test: Fields) -> None:
        raise CaseSkipped(f"{algorithm} is not in the product")

    return unavailable


def _x25519(group: Fields, test: Fields) -> None:
    if group.text("curve") != "curve25519":
        raise CaseSkipped(f"{group.text('curve')} is not in the product")
    key = X25519Key.from_secret(test.hex("private"))
    shared = test.hex("shared")
    public = test.hex("public")
    if expected(test) == "invalid" or not any(shared):
        # An all-zero result is refused here, which the file calls acceptable. [CR-8]
        refused("the public key", InvalidKey, lambda: key.exchange(public))
    else:
        equal("shared", key.exchange(public), shared)


def _aead(aead: Aead, group: Fields, test: Fields) -> None:
    key, nonce, aad = test.hex("key"), test.hex("iv"), test.hex("aad")
    plain, sealed = test.hex("msg"), test.hex("ct") + test.hex("tag")
    if group.number("tagSize") != 8 * TAG_BYTES:
        raise CaseSkipped("tags of another size than 16 bytes")
    if len(key) != 32:
        raise CaseSkipped("keys of another size than 32 bytes")
    if expected(test) == "valid":
        if len(nonce) != aead.nonce_bytes:
            raise CaseSkipped(f"nonces of another size than {aead.nonce_bytes} bytes")
        equal("ciphertext", seal(aead, key, nonce, aad, plain), sealed)
        equal("plaintext", open_(aead, key, nonce, aad, sealed), plain)
    else:
        refused(
            "the ciphertext",
            (ValueError if len(nonce) != aead.nonce_bytes else CryptoError),
            lambda: open_(aead, key, nonce, aad, sealed),
        )


def _ed25519(group: Fields, test: Fields) -> None:
    public = group.object("publicKey")
    if public.text("curve") != "edwards25519":
        raise CaseSkipped(f"{public.text('curve')} is not in the product")
    key = PeerKey(public.hex("pk"))
    signature, message = test.hex("sig"), test.hex("msg")
    if expected(test) == "valid":
        verify(key, signature, message)
    else:
        refused("the signature", InvalidSignature, lambda: verify(key, signature, message))


def _hkdf(hash_name: str, test: Fields) -> None:
    prk = extract(hash_name, test.hex("salt"), test.hex("ikm"))
    info, n = test.hex("info"), test.number("size")
    if expected(test) == "valid":
        equal("okm", expand(hash_name, prk, info, n), test.hex("okm"))
    else:
        refused("the size", ValueError, lambda: expand(hash_name, prk, info, n))


def _hmac(hash_name: str, group: Fields, test: Fields) -> None:
    n = group.number("tagSize") // 8
    tag = hmac_digest(hash_name, test.hex("key"), test.hex("msg"))[:n]
    equal("verdict", tag == test.hex("tag"), expected(test) == "valid")
