"""Every public vector file, through the same function as the auditors' command.

The counts are pinned: a case that silently became a skip, or a file that lost its cases, is a
failure as much as a wrong value.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from wraith.testing.vectors import run_file

VECTORS = Path(__file__).parents[2] / "vectors"

#: file -> (passed, skipped)
EXPECTED: dict[str, tuple[int, int]] = {
    "blake3/bao_test_vectors.json": (10, 36),
    "blake3/blake3_test_vectors.json": (50, 25),
    "elligator2/kleshni.json": (10, 16),
    "elligator2/monocypher_direct.json": (66, 0),
    "elligator2/monocypher_dirty_scalarmult.json": (42, 0),
    "elligator2/monocypher_inverse.json": (55, 0),
    "elligator2/monocypher_key_pair.json": (45, 0),
    "elligator2/rfc9380_curve25519_ELL2_NU.json": (5, 0),
    "elligator2/rfc9380_curve25519_ELL2_RO.json": (10, 0),
    "mlkem/acvp_encap_decap.json.gz": (52, 32),
    "mlkem/acvp_encap_decap_tr1.json.gz": (84, 16),
    "mlkem/acvp_keygen.json.gz": (36, 0),
    "mlkem/cctv_accumulated.json": (2, 7),
    "mlkem/cctv_intermediate_1024.txt": (1, 0),
    "mlkem/cctv_intermediate_768.txt": (1, 0),
    "mlkem/cctv_modulus_1024.txt.gz": (728, 0),
    "mlkem/cctv_modulus_768.txt.gz": (546, 0),
    "mlkem/cctv_strcmp_1024.txt": (0, 1),
    "mlkem/cctv_strcmp_768.txt": (0, 1),
    "mlkem/cctv_unluckysample_1024.txt": (1, 0),
    "mlkem/cctv_unluckysample_768.txt": (1, 0),
    "mlkem/wycheproof_mlkem_1024_encaps_test.json.gz": (95, 93),
    "mlkem/wycheproof_mlkem_1024_keygen_seed_test.json.gz": (70, 0),
    "mlkem/wycheproof_mlkem_1024_semi_expanded_decaps_test.json": (0, 5),
    "mlkem/wycheproof_mlkem_1024_test.json.gz": (135, 0),
    "mlkem/wycheproof_mlkem_768_encaps_test.json.gz": (92, 93),
    "mlkem/wycheproof_mlkem_768_keygen_seed_test.json.gz": (70, 0),
    "mlkem/wycheproof_mlkem_768_semi_expanded_decaps_test.json": (0, 5),
    "mlkem/wycheproof_mlkem_768_test.json.gz": (135, 0),
    "noise/cacophony_25519.json": (330, 0),
    "noise/noise_c_basic_25519.json": (84, 0),
    "noise/noise_c_fallback_25519.json": (6, 0),
    "noise/noise_c_hfs_25519_448.json": (73, 0),
    "noise/snow_25519.json": (286, 0),
    "noise/xxhfs_25519_mlkem768.json": (5, 0),
    "wycheproof/aes_gcm_test.json": (49, 172),
    "wycheproof/chacha20_poly1305_test.json": (228, 0),
    "wycheproof/ed25519_test.json": (107, 0),
    "wycheproof/hkdf_sha256_test.json": (60, 0),
    "wycheproof/hkdf_sha512_test.json": (58, 0),
    "wycheproof/hmac_sha256_test.json": (122, 0),
    "wycheproof/x25519_test.json": (361, 0),
    "wycheproof/xchacha20_poly1305_test.json": (221, 0),
    "xwing/xwing_draft.json": (3, 0),
}


@pytest.mark.spec("CR-5", "CR-6", "CR-8", "CR-9", "CR-10", "CR-13", "CR-14", "CR-15", "CR-16")
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_file_agrees_with_the_world(name: str) -> None:
    outcome = run_file(VECTORS / name)
    assert outcome.report is not None, outcome
    assert outcome.report.failures == []
    assert (outcome.report.passed, outcome.report.n_skipped) == EXPECTED[name]


def test_every_vector_file_is_listed_here() -> None:
    found = {
        str(path.relative_to(VECTORS))
        for path in VECTORS.rglob("*")
        if path.is_file() and path.name != "README.md" and path.parent.name != "wraith"
    }
    # Folders of other families may stand beside these; every file of ours must be run.
    ours = {name.split("/")[0] for name in EXPECTED}
    assert {name for name in found if name.split("/")[0] in ours} == EXPECTED.keys()
