"""Fresh keys for a running session: X25519 and ML-KEM mixed into the root, once per epoch.

::

    driver (initiator)                                 responder
    Idle ── INIT(x_I, ek) ───────────────────────────► Idle
    AwaitingResponse                                   receive keys of e+1; sends on in e
        ◄─────────────────────────── RESP(x_R, ct) ──  AwaitingPacket
    receive and send keys of e+1, sends in e+1
    AwaitingPacket ── first packet of e+1 ───────────► Idle: sends in e+1
        ◄──────────────── first packet of e+1 ───────
    Idle

The messages travel as records on stream 0, so loss and order are not this file's business; what it
decides is when to begin, which message is allowed, and when waiting has become failure.
Spec: docs/spec/rekey.md.
"""

from __future__ import annotations

from enum import Enum

from wraith.abc import Kem, KemSecret, Rng
from wraith.config import EndpointConfig
from wraith.connection.keys import CLOSE_ONLY, DATA_STOP, SessionEpochs
from wraith.crypto.hybrid_kem import combine
from wraith.crypto.secret import Secret
from wraith.crypto.session_keys import next_root, rekey_transcript
from wraith.crypto.suite import SUITES
from wraith.crypto.x25519 import X25519Key
from wraith.errors import CloseCode, InvalidKey, RemoteProtocolError
from wraith.types import Role, SuiteId
from wraith.wire.control_records import RekeyInit, RekeyRequest, RekeyResp

MIN_SPACING_S = 1.0
EPOCH_AGE_MAX_S = 600.0
PATIENCE_S = 30.0
OLD_EPOCH_TTL_MIN_S = 1.0
OLD_EPOCH_TTL_MAX_S = 10.0
FAILED_PROBES = 3
FAILED_PROBES_S = 10.0

REASON_PN, REASON_APPLICATION = 2, 3
"""Why a rekey is asked for; 1 is its age, which the initiator looks at itself."""


class Phase(Enum):
    IDLE = "idle"
    AWAITING_RESPONSE = "awaiting response"
    AWAITING_PACKET = "awaiting packet"


class RekeyFailed(RemoteProtocolError):
    """The exchange of fresh keys failed."""

    code = "rekey-failed"

    def __init__(self, message: str) -> None:
        super().__init__(message, close_code=CloseCode.REKEY_FAILED)


class AwaitingRekeyResponse:
    """The driver's half-done exchange. ``finish`` uses it up."""

    __slots__ = ("_init", "_kem_secret", "_root", "_x", "epoch")

    def __init__(
        self, x: X25519Key, kem_secret: KemSecret | None, init: bytes, root: Secret, epoch: int
    ) -> None:
        self._x: X25519Key | None = x
        self._kem_secret = kem_secret
        self._init = init
        self._root = root
        self.epoch = epoch

    def finish(self, resp: RekeyResp) -> Secret:
        """``root_{e+1}``. Raises ``RekeyFailed``; the secrets are gone either way. [RK-3]"""
        x, kem_secret = self._x, self._kem_secret
        if x is None:
            raise AssertionError("this stage was used")
        self._x = self._kem_secret = None
        try:
            s = x.exchange(resp.x)
            if kem_secret is not None:
                s = combine(s, kem_secret.decapsulate(resp.ct))
            elif resp.ct:
                raise RekeyFailed("a ciphertext where none belongs")
        except InvalidKey:
            raise RekeyFailed("malformed rekey response") from None
        finally:
            x.wipe()
            if kem_secret is not None:
                kem_secret.wipe()
        return next_root(self._root, s, rekey_transcript(self._init, resp.message()), self.epoch)

    def wipe(self) -> None:
        if self._x is not None:
            self._x.wipe()
        if self._kem_secret is not None:
            self._kem_secret.wipe()
        self._x = self._kem_secret = None


def begin(
    root: Secret, epoch: int, *, kem: Kem | None, rng: Rng
) -> tuple[RekeyInit, AwaitingRekeyResponse]:
    """The driver's first message for ``epoch`` (the new one)."""
    x = X25519Key.generate(rng)
    kem_secret = kem.generate(rng) if kem is not None else None
    ek = kem_secret.encapsulation_key if kem_secret is not None else b""
    init = RekeyInit(epoch, x.public, ek)
    return init, AwaitingRekeyResponse(x, kem_secret, init.message(), root, epoch)


def respond(
    root: Secret, init: RekeyInit, *, kem: Kem | None, rng: Rng
) -> tuple[RekeyResp, Secret]:
    """The answer to ``init`` and ``root_{e+1}``. Raises ``RekeyFailed``. [RK-3]"""
    x = X25519Key.generate(rng)
    try:
        s = x.exchange(init.x)
        ct = b""
        if kem is not None:
            ss, ct = kem.encapsulate(init.ek, rng)
            s = combine(s, ss)
        elif init.ek:
            raise RekeyFailed("an encapsulation key where none belongs")
    except InvalidKey:
        raise RekeyFailed("malformed rekey message") from None
    finally:
        x.wipe()
    resp = RekeyResp(init.epoch, x.public, ct)
    return resp, next_root(root, s, rekey_transcript(init.message(), resp.message()), init.epoch)


class RekeyControl:
    """Triggers, order and deadlines of the rekeys of one session."""

    __slots__ = (
        "_begun_at",
        "_config",
        "_deadline",
        "_epoch_at",
        "_first_probe_at",
        "_has_asked",
        "_has_traffic",
        "_is_driver",
        "_is_wanted",
        "_kem",
        "_keys",
        "_n_probes",
        "_old_heard",
        "_rng",
        "_stage",
        "_stopped_at",
        "_suspended_at",
        "phase",
    )

    def __init__(
        self,
        role: Role,
        suite: SuiteId,
        *,
        keys: SessionEpochs,
        kem: Kem,
        rng: Rng,
        config: EndpointConfig,
        now: float,
    ) -> None:
        self.phase = Phase.IDLE
        self._is_driver = role is Role.INITIATOR
        self._keys = keys
        self._kem = kem if SUITES[suite].post_quantum else None
        self._rng = rng
        self._config = config
        self._stage: AwaitingRekeyResponse | None = None
        self._epoch_at = now
        self._begun_at = now - MIN_SPACING_S
        self._deadline: float | None = None
        self._stopped_at: float | None = None
        self._suspended_at: float | None = None
        self._has_traffic = False
        self._is_wanted = False
        self._has_asked = False
        self._first_probe_at: float | None = None
        self._n_probes = 0
        self._old_heard = False

    # -- triggers

    @property
    def epoch_at(self) -> float:
        """When the present epoch began."""
        return self._epoch_at

    @property
    def is_running(self) -> bool:
        return self.phase is not Phase.IDLE

    def on_traffic(self) -> None:
        """An ack-eliciting packet was sent or received in the present epoch."""
        self._has_traffic = True

    def request(self) -> None:
        """The application, or the peer, wants fresh keys."""
        self._is_wanted = True

    def is_pn_due(self) -> bool:
        return self._keys.n_packets() > self._config.rekey_packets

    def should_begin(self, now: float) -> bool:
        """Driver: a rekey is due and allowed now. [RK-1]"""
        if not self._is_driver or self.phase is not Phase.IDLE:
            return False
        if self._keys.old_receive is not None:
            return False
        if self.is_pn_due():
            return True
        # Sums, not differences: what ``next_time`` announces must be due when it has come.
        if now < self._begun_at + MIN_SPACING_S:
            return False
        aged = now >= self._epoch_at + self._config.rekey_interval_s and self._has_traffic
        return self._is_wanted or aged

    def begin(self, now: float) -> RekeyInit:
        init, self._stage = begin(
            self._keys.root, self._keys.newest + 1, kem=self._kem, rng=self._rng
        )
        self.phase = Phase.AWAITING_RESPONSE
        self._begun_at = now
        self._is_wanted = False
        self._deadline = now + PATIENCE_S
        return init

    def should_ask(self) -> RekeyRequest | None:
        """Responder: the request to send to the driver, once per epoch."""
        if self._is_driver or self.phase is not Phase.IDLE or self._has_asked:
            return None
        if self._is_wanted:
            self._has_asked = True
            return RekeyRequest(reason=REASON_APPLICATION)
        if self.is_pn_due() and self._keys.old_receive is None:
            self._has_asked = True
            return RekeyRequest(reason=REASON_PN)
        return None

    # -- messages

    def on_init(self, init: RekeyInit) -> RekeyResp:
        """Responder: installs the next epoch for receiving. Raises ``RekeyFailed``. [RK-4]"""
        if self._is_driver:
            raise RekeyFailed("only the initiator of the handshake begins a rekey")
        if self.phase is not Phase.IDLE or init.epoch != self._keys.newest + 1:
            raise RekeyFailed("rekey for a wrong epoch")
        resp, root = respond(self._keys.root, init, kem=self._kem, rng=self._rng)
        self._keys.install(root)
        self.phase = Phase.AWAITING_PACKET
        return resp

    def on_resp(self, resp: RekeyResp, now: float) -> None:
        """Driver: installs the next epoch and switches sending to it. Raises ``RekeyFailed``."""
        stage = self._stage
        if self.phase is not Phase.AWAITING_RESPONSE or stage is None:
            raise RekeyFailed("a rekey answer without a question")
        if resp.epoch != stage.epoch:
            raise RekeyFailed("rekey for a wrong epoch")
        self._stage = None
        self._keys.install(stage.finish(resp))
        self._keys.switch_send()
        self.phase = Phase.AWAITING_PACKET
        self._deadline = None
        self._first_probe_at = None
        self._n_probes = 0
        self._old_heard = False

    def on_request(self) -> None:
        """Ignored while a rekey is running. [RK-2]"""
        if self._is_driver and self.phase is Phase.IDLE:
            self._is_wanted = True
        elif not self._is_driver:
            raise RemoteProtocolError("a rekey request from the driver")

    def on_epoch(self, now: float) -> None:
        """A packet of the new epoch has authenticated: the exchange is complete."""
        self.phase = Phase.IDLE
        self._epoch_at = now
        self._has_traffic = False
        self._has_asked = False
        self._is_wanted = False
        self._deadline = None
        self._stopped_at = None

    # -- failure

    def on_probe(self, now: float) -> None:
        """A PTO probe has left; only those in an epoch that nobody has confirmed count."""
        if self.phase is Phase.AWAITING_PACKET and self._is_driver:
            self._n_probes += 1
            if self._first_probe_at is None:
                self._first_probe_at = now

    def on_old_packet(self) -> None:
        """A packet of the epoch before has authenticated: the path works."""
        if self._first_probe_at is not None:
            self._old_heard = True

    def is_mismatched(self, now: float) -> bool:
        """The peer hears us in the old epoch only: both ends derived different roots. [RK-11]"""
        return (
            self._first_probe_at is not None
            and self._n_probes >= FAILED_PROBES
            and now - self._first_probe_at >= FAILED_PROBES_S
            and self._old_heard
        )

    def is_stopped(self, now: float) -> bool:
        """Only control may be sent in this epoch (data stop). [RK-10]"""
        stopped = self._keys.highest_pn() >= DATA_STOP or (
            self._has_traffic and now - self._epoch_at > EPOCH_AGE_MAX_S
        )
        if stopped and self._stopped_at is None:
            self._stopped_at = now
        return stopped

    def data_packets_left(self) -> int:
        """How many data packets this epoch still has numbers for."""
        return DATA_STOP - self._keys.sealer.next_pn(self._keys.send)

    def suspend(self, now: float) -> None:
        """The path is suspect: waiting does not count."""
        if self._suspended_at is None:
            self._suspended_at = now

    def resume(self, now: float) -> None:
        if self._suspended_at is None:
            return
        pause = now - self._suspended_at
        self._suspended_at = None
        if self._deadline is not None:
            self._deadline += pause
        if self._stopped_at is not None:
            self._stopped_at += pause

    def check(self, now: float) -> None:
        """Raises:
        RekeyFailed: out of numbers, or out of patience. [RK-10, RK-11]
        """
        if self._keys.highest_pn() >= CLOSE_ONLY:
            raise RekeyFailed("out of packet numbers")
        if self.is_mismatched(now):
            raise RekeyFailed("the peer does not follow to the new epoch")
        if self._suspended_at is not None:
            return
        if self._deadline is not None and now >= self._deadline:
            raise RekeyFailed("no answer to a rekey")
        if self._stopped_at is not None and now >= self._stopped_at + PATIENCE_S:
            raise RekeyFailed("data stopped for lack of fresh keys")

    def next_time(self) -> float | None:
        """When ``check`` or ``should_begin`` may change their answer by time alone."""
        times: list[float] = []
        if self._is_driver and self.phase is Phase.IDLE and self._keys.old_receive is None:
            spacing = self._begun_at + MIN_SPACING_S
            if self._is_wanted:
                times.append(spacing)
            if self._has_traffic:
                times.append(max(self._epoch_at + self._config.rekey_interval_s, spacing))
        if self._suspended_at is None:
            if self._deadline is not None:
                times.append(self._deadline)
            if self._stopped_at is not None:
                times.append(self._stopped_at + PATIENCE_S)
        return min(times, default=None)

    def wipe(self) -> None:
        if self._stage is not None:
            self._stage.wipe()
            self._stage = None


def old_epoch_ttl_s(pto_s: float) -> float:
    """The seconds that old receive keys live after the switch. [RK-7]"""
    return min(max(OLD_EPOCH_TTL_MIN_S, 3 * pto_s), OLD_EPOCH_TTL_MAX_S)
