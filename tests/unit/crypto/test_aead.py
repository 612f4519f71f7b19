"""AEADs: exact sizes, one failure for every tampering."""

from __future__ import annotations

import pytest

from wraith.crypto.aead import TAG_BYTES, Aead, open_, seal
from wraith.errors import DecryptError

KEY = bytes(range(32))


@pytest.fixture(params=list(Aead))
def aead(request: pytest.FixtureRequest) -> Aead:
    value = request.param
    assert isinstance(value, Aead)
    return value


def nonce(aead: Aead) -> bytes:
    return bytes(range(100, 100 + aead.nonce_bytes))


@pytest.mark.spec("CR-5")
def test_the_seam_codes_stay() -> None:
    assert (Aead.XCHACHA20_POLY1305, Aead.AES_256_GCM) == (1, 2)


@pytest.mark.spec("CR-5")
def test_round_trip(aead: Aead) -> None:
    sealed = seal(aead, KEY, nonce(aead), b"aad", b"plain")
    assert len(sealed) == 5 + TAG_BYTES
    assert open_(aead, KEY, nonce(aead), b"aad", sealed) == b"plain"
    assert open_(aead, KEY, nonce(aead), bytearray(b"aad"), memoryview(sealed)) == b"plain"


@pytest.mark.spec("CR-6")
def test_any_change_fails_in_the_same_way(aead: Aead) -> None:
    sealed = seal(aead, KEY, nonce(aead), b"aad", b"plain")
    other_key, other_nonce = bytes(32), bytes(aead.nonce_bytes)
    errors = set()
    for arguments in (
        (other_key, nonce(aead), b"aad", sealed),
        (KEY, other_nonce, b"aad", sealed),
        (KEY, nonce(aead), b"AAD", sealed),
        (KEY, nonce(aead), b"aad", sealed[:-1]),
        (KEY, nonce(aead), b"aad", b""),
        (KEY, nonce(aead), b"aad", bytes([sealed[0] ^ 1]) + sealed[1:]),
    ):
        with pytest.raises(DecryptError) as caught:
            open_(aead, *arguments)
        errors.add(str(caught.value))
    assert errors == {"Decryption failed."}


@pytest.mark.spec("CR-5")
def test_wrong_sizes_are_the_callers_defect(aead: Aead) -> None:
    for key, n in ((KEY[:16], nonce(aead)), (KEY, nonce(aead)[:-1]), (KEY, nonce(aead) + b"\0")):
        with pytest.raises(ValueError):
            seal(aead, key, n, b"", b"")
        with pytest.raises(ValueError):
            open_(aead, key, n, b"", bytes(32))
