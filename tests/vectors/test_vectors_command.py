"""``python -m wraith.testing.vectors``: what it prints and how it ends when something is wrong."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from wraith.testing.vectors import main, run_file

VECTORS = Path(__file__).parents[2] / "vectors"

#: One small file of every family, and a value in it whose first digit is changed.
SAMPLES = [
    "blake3/blake3_test_vectors.json:keyed_hash",
    "blake3/bao_test_vectors.json:bao_hash",
    "elligator2/monocypher_direct.json:point_u",
    "elligator2/monocypher_inverse.json:representative",
    "elligator2/monocypher_dirty_scalarmult.json:dirty_point_u",
    "elligator2/monocypher_key_pair.json:hidden",
    "mlkem/acvp_keygen.json.gz:ek",
    "mlkem/acvp_encap_decap.json.gz:k",
    "mlkem/wycheproof_mlkem_768_test.json.gz:K",
    "mlkem/wycheproof_mlkem_768_encaps_test.json.gz:K",
    "mlkem/wycheproof_mlkem_768_keygen_seed_test.json.gz:dk",
    "mlkem/wycheproof_mlkem_768_semi_expanded_decaps_test.json:K",
    "hpke/hpke_pq.json:pkRm",
    "hpke/go_rfc9180.json:exports_accumulated",
    "mls/crypto-basics.json.gz:out",
    "mls/key-schedule.json.gz:secret",
    "mls/message-protection.json.gz:commit_priv",
    "mls/passive-client-welcome.json.gz:initial_epoch_authenticator",
    "mls/psk_secret.json.gz:psk_secret",
    "mls/secret-tree.json.gz:application_nonce",
    "mls/transcript-hashes.json.gz:interim_transcript_hash_after",
    "mls/tree-operations.json.gz:tree_hash_after",
    "mls/treekem.json.gz:commit_secret",
    "mls/welcome.json.gz:signer_pub",
    "noise/noise_c_basic_25519.json:ciphertext",
    "noise/noise_c_fallback_25519.json:handshake_hash",
    "noise/noise_c_hfs_25519_448.json:ciphertext",
    "noise/xxhfs_25519_mlkem768.json:msg_b",
    "wycheproof/ed25519_test.json:sig",
    "wycheproof/hkdf_sha256_test.json:okm",
    "wycheproof/x25519_test.json:shared",
    "wycheproof/xchacha20_poly1305_test.json:tag",
    "wraith/ratchet.json:mk_0",
    "xwing/xwing_draft.json:ss",
]


def read(name: str) -> bytes:
    raw = (VECTORS / name).read_bytes()
    return gzip.decompress(raw) if name.endswith(".gz") else raw


def with_digit_changed(node: Any, key: str) -> bool:
    """Change the first hex digit of the first non-empty ``key`` anywhere below ``node``."""
    if isinstance(node, dict):
        value = node.get(key)
        if isinstance(value, str) and value:
            node[key] = f"{int(value[0], 16) ^ 1:x}{value[1:]}"
            return True
        return any(with_digit_changed(child, key) for child in node.values())
    return isinstance(node, list) and any(with_digit_changed(child, key) for child in node)


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_changed_digit_fails_the_case_and_exits_1(
    sample: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, key = sample.split(":")
    data = json.loads(read(name))
    assert with_digit_changed(data, key)
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(data))

    assert main([str(path)]) == 1
    assert ", 1 failed" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["mlkem/cctv_strcmp_768.txt", "mlkem/cctv_unluckysample_768.txt"])
def test_a_changed_digit_in_a_text_file_exits_1(name: str, tmp_path: Path) -> None:
    text = (VECTORS / name).read_text()
    at = text.index("\nK = ") + 5
    path = tmp_path / "broken.txt"
    path.write_text(text[:at] + f"{int(text[at], 16) ^ 1:x}" + text[at + 1 :])
    assert main([str(path)]) == 1


def test_an_acceptable_key_in_the_modulus_list_exits_1(tmp_path: Path) -> None:
    good = json.loads(read("mlkem/acvp_keygen.json.gz"))["testGroups"][0]["tests"][0]["ek"]
    path = tmp_path / "modulus.txt"
    path.write_text(read("mlkem/cctv_modulus_768.txt.gz").decode() + good.lower() + "\n")
    assert main([str(path)]) == 1


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b'{"algorithm": "XDH", "schema": "x", "testGroups": 3}', "list was expected"),
        (b'{"algorithm": "XDH", "schema": "x", "testGroups": [{"tests": [{}]}]}', "tcId"),
        (
            b'{"vectors": [{"init_prologue": "zz", "messages": [], "name": "Noise_NN_25519"}]}',
            "not hexadecimal",
        ),
        (b'{"vectors": [', "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"\x1f\x8b\x08\x00garbage", "gzip"),
        (b'{"wraith_vectors": "nonsense", "cases": []}', "unknown kind"),
        (b'{"something": "else"}', "unknown format"),
        (b"", "not JSON"),
    ],
)
def test_a_malformed_or_unknown_file_exits_2(
    content: bytes, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    assert main([str(path)]) == 2
    assert word in capsys.readouterr().out


@pytest.mark.parametrize("name", ["wycheproof/hkdf_sha256_test.json", "xwing/xwing_draft.json"])
def test_a_truncated_file_exits_2(name: str, tmp_path: Path) -> None:
    raw = read(name)
    path = tmp_path / "short.json"
    path.write_bytes(raw[: len(raw) // 2])
    assert main([str(path)]) == 2


def test_a_missing_file_exits_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "absent.json")]) == 2
    assert "No such file" in capsys.readouterr().out


def test_no_argument_exits_2() -> None:
    assert main([]) == 2


def test_a_file_without_a_single_pass_exits_2_when_it_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "mlkem/cctv_strcmp_768.txt"
    assert main([str(VECTORS / name)]) == 2
    assert "0 passed, 0 failed, 1 skipped (1 oracle)" in capsys.readouterr().out

    # In a folder with others it is listed and does no harm.
    (tmp_path / "a.txt").write_bytes(read(name))
    (tmp_path / "b.json").write_bytes(read("xwing/xwing_draft.json"))
    assert main([str(tmp_path)]) == 0


def test_unknown_files_in_a_folder_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "good.json").write_bytes(read("xwing/xwing_draft.json"))
    assert main([str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "notes.txt: unknown format" in out
    assert "good.json: 3 passed, 0 failed, 0 skipped\n" in out


def test_a_folder_without_a_pass_exits_2(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    assert main([str(tmp_path)]) == 2


def test_a_failure_outweighs_a_malformed_file(tmp_path: Path) -> None:
    data = json.loads(read("xwing/xwing_draft.json"))
    assert with_digit_changed(data, "ss")
    (tmp_path / "broken.json").write_text(json.dumps(data))
    (tmp_path / "malformed.json").write_text("{")
    assert main([str(tmp_path)]) == 1


def test_gzip_is_recognised_by_content(tmp_path: Path) -> None:
    path = tmp_path / "anything"
    path.write_bytes(gzip.compress(read("xwing/xwing_draft.json")))
    report = run_file(path).report
    assert report is not None and report.passed == 3


def test_the_module_runs_as_a_command() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "wraith.testing.vectors", str(VECTORS / "xwing")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.endswith("xwing_draft.json: 3 passed, 0 failed, 0 skipped\n")
