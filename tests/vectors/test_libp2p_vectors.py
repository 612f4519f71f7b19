"""Do we agree with the world? RFC 8448, RFC 9001, the libp2p specifications, our own vectors."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from wraith.crypto.mlkem import MlKem768
from wraith.crypto.secret import Secret
from wraith.crypto.x25519 import X25519Key
from wraith.libp2p import private_ext
from wraith.libp2p.certificate import verify_certificate
from wraith.libp2p.first_packets import read_header
from wraith.libp2p.peer_id import HostPublicKey, PeerId
from wraith.libp2p.tls import codec
from wraith.libp2p.tls.alerts import TlsAlert
from wraith.libp2p.tls.codec import CipherSuite, HandshakeType
from wraith.libp2p.tls.schedule import (
    EarlySecret,
    HandshakeSecrets,
    Transcript,
    hash_name,
    hkdf_expand_label,
)
from wraith.testing.quic_link import NOW

VECTORS = Path(__file__).parents[2] / "vectors"


def load(*path: str) -> Any:
    return json.loads(VECTORS.joinpath(*path).read_text())


# ---- RFC 8448 -----------------------------------------------------------------------------------

TRANSCRIPTS = {
    each["name"]: each for each in load("tls_quic", "rfc8448_transcripts.json")["transcripts"]
}
CERTIFICATE_HANDSHAKES = [
    "Simple_1RTT_Handshake",
    "HelloRetryRequest_Handshake",
    "Client_Authentication_Handshake",
    "Middlebox_Compatibility_Mode",
]
CHANGE_CIPHER_SPEC = bytes.fromhex("140303000101")
SUITE = CipherSuite.AES_128_GCM_SHA256


def record_body(record: bytes) -> bytes:
    """The handshake message of a plain record, with a change_cipher_spec before it dropped."""
    record = record.removeprefix(CHANGE_CIPHER_SPEC)
    length = int.from_bytes(record[3:5], "big")
    return record[5 : 5 + length]


def open_record(record: bytes, secret: Secret, sequence: int = 0) -> bytes:
    """Decrypts one TLS record: the traces protect what QUIC would protect itself."""
    record = record.removeprefix(CHANGE_CIPHER_SPEC)
    key = hkdf_expand_label("sha256", secret.reveal(), "key", b"", 16)
    iv = hkdf_expand_label("sha256", secret.reveal(), "iv", b"", 12)
    nonce = (int.from_bytes(iv, "big") ^ sequence).to_bytes(12, "big")
    plain = AESGCM(key).decrypt(nonce, record[5:], record[:5]).rstrip(b"\x00")
    return plain[:-1]


def shared_secret(trace: dict[str, bytes], hello: codec.ServerHello) -> bytes:
    """From the ephemeral keys in the generators' pools, by the group that was chosen."""
    body = codec.find_extension(hello.extensions, codec.ExtensionType.KEY_SHARE)
    assert body is not None
    group, server_share = codec.read_server_share(body)
    pool = trace["Client_RNG_Pool"]
    for start in range(32, len(pool) - 31):
        secret = pool[start : start + 32]
        if group == 0x001D:
            key = x25519.X25519PrivateKey.from_private_bytes(secret)
            if key.public_key().public_bytes_raw() in trace["Record_ClientHello_1"]:
                return key.exchange(x25519.X25519PublicKey.from_public_bytes(server_share))
        else:
            scalar = int.from_bytes(secret, "big")
            try:
                private = ec.derive_private_key(scalar, ec.SECP256R1())
            except ValueError:
                continue
            numbers = private.public_key().public_numbers()
            point = numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
            if point in trace["Record_ClientHello_2"]:
                peer = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), server_share)
                return private.exchange(ec.ECDH(), peer)
    raise AssertionError("the trace's ephemeral key is not in its pool")


def split_messages(data: bytes) -> list[bytes]:
    found = []
    while data:
        length = codec.next_message_bytes(data)
        assert length is not None
        found.append(data[:length])
        data = data[length:]
    return found


def replay_to_server_hello(trace: dict[str, bytes]) -> tuple[Transcript, codec.ServerHello]:
    transcript = Transcript()
    transcript.add(record_body(trace["Record_ClientHello_1"]))
    if "Record_HelloRetryRequest" in trace:
        retry = record_body(trace["Record_HelloRetryRequest"])
        assert codec.ServerHello.decode(retry).is_retry_request
        transcript.restart_for_retry(hash_name(SUITE))
        transcript.add(retry)
        transcript.add(record_body(trace["Record_ClientHello_2"]))
    message = record_body(trace["Record_ServerHello"])
    assert message == trace["Message_ServerHello"]
    transcript.add(message)
    transcript.choose_hash(hash_name(SUITE))
    return transcript, codec.ServerHello.decode(message)


@pytest.mark.spec("LQ-18")
@pytest.mark.parametrize("name", CERTIFICATE_HANDSHAKES)
def test_rfc8448_trace(name: str) -> None:
    """Key schedule, transcript, both Finished and application keys against the whole recording."""
    trace = {
        key: bytes.fromhex(value)
        for key, value in TRANSCRIPTS[name].items()
        if key not in ("name", "source", "CurrentTimestamp")
    }
    transcript, hello = replay_to_server_hello(trace)
    keys = EarlySecret(SUITE).with_shared_secret(
        Secret(shared_secret(trace, hello)), transcript.digest()
    )
    server_flight = open_record(trace["Record_ServerHandshakeMessages"], keys.server)
    check_server_flight(trace, server_flight, transcript, keys)
    application = keys.application(transcript.digest())
    client_flight = open_record(trace["Record_ClientFinished"], keys.client)
    check_client_flight(trace, client_flight, transcript, keys)
    if "Record_Client_AppData" in trace:
        opened = open_record(trace["Record_Client_AppData"], application.client)
        assert opened == trace["Client_AppData"]
        # The server's ticket is its first record; its data the second.
        opened = open_record(trace["Record_Server_AppData"], application.server, 1)
        assert opened == trace["Server_AppData"]


def check_server_flight(
    trace: dict[str, bytes], flight: bytes, transcript: Transcript, keys: HandshakeSecrets
) -> None:
    for message in split_messages(flight):
        kind = HandshakeType(message[0])
        if kind is HandshakeType.CERTIFICATE_VERIFY:
            signed = b"\x20" * 64 + b"TLS 1.3, server CertificateVerify\x00" + transcript.digest()
            assert signed == trace["Server_MessageToSign"]
            assert codec.CertificateVerify.decode(message).encode() == message
            assert message == trace["Message_Server_CertificateVerify"]
        elif kind is HandshakeType.FINISHED:
            expected = keys.finished_mac(of_client=False, transcript_hash=transcript.digest())
            assert codec.Finished.decode(message, 32).verify_data == expected
            assert message == trace["Message_Server_Finished"]
        elif kind is HandshakeType.CERTIFICATE:
            assert codec.Certificate.decode(message).encode() == message
        elif kind is HandshakeType.CERTIFICATE_REQUEST:
            assert codec.CertificateRequest.decode(message).encode() == message
        else:
            assert codec.EncryptedExtensions.decode(message).encode() == message
            assert message == trace["Message_EncryptedExtensions"]
        transcript.add(message)


def check_client_flight(
    trace: dict[str, bytes], flight: bytes, transcript: Transcript, keys: HandshakeSecrets
) -> None:
    messages = split_messages(flight)
    for message in messages[:-1]:
        if message[0] == HandshakeType.CERTIFICATE_VERIFY:
            signed = b"\x20" * 64 + b"TLS 1.3, client CertificateVerify\x00" + transcript.digest()
            assert signed == trace["Client_MessageToSign"]
        transcript.add(message)
    expected = keys.finished_mac(of_client=True, transcript_hash=transcript.digest())
    assert codec.Finished.decode(messages[-1], 32).verify_data == expected


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_rfc8448_messages_are_read_and_written_back(name: str) -> None:
    trace = TRANSCRIPTS[name]
    hello = record_body(bytes.fromhex(trace["Record_ClientHello_1"]))
    assert codec.ClientHello.decode(hello).encode() == hello
    answer = record_body(bytes.fromhex(trace["Record_ServerHello"]))
    assert codec.ServerHello.decode(answer).encode() == answer


# ---- RFC 9001 -----------------------------------------------------------------------------------


def test_rfc9001_initial_keys() -> None:
    sections = load("tls_quic", "rfc9001_appendix_a.json")["sections"]
    values = {
        (section["name"] if "name" in section else section["title"], value["name"]): value["hex"]
        for section in sections
        for value in section["values"]
    }
    initial = bytes.fromhex(values["Keys", "initial_secret"])
    client = hkdf_expand_label("sha256", initial, "client in", b"", 32)
    server = hkdf_expand_label("sha256", initial, "server in", b"", 32)
    assert client.hex() == values["Keys", "client_initial_secret"]
    assert server.hex() == values["Keys", "server_initial_secret"]
    assert hkdf_expand_label("sha256", server, "quic key", b"", 16).hex() == values["Keys", "key"]
    assert hkdf_expand_label("sha256", server, "quic iv", b"", 12).hex() == values["Keys", "iv"]

    packet = bytes.fromhex(values["Client Initial", "protected_packet"])
    header = read_header(packet)
    assert header is not None and header.is_long and header.is_initial
    assert header.destination_cid.hex() == "8394c8f03e515708" and header.version == 1
    retry = read_header(bytes.fromhex(values["Retry", "retry_packet"]))
    assert retry is not None and retry.is_long and not retry.is_initial


# ---- libp2p -------------------------------------------------------------------------------------


@pytest.mark.spec("LQ-1")
@pytest.mark.parametrize("name", ["ecdsa", "ed25519", "secp256k1", "rsa"])
def test_libp2p_keys(name: str) -> None:
    vector = load("libp2p", "peer_ids.json")["keys"][name]
    encoded = bytes.fromhex(vector["public_key_protobuf"])
    key = HostPublicKey.decode(encoded)
    assert key.encode() == encoded
    peer = PeerId.from_public_key(key)
    assert str(peer) == vector["peer_id_computed"]
    assert PeerId.parse(str(peer)) == peer


def test_libp2p_textual_peer_ids() -> None:
    texts = [form["text"] for form in load("libp2p", "peer_ids.json")["string_forms"]]
    peers = [PeerId.parse(text) for text in texts]
    assert peers[0] == peers[1] != peers[2], "the first two texts are one peer in two forms"
    assert peers[0].to_cid() == texts[0]
    assert str(peers[1]) == texts[1] and str(peers[2]) == texts[2]


@pytest.mark.spec("LQ-5")
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_libp2p_certificates(number: int) -> None:
    vectors = load("libp2p", "tls_certificates.json")["vectors"]
    vector = next(each for each in vectors if each["id"] == number)
    der = bytes.fromhex(vector["certificate_der"])
    if vector["valid"]:
        assert str(verify_certificate(der, NOW).peer_id) == vector["peer_id"]
    else:
        with pytest.raises(TlsAlert, match="host key"):
            verify_certificate(der, NOW)


# ---- our own ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", load("libp2p", "hybrid_kex.json")["cases"])
@pytest.mark.spec("LQ-12")
def test_hybrid_kex(case: dict[str, str]) -> None:
    """Both hybrid forms from the keys alone; Go recomputes the same file (interop)."""
    value = {name: bytes.fromhex(text) for name, text in case.items()}
    client = X25519Key.from_secret(value["client_x25519_secret"])
    server_share = value["group_server_share"]
    ciphertext, server_public = server_share[:1088], server_share[1088:]
    key = MlKem768().from_seed(value["mlkem_seed"])
    pq_ss, classical_ss = key.decapsulate(ciphertext), client.exchange(server_public)
    assert key.encapsulation_key + client.public == value["group_client_share"]
    assert pq_ss + classical_ss == value["group_secret"]
    assert private_ext.decode_client_body(value["private_client_body"]) == key.encapsulation_key
    assert private_ext.decode_server_body(value["private_server_body"]) == ciphertext
    combined = private_ext.combine(
        classical_ss, pq_ss, client.public, server_public, key.encapsulation_key, ciphertext
    )
    assert combined.reveal() == value["private_secret"]


def test_hello_retry_random_is_the_hash_it_claims_to_be() -> None:
    assert hashlib.sha256(b"HelloRetryRequest").digest() == codec.HELLO_RETRY_RANDOM
