"""Log records: on when asked for, never with secrets, addresses hidden."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from wraith.aio.tracing import LoggingTracer, make_tracer


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    root = logging.getLogger("wraith")
    before = (list(root.handlers), root.level)
    yield
    root.handlers[:], root.level = before[0], before[1]
    logging.getLogger("wraith.recovery").setLevel(logging.NOTSET)


def test_secrets_bytes_and_addresses_do_not_reach_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "wraith"):
        LoggingTracer().record(
            "endpoint.dropped", psk="hunter2", payload=b"hunter2", address="192.0.2.1", n=3
        )
    assert caplog.messages == [
        "endpoint.dropped psk=[secret] payload=<7 bytes> address=[address] n=3"
    ]


def test_addresses_are_shown_when_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    tracer = make_tracer({"WRAITH_LOG": "debug,addresses"})
    with caplog.at_level(logging.DEBUG, "wraith"):
        tracer.record("endpoint.dropped", address="192.0.2.1")
    assert caplog.messages == ["endpoint.dropped address=192.0.2.1"]


def test_a_record_goes_to_the_logger_of_its_part(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "wraith"):
        LoggingTracer().record("recovery.lost", n=1)
        LoggingTracer().record("driver.store_failed", warning=True)
    assert [(r.name, r.levelno) for r in caplog.records] == [
        ("wraith.recovery", logging.DEBUG),
        ("wraith.driver", logging.WARNING),
    ]


def test_without_the_variable_nothing_is_set_up() -> None:
    root = logging.getLogger("wraith")
    root.handlers.clear()
    make_tracer({})
    make_tracer({"WRAITH_LOG": "nonsense=,,=,loud"})
    assert root.handlers == []


def test_parts_have_levels_of_their_own() -> None:
    make_tracer({"WRAITH_LOG": "warning,recovery=debug"})
    make_tracer({"WRAITH_LOG": "warning,recovery=debug"})
    root = logging.getLogger("wraith")
    assert root.level == logging.WARNING
    assert logging.getLogger("wraith.recovery").isEnabledFor(logging.DEBUG)
    assert not logging.getLogger("wraith.driver").isEnabledFor(logging.DEBUG)
    assert len([h for h in root.handlers if type(h) is logging.StreamHandler]) == 1


def test_fields_are_attributes_of_the_record(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "wraith"):
        LoggingTracer().record("part.what", n=3, name="x", psk=b"hunter2", peer=None, at=1.5)
    record = vars(caplog.records[0])
    assert (record["event"], record["n"], record["at"], record["peer"]) == (
        "part.what",
        3,
        1.5,
        None,
    )
    assert record["name"] == "wraith.part" and record["name_"] == "x"
    assert record["psk"] == "[secret]"


def test_words_of_a_peer_stay_on_their_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "wraith"):
        LoggingTracer().record("part.what", reason="bye\n2026 INFO forged\x1b[2J\u202e")
    assert caplog.messages == [r"part.what reason=bye\n2026 INFO forged\x1b[2J\u202e"]
