"""Labels and BLAKE3's modes."""

from __future__ import annotations

import pytest
from blake3 import blake3 as library

from wraith.crypto.kdf import Label, SignaturePrefix, blake3, derive_key, directed, keyed_hash
from wraith.types import Role


@pytest.mark.spec("CR-1", "CR-2")
def test_no_label_is_used_twice_and_all_are_ascii() -> None:
    labels = [label.value for label in (*Label, *SignaturePrefix)]
    assert len(labels) == len(set(labels))
    assert all(label.isascii() and label == label.strip() for label in labels)


@pytest.mark.spec("CR-1")
def test_labels_fixed_elsewhere_keep_their_spelling() -> None:
    assert Label.HYBRID_KEM.value == "wraith-hybrid-kem-v2"
    assert Label.WIRE_FORMAT.value == "wire-format-v2"
    assert Label.HEADER_I2R.encode() == b"wraith-v2 header i2r"
    assert len(Label.HEADER_I2R) == 20


@pytest.mark.parametrize("family", ["HEADER", "CHAIN", "IV"])
def test_a_direction_is_named_after_its_sender(family: str) -> None:
    i2r = Label[f"{family}_I2R"]
    assert directed(i2r, Role.INITIATOR) is i2r
    assert directed(i2r, Role.RESPONDER) is Label[f"{family}_R2I"]


@pytest.mark.parametrize("n", [1, 16, 32, 64, 128])
def test_outputs_have_the_length_asked_for_and_extend_each_other(n: int) -> None:
    assert derive_key(Label.ROOT, b"m", n) == derive_key(Label.ROOT, b"m", 200)[:n]
    assert keyed_hash(bytes(32), b"m", n) == keyed_hash(bytes(32), b"m", 200)[:n]
    assert blake3(b"m", n) == blake3(b"m", 200)[:n]


def test_derive_key_uses_the_label_as_the_context_string() -> None:
    assert (
        derive_key(Label.ROOT, b"m") == library(b"m", derive_key_context="wraith-v2 root").digest()
    )
    assert derive_key(Label.ROOT, b"m") != derive_key(Label.RESUMPTION, b"m")
