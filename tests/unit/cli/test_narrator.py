"""What is told of a transfer, in words and in JSON."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import pytest

from wraith.cli.narrator import Narrator
from wraith.cli.output import Output
from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.errors import Busy, HandshakeTimeout, NoSpace
from wraith.node.events import (
    ClockSkewSeen,
    Connected,
    Dialling,
    LinkLost,
    PathChanged,
    RoadFailed,
    StillTrying,
    TurnedAway,
)
from wraith.transfer.answers import SurveyResult
from wraith.transfer.events import (
    Aborted,
    Accepted,
    Done,
    FileFailed,
    OfferReceived,
    PeerDeciding,
    Placed,
    Progress,
)
from wraith.transfer.listing import Entry, Kind
from wraith.transfer.messages import Offer, OfferKind, Reason
from wraith.types import Address, Carrier, NetworkPath, PeerKey, Road, SecurityInfo, SuiteId

PEER = PeerKey(bytes(range(32)))
ADDRESS = Address(bytes([192, 0, 2, 1]), 4433)


class Heard:
    """A narrator and what it said."""

    def __init__(
        self,
        *,
        json_events: bool = False,
        names: dict[PeerKey, str] | None = None,
        verbose: bool = False,
    ):
        self.stdout, self.stderr = io.StringIO(), io.StringIO()
        output = Output(
            json_events=json_events, quiet=False, stdout=self.stdout, stderr=self.stderr
        )
        known = names or {}
        self.narrator = Narrator(
            output,
            other="the sender",
            name_of=lambda key: known.get(key, ""),
            verbose=verbose,
        )

    @property
    def words(self) -> str:
        return self.stderr.getvalue()

    @property
    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.stdout.getvalue().splitlines()]


def _connected(post_quantum: bool = True) -> Connected:
    kem = "X25519+ML-KEM-768" if post_quantum else "X25519"
    suite = SuiteId.A if post_quantum else SuiteId.D
    security = SecurityInfo(kem, post_quantum, suite, "XChaCha20-Poly1305", PEER, 0, "static-key")
    return Connected(PEER, security, False, ADDRESS, False)


def test_the_security_card() -> None:
    heard = Heard(json_events=True, names={PEER: "anna"})
    heard.narrator.show(_connected())
    (event,) = heard.events
    assert event["post_quantum"] is True
    assert (event["key_exchange"], event["suite"]) == ("X25519+ML-KEM-768", "A")
    assert (event["peer"], event["peer_name"]) == (str(PEER), "anna")
    assert heard.words == ""


def test_a_classical_key_exchange_is_said_loudly() -> None:
    heard = Heard()
    heard.narrator.show(_connected(post_quantum=False))
    assert "NOT post-quantum" in heard.words


def _failed(carrier: Carrier, reason: RoadReason) -> RoadFailed:
    return RoadFailed(Road(carrier, ADDRESS), RoadFailure(reason))


def test_a_peer_that_is_reached_over_tcp_alone_is_said_to_be_with_the_reason() -> None:
    heard = Heard()
    heard.narrator.show(_failed(Carrier.UDP, RoadReason.UDP_SILENT))
    heard.narrator.show(replace(_connected(), carrier=Carrier.TCP))
    assert "UDP gets no answer here, going by TCP (udp-silent)" in heard.words


@pytest.mark.parametrize("json_events", [False, True])
def test_a_transfer_that_is_over_at_once_says_why_it_was_not_over_udp(json_events: bool) -> None:
    heard = Heard(json_events=json_events)
    heard.narrator.dialling([Road(Carrier.UDP, ADDRESS), Road(Carrier.TCP, ADDRESS)])
    heard.narrator.show(replace(_connected(), carrier=Carrier.TCP))
    heard.narrator.done(Done(1, 100, 100, 0, 0))
    if json_events:
        names = [event["event"] for event in heard.events]
        road = heard.events[names.index("road")]
        assert (road["carrier"], road["state"], road["reason"]) == ("udp", "failed", "udp-silent")
        assert names.index("road") < names.index("done")
        return
    sentence = "UDP gets no answer here, going by TCP (udp-silent)"
    assert 0 < heard.words.index(sentence) < heard.words.index("done:")
    heard.narrator.done(Done(1, 100, 100, 0, 0))
    assert heard.words.count(sentence) == 1


@pytest.mark.parametrize(
    "roads, carriers",
    [
        ([Carrier.TCP], [Carrier.TCP]),
        ([Carrier.UDP, Carrier.TCP], [Carrier.UDP]),
        ([Carrier.UDP, Carrier.TCP], [Carrier.TCP, Carrier.UDP]),
    ],
    ids=["UDP was not tried", "UDP was used", "UDP was gone back to"],
)
def test_nothing_is_said_at_last_of_udp_that(roads: list[Carrier], carriers: list[Carrier]) -> None:
    heard = Heard()
    heard.narrator.dialling([Road(carrier, ADDRESS) for carrier in roads])
    heard.narrator.show(replace(_connected(), carrier=carriers[0]))
    for carrier in carriers[1:]:
        heard.narrator.show(PathChanged(NetworkPath(ADDRESS, ADDRESS, carrier)))
    heard.narrator.done(Done(1, 100, 100, 0, 0))
    assert "UDP gets no answer" not in heard.words


def test_who_comes_over_tcp_without_a_try_over_udp_needs_no_word() -> None:
    heard = Heard()
    heard.narrator.show(replace(_connected(), carrier=Carrier.TCP))
    assert "UDP" not in heard.words


def test_a_change_of_road_is_told_and_a_change_of_address_is_not() -> None:
    heard = Heard()
    heard.narrator.show(_connected())
    heard.narrator.show(PathChanged(NetworkPath(ADDRESS, ADDRESS._replace(port=9))))
    assert "moved" not in heard.words
    heard.narrator.show(PathChanged(NetworkPath(ADDRESS, ADDRESS, Carrier.TCP, 1)))
    assert re.search(r"no answer over UDP any more, going by TCP: moved after \d", heard.words)
    heard.narrator.show(PathChanged(NetworkPath(ADDRESS, ADDRESS)))
    assert re.search(
        r"the road over UDP is back, moved after \d\.\d s without losing a byte", heard.words
    )


def test_which_road_is_back_follows_the_order_of_roads() -> None:
    heard = Heard()
    heard.narrator.show(replace(_connected(), carrier=Carrier.QUIC))
    heard.narrator.show(PathChanged(NetworkPath(ADDRESS, ADDRESS, Carrier.TCP, 1)))
    assert "no answer over QUIC any more, going by TCP" in heard.words
    heard.narrator.show(PathChanged(NetworkPath(ADDRESS, ADDRESS, Carrier.QUIC, 2)))
    assert "the road over QUIC is back" in heard.words


def test_programs_are_told_of_each_road_once_and_of_each_change() -> None:
    heard = Heard(json_events=True)
    for event in (
        _failed(Carrier.UDP, RoadReason.UDP_SILENT),
        _failed(Carrier.UDP, RoadReason.UDP_SILENT),
        replace(_connected(), carrier=Carrier.TCP),
        PathChanged(NetworkPath(ADDRESS, ADDRESS)),
        PathChanged(NetworkPath(ADDRESS, ADDRESS, Carrier.TCP, 1)),
        PathChanged(NetworkPath(ADDRESS, ADDRESS)),
    ):
        heard.narrator.show(event)
    roads = [event for event in heard.events if event["event"] == "road"]
    assert [(road["carrier"], road["state"], road["reason"]) for road in roads] == [
        ("udp", "failed", "udp-silent"),
        ("udp", "active", None),
        ("tcp", "active", None),
        ("udp", "active", None),
    ]


def test_names_of_the_peer_cannot_control_the_terminal() -> None:
    entry = Entry(Kind.FILE, 0o644, 0, 5, b"a\x1b[2J\xe2\x80\xae.txt")
    offer = Offer(OfferKind.FILES, 1, 1, 5, 1, 30, bytes(32))
    heard = Heard()
    heard.narrator.show(OfferReceived(offer, (entry,), 0, 0, SurveyResult(place="/tmp/o\x07ut")))
    assert "\x1b" not in heard.words and "\u202e" not in heard.words and "\x07" not in heard.words
    assert "1 file" in heard.words


def test_silence_lists_what_it_may_mean_and_our_own_time() -> None:
    heard = Heard()
    heard.narrator.dialling((Road(Carrier.UDP, ADDRESS),))
    error = heard.narrator.explain(HandshakeTimeout(), 30)
    assert "192.0.2.1:4433" in str(error)
    for word in ("old", "gone", "firewall", "clock", "UTC"):
        assert word in error.hint
    heard.narrator.show(StillTrying(10.0))
    assert "no answer yet after 10 s" in heard.words


def test_other_errors_stay_what_they_are() -> None:
    error = Busy()
    assert Heard().narrator.explain(error, 30) is error


@pytest.mark.parametrize(("skew", "word"), [(3600.0, "ahead"), (-3600.0, "behind")])
def test_a_wrong_clock_is_named_with_its_direction(skew: float, word: str) -> None:
    heard = Heard()
    heard.narrator.show(ClockSkewSeen(skew))
    assert word in heard.words and "1:00:00" in heard.words


def test_a_failed_file_gets_its_name_when_it_is_known() -> None:
    heard = Heard(json_events=True)
    heard.narrator.show(FileFailed(7, Reason.SOURCE_CHANGED))
    assert heard.events == []
    heard.narrator.show(Placed((), None, (b"tree/b",), ()))
    (event,) = heard.events
    assert event == {"event": "file_failed", "path": "tree/b", "reason": "source_changed"}


def test_done_counts_this_run_and_the_earlier_one() -> None:
    heard = Heard(json_events=True)
    heard.narrator.show(Accepted(40, 100))
    heard.narrator.show(Progress(100, 100, 1))
    heard.narrator.done(Done(1, 100, 60, 40, 0), ((b"a", bytes(32)),))
    done = heard.events[-1]
    assert (done["bytes_total"], done["bytes_transferred"], done["bytes_reused"]) == (100, 60, 40)
    assert isinstance(done["seconds"], float) and done["seconds"] > 0
    assert done["file_ids"] == {"a": "00" * 32}
    assert "paths" not in done


@pytest.mark.parametrize(
    ("done", "is_said"),
    [
        (Done(1, 100, 60, 40, 0), True),
        (Done(1, 100, 60, 40, 1), False),
        (Done(1, 100, 60, 40, 0, 40), False),
    ],
    ids=["all of it", "some failed", "some was not read again"],
)
def test_every_chunk_is_called_verified_only_when_it_is(done: Done, is_said: bool) -> None:
    heard = Heard()
    heard.narrator.show(Accepted(40, 100))
    heard.narrator.done(done)
    last = next(line for line in heard.words.splitlines() if "done:" in line)
    assert ("every chunk verified" in last) == is_said
    assert ("40 B of it not read again" in last) == bool(done.bytes_unread)


def test_done_names_folders_and_links_beside_the_files() -> None:
    heard = Heard()
    heard.narrator.done(Done(2, 100, 100, 0, 0, n_folders=1, n_links=3))
    assert "done: 2 files, 1 folder, 3 links, 100 B" in heard.words


def test_ids_of_what_was_not_read_again_are_called_recorded() -> None:
    for unread in (0, 40):
        heard = Heard(verbose=True)
        heard.narrator.done(Done(1, 100, 60, 40, 0, unread), ((b"a", bytes(32)),))
        assert ("(as recorded)" in heard.words) == bool(unread)


def test_a_receiver_that_is_turned_away_and_one_that_decides() -> None:
    heard = Heard()
    heard.narrator.show(TurnedAway(PEER, busy=True))
    heard.narrator.show(PeerDeciding())
    assert "belongs to another one" in heard.words
    assert "is deciding" in heard.words


def test_an_interruption_without_limit_has_no_end() -> None:
    heard = Heard(json_events=True)
    heard.narrator.show(LinkLost("idle", None))
    assert heard.events[0]["seconds_left"] is None


def test_progress_is_told_ten_times_a_second_and_never_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [100.0]
    monkeypatch.setattr("wraith.cli.narrator.time.monotonic", lambda: clock[0])
    heard = Heard(json_events=True)
    heard.narrator.show(Accepted(0, 1000))
    for n in range(100):
        heard.narrator.show(Progress(10 * n, 1000, 0))
        clock[0] += 0.01
    told = [event["bytes_done"] for event in heard.events if event["event"] == "progress"]
    assert 9 <= len(told) <= 11 and told[0] == 0
    heard.narrator.show(LinkLost("silent", None))
    assert [event["event"] for event in heard.events[-2:]] == ["progress", "interrupted"]
    assert heard.events[-2]["bytes_done"] == 990


class Clock:
    """A narrator's time, in the hands of the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("wraith.cli.narrator.time.monotonic", lambda: self.now)


def test_a_peer_that_gives_up_is_told_with_its_reason() -> None:
    gone = Aborted(by_peer=True, reason=Reason.NO_SPACE, error=NoSpace("the disk is full"))
    heard, said = Heard(json_events=True), Heard()
    heard.narrator.show(gone)
    said.narrator.show(gone)
    (event,) = heard.events
    assert (event["event"], event["reason"]) == ("gave_up", "no_space")
    assert "gave up: the disk is full" in said.words


def test_an_outage_is_an_event_when_it_begins_and_when_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    heard = Heard(json_events=True)
    heard.narrator.show(Accepted(0, 1000))
    heard.narrator.show(Progress(100, 1000, 0))
    clock.now += 4
    heard.narrator.redraw()
    heard.narrator.show(Dialling(1, True))
    clock.now += 6
    heard.narrator.show(Progress(200, 1000, 0))
    outage = [e for e in heard.events if e["event"] in ("silent", "heard_again")]
    assert outage == [
        {"event": "silent", "seconds": 4.0, "dialling": False},
        {"event": "heard_again", "seconds": 10.0},
    ]


def test_the_last_line_takes_the_rate_over_the_time_that_was_not_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    heard = Heard(json_events=True)
    said = Heard()
    for one in (heard, said):
        clock.now = 100.0
        one.narrator.show(Accepted(0, 10 << 20))
        clock.now += 5
        one.narrator.show(Progress(5 << 20, 10 << 20, 0))
        one.narrator.show(LinkLost("silent", None))
        clock.now += 60
        one.narrator.show(Accepted(5 << 20, 10 << 20))
        clock.now += 5
        one.narrator.show(Progress(10 << 20, 10 << 20, 1))
        one.narrator.done(Done(1, 10 << 20, 10 << 20, 0, 0))
    assert "in 1:10, 1:00 of it silent (1.0 MiB/s)" in said.words
    done = heard.events[-1]
    assert (done["seconds"], done["seconds_silent"]) == (70.0, 60.0)


def test_the_progress_line_does_not_freeze_at_a_healthy_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    heard = Heard()
    drawn: list[str] = []
    monkeypatch.setattr(Output, "progress", lambda self, view: drawn.append(view.sentence))
    heard.narrator.show(Accepted(0, 100 << 20))
    for _ in range(5):
        clock.now += 1
        heard.narrator.show(Progress(int(clock.now - 100) << 20, 100 << 20, 0))
    assert "left" in drawn[-1]
    clock.now += 2.5
    heard.narrator.redraw()
    assert "left" not in drawn[-1] and "silent" not in drawn[-1]
    assert "630.2 KiB/s" in drawn[-1]  # 4 MiB in six and a half seconds


def test_no_line_says_that_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    drawn: list[str] = []
    monkeypatch.setattr(Output, "progress", lambda self, view: drawn.append(view.sentence))
    heard = Heard()
    heard.narrator.show(Accepted(0, 1000))
    for done in range(0, 1001, 100):
        clock.now += 0.2
        heard.narrator.show(Progress(done, 1000, 0))
    assert not any("0:00 left" in line for line in drawn)
