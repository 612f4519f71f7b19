"""A group as bytes: the same group comes back, and nothing else is taken for one."""

from __future__ import annotations

import pytest

from wraith.crypto.secret import Secret
from wraith.errors import DecodeError, GroupClosed, GroupLimit, UnknownEpoch, WraithError
from wraith.mls import MlsGroup, state
from wraith.mls.limits import Limits
from wraith.mls.proposals import ReInit
from wraith.mls.suites import SUITES, CipherSuite
from wraith.testing.mls import OPENMLS_HYBRID, UNIX_NOW, AnyPolicy, Room
from wraith.testing.rng import SeededRng

CLASSIC = SUITES[1]


def again(group: MlsGroup, now: float = 0.0) -> MlsGroup:
    raw = state.save(group, now).reveal()
    made = state.restore(raw, SeededRng("again"), now, policy=AnyPolicy())
    assert state.save(made, now).reveal() == raw
    return made


def busy_room(suite: CipherSuite = CLASSIC) -> Room:
    """Past epochs, skipped keys, waiting proposals, own updates and keys of outside."""
    room = Room("ann", "bob", "cid", suite=suite)
    for _ in range(3):
        room.commit("bob")
    room["ann"].add_psk(b"shared", Secret(b"k"))
    late = [room["bob"].protect(bytes([n])) for n in range(4)]
    room["ann"].open(late[3], 0.0)
    room.hear("ann", room["ann"].update(signer=suite.generate_signer(SeededRng("new"))))
    room.hear("cid", room["cid"].remove(1))
    room.late = late  # type: ignore[attr-defined]
    return room


@pytest.mark.spec("ML-70", "ML-71")
@pytest.mark.parametrize("suite", SUITES.values(), ids=lambda one: hex(one.number))
def test_a_restored_group_goes_on_where_it_was(suite: CipherSuite) -> None:
    room = busy_room(suite)
    room.members["ann"] = again(room["ann"])
    late: list[bytes] = room.late  # type: ignore[attr-defined]
    assert room["ann"].open(late[1], 0.0).data == b"\1"
    with pytest.raises(WraithError):
        room["ann"].open(late[3], 0.0)
    room.commit("cid", with_pending=False, remove=[1])
    assert room.agrees()
    room.commit("ann")
    assert room.agrees()
    room["ann"].add_psk(b"shared", Secret(b"k"))
    assert room["ann"].open(late[0], 1.0).data == b"\0"


def test_time_goes_on_while_a_group_is_stored() -> None:
    room = Room("ann", "bob", suite=CLASSIC)
    late = room["ann"].protect(b"late")
    room.commit("ann")
    raw = state.save(room["bob"], 10.0).reveal()
    back = state.restore(raw, SeededRng(1), 1000.0, policy=AnyPolicy())
    assert back.next_expiry() == 1050.0
    with pytest.raises(UnknownEpoch):
        back.open(late, 1050.0)


def test_an_ended_group_stays_ended() -> None:
    room = Room("ann", "bob", "cid", suite=CLASSIC)
    bob = room["bob"]
    room.commit("ann", remove=[1])
    with pytest.raises(GroupClosed):
        again(bob, 1.0).protect(b"x")
    room.commit("ann", reinit=ReInit(b"two", 1, 1, ()))
    restored = again(room["cid"])
    assert restored.reinit is not None
    with pytest.raises(GroupClosed):
        restored.protect(b"x")


@pytest.mark.spec("ML-72")
def test_another_version_and_another_kind_of_file_are_refused() -> None:
    raw = bytearray(state.save(busy_room()["ann"], 0.0).reveal())
    for at, value in ((4, 2), (0, 0x58), (6, 0x77)):
        changed = bytearray(raw)
        changed[at] = value
        with pytest.raises(DecodeError):
            state.restore(bytes(changed), SeededRng(1), 0.0, policy=AnyPolicy())
    with pytest.raises(DecodeError):
        state.restore(bytes(raw) + b"\0", SeededRng(1), 0.0, policy=AnyPolicy())
    with pytest.raises(GroupLimit):
        state.restore(
            bytes(raw), SeededRng(1), 0.0, policy=AnyPolicy(), limits=Limits(state_bytes_max=10)
        )


@pytest.mark.spec("ML-71")
def test_every_truncation_and_every_changed_byte_is_refused_or_a_group() -> None:
    raw = state.save(Room("ann", "bob", suite=CLASSIC)["bob"], 0.0).reveal()
    for n in range(0, len(raw), 3):
        with pytest.raises(DecodeError):
            state.restore(raw[:n], SeededRng(1), 0.0, policy=AnyPolicy())
    for at in range(0, len(raw), 5):
        changed = bytearray(raw)
        changed[at] ^= 0x55
        try:
            state.restore(bytes(changed), SeededRng(1), 0.0, policy=AnyPolicy())
        except WraithError:
            continue


def test_a_variant_suite_is_known_only_where_it_is_given() -> None:
    room = Room("ann", "bob", suite=OPENMLS_HYBRID[0x4F])
    raw = state.save(room["ann"], 0.0).reveal()
    with pytest.raises(DecodeError):
        state.restore(raw, SeededRng(1), 0.0, policy=AnyPolicy())
    back = state.restore(raw, SeededRng(1), 0.0, policy=AnyPolicy(), suites=OPENMLS_HYBRID)
    assert back.commit(unix_now=UNIX_NOW).staged.base_epoch == 1


def test_a_state_is_a_secret() -> None:
    saved = state.save(Room("ann", suite=CLASSIC)["ann"], 0.0)
    assert repr(saved) == f"Secret({len(saved)} bytes)"
