"""Where a peer is ahead: each peer's figures beside ours, from the results that are there.

A ratio above 1 means that we are behind. Limits (raw UDP, a copy, plain UDP) are no peers.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

LIMITS = ("raw UDP", "AES-256", "ChaCha20", "cp (limit)", "plain UDP")
NEW = ("libp2p", "mls")
"""Subjects whose older results do not keep what is needed."""
Ratio = tuple[str, float]
Data = Mapping[str, Any]


def behind(data: Mapping[str, Data]) -> Iterator[Ratio]:
    """Every comparison of the results; ``data`` by subject."""
    for suite in "AB":
        name = f"wraith {suite}"
        yield from streams(name, data)
        for title, tools in data.get("files", {}).items():
            yield from of(title[0].lower() + title[1:], name, tools, "seconds", least=True)
        yield from latency(name, data.get("latency", {}))
        parties = data.get("handshake", {})
        yield from of("handshake, median", name, parties, "median_ms", least=True)
    for case, kinds in data.get("reorder", {}).items():
        if {"wraith", "tcp"} <= set(kinds):
            ours, theirs = (
                statistics.median(run["mbit_per_s"] for run in kinds[kind])
                for kind in ("wraith", "tcp")
            )
            yield f"one stream, emulated link, {case}, kernel TCP's rate to ours", theirs / ours
    yield from carriers(data.get("carriers", {}))
    yield from libp2p(data.get("libp2p", {}).get("stream", {}))
    yield from mls(data.get("mls", {}))


def unknown(data: Mapping[str, Data]) -> Sequence[str]:
    """Subjects with results too old to say whether a peer is ahead."""
    key = {"libp2p": "stream", "mls": "groups"}
    return [name for name in NEW if name in data and key[name] not in data[name]]


def of(what: str, ours: str, parties: Data, figure: str, *, least: bool = False) -> Iterator[Ratio]:
    """``figure`` of each peer beside that of ``ours``; ``least``: the smaller is ahead."""
    if ours not in parties:
        return
    for other, found in parties.items():
        if other.startswith(("wraith", *LIMITS)):
            continue
        mine, theirs = value(parties[ours], figure), value(found, figure)
        whose = f"ours ({ours}) to {other}" if least else f"{other} to ours ({ours})"
        yield f"{what}, {whose}", mine / theirs if least else theirs / mine


def value(found: Any, figure: str) -> float:
    """Older results keep the one figure itself."""
    return float(found[figure] if isinstance(found, dict) else found)


def streams(name: str, data: Mapping[str, Data]) -> Iterator[Ratio]:
    for datagram, parties in data.get("throughput", {}).items():
        what = f"one stream over loopback, {datagram}-byte datagrams"
        yield from of(what, name, parties, "mb_per_s")
    for state, parties in data.get("veth", {}).items():
        if name in parties:
            yield from of(f"one stream, {state}", name, parties, "mb_per_s")


def latency(name: str, found: Data) -> Iterator[Ratio]:
    for verb, title in (
        ("echo", "echo, idle"),
        ("loaded", "echo beside a bulk stream"),
        ("first", "first byte of a small file"),
    ):
        parties = {
            key.partition(" ")[2]: each for key, each in found.items() if key.startswith(f"{verb} ")
        }
        yield from of(f"{title}, P50", name, parties, "p50_ms", least=True)


def carriers(found: Data) -> Iterator[Ratio]:
    """A link beside what moves bytes over the same carrier. UDP is our own, a file has no peer."""
    for title, parties in found.items():
        for ours in ("TCP link", "WebSocket link"):
            for other in sorted({*parties} - {ours, "UDP"} if ours in parties else ()):
                if title != "file":
                    ratio = value(parties[other], "mb_per_s") / value(parties[ours], "mb_per_s")
                    yield f"{title}, {other} to our {ours}", ratio


def libp2p(stacks: Data) -> Iterator[Ratio]:
    """Ours beside the same library with its own TLS, and beside quic-go."""
    for backend in ("aioquic", "qh3"):
        ours = f"ours on {backend}"
        for other in (f"{backend}, its own TLS", "quic-go"):
            if ours in stacks and other in stacks:
                ratio = value(stacks[other], "mb_per_s") / value(stacks[ours], "mb_per_s")
                yield f"libp2p, one stream, {other} to {ours}", ratio


def mls(found: Data) -> Iterator[Ratio]:
    """Times of both by suite and by what was done."""
    for suite, works in found.get("groups", {}).items():
        for what, both in works.items():
            ours, theirs = (statistics.median(both[side]) for side in ("ours_s", "theirs_s"))
            yield f"groups, {suite}, {what}, time to OpenMLS's", ours / theirs
