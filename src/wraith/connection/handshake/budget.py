"""Bounds what strangers cost: a token bucket stands before every expensive step of a hello.

Three gates, cheapest first. ``PreAuth`` stands before the Elligator map: one token of the source's
prefix, then one of the process (a quarter of that rate belongs to prefixes that completed a
handshake lately, so a flood from elsewhere cannot lock them out). An address that completed a
handshake lately has a bucket of its own beside its prefix's, so a flood from its neighbours, or in
their name, cannot either. ``HelloFull`` stands after the
proof and before ML-KEM, and its level decides on cookie mode; only proven hellos can move it.

Nothing here knows a key or a datagram. All tables are bounded.
Spec: handshake.md [HS-20] [HS-21] [HS-22] [HS-26] [HS-80].
"""

from __future__ import annotations

from collections import OrderedDict

from wraith.config import Budgets
from wraith.types import Address

PREFIX_ENTRIES_MAX = 16_384
"""Prefix buckets that are remembered; a prefix that was forgotten starts with a full burst, which
the global bucket bounds."""

REFUSED_S = 0.25
REFUSED_ENTRIES_MAX = 1_024

KNOWN_S = 24 * 3600.0

VALIDATED_S = 120.0
VALIDATED_ENTRIES_MAX = 1_024

COOKIE_ON_LEVEL = 0.5
COOKIE_ON_S = 1.0
COOKIE_OFF_LEVEL = 0.9
COOKIE_OFF_S = 10.0


def prefix_of(address: Address) -> bytes:
    """The /24 of an IPv4 address, the /56 of an IPv6 one; a mapped IPv4 address counts as IPv4."""
    ip = address.ip
    if len(ip) == 16:
        if ip[:12] == b"\0" * 10 + b"\xff\xff":
            return ip[12:15]
        return ip[:7]
    return ip[:3]


def host_of(address: Address) -> bytes:
    """An IPv4 address without its port, the /64 of an IPv6 one: what a machine keeps when it dials
    again."""
    ip = address.ip
    if len(ip) == 16 and ip[:12] != b"\0" * 10 + b"\xff\xff":
        return ip[:8]
    return ip[-4:]


class TokenBucket:
    """``rate`` tokens per second up to ``burst``. Full at first."""

    __slots__ = ("rate", "burst", "_tokens", "_at")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._at = now

    def level(self, now: float) -> float:
        """Tokens at ``now``."""
        if now > self._at:
            self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
            self._at = now
        return self._tokens

    def resize(self, rate: float, burst: float, now: float) -> None:
        """Another rate and burst from now on; as full as it was."""
        part = self.level(now) / self.burst
        self.rate, self.burst = rate, burst
        self._tokens = part * burst

    def time_of(self, level: float) -> float:
        """When the bucket reaches ``level`` if nothing is taken; the last refill if it has."""
        return self._at + max(0.0, level - self._tokens) / self.rate

    def take(self, now: float) -> bool:
        """Takes one token; false, and nothing taken, when there is none."""
        if self.level(now) < 1.0:
            return False
        self._tokens -= 1.0
        return True


class _KnownHost:
    """An address that completed a handshake: when it last did, and the bucket that is its own."""

    __slots__ = ("at", "bucket")

    def __init__(self, at: float, bucket: TokenBucket) -> None:
        self.at = at
        self.bucket = bucket


class PreAuth:
    """The gate before the first public-key operation on a stranger's datagram."""

    __slots__ = (
        "_budgets", "_general", "_hosts", "_known", "_prefixes", "_refused", "_reserved",
        "_validated", "_validated_prefixes",
    )  # fmt: skip

    def __init__(self, budgets: Budgets, now: float) -> None:
        share = budgets.known_prefix_share
        self._budgets = budgets
        self._general = TokenBucket(
            budgets.preauth_rate * (1 - share), budgets.preauth_burst * (1 - share), now
        )
        self._reserved = TokenBucket(
            budgets.preauth_rate * share, max(1.0, budgets.preauth_burst * share), now
        )
        self._prefixes: OrderedDict[bytes, TokenBucket] = OrderedDict()
        self._known: OrderedDict[bytes, float] = OrderedDict()
        self._hosts: OrderedDict[bytes, _KnownHost] = OrderedDict()
        self._validated: OrderedDict[Address, float] = OrderedDict()
        self._validated_prefixes: OrderedDict[bytes, TokenBucket] = OrderedDict()
        self._refused: OrderedDict[Address, float] = OrderedDict()

    def take(self, source: Address, now: float) -> bool:
        """One token for one access key tried on one datagram.

        The prefix pays first: a datagram that its prefix cannot pay for costs the others nothing.
        A refusal is remembered, so that the second half of a refused hello is free to drop.
        """
        prefix = prefix_of(source)
        if self._take_of_prefix(source, prefix, now) and self._take_global(prefix, now):
            return True
        self._refused[source] = now + REFUSED_S
        self._refused.move_to_end(source)
        while len(self._refused) > REFUSED_ENTRIES_MAX:
            self._refused.popitem(last=False)
        return False

    def was_refused(self, source: Address, now: float) -> bool:
        """Whether a datagram of ``source`` was refused within the last 250 ms."""
        until = self._refused.get(source)
        if until is None:
            return False
        if until <= now:
            del self._refused[source]
            return False
        return True

    def on_completed(self, source: Address, now: float) -> None:
        """A handshake with ``source`` completed: its prefix and its address are known ones for 24
        hours. As many of each are remembered, the latest ones. [HS-21] [HS-80]"""
        prefix, host = prefix_of(source), host_of(source)
        self._known[prefix] = now
        self._known.move_to_end(prefix)
        while len(self._known) > self._budgets.known_prefixes:
            self._known.popitem(last=False)
        known = self._hosts.get(host)
        if known is None:
            self._hosts[host] = _KnownHost(now, self._new_bucket(now))
        else:
            known.at = now
            self._hosts.move_to_end(host)
        while len(self._hosts) > self._budgets.known_prefixes:
            self._hosts.popitem(last=False)

    def on_validated(self, source: Address, now: float) -> None:
        """``source`` has shown a cookie: it receives where it sends from. What others send in the
        name of its prefix does not lock it out while the cookie lasts. [HS-27]"""
        self._validated[source] = now + VALIDATED_S
        self._validated.move_to_end(source)
        while len(self._validated) > VALIDATED_ENTRIES_MAX:
            self._validated.popitem(last=False)

    def _take_of_prefix(self, source: Address, prefix: bytes, now: float) -> bool:
        """A token of the prefix; where strangers have used those up, one of the known address's
        own, or one of the second bucket, from which only validated addresses of the prefix may
        take."""
        if self._bucket_of(self._prefixes, prefix, now).take(now):
            return True
        known = self._hosts.get(host_of(source))
        if known is not None and now - known.at <= KNOWN_S and known.bucket.take(now):
            return True
        if self._validated.get(source, now) <= now:
            return False
        return self._bucket_of(self._validated_prefixes, prefix, now).take(now)

    def _is_known(self, prefix: bytes, now: float) -> bool:
        at = self._known.get(prefix)
        return at is not None and now - at <= KNOWN_S

    def _take_global(self, prefix: bytes, now: float) -> bool:
        if self._general.take(now):
            return True
        return self._is_known(prefix, now) and self._reserved.take(now)

    def _bucket_of(
        self, buckets: OrderedDict[bytes, TokenBucket], prefix: bytes, now: float
    ) -> TokenBucket:
        bucket = buckets.get(prefix)
        if bucket is None:
            bucket = buckets[prefix] = self._new_bucket(now)
            while len(buckets) > PREFIX_ENTRIES_MAX:
                buckets.popitem(last=False)
        else:
            buckets.move_to_end(prefix)
        return bucket

    def _new_bucket(self, now: float) -> TokenBucket:
        return TokenBucket(self._budgets.prefix_rate, self._budgets.prefix_burst, now)

    @property
    def n_entries(self) -> int:
        """Everything remembered about sources: bounded whatever arrives."""
        buckets = len(self._prefixes) + len(self._validated_prefixes) + len(self._hosts)
        return buckets + len(self._known) + len(self._refused) + len(self._validated)


class HelloFull:
    """One access key's gate before ML-KEM, and the cookie-mode switch that hangs on its level.

    Between two calls the level only rises, so the moments at which it crossed a bound are computed,
    not sampled: the mode does not depend on how often it is asked for.
    """

    __slots__ = (
        "_above_since", "_below_since", "_bucket", "_budgets", "_half_open_max", "cookie_mode",
    )  # fmt: skip

    def __init__(self, budgets: Budgets, now: float) -> None:
        self._budgets = budgets
        self._bucket = TokenBucket(budgets.hello_full_rate, budgets.hello_full_burst, now)
        self._half_open_max = budgets.cookie_half_open
        self._below_since: float | None = None
        self._above_since: float | None = now
        self.cookie_mode = False

    def set_share(self, share: float, now: float) -> None:
        """Gives the key this part (0 to 1) of the rate and of the burst from now on."""
        self._bucket.resize(
            share * self._budgets.hello_full_rate, share * self._budgets.hello_full_burst, now
        )

    def take(self, now: float, n_half_open: int) -> bool:
        """One token for one response to a complete, proven hello."""
        self.update(now, n_half_open)
        bucket = self._bucket
        taken = bucket.take(now)
        level = bucket.level(now)
        if level < COOKIE_ON_LEVEL * bucket.burst and self._below_since is None:
            self._below_since = now
        if level <= COOKIE_OFF_LEVEL * bucket.burst:
            self._above_since = None
        return taken

    def update(self, now: float, n_half_open: int) -> bool:
        """Re-evaluates cookie mode at ``now``; returns it. Called for proven hellos only."""
        bucket = self._bucket
        on, off = COOKIE_ON_LEVEL * bucket.burst, COOKIE_OFF_LEVEL * bucket.burst
        if self._below_since is not None:
            rose_at = bucket.time_of(on)
            if min(now, rose_at) - self._below_since >= COOKIE_ON_S:
                self.cookie_mode = True
            if rose_at <= now:
                self._below_since = None
        if self._above_since is None and (rose_at := bucket.time_of(off)) <= now:
            self._above_since = rose_at
        bucket.level(now)
        if n_half_open > self._half_open_max:
            self.cookie_mode = True
        elif self._above_since is not None and now - self._above_since >= COOKIE_OFF_S:
            self.cookie_mode = False
        return self.cookie_mode
