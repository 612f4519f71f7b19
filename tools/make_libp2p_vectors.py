"""Writes ``vectors/libp2p/hybrid_kex.json``: both hybrid forms with fixed key pairs.

Keys come from a seed; the ciphertexts were drawn once by the library (it offers no deterministic
encapsulation), so running this again gives other, equally valid vectors. The independent check in
another language is ``interop/go/cmd/kex-check``.
"""

from __future__ import annotations

import json
from pathlib import Path

from wraith.crypto.mlkem import MlKem768
from wraith.crypto.x25519 import X25519Key
from wraith.libp2p import private_ext
from wraith.testing.rng import SeededRng

TARGET = Path(__file__).parents[1] / "vectors" / "libp2p" / "hybrid_kex.json"


def make_case(number: int) -> dict[str, str]:
    rng = SeededRng(f"hybrid kex {number}")
    client, server = X25519Key.generate(rng), X25519Key.generate(rng)
    seed = rng.secret_bytes(64)
    kem = MlKem768()
    key = kem.from_seed(seed)
    pq_ss, ciphertext = kem.encapsulate(key.encapsulation_key, rng)
    classical_ss = client.exchange(server.public)
    combined = private_ext.combine(
        classical_ss,
        pq_ss,
        client.public,
        server.public,
        key.encapsulation_key,
        ciphertext,
    )
    return {
        "client_x25519_secret": client.secret_bytes().hex(),
        "server_x25519_secret": server.secret_bytes().hex(),
        "mlkem_seed": seed.hex(),
        "group_client_share": (key.encapsulation_key + client.public).hex(),
        "group_server_share": (ciphertext + server.public).hex(),
        "group_secret": (pq_ss + classical_ss).hex(),
        "private_client_body": private_ext.encode_client_body(key.encapsulation_key).hex(),
        "private_server_body": private_ext.encode_server_body(ciphertext).hex(),
        "private_secret": combined.reveal().hex(),
    }


def main() -> None:
    document = {
        "note": "X25519MLKEM768 (0x11EC) and the private profile over the same keys",
        "label": "cretoai-hybrid-kex-v1",
        "cases": [make_case(number) for number in range(4)],
    }
    TARGET.write_text(json.dumps(document, indent=1) + "\n")
    print(f"wrote {TARGET}")


if __name__ == "__main__":
    main()
