"""RFC 9420 and RFC 9180: the working group's vectors, through the auditors' command.

The counts are pinned. What is skipped is suites 4 and 6, and nothing else.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from wraith.testing.vectors import run_file

VECTORS = Path(__file__).parents[2] / "vectors"


def check(name: str, passed: int, skipped: int) -> None:
    outcome = run_file(VECTORS / name)
    assert outcome.report is not None, outcome
    assert outcome.report.failures == []
    assert (outcome.report.passed, outcome.report.n_skipped) == (passed, skipped)
    assert all("is refused" in reason for reason in outcome.report.skipped)


@pytest.mark.spec("ML-4", "ML-5", "ML-6")
def test_hpke_go_hpke_pq() -> None:
    check("hpke/go_hpke_pq.json", 1, 0)


@pytest.mark.spec("ML-4", "ML-5", "ML-6")
def test_hpke_go_rfc9180() -> None:
    check("hpke/go_rfc9180.json", 24, 0)


@pytest.mark.spec("ML-4", "ML-5", "ML-6")
def test_hpke_hpke_pq() -> None:
    check("hpke/hpke_pq.json", 1, 0)


@pytest.mark.spec("ML-7")
def test_crypto_basics() -> None:
    check("mls/crypto-basics.json.gz", 5, 2)


@pytest.mark.spec("ML-1")
def test_deserialization() -> None:
    check("mls/deserialization.json.gz", 14, 0)


@pytest.mark.spec("ML-4", "ML-21", "ML-22", "ML-23", "ML-24")
def test_key_schedule() -> None:
    check("mls/key-schedule.json.gz", 5, 2)


@pytest.mark.spec("ML-32", "ML-33", "ML-34", "ML-35")
def test_message_protection() -> None:
    check("mls/message-protection.json.gz", 5, 2)


@pytest.mark.spec("ML-10")
def test_messages() -> None:
    check("mls/messages.json.gz", 70, 0)


@pytest.mark.spec("ML-51", "ML-53")
def test_passive_client_handling_commit() -> None:
    check("mls/passive-client-handling-commit.json.gz", 65, 26)


@pytest.mark.spec("ML-53")
def test_passive_client_random() -> None:
    check("mls/passive-client-random.json.gz", 1, 0)


@pytest.mark.spec("ML-65")
def test_passive_client_welcome() -> None:
    check("mls/passive-client-welcome.json.gz", 40, 16)


@pytest.mark.spec("ML-30")
def test_psk_secret() -> None:
    check("mls/psk_secret.json.gz", 55, 22)


@pytest.mark.spec("ML-28")
def test_secret_tree() -> None:
    check("mls/secret-tree.json.gz", 15, 6)


@pytest.mark.spec("ML-50")
def test_transcript_hashes() -> None:
    check("mls/transcript-hashes.json.gz", 5, 2)


@pytest.mark.spec("ML-9")
def test_tree_math() -> None:
    check("mls/tree-math.json.gz", 10, 0)


@pytest.mark.spec("ML-51")
def test_tree_operations() -> None:
    check("mls/tree-operations.json.gz", 5, 0)


@pytest.mark.spec("ML-13", "ML-14", "ML-15")
def test_tree_validation() -> None:
    check("mls/tree-validation.json.gz", 36, 0)


@pytest.mark.spec("ML-18", "ML-19")
def test_treekem() -> None:
    check("mls/treekem.json.gz", 28, 0)


@pytest.mark.spec("ML-37", "ML-38")
def test_welcome() -> None:
    check("mls/welcome.json.gz", 5, 2)


def test_every_file_of_these_families_has_a_test() -> None:
    text = Path(__file__).read_text()
    for folder in ("mls", "hpke"):
        for path in (VECTORS / folder).iterdir():
            assert f'"{folder}/{path.name}"' in text
