"""What a program's log tells of its sessions, at INFO, with fields and without secrets."""

from __future__ import annotations

import logging

import pytest

import wraith

pytestmark = pytest.mark.asyncio


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]


async def test_begin_and_end_are_told_with_peer_and_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "wraith")
    alice = wraith.Identity.generate()
    async with wraith.listen("127.0.0.1:0") as listener:
        port, code = listener.port, listener.code
        client = await wraith.connect(code, identity=alice)
        server = await listener.accept()
        await client.close(0x1001, "enough\nof this")
        with pytest.raises(wraith.PeerClosed):
            await server.wait_closed()
    told = {(record.name, vars(record)["event"]) for record in caplog.records}
    assert told >= {
        ("wraith.listener", "listener.open"),
        ("wraith.listener", "listener.closed"),
        ("wraith.session", "session.open"),
        ("wraith.session", "session.closed"),
    }
    opened = [vars(r) for r in caplog.records if vars(r)["event"] == "session.open"]
    assert {(each["side"], each["suite"], each["post_quantum"]) for each in opened} == {
        ("dialled", "A", True),
        ("accepted", "A", True),
    }
    accepted = next(each for each in opened if each["side"] == "accepted")
    assert accepted["peer"] == str(alice.public) and accepted["address"] == "[address]"
    ended = [vars(r) for r in caplog.records if vars(r)["event"] == "session.closed"]
    of_alice = next(each for each in ended if each["peer"] == str(alice.public))
    assert of_alice["reason"].endswith(r"application code 0x1001: enough\nof this")
    assert 0 <= of_alice["seconds"] < 60
    shown = "\n".join(lines(caplog))
    assert f"listener.open port={port}" in shown and str(alice.public) in shown
    assert code not in shown and "127.0.0.1" not in shown and "\nof this" not in shown


async def test_who_is_turned_away_and_who_reaches_nobody_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "wraith")
    mallory = wraith.Identity.generate()
    async with wraith.listen("127.0.0.1:0", allow=[]) as listener:
        with pytest.raises(wraith.NotAuthorised):
            await wraith.connect(listener.code, identity=mallory)
    refused = next(vars(r) for r in caplog.records if vars(r)["event"] == "session.refused")
    assert refused["peer"] == str(mallory.public)
    assert refused["reason"] == "it is not among the allowed"
    quick = wraith.EndpointConfig(handshake_timeout_s=1)
    with pytest.raises(wraith.HandshakeTimeout):
        await wraith.connect(listener.code, config=quick)
    failed = [vars(r) for r in caplog.records if vars(r)["event"] == "session.failed"]
    assert str(failed[-1]["reason"]).startswith("Nobody answered the handshake")


async def test_below_info_nothing_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "wraith")
    async with wraith.listen("127.0.0.1:0") as listener, wraith.connect(listener.code):
        pass
    assert caplog.records == []
