"""ML-KEM in plain Python, straight from FIPS 203: an oracle for vectors, never for keys.

It exists because the library behind ``wraith.crypto.mlkem`` can neither encapsulate with a given
``m`` nor load an expanded decapsulation key, and most public vectors come in one of these forms.
It is slow, not constant-time, and nothing outside ``wraith.testing`` may import it. What it
computes is reported as the oracle's, not as ours.

Spec: FIPS 203 Alg. 4-18, 20, 21.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

Q = 3329
N = 256

Poly = list[int]


def _bit_reverse(i: int) -> int:
    return int(f"{i:07b}"[::-1], 2)


_ZETAS = [pow(17, _bit_reverse(i), Q) for i in range(128)]
_GAMMAS = [pow(17, 2 * _bit_reverse(i) + 1, Q) for i in range(128)]


@dataclass(frozen=True, slots=True)
class ParameterSet:
    name: str
    k: int
    du: int
    dv: int
    eta1: int = 2
    eta2: int = 2

    @property
    def ek_bytes(self) -> int:
        return 384 * self.k + 32

    @property
    def dk_bytes(self) -> int:
        return 768 * self.k + 96

    @property
    def ct_bytes(self) -> int:
        return 32 * (self.du * self.k + self.dv)


ML_KEM_768 = ParameterSet("ML-KEM-768", 3, 10, 4)
ML_KEM_1024 = ParameterSet("ML-KEM-1024", 4, 11, 5)
PARAMETER_SETS = {p.name: p for p in (ML_KEM_768, ML_KEM_1024)}


def check_decapsulation_key(p: ParameterSet, dk: bytes) -> bool:
    """FIPS 203 §7.3: length, and the stored hash of the encapsulation key."""
    if len(dk) != p.dk_bytes:
        return False
    ek = dk[384 * p.k : 768 * p.k + 32]
    return hmac.compare_digest(hashlib.sha3_256(ek).digest(), dk[-64:-32])


def encapsulate(p: ParameterSet, ek: bytes, m: bytes) -> tuple[bytes, bytes]:
    """``(K, c)`` for the given ``m`` (32 bytes), Alg. 17."""
    if len(ek) != p.ek_bytes:
        raise ValueError("wrong length of ek")
    both = hashlib.sha3_512(m + hashlib.sha3_256(ek).digest()).digest()
    return both[:32], _pke_encrypt(p, ek, m, both[32:])


def decapsulate(p: ParameterSet, dk: bytes, c: bytes) -> bytes:
    """``K`` under an expanded ``dk``, with implicit rejection, Alg. 18."""
    if len(dk) != p.dk_bytes or len(c) != p.ct_bytes:
        raise ValueError("wrong length of dk or c")
    ek, h, z = dk[384 * p.k : 768 * p.k + 32], dk[-64:-32], dk[-32:]
    m = _pke_decrypt(p, dk[: 384 * p.k], c)
    both = hashlib.sha3_512(m + h).digest()
    if _pke_encrypt(p, ek, m, both[32:]) != c:
        return hashlib.shake_256(z + c).digest(32)
    return both[:32]


def _pke_encrypt(p: ParameterSet, ek: bytes, m: bytes, r: bytes) -> bytes:
    t = [_decode(12, ek[384 * i : 384 * (i + 1)]) for i in range(p.k)]
    rho = ek[-32:]
    y = [_ntt(_cbd(p.eta1, r, i)) for i in range(p.k)]
    out = b""
    for i in range(p.k):
        # Column i of A: the product is with the transpose.
        row = _dot([_sample_ntt(rho, i, j) for j in range(p.k)], y)
        u = _add(_inverse_ntt(row), _cbd(p.eta2, r, p.k + i))
        out += _encode(p.du, [_compress(p.du, x) for x in u])
    mu = [_decompress(1, bit) for bit in _decode(1, m)]
    v = _add(_add(_inverse_ntt(_dot(t, y)), _cbd(p.eta2, r, 2 * p.k)), mu)
    return out + _encode(p.dv, [_compress(p.dv, x) for x in v])


def _pke_decrypt(p: ParameterSet, dk_pke: bytes, c: bytes) -> bytes:
    step = 32 * p.du
    u = [
        [_decompress(p.du, x) for x in _decode(p.du, c[step * i : step * (i + 1)])]
        for i in range(p.k)
    ]
    v = [_decompress(p.dv, x) for x in _decode(p.dv, c[step * p.k :])]
    s = [_decode(12, dk_pke[384 * i : 384 * (i + 1)]) for i in range(p.k)]
    product = _inverse_ntt(_dot(s, [_ntt(poly) for poly in u]))
    w = [(a - b) % Q for a, b in zip(v, product, strict=True)]
    return _encode(1, [_compress(1, x) for x in w])


def _sample_ntt(rho: bytes, i: int, j: int) -> Poly:
    """Alg. 7 for A[j][i] of the standard, that is seed ``rho ‖ i ‖ j``."""
    n_bytes = 672
    while True:
        stream = hashlib.shake_128(rho + bytes((i, j))).digest(n_bytes)
        out: Poly = []
        for at in range(0, n_bytes - 2, 3):
            a, b, c = stream[at : at + 3]
            d1, d2 = a | (b & 15) << 8, b >> 4 | c << 4
            if d1 < Q:
                out.append(d1)
            if d2 < Q:
                out.append(d2)
        if len(out) >= N:
            return out[:N]
        n_bytes *= 2  # an unlucky seed


def _cbd(eta: int, seed: bytes, counter: int) -> Poly:
    bits = int.from_bytes(hashlib.shake_256(seed + bytes((counter,))).digest(64 * eta), "little")
    mask = (1 << eta) - 1
    out = []
    for _ in range(N):
        out.append(((bits & mask).bit_count() - (bits >> eta & mask).bit_count()) % Q)
        bits >>= 2 * eta
    return out


def _ntt(f: Poly) -> Poly:
    f = list(f)
    i = 1
    length = 128
    while length >= 2:
        for start in range(0, N, 2 * length):
            zeta = _ZETAS[i]
            i += 1
            for j in range(start, start + length):
                t = zeta * f[j + length] % Q
                f[j + length] = (f[j] - t) % Q
                f[j] = (f[j] + t) % Q
        length //= 2
    return f


def _inverse_ntt(f: Poly) -> Poly:
    f = list(f)
    i = 127
    length = 2
    while length <= 128:
        for start in range(0, N, 2 * length):
            zeta = _ZETAS[i]
            i -= 1
            for j in range(start, start + length):
                t = f[j]
                f[j] = (t + f[j + length]) % Q
                f[j + length] = zeta * (f[j + length] - t) % Q
        length *= 2
    return [x * 3303 % Q for x in f]


def _dot(a: list[Poly], b: list[Poly]) -> Poly:
    out = [0] * N
    for f, g in zip(a, b, strict=True):
        for i in range(128):
            a0, a1, b0, b1 = f[2 * i], f[2 * i + 1], g[2 * i], g[2 * i + 1]
            out[2 * i] += a0 * b0 + a1 * b1 % Q * _GAMMAS[i]
            out[2 * i + 1] += a0 * b1 + a1 * b0
    return [x % Q for x in out]


def _add(a: Poly, b: Poly) -> Poly:
    return [(x + y) % Q for x, y in zip(a, b, strict=True)]


def _compress(d: int, x: int) -> int:
    return ((x << d) + Q // 2) // Q & (1 << d) - 1


def _decompress(d: int, y: int) -> int:
    return (y * Q + (1 << d - 1)) >> d


def _encode(d: int, values: Poly) -> bytes:
    total = 0
    for value in reversed(values):
        total = total << d | value
    return total.to_bytes(32 * d, "little")


def _decode(d: int, data: bytes) -> Poly:
    # d bytes hold exactly eight values.
    mask = (1 << d) - 1
    words = [int.from_bytes(data[i : i + d], "little") for i in range(0, len(data), d)]
    return [word >> d * j & mask for word in words for j in range(8)]
