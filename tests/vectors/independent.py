"""The specification once more, written down without the product: straight-line code, no reuse.

Only ``tests/vectors/test_own_vectors.py`` uses it. It imports nothing from ``wraith``; what it
shares with it are BLAKE3, ChaCha20-Poly1305, AES-GCM and the hidden-key generator of the libraries.
X25519, Ed25519 and the Elligator map are plain integer arithmetic here.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Callable
from typing import Any

import monocypher
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

P = 2**255 - 19


def dk(context: str, material: bytes, n: int = 32) -> bytes:
    return blake3(material, derive_key_context=context).digest(length=n)


def kh(key: bytes, message: bytes, n: int = 32) -> bytes:
    return blake3(message, key=key).digest(length=n)


def u32(value: int) -> bytes:
    return struct.pack(">I", value)


def x25519(scalar: bytes, u: bytes) -> bytes:
    """RFC 7748 §5, the Montgomery ladder."""
    k = int.from_bytes(scalar, "little") & ~7 & ~(128 << 8 * 31) | 64 << 8 * 31
    x1 = int.from_bytes(u, "little") & (1 << 255) - 1
    x2, z2, x3, z3 = 1, 0, x1, 1
    for t in reversed(range(255)):
        if k >> t & 1:
            x2, x3, z2, z3 = x3, x2, z3, z2
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % P, b * b % P, d * a % P, c * b % P
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
        if k >> t & 1:
            x2, x3, z2, z3 = x3, x2, z3, z2
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


BASE = (9).to_bytes(32, "little")


def elligator(representative: bytes) -> bytes:
    """The Elligator 2 map with the non-square 2, u-coordinate only."""
    r = int.from_bytes(representative, "little") & (1 << 254) - 1
    v = -486662 * pow(1 + 2 * r * r, P - 2, P) % P
    square = (v**3 + 486662 * v * v + v) % P
    if pow(square, (P - 1) // 2, P) == P - 1:
        v = (-v - 486662) % P
    return v.to_bytes(32, "little")


def chacha20_block(key: bytes, counter: int) -> bytes:
    """RFC 8439 §2.3 with a zero nonce."""
    state = [
        *struct.unpack("<4I", b"expand 32-byte k"),
        *struct.unpack("<8I", key),
        counter,
        0,
        0,
        0,
    ]
    w = list(state)

    def quarter(a: int, b: int, c: int, d: int) -> None:
        for x, y, z, n in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            w[x] = (w[x] + w[y]) & 0xFFFFFFFF
            t = w[z] ^ w[x]
            w[z] = (t << n | t >> 32 - n) & 0xFFFFFFFF

    for _ in range(10):
        for i in range(4):
            quarter(i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return struct.pack("<16I", *((a + b) & 0xFFFFFFFF for a, b in zip(w, state, strict=True)))


def siv(k_mac: bytes, k_enc: bytes, plain: bytes) -> bytes:
    tag = kh(k_mac, plain)
    key = kh(k_enc, tag)
    stream = b"".join(chacha20_block(key, i) for i in range(len(plain) // 64 + 1))
    return tag + bytes(a ^ b for a, b in zip(plain, stream, strict=False))


def combine(c_ss: bytes, pq_ss: bytes) -> bytes:
    return dk("wraith-hybrid-kem-v2", c_ss + pq_ss)


# -- one function per kind of vector; inputs and outputs as in the files -------------------------

Case = dict[str, str]


def combiner(case: Case) -> Case:
    c_ss, pq_ss, c_pk, pq_pk, c_ct, pq_ct, info = (
        bytes.fromhex(case[name])
        for name in ("c_ss", "pq_ss", "c_pk", "pq_pk", "c_ct", "pq_ct", "info")
    )
    combined = combine(c_ss, pq_ss)
    transcript = blake3(c_ct + c_pk + pq_ct + pq_pk + struct.pack(">H", len(info)) + info).digest()
    bound = dk("wraith-v2 kem-bind", combined + transcript)
    return {"combined": combined.hex(), "bound": bound.hex()}


def key_schedule(case: Case) -> Case:
    if "session_secret" in case:
        secret = bytes.fromhex(case["session_secret"])
    else:
        material = bytes.fromhex(case["ck"]) + bytes.fromhex(case["h"])
        secret = dk("wraith-v2 session-secret", material)
    hp_i2r = dk("wraith-v2 header i2r", secret)
    cid_r = dk("wraith-v2 cid r", secret)
    exporter = dk("wraith-v2 exporter", secret)
    root0 = dk("wraith-v2 root", secret)
    th = blake3(bytes.fromhex(case["init"] + case["resp"])).digest()
    root1 = dk("wraith-v2 rekey", root0 + bytes.fromhex(case["s"]) + th + u32(1))
    seed = dk("wire-format-v2", secret)
    words = struct.unpack("<32I", chacha20_block(seed, 0) + chacha20_block(seed, 1))
    label = case["export_label"].encode()
    return {
        "session_secret": secret.hex(),
        "hp_i2r": hp_i2r.hex(),
        "hp_r2i": dk("wraith-v2 header r2i", secret).hex(),
        "mask_i2r": kh(hp_i2r, bytes.fromhex(case["sample"])).hex(),
        "cid_i_key": dk("wraith-v2 cid i", secret).hex(),
        "cid_r_key": cid_r.hex(),
        **{f"cid_r_{i}": kh(cid_r, u32(i))[:8].hex() for i in (0, 1, 2, 255, 2**32 - 1)},
        "session_id": dk("wraith-v2 session-id", secret, 16).hex(),
        "exporter": exporter.hex(),
        "export": kh(exporter, struct.pack(">H", len(label)) + label, 48).hex(),
        "resumption0": dk("wraith-v2 resumption", secret).hex(),
        "root0": root0.hex(),
        "root1": root1.hex(),
        "resumption1": dk("wraith-v2 resumption", root1).hex(),
        "format_seed": seed.hex(),
        "format_words": "".join(f"{word:08x}" for word in words[:20]),
    }


def ratchet(case: Case) -> Case:
    root = bytes.fromhex(case["root"]) + u32(int(case["epoch"]))
    direction = {"i": "i2r", "r": "r2i"}[case["sender"]]
    iv = dk(f"wraith-v2 iv {direction}", root, 24)
    chain = dk(f"wraith-v2 chain {direction}", root)
    out = {"iv": iv.hex(), "chain_0": chain.hex(), "chain_1": kh(chain, b"\x01").hex()}
    wanted = [0, 1, 255, 256, 257, 1_000, 65_535, 1_000_000, 2**21 - 1]
    for block in range(2**13):
        position = kh(chain, b"\x02" + u32(block)) if any(n >> 8 == block for n in wanted) else b""
        for j in range(256) if position else ():
            pn = 256 * block + j
            if pn in wanted:
                out[f"mk_{pn}"] = kh(position, b"\x04" + u32(pn)).hex()
            position = kh(position, b"\x03")
        chain = kh(chain, b"\x01")
    for pn in wanted:
        for n in (24, 12):
            counter = pn.to_bytes(n, "big")
            nonce = bytes(a ^ b for a, b in zip(iv, counter, strict=False))
            out[f"nonce_{n}_{pn}"] = nonce.hex()
    return out


def veil(case: Case) -> Case:
    ak, plain = bytes.fromhex(case["ak"]), bytes.fromhex(case["plaintext"])
    hidden, secret = monocypher.elligator_key_pair(bytes.fromhex(case["e_seed"]))
    public = x25519(ak, BASE)
    psk = bytes.fromhex(case["access_psk"]) or bytes(32)
    master = dk("wraith-v2 veil", x25519(secret, public) + hidden + public + psk)
    keys = dk("wraith-v2 veil-keys", master, 128)
    mac_i, enc_i, mac_r, enc_r = (keys[i : i + 32] for i in range(0, 128, 32))
    return {
        "representative": hidden.hex(),
        "e_public": elligator(hidden).hex(),
        "sealed_i": siv(mac_i, enc_i, plain).hex(),
        "sealed_r": siv(mac_r, enc_r, plain).hex(),
        "mac_i": mac_i.hex(),
        "enc_i": enc_i.hex(),
        "mac_r": mac_r.hex(),
        "enc_r": enc_r.hex(),
    }


def link(case: Case) -> Case:
    ak = bytes.fromhex(case["ak"])
    hidden, secret = monocypher.elligator_key_pair(bytes.fromhex(case["e_seed"]))
    public = x25519(ak, BASE)
    psk = bytes.fromhex(case["access_psk"]) or bytes(32)
    keys = dk("wraith-v2 carrier", x25519(secret, public) + hidden + public + psk, 128)
    mac, enc, to_listener, to_dialler = (keys[i : i + 32] for i in range(0, 128, 32))
    note = struct.pack(">BQBB", 0, case["timestamp"], 2, case["carrier"]) + bytes(13)
    replay_key = dk("wraith-v2 replay", ak)
    out = {
        "preface": (hidden + siv(mac, enc, note)).hex(),
        "road_id": kh(mac, b"road")[:8].hex(),
        "replay_entry": kh(replay_key, b"carrier" + elligator(hidden))[:16].hex(),
    }
    for name, key in (("to_listener", to_listener), ("to_dialler", to_dialler)):
        headers = b"".join(
            ChaCha20Poly1305(key).encrypt(struct.pack(">IQ", 0, i), struct.pack(">H", int(n)), b"")
            for i, n in enumerate(case["packet_bytes"].split())
        )
        out[f"key_{name}"], out[f"headers_{name}"] = key.hex(), headers.hex()
    return out


def siv_case(case: Case) -> Case:
    k_mac, k_enc, plain = (bytes.fromhex(case[name]) for name in ("k_mac", "k_enc", "plaintext"))
    return {"sealed": siv(k_mac, k_enc, plain).hex()}


def ticket(case: Case) -> Case:
    id_ = bytes.fromhex(case["id"])
    secret = dk("wraith-v2 ticket", bytes.fromhex(case["resumption"]) + id_)
    code = {"A": 1, "B": 2, "D": 4}[case["suite"]]
    times = (case[name] for name in ("issued", "expires", "full", "not_after"))
    content = struct.pack(">BBQQQQ", 1, code, *times) + secret
    content += bytes.fromhex(case["peer"]) + bytes.fromhex(case["extensions"])
    keys = dk("wraith-v2 ticket-keys", bytes.fromhex(case["stek"]) + id_, 64)
    sealed = bytes.fromhex(case["kid"]) + siv(keys[:32], keys[32:], content)
    return {
        "secret": secret.hex(),
        "psk": dk("wraith-v2 resume-psk", secret).hex(),
        "content": content.hex(),
        "encrypted_params": sealed.hex(),
    }


def ident(case: Case) -> Case:
    """RFC 8032 §5.1.6, with affine Edwards arithmetic."""
    not_after = struct.pack(">Q", int(case["not_after"]))
    message = b"wraith-v2 static-key:" + bytes.fromhex(case["static_public"]) + not_after
    order = 2**252 + 27742317777372353535851937790883648493
    d = -121665 * pow(121666, P - 2, P) % P
    by = 4 * pow(5, P - 2, P) % P
    square = (by * by - 1) * pow(d * by * by + 1, P - 2, P) % P
    bx = pow(square, (P + 3) // 8, P)
    if bx * bx % P != square:
        bx = bx * pow(2, (P - 1) // 4, P) % P
    if bx & 1:
        bx = P - bx

    def add(p: tuple[int, int], q: tuple[int, int]) -> tuple[int, int]:
        t = d * p[0] * q[0] * p[1] * q[1] % P
        return (
            (p[0] * q[1] + q[0] * p[1]) * pow(1 + t, P - 2, P) % P,
            (p[1] * q[1] + p[0] * q[0]) * pow(1 - t, P - 2, P) % P,
        )

    def times_base(k: int) -> bytes:
        result, point = (0, 1), (bx, by)
        while k:
            if k & 1:
                result = add(result, point)
            point = add(point, point)
            k >>= 1
        return (result[1] | (result[0] & 1) << 255).to_bytes(32, "little")

    digest = hashlib.sha512(bytes.fromhex(case["seed"])).digest()
    a = int.from_bytes(digest[:32], "little") & ~7 & (1 << 254) - 1 | 1 << 254
    public = times_base(a)
    r = int.from_bytes(hashlib.sha512(digest[32:] + message).digest(), "little") % order
    big_r = times_base(r)
    k = int.from_bytes(hashlib.sha512(big_r + public + message).digest(), "little") % order
    signature = big_r + ((r + k * a) % order).to_bytes(32, "little")
    return {"ident": (public + not_after + signature).hex()}


def handshake(case: Case) -> Case:
    """XXhfs, NNhfs+psk0 or plain XX, written out, with the secrets of both sides at hand."""
    suite, psk = case["suite"], bytes.fromhex(case["psk"])
    payloads = [bytes.fromhex(payload) for payload in case["payloads"]]
    hybrid = suite != "D"
    pattern = ("NN" if psk else "XX") + ("hfs" if hybrid else "") + ("+psk0" if psk else "")
    cipher, hash_name = ("AESGCM", "SHA256") if suite == "B" else ("ChaChaPoly", "BLAKE2s")
    exchange = "25519+MLKEM768" if hybrid else "25519"
    name = f"Noise_{pattern}_{exchange}_{cipher}_{hash_name}".encode()
    hash_: Callable[[bytes], bytes] = lambda data: hashlib.new(hash_name.lower(), data).digest()  # noqa: E731

    h = name.ljust(32, b"\0") if len(name) <= 32 else hash_(name)
    ck, key, n = h, b"", 0

    def mix_hash(data: bytes) -> None:
        nonlocal h
        h = hash_(h + data)

    def hkdf(material: bytes, count: int) -> list[bytes]:
        prk = hmac.new(ck, material, hash_name.lower()).digest()
        out = [b""]
        for i in range(1, count + 1):
            out.append(hmac.new(prk, out[-1] + bytes([i]), hash_name.lower()).digest())
        return out[1:]

    def mix_key(material: bytes) -> None:
        nonlocal ck, key, n
        ck, key = hkdf(material, 2)
        n = 0

    def encrypt_and_hash(plain: bytes) -> bytes:
        nonlocal n
        sealed = plain
        if key and cipher == "AESGCM":
            sealed = AESGCM(key).encrypt(bytes(4) + struct.pack(">Q", n), plain, h)
        elif key:
            sealed = ChaCha20Poly1305(key).encrypt(bytes(4) + struct.pack("<Q", n), plain, h)
        n += 1
        mix_hash(sealed)
        return sealed

    s_i, s_r = bytes.fromhex(case["s_i"]), bytes.fromhex(case["s_r"])
    repr_i, _ = monocypher.elligator_key_pair(bytes.fromhex(case["e_i_seed"]))
    repr_r, e_r = monocypher.elligator_key_pair(bytes.fromhex(case["e_r_seed"]))
    # The stand-in KEM of the simulations (HashKem).
    ek = blake3(b"ek" + bytes.fromhex(case["kem_seed"])).digest(length=1184)
    ct = blake3(b"ct" + bytes.fromhex(case["kem_m"])).digest(length=1088)
    kem_ss = blake3(b"ss" + ek + ct).digest()

    def ephemeral(representative: bytes) -> None:
        mix_hash(elligator(representative))
        if psk:
            mix_key(elligator(representative))

    mix_hash(bytes.fromhex(case["prologue"]))
    if psk:
        ck_, temp, key_ = hkdf(psk, 3)
        ck, key, n = ck_, key_, 0
        mix_hash(temp)
    ephemeral(repr_i)
    messages = [repr_i + (encrypt_and_hash(ek) if hybrid else b"") + encrypt_and_hash(payloads[0])]

    ephemeral(repr_r)
    dh_ee = x25519(e_r, elligator(repr_i))
    mix_key(dh_ee)
    message = repr_r
    if hybrid:
        message += encrypt_and_hash(ct)
        mix_key(combine(dh_ee, kem_ss))
    if not psk:
        message += encrypt_and_hash(x25519(s_r, BASE))
        mix_key(x25519(s_r, elligator(repr_i)))
    messages.append(message + encrypt_and_hash(payloads[1]))

    if not psk:
        message = encrypt_and_hash(x25519(s_i, BASE))
        mix_key(x25519(s_i, elligator(repr_r)))
        messages.append(message + encrypt_and_hash(payloads[2]))
    return {
        **{f"message_{i}": message.hex() for i, message in enumerate(messages)},
        "h": h.hex(),
        "session_secret": dk("wraith-v2 session-secret", ck + h).hex(),
    }


def control_message(case: dict[str, Any]) -> Case:
    """transfer.md §4: type u8 ‖ length u24 ‖ body."""

    def u8(name: str) -> bytes:
        return struct.pack(">B", case[name])

    def u64(value: int) -> bytes:
        return struct.pack(">Q", value)

    def of(*names: str) -> bytes:
        return b"".join(u32(case[name]) for name in names)

    def ranges() -> bytes:
        pairs = [text.split("+") for text in case["ranges"]]
        return b"".join(u32(int(first)) + u32(int(n)) for first, n in pairs)

    name = case["message"]
    body = b""
    if name == "OFFER":
        total = 2**64 - 1 if case["total_unknown"] else case["total"]
        body = b"\x02" + u8("kind") + of("entries", "files") + u64(total)
        body += of("pages", "listing_bytes")
        body += bytes.fromhex(case["digest"]) + bytes.fromhex(case["name"])
    elif name == "PAGE":
        body = bytes.fromhex(case["data"])
    elif name == "DROP":
        body = b"".join(u32(int(entry)) for entry in case["entries"])
    elif name == "FAILED":
        body = of("entry") + u8("reason")
    elif name == "END":
        body = of("entry") + u64(case["size"])
    elif name == "ALL_SENT":
        body = of("failed")
    elif name == "ANSWER":
        body = (b"\x01" if case["accepted"] else b"\x00") + u8("reason")
    elif name == "HAVE":
        item = of("entry") + struct.pack(">H", len(case["ranges"])) + ranges()
        item += bytes.fromhex(case["digest"])
        body = item * (2 if case["twice"] else 1)
    elif name == "SKIP":
        body = ranges()
    elif name == "PROGRESS":
        body = u64(case["verified"]) + of("finished") + u64(case["consumed"])
    elif name == "RECEIPT":
        body = bytes.fromhex(case["digest"]) + of("files") + u64(case["bytes"])
        body += of("failed") + u64(case["unread"])
    elif name == "ABORT":
        body = u8("reason") + case["text"].encode()
    kinds = "OFFER PAGE DROP START FAILED END ALL_SENT RECEIPT_OK ANSWER HAVE HAVE_END SKIP"
    number = [*kinds.split(), "PROGRESS", "RECEIPT", "ABORT"].index(name) + 1
    return {"encoded": (bytes([number]) + struct.pack(">I", len(body))[1:] + body).hex()}


KINDS: dict[str, Callable[[Case], Case]] = {
    "combiner": combiner,
    "key-schedule": key_schedule,
    "ratchet": ratchet,
    "veil": veil,
    "link": link,
    "siv": siv_case,
    "ident": ident,
    "ticket": ticket,
    "handshake": handshake,
    "control-message": control_message,
}
