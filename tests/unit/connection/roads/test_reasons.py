from __future__ import annotations

import re
from pathlib import Path

import pytest

from wraith.connection.roads.reasons import DETAIL_CHARS_MAX, RoadFailure, RoadReason

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "roads.md"


def test_the_page_has_a_row_for_each_reason_and_no_other() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(RoadReason)


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (RoadFailure(RoadReason.REFUSED), "refused"),
        (RoadFailure(RoadReason.RESET_LATER, 18_231), "reset-later(18231 bytes)"),
        (RoadFailure(RoadReason.FROZEN, 0), "frozen(0 bytes)"),
        (RoadFailure(RoadReason.UDP_BLOCKED, 3), "udp-blocked(3 hellos)"),
        (RoadFailure(RoadReason.HTTP_STATUS, 403), "http-status(403)"),
        (RoadFailure(RoadReason.WS_CLOSED, 1006), "ws-closed(1006)"),
        (RoadFailure(RoadReason.TLS_UNTRUSTED, "Example CA"), "tls-untrusted(Example CA)"),
    ],
)
@pytest.mark.spec("RO-60")
def test_a_failure_reads_as_its_word_and_its_evidence(failure: RoadFailure, text: str) -> None:
    assert str(failure) == text
    assert RoadFailure.from_text(text) == failure


@pytest.mark.parametrize("text", ["", "gone", "gone(3)", "reset-later", "frozen(" + "9" * 5_000])
def test_whatever_a_transport_says_is_a_failure(text: str) -> None:
    assert RoadFailure.from_text(text).reason in (RoadReason.RESET_LATER, RoadReason.FROZEN)


@pytest.mark.spec("RO-60")
def test_text_of_strangers_is_shown_without_control_characters_and_cut() -> None:
    failure = RoadFailure(RoadReason.TLS_UNTRUSTED, "\x1b[31mCA\n" + "x" * 1_000)
    shown = str(failure)
    assert shown.isprintable()
    assert len(shown) <= len("tls-untrusted()") + DETAIL_CHARS_MAX


@pytest.mark.spec("RO-12")
def test_silence_is_no_hard_failure_and_all_else_is() -> None:
    silent = {reason for reason in RoadReason if not RoadFailure(reason).is_hard}
    assert silent == {
        RoadReason.UDP_SILENT,
        RoadReason.UDP_BLOCKED,
        RoadReason.UDP_ONEWAY,
        RoadReason.SYN_TIMEOUT,
        RoadReason.FROZEN,
        RoadReason.ACCEPTED_SILENT,
        RoadReason.MTU_HOLE,
    }
