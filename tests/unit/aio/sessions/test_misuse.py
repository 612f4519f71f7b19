"""Misuse is told at once, in one sentence: values of another kind, a call that nobody awaits."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import wraith
from wraith.aio import open_node
from wraith.config import Budgets
from wraith.types import Address, PeerKey

CODE_LIKE = b"wr1abc"


@pytest.mark.parametrize("code", [CODE_LIKE, None, 5, ["wr1"], "", "wr1", "wr1abc"])
@pytest.mark.asyncio
async def test_what_is_no_code_is_told(code: Any) -> None:
    with pytest.raises(wraith.CodeInvalid):
        await wraith.connect(code)


@pytest.mark.parametrize(
    "key", [None, 5, b"x" * 52, "zzz", "", "a" * 51, "é" * 52, "1" * 52, "a" * 53]
)
def test_what_is_no_key_is_told(key: Any) -> None:
    with pytest.raises(ValueError, match="52 characters"):
        PeerKey.parse(key)
    with pytest.raises(ValueError, match="32 bytes"):
        PeerKey(key)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("idle_timeout_s", "3"), ("idle_timeout_s", None), ("idle_timeout_s", 3.5)),
        *(("suites", 5), ("suites", ("A",)), ("suites", "AB"), ("suites", (1,)), ("suites", ())),
        *(("budgets", 3), ("keepalive", "x"), ("keepalive", 1), ("congestion", 5)),
        *(("max_streams", True), ("max_streams", 0), ("replay_window", "x"), ("window_sum", "x")),
        *(("send_buffer_bytes", 0), ("authorise_timeout_s", -1), ("datagram_bytes", "1200")),
        *(("initial_rtt_s", float("nan")), ("max_clock_skew_s", b"1")),
    ],
)
def test_a_setting_of_another_kind_is_told_by_its_key(key: str, value: Any) -> None:
    with pytest.raises(wraith.ConfigError) as caught:
        wraith.EndpointConfig(**{key: value})
    assert caught.value.key == key


def test_budgets_are_numbers() -> None:
    with pytest.raises(wraith.ConfigError, match="preauth_rate"):
        Budgets(preauth_rate="2000")  # type: ignore[arg-type]
    with pytest.raises(wraith.ConfigError, match="half_open_max"):
        Budgets(half_open_max=-1)
    assert Budgets.native().preauth_rate > Budgets().preauth_rate


LISTEN: list[dict[str, Any]] = [
    *({"allow": ["abc"]}, {"allow": 5}, {"allow": "abc"}, {"suites": (1,)}, {"config": {}}),
    *({"identity": "x"}, {"identity": bytes(32)}, {"max_pending_streams": 0}, {"access": 5}),
    *({"max_pending_streams": "3"}, {"at": 5}, {"sock": 5}, {"local": b"x"}),
]


@pytest.mark.parametrize("arguments", LISTEN, ids=str)
@pytest.mark.asyncio
async def test_arguments_of_listen(arguments: dict[str, Any]) -> None:
    with pytest.raises(wraith.ConfigError):
        await wraith.listen(**arguments)


@pytest.mark.asyncio
async def test_arguments_of_connect() -> None:
    async with wraith.listen("127.0.0.1:0") as listener:
        for arguments in ({"suites": "A"}, {"config": 5}, {"identity": bytes(32)}, {"local": 1.5}):
            with pytest.raises(wraith.ConfigError) as caught:
                await wraith.connect(listener.code, **arguments)
            assert r"\x00\x00" not in str(caught.value), "it may be a seed"


SEND: list[dict[str, Any]] = [
    *(
        {"limit_bytes_per_s": "x"},
        {"wait_s": "1"},
        {"identity": bytes(32)},
        {"allow": [1]},
        {"allow": 5},
        {"allow": "abc"},
    ),
    *({"config": {}}, {"at": 1}, {"local": b"1"}, {"suites": 5}),
]


@pytest.mark.parametrize("arguments", SEND, ids=str)
@pytest.mark.asyncio
async def test_arguments_of_send(
    arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRAITH_HOME", str(tmp_path))
    with pytest.raises(wraith.ConfigError):
        await wraith.send(text="hello", **arguments)


@pytest.mark.asyncio
async def test_a_node_is_told_too() -> None:
    with pytest.raises(wraith.ConfigError, match="identity"):
        await open_node("127.0.0.1:0", identity=bytes(32))  # type: ignore[arg-type]


@pytest.mark.asyncio
async def test_a_call_that_is_not_awaited_is_told() -> None:
    async with wraith.listen("127.0.0.1:0") as listener:
        opening = wraith.connect(listener.code)
        assert repr(opening) == "<wraith.connect(...), not awaited yet>"
        assert listener.code not in repr(opening)
        with pytest.raises(AttributeError, match=r"not open yet and has no 'open_stream': await"):
            _ = opening.open_stream  # type: ignore[attr-defined]
        with pytest.raises(TypeError, match="use async with"), opening:
            pass
        never: list[Callable[[], object]] = [
            lambda: wraith.connect(listener.code),
            lambda: wraith.listen("127.0.0.1:0"),
            lambda: listener.connect(listener.code),
            lambda: wraith.send(text="hello"),
        ]
        for call in never:
            with pytest.warns(ResourceWarning, match="was never awaited: nothing was opened"):
                call()
                gc.collect()


@pytest.mark.asyncio
async def test_one_that_was_awaited_is_not_warned_of_and_cannot_be_awaited_again() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opening = wraith.listen("127.0.0.1:0")
        listener = await opening
        with pytest.raises(wraith.LocalProtocolError, match="can be awaited once"):
            await opening
        await listener.close()
        del opening
        gc.collect()


def test_without_a_loop_of_asyncio_it_says_what_runs_it() -> None:
    """So does trio: its tasks have no running loop of asyncio."""
    opening = wraith.connect("wr1abc")
    with pytest.raises(wraith.LocalProtocolError, match="needs a running asyncio loop") as caught:
        opening.__await__()
    assert "wraith.sync" in caught.value.hint
    assert asyncio.iscoroutine(opening) is False


def test_addresses_and_keys_read_as_people_write_them() -> None:
    assert str(Address(b"\xc0\0\2\2", 43114)) == "192.0.2.2:43114"
    assert repr((Address(b"\xc0\0\2\2", 43114),)) == "(Address(192.0.2.2:43114),)"
    assert str(Address(b"\xfe\x80" + bytes(13) + b"\1", 9, 3)) == "[fe80::1%3]:9"
    assert str(Address(b"", 0)) == "*:0"
    key = PeerKey(bytes(32))
    assert repr(key) == f"PeerKey({'a' * 52})"


@pytest.mark.asyncio
async def test_what_a_session_negotiated_shows_no_raw_bytes() -> None:
    async with wraith.listen("127.0.0.1:0") as listener:
        async with wraith.connect(listener.code) as session:
            shown = repr(session.security)
            assert f"PeerKey({session.peer})" in shown and "\\x" not in shown
        assert repr(listener).startswith(f"Listener(port={listener.port}, ")
