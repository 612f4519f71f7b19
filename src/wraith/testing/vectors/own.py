"""This protocol's own published vectors (``vectors/wraith``): key schedule, ratchet, veil, the
messages of a transfer.

One JSON object: ``{"wraith_vectors": <kind>, "cases": [...]}``; every value is hex.
"""

from __future__ import annotations

from collections.abc import Callable

from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.connection.handshake.replay_cache import ReplayCache
from wraith.connection.links.preface import make_preface, open_preface
from wraith.crypto import ratchet, session_keys
from wraith.crypto.aead import Aead
from wraith.crypto.drbg import ChaCha20Words
from wraith.crypto.ed25519 import Identity
from wraith.crypto.elligator2 import HiddenKey
from wraith.crypto.hybrid_kem import HybridCiphertext, HybridPublicKey, bind, combine
from wraith.crypto.ident import check_ident, make_ident
from wraith.crypto.kdf import keyed_hash
from wraith.crypto.noise import for_suite
from wraith.crypto.secret import Secret
from wraith.crypto.siv import siv_open, siv_seal
from wraith.crypto.ticket import open_ticket, seal_ticket
from wraith.crypto.veil import VeilKeys
from wraith.crypto.x25519 import X25519Key
from wraith.hotpath import RecordSealer
from wraith.testing.rng import FixedRng, HashKem
from wraith.testing.vectors.report import Fields, Malformed, Report, equal
from wraith.transfer import messages as m
from wraith.transfer.message_codec import MessageParser, encode_message
from wraith.types import Carrier, PeerKey, Role, SuiteId
from wraith.wire.extensions import decode_extensions
from wraith.wire.resumption import TicketContent


def recognises(data: object) -> bool:
    return isinstance(data, dict) and "wraith_vectors" in data


def run(data: object, report: Report) -> None:
    top = Fields(data)
    case_of = _KINDS.get(top.text("wraith_vectors"))
    if case_of is None:
        raise Malformed(f"unknown kind {top.text('wraith_vectors')!r}")
    for index, case in enumerate(top.objects("cases")):
        report.run(f"case {index}", lambda c=case: _compare(case_of(c), c))  # type: ignore[misc]


def outputs(kind: str, case: dict[str, object]) -> dict[str, str]:
    """What the product computes for one case; the generator of the published files calls this."""
    return _KINDS[kind](Fields(case))


def _compare(computed: dict[str, str], case: Fields) -> None:
    wanted = case.object("out").raw
    equal("names of the outputs", sorted(computed), sorted(wanted))
    for name, value in computed.items():
        equal(name, value, wanted[name])


def _combiner(case: Fields) -> dict[str, str]:
    combined = combine(case.hex("c_ss"), case.hex("pq_ss"))
    bound = bind(
        combined,
        HybridPublicKey(case.hex("c_pk"), case.hex("pq_pk")),
        HybridCiphertext(case.hex("c_ct"), case.hex("pq_ct")),
        case.hex("info"),
    )
    return {"combined": combined.hex(), "bound": bound.hex()}


def _key_schedule(case: Fields) -> dict[str, str]:
    if "session_secret" in case:
        secret = Secret(case.hex("session_secret"))
    else:
        secret = session_keys.session_secret(case.hex("ck"), case.hex("h"))
    keys = session_keys.SessionKeys.derive(secret)
    root1 = session_keys.next_root(
        keys.root0,
        case.hex("s"),
        session_keys.rekey_transcript(case.hex("init"), case.hex("resp")),
        1,
    )
    words = ChaCha20Words(keys.format_seed.reveal())
    sample = case.hex("sample")
    return {
        "session_secret": secret.reveal().hex(),
        "hp_i2r": keys.hp_i2r.reveal().hex(),
        "hp_r2i": keys.hp_r2i.reveal().hex(),
        "mask_i2r": keyed_hash(keys.hp_i2r.reveal(), sample).hex(),
        "cid_i_key": keys.cid_i.reveal().hex(),
        "cid_r_key": keys.cid_r.reveal().hex(),
        **{f"cid_r_{i}": session_keys.cid(keys.cid_r, i).hex() for i in (0, 1, 2, 255, 2**32 - 1)},
        "session_id": keys.session_id.hex(),
        "exporter": keys.exporter.reveal().hex(),
        "export": keys.export(case.text("export_label"), 48).hex(),
        "resumption0": keys.resumption0.reveal().hex(),
        "root0": keys.root0.reveal().hex(),
        "root1": root1.reveal().hex(),
        "resumption1": session_keys.resumption(root1).reveal().hex(),
        "format_seed": keys.format_seed.reveal().hex(),
        "format_words": "".join(f"{words.next_u32():08x}" for _ in range(20)),
    }


def _ratchet(case: Fields) -> dict[str, str]:
    root, epoch = case.hex("root"), case.number("epoch")
    sender = Role(case.text("sender"))
    iv = ratchet.iv(root, epoch, sender)
    chain = ratchet.first_chain(root, epoch, sender)
    out = {"iv": iv.hex(), "chain_0": chain.hex(), "chain_1": ratchet.next_chain(chain).hex()}
    for pn in (0, 1, 255, 256, 257, 1_000, 65_535, 1_000_000, ratchet.PN_BOUND - 1):
        out[f"mk_{pn}"] = ratchet.message_key_at(root, epoch, sender, pn).hex()
        for aead in (Aead.XCHACHA20_POLY1305, Aead.AES_256_GCM):
            out[f"nonce_{aead.nonce_bytes}_{pn}"] = ratchet.packet_nonce(aead, iv, pn).hex()
    return out


def _veil(case: Fields) -> dict[str, str]:
    access = X25519Key.from_secret(case.hex("ak"))
    e = HiddenKey.from_seed(case.hex("e_seed"))
    psk = case.hex("access_psk") or None
    keys = VeilKeys.derive(e.exchange(access.public), e.representative, access.public, psk)
    other = VeilKeys.derive(access.exchange(e.public), e.representative, access.public, psk)
    plain = case.hex("plaintext")
    out = {"representative": e.representative.hex(), "e_public": e.public.hex()}
    for role in Role:
        sealed = keys.seal(role, plain)
        equal("opened", other.open(role, sealed), plain)
        out[f"sealed_{role.value}"] = sealed.hex()
    for name in ("mac_i", "enc_i", "mac_r", "enc_r"):
        out[name] = getattr(keys, name).reveal().hex()
    return out


def _link(case: Fields) -> dict[str, str]:
    ak, psk = X25519Key.from_secret(case.hex("ak")), case.hex("access_psk") or None
    carrier, timestamp = Carrier(case.number("carrier")), case.number("timestamp")
    rng = FixedRng(case.hex("e_seed"))
    preface, keys = make_preface(ak.public, psk, carrier, rng=rng, unix_now=timestamp)
    opened = open_preface(AccessKey(ak, psk), preface, carrier)
    assert opened is not None
    equal("timestamp", opened.timestamp, timestamp)
    equal("the listener's key", opened.keys.key_in.reveal(), keys.key_out.reveal())
    replays = ReplayCache(
        ak, max_clock_skew_s=1, entries_max=1, now=0, unix_now=timestamp, complete=True
    )
    out = {
        "preface": preface.hex(),
        "road_id": keys.road_id.hex(),
        "replay_entry": replays.carrier_key_of(opened.e_public).hex(),
    }
    for name, key in (("to_listener", keys.key_out), ("to_dialler", keys.key_in)):
        sealer = RecordSealer(key.reveal())
        headers = [sealer.seal(n, n) for n in map(int, case.text("packet_bytes").split())]
        out[f"key_{name}"], out[f"headers_{name}"] = key.reveal().hex(), b"".join(headers).hex()
    return out


def _siv(case: Fields) -> dict[str, str]:
    k_mac, k_enc, plain = case.hex("k_mac"), case.hex("k_enc"), case.hex("plaintext")
    sealed = siv_seal(k_mac, k_enc, plain)
    equal("opened", siv_open(k_mac, k_enc, sealed), plain)
    return {"sealed": sealed.hex()}


def _ident(case: Fields) -> dict[str, str]:
    identity = Identity.from_seed(case.hex("seed"))
    not_after = case.number("not_after")
    ident = make_ident(identity, case.hex("static_public"), not_after)
    equal("key", check_ident(ident, case.hex("static_public"), not_after, 0), identity.public)
    return {"ident": ident.hex()}


def _ticket(case: Fields) -> dict[str, str]:
    """A ticket of a session's epoch: its secret, the psk that resumes, and what R seals."""
    id_, kid, stek = case.hex("id"), case.hex("kid"), case.hex("stek")
    secret = session_keys.ticket_secret(case.hex("resumption"), id_)
    content = TicketContent(
        suite=SuiteId[case.text("suite")],
        issued=case.number("issued"),
        expires=case.number("expires"),
        full=case.number("full"),
        not_after=case.number("not_after"),
        secret=secret.reveal(),
        peer=PeerKey(case.hex("peer")),
        extensions=decode_extensions(case.hex("extensions")),
    )
    sealed = seal_ticket(kid, stek, id_, content.encode())
    equal("opened", TicketContent.decode(open_ticket(stek, id_, sealed)), content)
    return {
        "secret": secret.reveal().hex(),
        "psk": session_keys.resume_psk(secret).hex(),
        "content": content.encode().hex(),
        "encrypted_params": sealed.hex(),
    }


def _handshake(case: Fields) -> dict[str, str]:
    """Messages and session secret of a whole handshake. The KEM is ``HashKem``: ML-KEM cannot be
    made deterministic here, and these cases are about everything around it."""
    suite = SuiteId[case.text("suite")]
    psk = case.hex("psk") or None
    kem = HashKem()
    prologue = case.hex("prologue")
    alice = for_suite(
        suite,
        Role.INITIATOR,
        prologue,
        rng=FixedRng(),
        kem=kem,
        s=X25519Key.from_secret(case.hex("s_i")),
        e=HiddenKey.from_seed(case.hex("e_i_seed")),
        e1=kem.generate(FixedRng(case.hex("kem_seed"))),
        psk=psk,
    )
    bob = for_suite(
        suite,
        Role.RESPONDER,
        prologue,
        rng=FixedRng(case.hex("kem_m")),
        kem=kem,
        s=X25519Key.from_secret(case.hex("s_r")),
        e=HiddenKey.from_seed(case.hex("e_r_seed")),
        psk=psk,
    )
    out = {}
    sides = (alice, bob)
    for index, payload in enumerate(case.texts("payloads")):
        writer, reader = sides[index % 2], sides[1 - index % 2]
        message = writer.write_message(bytes.fromhex(payload))
        equal("payload", reader.read_message(message).hex(), payload)
        out[f"message_{index}"] = message.hex()
    secrets = [session_keys.session_secret(*side.chaining_key_and_hash()) for side in sides]
    equal("both sides", secrets[0], secrets[1])
    return {**out, "h": alice.handshake_hash.hex(), "session_secret": secrets[0].reveal().hex()}


def _control_message(case: Fields) -> dict[str, str]:
    """One message of a transfer's control stream, there and back."""
    message = _message(case)
    encoded = encode_message(message)
    equal("decoded", MessageParser().feed(encoded), [message])
    return {"encoded": encoded.hex()}


def _message(case: Fields) -> m.Message:
    number = case.number
    match case.text("message"):
        case "OFFER":
            return m.Offer(
                m.OfferKind(number("kind")),
                number("entries"),
                number("files"),
                None if case.flag("total_unknown") else number("total"),
                number("pages"),
                number("listing_bytes"),
                case.hex("digest"),
                case.hex("name"),
            )
        case "PAGE":
            return m.Page(case.hex("data"))
        case "DROP":
            return m.Drop(tuple(int(entry) for entry in case.texts("entries")))
        case "START":
            return m.Start()
        case "FAILED":
            return m.Failed(number("entry"), m.Reason(number("reason")))
        case "END":
            return m.End(number("entry"), number("size"))
        case "ALL_SENT":
            return m.AllSent(number("failed"))
        case "RECEIPT_OK":
            return m.ReceiptOk()
        case "ANSWER":
            return m.Answer(case.flag("accepted"), m.Reason(number("reason")))
        case "HAVE":
            item = m.HaveItem(number("entry"), _pairs(case), case.hex("digest"))
            return m.Have((item, item) if case.flag("twice") else (item,))
        case "HAVE_END":
            return m.HaveEnd()
        case "SKIP":
            return m.Skip(_pairs(case))
        case "PROGRESS":
            return m.ProgressMessage(number("verified"), number("finished"), number("consumed"))
        case "RECEIPT":
            return m.Receipt(
                case.hex("digest"),
                number("files"),
                number("bytes"),
                number("failed"),
                number("unread"),
            )
        case "ABORT":
            return m.Abort(m.Reason(number("reason")), case.text("text"))
        case name:
            raise Malformed(f"unknown message {name!r}")


def _pairs(case: Fields) -> tuple[tuple[int, int], ...]:
    pairs = (text.partition("+") for text in case.texts("ranges"))
    return tuple((int(first), int(n)) for first, _, n in pairs)


_KINDS: dict[str, Callable[[Fields], dict[str, str]]] = {
    "combiner": _combiner,
    "key-schedule": _key_schedule,
    "ratchet": _ratchet,
    "veil": _veil,
    "link": _link,
    "siv": _siv,
    "ident": _ident,
    "ticket": _ticket,
    "handshake": _handshake,
    "control-message": _control_message,
}
