"""What programs see of a session and of a stream, and what goes on for 2.x."""

from __future__ import annotations

import inspect
import re
import warnings

import pytest

import wraith
from wraith.testing.sessions import session_pair

pytestmark = pytest.mark.asyncio

OF_A_SESSION = (
    *("handle", "fail", "wake", "now", "wait_ready", "forget_stream"),
    *("raise_if_closed", "closed_error"),
)
OF_A_STREAM = (
    *("on_readable", "on_writable", "on_reset", "on_stopped", "on_sent", "on_closed"),
    "is_unsent",
)


async def test_internals_are_offered_to_nobody() -> None:
    async with session_pair() as pair:
        stream = await pair.client.open_stream()
        assert not set(OF_A_SESSION) & set(dir(pair.client))
        assert not set(OF_A_STREAM) & set(dir(stream))


async def test_internals_go_on_and_warn() -> None:
    async with session_pair() as pair:
        stream = await pair.client.open_stream()
        things: list[tuple[object, tuple[str, ...]]] = [
            (pair.client, OF_A_SESSION),
            (stream, OF_A_STREAM),
        ]
        for thing, names in things:
            for name in names:
                with pytest.warns(DeprecationWarning, match=rf"\.{name} will go") as caught:
                    assert getattr(thing, name) == getattr(thing, f"_{name}")
                assert caught[0].filename == __file__, "it names who used it"


async def test_a_misspelt_name_is_an_error_as_ever() -> None:
    async with session_pair() as pair:
        with pytest.raises(AttributeError, match=r"'Session' object has no attribute 'opn_stream'"):
            _ = pair.client.opn_stream  # type: ignore[attr-defined]


async def test_the_library_itself_uses_no_old_name() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with session_pair() as pair, pair.client.open_stream() as stream:
            await stream.write(b"x")
            stream.finish()
            await (await pair.server.accept_stream()).read_all()
            pair.client.stats()


def facade(name: str) -> set[str]:
    return {each for each in dir(getattr(wraith.sync, name)) if not each.startswith("_")}


@pytest.mark.parametrize("name", ["Session", "Stream", "Listener"])
async def test_the_blocking_facade_has_the_same_names(name: str) -> None:
    own = {each for each in dir(getattr(wraith, name)) if not each.startswith("_")}
    source = inspect.getsource(getattr(wraith, name).__init__)
    own |= set(re.findall(r"self\.([a-z]\w*)\b[^=\n(]*= ", source))
    only_async = {"connection"}  # the machine belongs to the loop's thread
    assert facade(name) - own <= {"set_allow"}
    assert own - only_async <= facade(name) | set(
        re.findall(r"self\.([a-z]\w*) = ", inspect.getsource(getattr(wraith.sync, name).__init__))
    )


async def test_codes_of_the_protocol_are_not_the_applications() -> None:
    async with session_pair() as pair:
        stream = await pair.client.open_stream()
        for code in (5, 0x0FFF, -1, 1 << 32, True, "7", None):
            with pytest.raises(wraith.LocalProtocolError, match="is no code of an application"):
                await pair.client.close(code)  # type: ignore[arg-type]
            with pytest.raises(wraith.LocalProtocolError, match="is no code of an application"):
                stream.reset(code)  # type: ignore[arg-type]
            with pytest.raises(wraith.LocalProtocolError, match="is no code of an application"):
                stream.stop(code)  # type: ignore[arg-type]
        assert not pair.client.is_closed
        stream.reset(0)
        await pair.client.close(0xFFFF_FFFF, "enough")
        with pytest.raises(wraith.PeerClosed) as caught:
            await pair.server.wait_closed()
        assert caught.value.close_code == 0xFFFF_FFFF


async def test_why_a_session_ended_can_be_looked_at() -> None:
    async with session_pair() as pair:
        assert pair.client.close_error is None and pair.server.close_error is None
        await pair.client.close()
        await pair.server.wait_closed()
        assert isinstance(pair.server.close_error, wraith.PeerFinished)
        assert isinstance(pair.client.close_error, wraith.LocalProtocolError)


async def test_messages_can_be_iterated_until_the_end() -> None:
    async with session_pair() as pair:
        for n in range(3):
            pair.client.send_datagram(bytes([n]))
        first = await pair.server.receive_datagram()
        await pair.client.close()
        assert [first] + [data async for data in pair.server.datagrams()] == [b"\0", b"\1", b"\2"]
    async with session_pair() as pair:
        await pair.client.close(0x1001)
        with pytest.raises(wraith.PeerClosed):
            async for _ in pair.server.datagrams():
                pass


async def test_an_exported_key_is_bound_to_its_context() -> None:
    async with session_pair() as pair:
        one, other = pair.client, pair.server
        assert one.export_key("use", context=b"a") == other.export_key("use", context=b"a")
        assert one.export_key("use", context=b"a") != one.export_key("use", context=b"b")
        assert one.export_key("use", 16) == other.export_key("use", 16, context=b"")
