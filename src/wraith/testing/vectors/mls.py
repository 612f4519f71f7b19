"""RFC 9420: the working group's vectors, every family of its collection.

Suites that the product refuses are skipped by name. Whole conversations are in ``mls_passive``.
"""

from __future__ import annotations

from collections.abc import Callable

from wraith.crypto.secret import Secret
from wraith.errors import LocalProtocolError, UnsupportedSuite
from wraith.mls import treemath as tm
from wraith.mls.codec import MlsReader, decode
from wraith.mls.context import GroupContext
from wraith.mls.framing import (
    AuthenticatedContent,
    Content,
    FramedContent,
    PrivateMessage,
    PublicMessage,
    Sender,
    SenderType,
    WireFormat,
    content_type,
    encode_content,
    open_private,
    protect_private,
    ratchet_kind,
    sender_data_key,
    sign_content,
)
from wraith.mls.key_package import LEAF_LABEL, KeyPackage
from wraith.mls.key_schedule import (
    EpochSecrets,
    confirmed_transcript_hash,
    export,
    interim_transcript_hash,
    joiner_secret,
    member_secret,
    welcome_secret,
)
from wraith.mls.limits import Limits
from wraith.mls.proposals import (
    Add,
    Commit,
    Remove,
    Update,
    read_proposal,
)
from wraith.mls.psk import ExternalPsk, psk_secret
from wraith.mls.ratchet_tree import RatchetTree
from wraith.mls.secret_tree import RatchetKind, SecretTree
from wraith.mls.suites import CipherSuite, suite_by_id
from wraith.mls.welcome import GroupInfo, GroupSecrets, Welcome, decode_message, encode_message
from wraith.testing.vectors.report import (
    CaseSkipped,
    Fields,
    Malformed,
    Report,
    equal,
    objects,
    refused,
)

LIMITS = Limits(members_max=1 << 16, tree_bytes_max=1 << 28, message_bytes_max=1 << 28)


def suite_of(vector: Fields) -> CipherSuite:
    number = vector.number("cipher_suite")
    try:
        return suite_by_id(number)
    except UnsupportedSuite:
        raise CaseSkipped(f"suite {number} is refused") from None


def _has(data: object, *names: str) -> bool:
    return (
        isinstance(data, list)
        and bool(data)
        and isinstance(data[0], dict)
        and set(names) <= data[0].keys()
    )


def _family(
    case: Callable[[Fields], None], *names: str
) -> tuple[Callable[[object], bool], Callable[[object, Report], None]]:
    """A file that is a list of objects with ``names``: each object is a case."""

    def run(data: object, report: Report) -> None:
        for index, vector in enumerate(objects(data)):
            report.run(f"vector {index}", lambda v=vector: case(v))  # type: ignore[misc]

    return (lambda data: _has(data, *names)), run


def _numbers(vector: Fields, name: str) -> list[int | None]:
    value = vector.raw.get(name)
    if not isinstance(value, list):
        raise Malformed(f"{name!r} is not a list")
    return value


def _deserialization(vector: Fields) -> None:
    equal(
        "length", MlsReader(vector.hex("vlbytes_header")).length("length"), vector.number("length")
    )


def _tree_math(vector: Fields) -> None:
    width = tm.full_width(vector.number("n_leaves"))
    top, n = tm.root(width), tm.n_nodes(width)
    equal("n_nodes", n, vector.number("n_nodes"))
    equal("root", top, vector.number("root"))
    nodes = range(n)
    equal("left", [None if tm.is_leaf(x) else tm.left(x) for x in nodes], _numbers(vector, "left"))
    equal(
        "right", [None if tm.is_leaf(x) else tm.right(x) for x in nodes], _numbers(vector, "right")
    )
    equal("parent", [None if x == top else tm.parent(x) for x in nodes], _numbers(vector, "parent"))
    equal(
        "sibling", [None if x == top else tm.sibling(x) for x in nodes], _numbers(vector, "sibling")
    )


def _crypto_basics(vector: Fields) -> None:
    suite = suite_of(vector)
    one = vector.object("ref_hash")
    equal("ref_hash", suite.ref_hash(one.text("label").encode(), one.hex("value")), one.hex("out"))
    one = vector.object("expand_with_label")
    label, n = one.text("label").encode(), one.number("length")
    expanded = suite.expand_with_label(one.hex("secret"), label, one.hex("context"), n)
    equal("expand_with_label", expanded, one.hex("out"))
    one = vector.object("derive_secret")
    derived = suite.derive_secret(one.hex("secret"), one.text("label").encode())
    equal("derive_secret", derived, one.hex("out"))
    one = vector.object("derive_tree_secret")
    derived = suite.derive_tree_secret(
        one.hex("secret"),
        one.text("label").encode(),
        one.number("generation"),
        one.number("length"),
    )
    equal("derive_tree_secret", derived, one.hex("out"))
    one = vector.object("sign_with_label")
    label, content, public = one.text("label").encode(), one.hex("content"), one.hex("pub")
    suite.verify_with_label(public, label, content, one.hex("signature"))
    ours = suite.sign_with_label(suite.signer(one.hex("priv")), label, content)
    suite.verify_with_label(public, label, content, ours)
    one = vector.object("encrypt_with_label")
    label, context, plain = one.text("label").encode(), one.hex("context"), one.hex("plaintext")
    private = Secret(one.hex("priv"))
    opened = suite.decrypt_with_label(
        private, label, context, one.hex("kem_output"), one.hex("ciphertext")
    )
    equal("plaintext", opened, plain)
    sealed = suite.encrypt_with_label(one.hex("pub"), label, context, plain)
    equal("own plaintext", suite.decrypt_with_label(private, label, context, *sealed), plain)


def _secret_tree(vector: Fields) -> None:
    suite = suite_of(vector)
    one = vector.object("sender_data")
    secret = Secret(one.hex("sender_data_secret"))
    keys = sender_data_key(suite, secret, one.hex("ciphertext"))
    equal("sender data", keys, (one.hex("key"), one.hex("nonce")))
    leaves = vector.raw.get("leaves")
    if not isinstance(leaves, list):
        raise Malformed("'leaves' is not a list")
    width = tm.full_width(len(leaves))
    tree = SecretTree(suite, Secret(vector.hex("encryption_secret")), width, LIMITS)
    names = {RatchetKind.HANDSHAKE: "handshake", RatchetKind.APPLICATION: "application"}
    for leaf, generations in enumerate(leaves):
        for want in objects(generations):
            for kind, name in names.items():
                step = tree.peek(leaf, kind, want.number("generation"))
                tree.take(step)
                equal(f"{name} key", step.key, want.hex(f"{name}_key"))
                equal(f"{name} nonce", step.nonce, want.hex(f"{name}_nonce"))


def _message_protection(vector: Fields) -> None:
    suite = suite_of(vector)
    context = GroupContext(
        suite.number,
        vector.hex("group_id"),
        vector.number("epoch"),
        vector.hex("tree_hash"),
        vector.hex("confirmed_transcript_hash"),
    ).encode()
    signer = suite.signer(vector.hex("signature_priv"))
    equal("signature_pub", signer.public, vector.hex("signature_pub"))
    membership = Secret(vector.hex("membership_key"))
    sender_data = Secret(vector.hex("sender_data_secret"))
    raw: dict[str, Content] = {
        "proposal": decode(read_proposal, vector.hex("proposal"), "proposal"),
        "commit": decode(Commit.read, vector.hex("commit"), "commit"),
        "application": vector.hex("application"),
    }

    def tree() -> SecretTree:
        return SecretTree(suite, Secret(vector.hex("encryption_secret")), 2, LIMITS)

    def framed(content: Content) -> FramedContent:
        place = (vector.hex("group_id"), vector.number("epoch"))
        return FramedContent(*place, Sender(SenderType.MEMBER, 1), b"", content)

    def made(content: Content, wire_format: WireFormat) -> AuthenticatedContent:
        one = framed(content)
        signature = sign_content(suite, wire_format, one, context, signer)
        tag = bytes(suite.hash_bytes) if isinstance(content, Commit) else None
        return AuthenticatedContent(wire_format, one, signature, tag)

    def check_public(message: PublicMessage, content: Content) -> None:
        message.check_membership(suite, membership, context)
        message.content.verify(suite, signer.public, context)
        equal("content", message.content.framed.content, content)

    def check_private(message: PrivateMessage, content: Content) -> None:
        opened, _ = open_private(suite, message, sender_data, tree())
        opened.verify(suite, signer.public, context)
        equal("content", encode_content(opened.framed.content), encode_content(content))
        equal("sender", opened.framed.sender.index, 1)

    for name, content in raw.items():
        public = made(content, WireFormat.PUBLIC_MESSAGE)
        if name == "application":
            refused(
                "public application data",
                LocalProtocolError,
                lambda p=public: PublicMessage.protect(suite, p, membership, context),  # type: ignore[misc]
            )
        else:
            given = decode_message(vector.hex(f"{name}_pub"))
            if not isinstance(given, PublicMessage):
                raise Malformed(f"{name}_pub is not a PublicMessage")
            check_public(given, content)
            check_public(PublicMessage.protect(suite, public, membership, context), content)
        sealed = decode_message(vector.hex(f"{name}_priv"))
        if not isinstance(sealed, PrivateMessage):
            raise Malformed(f"{name}_priv is not a PrivateMessage")
        check_private(sealed, content)
        step = tree().peek(1, ratchet_kind(content_type(content)), 0)
        private = made(content, WireFormat.PRIVATE_MESSAGE)
        check_private(protect_private(suite, private, step, sender_data, b"\1\2\3\4", 7), content)


def _key_schedule(vector: Fields) -> None:
    suite = suite_of(vector)
    init = Secret(vector.hex("initial_init_secret"))
    for number, epoch in enumerate(vector.objects("epochs")):
        context = GroupContext(
            suite.number,
            vector.hex("group_id"),
            number,
            epoch.hex("tree_hash"),
            epoch.hex("confirmed_transcript_hash"),
        ).encode()
        equal("group_context", context, epoch.hex("group_context"))
        joiner = joiner_secret(suite, init, Secret(epoch.hex("commit_secret")), context)
        equal("joiner_secret", joiner.reveal(), epoch.hex("joiner_secret"))
        member = member_secret(suite, joiner, Secret(epoch.hex("psk_secret")))
        welcome = welcome_secret(suite, member)
        equal("welcome_secret", welcome.secret.reveal(), epoch.hex("welcome_secret"))
        secrets = EpochSecrets.derive(suite, member, context)
        for name, secret in (
            ("init_secret", secrets.init),
            ("sender_data_secret", secrets.sender_data),
            ("encryption_secret", secrets.encryption),
            ("exporter_secret", secrets.exporter),
            ("epoch_authenticator", secrets.authenticator),
            ("external_secret", secrets.external),
            ("confirmation_key", secrets.confirmation),
            ("membership_key", secrets.membership),
            ("resumption_psk", secrets.resumption),
        ):
            equal(name, secret.reveal(), epoch.hex(name))
        external = secrets.external_key_pair(suite).public
        equal("external_pub", external, epoch.hex("external_pub"))
        one = epoch.object("exporter")
        exported = export(
            suite,
            secrets.exporter,
            one.text("label").encode(),
            one.hex("context"),
            one.number("length"),
        )
        equal("exporter", exported, one.hex("secret"))
        init = secrets.init


def _psk_secret(vector: Fields) -> None:
    suite = suite_of(vector)
    psks = [
        (ExternalPsk(one.hex("psk_id"), one.hex("psk_nonce")), Secret(one.hex("psk")))
        for one in vector.objects("psks")
    ]
    equal("psk_secret", psk_secret(suite, psks).reveal(), vector.hex("psk_secret"))


def _transcript_hashes(vector: Fields) -> None:
    suite = suite_of(vector)
    raw = vector.hex("authenticated_content")
    content = decode(AuthenticatedContent.read, raw, "authenticated content")
    equal("encoding", content.encode(), raw)
    if content.confirmation_tag is None:
        raise Malformed("the content is not a commit")
    confirmed = confirmed_transcript_hash(
        suite,
        vector.hex("interim_transcript_hash_before"),
        int(content.wire_format).to_bytes(2, "big"),
        content.framed.encode(),
        content.signature,
    )
    equal("confirmed hash", confirmed, vector.hex("confirmed_transcript_hash_after"))
    tag = suite.mac(Secret(vector.hex("confirmation_key")), confirmed)
    equal("confirmation tag", tag, content.confirmation_tag)
    interim = interim_transcript_hash(suite, confirmed, tag)
    equal("interim hash", interim, vector.hex("interim_transcript_hash_after"))


def _welcome(vector: Fields) -> None:
    suite = suite_of(vector)
    package = decode_message(vector.hex("key_package"))
    welcome = decode_message(vector.hex("welcome"))
    if not isinstance(package, KeyPackage) or not isinstance(welcome, Welcome):
        raise Malformed("not a key package and a Welcome")
    secrets = welcome.open_secrets(suite, package, Secret(vector.hex("init_priv")))
    member = member_secret(suite, Secret(secrets.joiner_secret), Secret(bytes(suite.hash_bytes)))
    raw = welcome_secret(suite, member).open(welcome.encrypted_group_info)
    info = decode(GroupInfo.read, raw, "group info")
    info.verify(suite, vector.hex("signer_pub"))
    confirmation = EpochSecrets.derive(suite, member, info.context.encode()).confirmation
    tag = suite.mac(confirmation, info.context.confirmed_transcript_hash)
    equal("confirmation tag", tag, info.confirmation_tag)


def read_tree(suite: CipherSuite, raw: bytes) -> RatchetTree:
    return decode(
        lambda reader: RatchetTree.read(reader, suite, LIMITS.members_max), raw, "ratchet tree"
    )


def _tree_operations(vector: Fields) -> None:
    suite = suite_of(vector)
    tree = read_tree(suite, vector.hex("tree_before"))
    equal("tree_hash_before", tree.tree_hash(), vector.hex("tree_hash_before"))
    proposal = decode(read_proposal, vector.hex("proposal"), "proposal")
    if isinstance(proposal, Add):
        tree.add_leaf(proposal.key_package.leaf_node)
    elif isinstance(proposal, Update):
        tree.update_leaf(vector.number("proposal_sender"), proposal.leaf_node)
    elif isinstance(proposal, Remove):
        tree.remove_leaf(proposal.removed)
    else:
        raise Malformed("a proposal that does not change the tree")
    equal("tree_after", tree.encode(), vector.hex("tree_after"))
    equal("tree_hash_after", tree.tree_hash(), vector.hex("tree_hash_after"))


def _tree_validation(vector: Fields) -> None:
    suite = suite_of(vector)
    raw = vector.hex("tree")
    tree = read_tree(suite, raw)
    equal("encoding", tree.encode(), raw)
    nodes = range(tm.n_nodes(tree.width))
    equal("resolutions", [tree.resolution(node) for node in nodes], vector.raw["resolutions"])
    hashes = [tree.tree_hash(node).hex() for node in nodes]
    equal("tree_hashes", hashes, vector.raw["tree_hashes"])
    tree.check_unmerged_leaves()
    tree.check_parent_hashes()
    for index, leaf in tree.members():
        signed = leaf.to_be_signed(vector.hex("group_id"), index)
        suite.verify_with_label(leaf.signature_key, LEAF_LABEL, signed, leaf.signature)


def _message(want: type) -> Callable[[bytes], bytes]:
    def again(raw: bytes) -> bytes:
        body = decode_message(raw)
        if not isinstance(body, want):
            raise Malformed(f"not a {want.__name__}")
        return encode_message(body)

    return again


def _proposal(kind: int) -> Callable[[bytes], bytes]:
    """The collection encodes proposals without their type, which stands before them here."""

    def again(raw: bytes) -> bytes:
        prefix = kind.to_bytes(2, "big")
        return decode(read_proposal, prefix + raw, "proposal").encode()[2:]

    return again


def _tree_again(raw: bytes) -> bytes:
    suite = suite_by_id(1)
    return read_tree(suite, raw).encode()


#: Field of a ``messages`` case to decode and encode again.
_MESSAGES: dict[str, Callable[[bytes], bytes]] = {
    "mls_welcome": _message(Welcome),
    "mls_group_info": _message(GroupInfo),
    "mls_key_package": _message(KeyPackage),
    "ratchet_tree": _tree_again,
    "group_secrets": lambda raw: decode(GroupSecrets.read, raw, "group secrets").encode(),
    "add_proposal": _proposal(1),
    "update_proposal": _proposal(2),
    "remove_proposal": _proposal(3),
    "pre_shared_key_proposal": _proposal(4),
    "re_init_proposal": _proposal(5),
    "external_init_proposal": _proposal(6),
    "group_context_extensions_proposal": _proposal(7),
    "commit": lambda raw: decode(Commit.read, raw, "commit").encode(),
    "public_message_application": _message(PublicMessage),
    "public_message_proposal": _message(PublicMessage),
    "public_message_commit": _message(PublicMessage),
    "private_message": _message(PrivateMessage),
}


def _messages(vector: Fields) -> None:
    for name, again in _MESSAGES.items():
        equal(name, again(vector.hex(name)), vector.hex(name))


FAMILIES = (
    _family(_deserialization, "vlbytes_header", "length"),
    _family(_tree_math, "n_leaves", "n_nodes", "root", "sibling"),
    _family(_crypto_basics, "cipher_suite", "ref_hash", "encrypt_with_label"),
    _family(_secret_tree, "cipher_suite", "encryption_secret", "sender_data", "leaves"),
    _family(_message_protection, "cipher_suite", "membership_key", "commit_priv"),
    _family(_key_schedule, "cipher_suite", "initial_init_secret", "epochs"),
    _family(_psk_secret, "cipher_suite", "psks", "psk_secret"),
    _family(_transcript_hashes, "cipher_suite", "authenticated_content", "confirmation_key"),
    _family(_welcome, "cipher_suite", "init_priv", "signer_pub", "welcome"),
    _family(_tree_operations, "cipher_suite", "tree_before", "tree_after", "proposal"),
    _family(_tree_validation, "cipher_suite", "tree", "tree_hashes", "resolutions"),
    _family(_messages, *_MESSAGES),
)
