"""Where a result comes from: the processor by its numbers, and what it can do without any protocol.

"AMD EPYC" names a hundred machines. Family, model and stepping name one; and two raw figures, taken
right after each result was measured, say how fast it was just then: AES-256-GCM on one core, and
UDP with segmentation over loopback.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

RAW_APART = 1.5
"""Raw figures further apart than this count as those of another machine; it may have been busy."""
RAW_MIB = 256
RAW_DATAGRAM = 1400
RAW_PEER = Path(__file__).parent / "peers" / "raw_udp_gso.py"


def processor() -> str:
    """Model name with family, model and stepping where the kernel tells them."""
    fields: dict[str, str] = {}
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
        if not line.strip():
            break
    name = fields.get("model name", platform.machine())
    numbers = [
        f"{key} {fields[key]}" for key in ("cpu family", "model", "stepping") if key in fields
    ]
    return f"{name} ({', '.join(numbers)})" if numbers else name


def aes_mb_per_s() -> float:
    """AES-256-GCM over 64 KiB messages on one core: the best of five short runs."""
    cipher, nonce, text = AESGCM(os.urandom(32)), bytes(12), os.urandom(1 << 16)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(100):
            cipher.encrypt(nonce, text, None)
        best = min(best, (time.perf_counter() - start) / 100)
    return len(text) / best / 1e6


def udp_mb_per_s() -> float | None:
    """UDP with segmentation over loopback, one process a side; ``None`` where that fails."""
    from harness import PeerFailed, finished, started

    command = (sys.executable, str(RAW_PEER))
    try:
        with started([*command, "recv"]) as receiver:
            port = str(receiver.line()["port"])
            finished([*command, "send", port, str(RAW_MIB), str(RAW_DATAGRAM)])
            arrived: dict[str, Any] = receiver.line()
    except (PeerFailed, OSError, subprocess.SubprocessError):
        return None
    seconds = float(arrived["seconds"])
    return int(arrived["bytes"]) / seconds / 1e6 if seconds else None


def machine() -> dict[str, object]:
    """Where a result comes from, and how fast that is just now."""
    import wraith
    from wraith import hotpath

    load = os.getloadavg()[0]
    return {
        "cpu": processor(),
        "cores": os.cpu_count(),
        "load": load,
        "aes_256_gcm_mb_per_s": round(aes_mb_per_s()),
        "udp_gso_mb_per_s": round(udp_mb_per_s() or 0) or None,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "wraith": wraith.__version__,
        "hotpath": hotpath.NAME,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def is_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two results were made by machines of one kind that were equally fast, as far as their
    results tell: older ones have no raw figures."""
    if any(one.get(key) != other.get(key) for key in ("cpu", "cores", "kernel")):
        return False
    for key in ("aes_256_gcm_mb_per_s", "udp_gso_mb_per_s"):
        low, high = sorted((one.get(key) or 0, other.get(key) or 0))
        if low and high > RAW_APART * low:
            return False
    return True
