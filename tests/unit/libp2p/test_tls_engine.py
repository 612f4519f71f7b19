"""The handshake's state machine: policies, retry, downgrade attempts, and the right alerts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from wraith.crypto.ed25519 import Identity
from wraith.errors import LocalProtocolError
from wraith.libp2p import private_ext
from wraith.libp2p.certificate import make_certificate
from wraith.libp2p.config import PqPolicy
from wraith.libp2p.tls import codec
from wraith.libp2p.tls.alerts import AlertDescription, TlsAlert
from wraith.libp2p.tls.codec import (
    CipherSuite,
    ExtensionType,
    HandshakeType,
    SignatureScheme,
)
from wraith.libp2p.tls.engine import EXPECTED, Level, TlsSettings, TlsState
from wraith.libp2p.tls.groups import GroupId
from wraith.testing.bad_certificates import CertificatePlan, bad_certificate
from wraith.testing.quic_link import NOW, TlsPair
from wraith.testing.rng import SeededRng

Alert = AlertDescription


def refused(pair: TlsPair) -> TlsAlert:
    with pytest.raises(TlsAlert) as caught:
        pair.run()
    states = (pair.client.state, pair.server.state)
    assert TlsState.FAILED in states
    return caught.value


def change_message(
    kind: HandshakeType, edit: Callable[[bytes], bytes], by: str
) -> Callable[[str, Level, bytes], bytes]:
    def tap(sender: str, level: Level, message: bytes) -> bytes:
        del level
        return edit(message) if message[0] == kind and sender == by else message

    return tap


def on_nth(target: int, change: Callable[[bytes], bytes]) -> Callable[[str, Level, bytes], bytes]:
    """Changes the message with that number, counted over both directions."""
    seen = iter(range(1000))

    def tap(sender: str, level: Level, message: bytes) -> bytes:
        del sender, level
        return change(message) if next(seen) == target else message

    return tap


def edit_client_hello(
    edit: Callable[[codec.ClientHello], codec.ClientHello],
) -> Callable[[str, Level, bytes], bytes]:
    return change_message(
        HandshakeType.CLIENT_HELLO,
        lambda message: edit(codec.ClientHello.decode(message)).encode(),
        "client",
    )


def edit_server_hello(
    edit: Callable[[codec.ServerHello], codec.ServerHello],
) -> Callable[[str, Level, bytes], bytes]:
    return change_message(
        HandshakeType.SERVER_HELLO,
        lambda message: edit(codec.ServerHello.decode(message)).encode(),
        "server",
    )


def with_extension(extensions: codec.Extensions, kind: int, body: bytes | None) -> codec.Extensions:
    """Replaces, adds or (``None``) removes one extension."""
    kept = tuple(each for each in extensions if each[0] != kind)
    return kept if body is None else (*kept, (kind, body))


# ---- success in every policy --------------------------------------------------------------------


@pytest.mark.spec("LQ-14")
@pytest.mark.parametrize(
    ("client", "server", "group"),
    [
        (PqPolicy.REQUIRE, PqPolicy.REQUIRE, "X25519MLKEM768"),
        (PqPolicy.REQUIRE, PqPolicy.PREFER, "X25519MLKEM768"),
        (PqPolicy.PREFER, PqPolicy.REQUIRE, "X25519MLKEM768"),
        (PqPolicy.PREFER, PqPolicy.PREFER, "X25519MLKEM768"),
        (PqPolicy.PREFER, PqPolicy.CLASSICAL, "X25519"),
        (PqPolicy.CLASSICAL, PqPolicy.PREFER, "X25519"),
        (PqPolicy.CLASSICAL, PqPolicy.CLASSICAL, "X25519"),
        (PqPolicy.PRIVATE_EXT, PqPolicy.PRIVATE_EXT, private_ext.NAME),
    ],
)
def test_policies_that_agree(client: PqPolicy, server: PqPolicy, group: str) -> None:
    pair = TlsPair(client, server).run()
    for engine, other in ((pair.client, pair.server_identity), (pair.server, pair.client_identity)):
        reached = engine.negotiated
        assert reached.group == group
        assert reached.post_quantum == (group != "X25519")
        assert reached.peer is not None
        assert reached.peer.host_key.data == other.public.raw
    assert pair.client.export("label", b"context", 40) == pair.server.export(
        "label", b"context", 40
    )
    assert pair.client.export("label", b"", 40) != pair.server.export("lapel", b"", 40)


@pytest.mark.parametrize(
    ("client", "server", "alert"),
    [
        (PqPolicy.CLASSICAL, PqPolicy.REQUIRE, Alert.HANDSHAKE_FAILURE),
        (PqPolicy.REQUIRE, PqPolicy.CLASSICAL, Alert.HANDSHAKE_FAILURE),
        (PqPolicy.PRIVATE_EXT, PqPolicy.REQUIRE, Alert.NO_APPLICATION_PROTOCOL),
        (PqPolicy.REQUIRE, PqPolicy.PRIVATE_EXT, Alert.NO_APPLICATION_PROTOCOL),
    ],
)
@pytest.mark.spec("LQ-14")
def test_policies_that_refuse(client: PqPolicy, server: PqPolicy, alert: Alert) -> None:
    assert refused(TlsPair(client, server)).alert is alert


def test_a_refused_classical_peer_names_the_way_out() -> None:
    error = refused(TlsPair(PqPolicy.CLASSICAL, PqPolicy.REQUIRE))
    assert "post-quantum" in str(error) and "--policy prefer" in error.hint


@pytest.mark.parametrize("suite", list(CipherSuite))
def test_every_cipher_suite(suite: CipherSuite) -> None:
    def only(settings: TlsSettings) -> TlsSettings:
        return replace(settings, suites=(suite,))

    assert TlsPair(client_settings=only).run().client.negotiated.suite is suite


def test_p256_credential_serves_peers_that_cannot_read_ed25519() -> None:
    pair = TlsPair()
    second = make_certificate(
        pair.server_identity, pair.rng, NOW, scheme=SignatureScheme.ECDSA_SECP256R1_SHA256
    )
    pair.server.settings = replace(
        pair.server.settings, credentials=(pair.server_credential, second)
    )
    schemes = codec.write_u16_list((SignatureScheme.ECDSA_SECP256R1_SHA256,))

    def only_p256(hello: codec.ClientHello) -> codec.ClientHello:
        changed = with_extension(hello.extensions, ExtensionType.SIGNATURE_ALGORITHMS, schemes)
        return replace(hello, extensions=changed)

    pair.tap = edit_client_hello(only_p256)
    refused(pair)  # the transcript differs, of course; but the right certificate was chosen
    certificate = next(m for m in pair.messages_of("server") if m[0] == HandshakeType.CERTIFICATE)
    assert codec.Certificate.decode(certificate).entries[0][0] == second.der


def client_shares(pair: TlsPair) -> dict[int, bytes]:
    hello = codec.ClientHello.decode(pair.messages_of("client")[0])
    body = codec.find_extension(hello.extensions, ExtensionType.KEY_SHARE)
    assert body is not None
    return dict(codec.read_client_shares(body))


@pytest.mark.spec("LQ-13")
def test_shares_are_fresh_and_both_groups_use_one_x25519_key() -> None:
    rng = SeededRng("fresh")
    first, second = (client_shares(TlsPair(PqPolicy.PREFER, rng=rng).run()) for _ in range(2))
    for shares in (first, second):
        assert shares[GroupId.X25519MLKEM768][1184:] == shares[GroupId.X25519]
    assert first[GroupId.X25519] != second[GroupId.X25519]
    assert first[GroupId.X25519MLKEM768][:1184] != second[GroupId.X25519MLKEM768][:1184]


@pytest.mark.spec("LQ-30")
def test_the_private_profile_never_offers_a_hybrid_group() -> None:
    pair = TlsPair(PqPolicy.PRIVATE_EXT).run()
    hello = codec.ClientHello.decode(pair.messages_of("client")[0])
    assert set(client_shares(pair)) == {GroupId.X25519}
    alpn = codec.find_extension(hello.extensions, ExtensionType.ALPN)
    assert alpn is not None and codec.read_alpn(alpn) == (b"creto-pq/1",)
    assert len(pair.messages_of("client")[0]) < 2 * 1100, "two datagrams, not three"


# ---- HelloRetryRequest --------------------------------------------------------------------------


def only_classical_share(settings: TlsSettings) -> TlsSettings:
    return replace(settings, shares=(GroupId.X25519,))


@pytest.mark.spec("LQ-15")
@pytest.mark.parametrize("server", [PqPolicy.REQUIRE, PqPolicy.PREFER])
def test_retry_reaches_the_hybrid_group(server: PqPolicy) -> None:
    pair = TlsPair(PqPolicy.PREFER, server, client_settings=only_classical_share).run()
    assert pair.client.negotiated.post_quantum and pair.server.negotiated.retried
    kinds = [message[0] for message in pair.messages_of("client")]
    assert kinds.count(HandshakeType.CLIENT_HELLO) == 2


def retry_request(group: int, *extra: codec.Extension) -> bytes:
    return codec.ServerHello(
        codec.HELLO_RETRY_RANDOM,
        b"",
        CipherSuite.AES_128_GCM_SHA256,
        (
            (ExtensionType.SUPPORTED_VERSIONS, b"\x03\x04"),
            (ExtensionType.KEY_SHARE, group.to_bytes(2, "big")),
            *extra,
        ),
    ).encode()


@pytest.mark.parametrize(
    ("retry", "alert"),
    [
        (retry_request(GroupId.X25519), Alert.ILLEGAL_PARAMETER),  # already offered
        (retry_request(GroupId.X25519MLKEM768), Alert.ILLEGAL_PARAMETER),
        (retry_request(0x0017), Alert.ILLEGAL_PARAMETER),  # never offered
        (retry_request(0x0017, (16, b"")), Alert.ILLEGAL_PARAMETER),  # ALPN may not stand here
        (retry_request(0x0017, (99, b"")), Alert.UNSUPPORTED_EXTENSION),
    ],
)
@pytest.mark.spec("LQ-15")
def test_retry_requests_that_downgrade_or_change_nothing(retry: bytes, alert: Alert) -> None:
    pair = TlsPair(PqPolicy.PREFER)
    pair.tap = change_message(HandshakeType.SERVER_HELLO, lambda _: retry, "server")
    assert refused(pair).alert is alert


def test_second_retry_is_refused() -> None:
    pair = TlsPair(PqPolicy.PREFER, client_settings=only_classical_share)
    pair.client.start(b"p")
    pair.client.take_output()
    pair.client.receive(Level.INITIAL, retry_request(GroupId.X25519MLKEM768))
    assert pair.client.advance()
    pair.client.receive(Level.INITIAL, retry_request(GroupId.X25519))
    with pytest.raises(TlsAlert) as caught:
        pair.client.advance()
    assert caught.value.alert is Alert.UNEXPECTED_MESSAGE


@pytest.mark.spec("LQ-15")
@pytest.mark.parametrize(
    "edit",
    [
        lambda h: replace(h, random=bytes(32)),
        lambda h: replace(h, cipher_suites=h.cipher_suites[:1]),
        lambda h: replace(h, extensions=with_extension(h.extensions, ExtensionType.ALPN, None)),
        lambda h: replace(h, extensions=(*h.extensions, (0x4A4A, b""))),
    ],
    ids=["random", "suites", "one extension less", "one more"],
)
def test_a_second_hello_that_differs_is_refused_at_once(
    edit: Callable[[codec.ClientHello], codec.ClientHello],
) -> None:
    """Not by Finished, which a peer that changes its own hello would get right."""
    pair = TlsPair(PqPolicy.PREFER, client_settings=only_classical_share)
    hellos = 0

    def change_the_second(sender: str, level: Level, message: bytes) -> bytes:
        nonlocal hellos
        if message[0] != HandshakeType.CLIENT_HELLO:
            return message
        hellos += 1
        if hellos == 1:
            return message
        return edit(codec.ClientHello.decode(message)).encode()

    pair.tap = change_the_second
    with pytest.raises(TlsAlert) as caught:
        pair.run()
    assert caught.value.alert is Alert.ILLEGAL_PARAMETER and hellos == 2
    assert pair.server.state is TlsState.FAILED


def test_client_that_ignores_the_retry_is_refused() -> None:
    pair = TlsPair(PqPolicy.PREFER, client_settings=only_classical_share)
    pair.client.start(b"p")
    ((_, hello),) = pair.client.take_output()
    for _ in range(2):
        pair.server.receive(Level.INITIAL, hello)
    assert pair.server.advance()
    with pytest.raises(TlsAlert) as caught:
        pair.server.advance()
    assert caught.value.alert is Alert.ILLEGAL_PARAMETER


# ---- downgrade and tampering --------------------------------------------------------------------


def strip_hybrid(hello: codec.ClientHello) -> codec.ClientHello:
    """What an attacker in the middle does to a client that also offers X25519."""
    body = codec.find_extension(hello.extensions, ExtensionType.KEY_SHARE)
    assert body is not None
    classical = tuple(s for s in codec.read_client_shares(body) if s[0] == GroupId.X25519)
    extensions = with_extension(
        hello.extensions, ExtensionType.KEY_SHARE, codec.write_client_shares(classical)
    )
    groups = codec.write_u16_list((GroupId.X25519,))
    return replace(
        hello,
        extensions=with_extension(extensions, ExtensionType.SUPPORTED_GROUPS, groups),
    )


@pytest.mark.spec("LQ-19")
def test_stripping_the_hybrid_group_breaks_the_handshake() -> None:
    pair = TlsPair(PqPolicy.PREFER)
    pair.tap = edit_client_hello(strip_hybrid)
    assert refused(pair).alert is Alert.DECRYPT_ERROR
    required = TlsPair(PqPolicy.PREFER, PqPolicy.REQUIRE)
    required.tap = edit_client_hello(strip_hybrid)
    assert refused(required).alert is Alert.HANDSHAKE_FAILURE


@pytest.mark.spec("LQ-19")
def test_any_tampered_message_breaks_the_handshake() -> None:
    """One bit of each message, in either direction: nobody ends up connected to anybody."""
    for index in range(len(TlsPair().run().moved)):
        pair = TlsPair()
        pair.tap = on_nth(index, lambda message: message[:-1] + bytes((message[-1] ^ 1,)))
        with pytest.raises(TlsAlert):
            pair.run()
        assert not pair.server.is_connected


@pytest.mark.spec("LQ-20")
@pytest.mark.parametrize(
    ("edit", "alert"),
    [
        (lambda h: replace(h, session_id=b"x"), Alert.ILLEGAL_PARAMETER),
        (lambda h: replace(h, cipher_suite=0x1304), Alert.ILLEGAL_PARAMETER),
        (lambda h: replace(h, extensions=h.extensions[1:]), Alert.PROTOCOL_VERSION),
        (lambda h: replace(h, extensions=h.extensions[:1]), Alert.MISSING_EXTENSION),
        (
            lambda h: replace(h, extensions=with_extension(h.extensions, 43, b"\x03\x03")),
            Alert.PROTOCOL_VERSION,
        ),
        (
            lambda h: replace(h, extensions=(*h.extensions, (41, b"\x00\x00"))),
            Alert.UNSUPPORTED_EXTENSION,  # a PSK that was never offered
        ),
        (
            lambda h: replace(h, extensions=(*h.extensions, (16, b""))),
            Alert.ILLEGAL_PARAMETER,  # offered, but not in a ServerHello
        ),
        (
            lambda h: replace(
                h,
                extensions=with_extension(
                    h.extensions, 51, codec.write_server_share((0x001D, bytes(32)))
                ),
            ),
            Alert.ILLEGAL_PARAMETER,  # X25519 although only the hybrid group was offered
        ),
        (
            lambda h: replace(
                h,
                extensions=with_extension(
                    h.extensions, 51, codec.write_server_share((0x11EC, bytes(1119)))
                ),
            ),
            Alert.ILLEGAL_PARAMETER,
        ),
        (
            lambda h: replace(
                h,
                extensions=with_extension(
                    h.extensions, 51, codec.write_server_share((0x11EC, bytes(1120)))
                ),
            ),
            Alert.ILLEGAL_PARAMETER,  # all-zero X25519 point
        ),
    ],
)
@pytest.mark.spec("LQ-11")
def test_server_hellos_that_are_refused(
    edit: Callable[[codec.ServerHello], codec.ServerHello], alert: Alert
) -> None:
    pair = TlsPair()
    pair.tap = edit_server_hello(edit)
    assert refused(pair).alert is alert


def without(kind: int) -> Callable[[codec.ClientHello], codec.ClientHello]:
    return lambda h: replace(h, extensions=with_extension(h.extensions, kind, None))


def with_body(kind: int, body: bytes) -> Callable[[codec.ClientHello], codec.ClientHello]:
    return lambda h: replace(h, extensions=with_extension(h.extensions, kind, body))


@pytest.mark.parametrize(
    ("edit", "alert"),
    [
        (without(ExtensionType.SUPPORTED_VERSIONS), Alert.PROTOCOL_VERSION),
        (with_body(ExtensionType.SUPPORTED_VERSIONS, b"\x02\x03\x03"), Alert.PROTOCOL_VERSION),
        (without(ExtensionType.SUPPORTED_GROUPS), Alert.MISSING_EXTENSION),
        (without(ExtensionType.KEY_SHARE), Alert.MISSING_EXTENSION),
        (without(ExtensionType.SIGNATURE_ALGORITHMS), Alert.MISSING_EXTENSION),
        (without(ExtensionType.QUIC_TRANSPORT_PARAMETERS), Alert.MISSING_EXTENSION),
        (without(ExtensionType.ALPN), Alert.NO_APPLICATION_PROTOCOL),
        (with_body(ExtensionType.ALPN, codec.write_alpn((b"h3",))), Alert.NO_APPLICATION_PROTOCOL),
        (with_body(ExtensionType.ALPN, b"\x00\x00"), Alert.DECODE_ERROR),
        (
            with_body(ExtensionType.SIGNATURE_ALGORITHMS, codec.write_u16_list((0x0603,))),
            Alert.HANDSHAKE_FAILURE,
        ),
        (
            with_body(ExtensionType.SUPPORTED_GROUPS, codec.write_u16_list((0x0017,))),
            Alert.ILLEGAL_PARAMETER,  # its share is for a group that it does not support
        ),
        (
            with_body(ExtensionType.KEY_SHARE, codec.write_client_shares(((0x11EC, bytes(1215)),))),
            Alert.ILLEGAL_PARAMETER,
        ),
        (
            with_body(
                ExtensionType.KEY_SHARE,
                codec.write_client_shares(((0x11EC, b"\xff" * 1184 + b"\x09" + bytes(31)),)),
            ),
            Alert.ILLEGAL_PARAMETER,  # coefficients out of range
        ),
        (lambda h: replace(h, session_id=bytes(32)), Alert.ILLEGAL_PARAMETER),
        (lambda h: replace(h, cipher_suites=(0x1399,)), Alert.HANDSHAKE_FAILURE),
    ],
)
@pytest.mark.spec("LQ-20")
def test_client_hellos_that_are_refused(
    edit: Callable[[codec.ClientHello], codec.ClientHello], alert: Alert
) -> None:
    pair = TlsPair()
    pair.tap = edit_client_hello(edit)
    assert refused(pair).alert is alert


def test_unknown_extensions_and_grease_of_a_client_are_ignored() -> None:
    """Only the transcript objects: the server itself goes on to its own flight."""
    pair = TlsPair()
    pair.tap = edit_client_hello(with_body(0x2A2A, b"anything"))
    refused(pair)
    assert HandshakeType.CERTIFICATE_VERIFY in [m[0] for m in pair.messages_of("server")]


# ---- the private profile ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "alert"),
    [
        (b"", Alert.DECODE_ERROR),
        (b"\x00", Alert.MISSING_EXTENSION),
        (None, Alert.MISSING_EXTENSION),
        (private_ext.encode_client_body(bytes(1183)), Alert.DECODE_ERROR),
        (private_ext.encode_client_body(b"\xff" * 1184), Alert.ILLEGAL_PARAMETER),
    ],
)
@pytest.mark.spec("LQ-31")
def test_private_extension_of_a_client(body: bytes | None, alert: Alert) -> None:
    pair = TlsPair(PqPolicy.PRIVATE_EXT)
    edit = without(0xFF01) if body is None else with_body(0xFF01, body)
    pair.tap = edit_client_hello(edit)
    assert refused(pair).alert is alert


@pytest.mark.parametrize(
    ("body", "alert"),
    [
        (None, Alert.MISSING_EXTENSION),
        (b"\x00", Alert.MISSING_EXTENSION),
        (b"", Alert.DECODE_ERROR),
        (private_ext.encode_server_body(bytes(1089)), Alert.DECODE_ERROR),
    ],
)
def test_private_extension_of_a_server(body: bytes | None, alert: Alert) -> None:
    pair = TlsPair(PqPolicy.PRIVATE_EXT)
    pair.tap = edit_server_hello(
        lambda h: replace(h, extensions=with_extension(h.extensions, 0xFF01, body))
    )
    assert refused(pair).alert is alert


@pytest.mark.spec("LQ-32")
def test_unsolicited_private_extension_is_fatal_and_foreign_use_is_ignored() -> None:
    pair = TlsPair()
    pair.tap = edit_server_hello(
        lambda h: replace(h, extensions=(*h.extensions, (0xFF01, b"\x00")))
    )
    assert refused(pair).alert is Alert.UNSUPPORTED_EXTENSION
    for body in (b"\x00", b"", bytes(1187)):
        other = TlsPair()
        other.tap = edit_client_hello(with_body(0xFF01, body))
        refused(other)  # by the transcript only
        assert HandshakeType.CERTIFICATE_VERIFY in [m[0] for m in other.messages_of("server")]


def test_private_extension_may_move_to_another_code_point() -> None:
    def moved(settings: TlsSettings) -> TlsSettings:
        return replace(settings, private_extension=0xFF42)

    pair = TlsPair(PqPolicy.PRIVATE_EXT, client_settings=moved, server_settings=moved).run()
    assert pair.client.negotiated.post_quantum
    apart = TlsPair(PqPolicy.PRIVATE_EXT, client_settings=moved)
    assert refused(apart).alert is Alert.MISSING_EXTENSION


# ---- certificates in the handshake --------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "alert"),
    [
        (CertificatePlan(starts=-100, ends=-1), Alert.CERTIFICATE_EXPIRED),
        (CertificatePlan(with_extension=False), Alert.BAD_CERTIFICATE),
        (CertificatePlan(unknown_critical=True), Alert.UNSUPPORTED_CERTIFICATE),
        (CertificatePlan(signed_by_another_key=True), Alert.BAD_CERTIFICATE),
    ],
)
@pytest.mark.parametrize("who", ["client", "server"])
def test_bad_certificates_of_either_side(who: str, plan: CertificatePlan, alert: Alert) -> None:
    rng = SeededRng("bad")
    bad = bad_certificate(Identity.generate(rng), rng, NOW, plan)

    def use(settings: TlsSettings) -> TlsSettings:
        return replace(settings, credentials=(bad,))

    pair = TlsPair(client_settings=use) if who == "client" else TlsPair(server_settings=use)
    assert refused(pair).alert is alert
    assert not pair.server.is_connected, "a server never connects to a client it refused"


@pytest.mark.spec("LQ-17")
def test_missing_client_certificate() -> None:
    pair = TlsPair()
    empty = codec.Certificate(b"", ()).encode()
    pair.tap = change_message(HandshakeType.CERTIFICATE, lambda _: empty, "client")
    assert refused(pair).alert is Alert.CERTIFICATE_REQUIRED


@pytest.mark.spec("LQ-17")
def test_skipping_the_client_certificate() -> None:
    pair = TlsPair()
    skipped = {HandshakeType.CERTIFICATE, HandshakeType.CERTIFICATE_VERIFY}
    pair.tap = lambda sender, level, message: (
        None if sender == "client" and message[0] in skipped else message
    )
    assert refused(pair).alert is Alert.UNEXPECTED_MESSAGE


@pytest.mark.parametrize("n", [0, 2])
def test_a_server_sends_exactly_one_certificate(n: int) -> None:
    pair = TlsPair()
    chain = codec.Certificate(b"", ((pair.server_credential.der, ()),) * n).encode()
    pair.tap = change_message(HandshakeType.CERTIFICATE, lambda _: chain, "server")
    assert refused(pair).alert is (Alert.DECODE_ERROR if n == 0 else Alert.BAD_CERTIFICATE)


@pytest.mark.spec("LQ-6")
def test_wrong_peer_id() -> None:
    rng = SeededRng("another")
    other = make_certificate(Identity.generate(rng), rng, NOW)
    from wraith.libp2p.certificate import verify_certificate

    expected = verify_certificate(other.der, NOW).peer_id

    def expect(settings: TlsSettings) -> TlsSettings:
        return replace(settings, expected_peer=expected)

    error = refused(TlsPair(client_settings=expect))
    assert error.alert is Alert.BAD_CERTIFICATE and str(expected) in str(error)


def test_replayed_signature_of_the_other_role_is_refused() -> None:
    """The context string keeps a server's CertificateVerify from serving as a client's."""
    pair = TlsPair()
    kept: list[bytes] = []

    def tap(sender: str, level: Level, message: bytes) -> bytes:
        del level
        if message[0] == HandshakeType.CERTIFICATE_VERIFY:
            if sender == "server":
                kept.append(message)
            else:
                return kept[0]
        return message

    pair.tap = tap
    assert refused(pair).alert is Alert.DECRYPT_ERROR


# ---- order, levels, resumption ------------------------------------------------------------------


@pytest.mark.spec("LQ-11")
def test_every_unexpected_message_in_every_state_is_refused() -> None:
    """State x message: what the table does not list raises unexpected_message."""
    for position in range(len(TlsPair().run().moved)):
        sender, level, expected = TlsPair().run().moved[position]
        for kind in HandshakeType:
            if kind == expected[0]:
                continue
            pair = TlsPair()
            empty = codec.encode_message(kind, b"")
            pair.tap = on_nth(position, lambda _, empty=empty: empty)  # type: ignore[misc]
            error = refused(pair)
            receiver = "server" if sender == "client" else "client"
            legal = kind in (HandshakeType.CERTIFICATE, HandshakeType.CERTIFICATE_REQUEST) and (
                receiver == "client" and expected[0] == HandshakeType.CERTIFICATE_REQUEST
            )
            wanted = Alert.DECODE_ERROR if legal else Alert.UNEXPECTED_MESSAGE
            assert error.alert is wanted, (expected[0], kind, level)


def test_messages_at_another_level_are_refused() -> None:
    pair = TlsPair()
    pair.client.start(b"p")
    ((_, hello),) = pair.client.take_output()
    pair.server.receive(Level.HANDSHAKE, hello)
    with pytest.raises(TlsAlert) as caught:
        pair.server.advance()
    assert caught.value.alert is Alert.UNEXPECTED_MESSAGE


def test_a_message_does_not_span_two_levels() -> None:
    pair = TlsPair()
    pair.client.start(b"p")
    ((_, hello),) = pair.client.take_output()
    pair.server.receive(Level.INITIAL, hello[:50])
    assert not pair.server.advance()
    with pytest.raises(TlsAlert, match="spans"):
        pair.server.receive(Level.HANDSHAKE, hello[50:])


def test_messages_may_come_byte_by_byte() -> None:
    pair = TlsPair()
    pair.client.start(b"p")
    ((_, hello),) = pair.client.take_output()
    for index in range(len(hello)):
        assert not pair.server.advance()
        pair.server.receive(Level.INITIAL, hello[index : index + 1])
    assert pair.server.advance()
    assert pair.server.state is TlsState.ANSWER


@pytest.mark.spec("LQ-16")
def test_zero_rtt_absence() -> None:
    """No PSK, ticket or early data is offered or taken, and tickets are dropped."""
    pair = TlsPair(PqPolicy.PREFER).run()
    forbidden = {
        ExtensionType.PRE_SHARED_KEY,
        ExtensionType.EARLY_DATA,
        ExtensionType.PSK_KEY_EXCHANGE_MODES,
    }
    hello = codec.ClientHello.decode(pair.messages_of("client")[0])
    assert not forbidden & {kind for kind, _ in hello.extensions}
    assert HandshakeType.NEW_SESSION_TICKET not in [m[0] for m in pair.messages_of("server")]

    ticket = codec.NewSessionTicket(7200, 0, b"", b"t", ()).encode()
    pair.client.receive(Level.APPLICATION, ticket)
    assert pair.client.advance()
    assert pair.client.take_output() == [] and pair.client.take_secrets() == []

    offering = TlsPair()
    psk = b"\x00\x07\x00\x01t\x00\x00\x00\x00\x00\x21\x20" + bytes(32)
    offering.tap = edit_client_hello(
        lambda h: replace(h, extensions=(*h.extensions, (42, b""), (41, psk)))
    )
    refused(offering)
    answer = codec.ServerHello.decode(offering.messages_of("server")[0])
    assert ExtensionType.PRE_SHARED_KEY not in {kind for kind, _ in answer.extensions}


@pytest.mark.parametrize(
    "kind", [HandshakeType.KEY_UPDATE, HandshakeType.CERTIFICATE_REQUEST, HandshakeType.FINISHED]
)
def test_other_messages_after_the_handshake_are_refused(kind: HandshakeType) -> None:
    pair = TlsPair().run()
    for engine in (pair.client, pair.server):
        engine.receive(Level.APPLICATION, codec.encode_message(kind, b"\x00"))
        with pytest.raises(TlsAlert) as caught:
            engine.advance()
        assert caught.value.alert is Alert.UNEXPECTED_MESSAGE


def test_a_failed_engine_stays_failed() -> None:
    pair = TlsPair(PqPolicy.CLASSICAL, PqPolicy.REQUIRE)
    refused(pair)
    pair.server.receive(Level.INITIAL, pair.messages_of("client")[0])
    with pytest.raises(TlsAlert):
        pair.server.advance()
    with pytest.raises(LocalProtocolError):
        pair.server.answer(b"")
    with pytest.raises(LocalProtocolError):
        _ = pair.server.negotiated
    with pytest.raises(LocalProtocolError):
        pair.client.start(b"again")


def test_expected_table_covers_every_waiting_state() -> None:
    silent = {TlsState.START, TlsState.ANSWER, TlsState.FAILED}
    assert set(EXPECTED) | silent == set(TlsState)
