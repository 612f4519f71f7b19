"""Exceptions: what they inherit, what they say, and that they survive pickling. Some are an
``OSError`` too: what handles errors of the operating system lets them pass."""

from __future__ import annotations

import ast
import copy
import inspect
import pickle
from dataclasses import dataclass
from pathlib import Path

import pytest

import wraith
from wraith import errors
from wraith.aio.disk.failures import told
from wraith.aio.disk.file_target import FileTarget
from wraith.cli import main as cli_main
from wraith.errors import (
    CloseCode,
    ConnectFailed,
    ConnectionLost,
    DecodeError,
    HandshakeTimeout,
    NotAuthorised,
    PeerClosed,
    PeerFinished,
    StreamReset,
    TransportTimeout,
    WraithError,
)
from wraith.libp2p.codes import code_words as libp2p_code_words
from wraith.transfer.wishes import Store, Wish

#: One of each that is an ``OSError`` too, as the code raises them.
ALSO_OS_ERRORS = (
    ConnectFailed("no address"),
    HandshakeTimeout(),
    TransportTimeout(),
    NotAuthorised(),
    PeerClosed(0x1005, "enough"),
    PeerFinished("done"),
    ConnectionLost("the network is gone"),
)
_by_name = pytest.mark.parametrize("error", ALSO_OS_ERRORS, ids=lambda error: type(error).__name__)


def _classes() -> list[type[WraithError]]:
    return [
        each
        for each in vars(errors).values()
        if inspect.isclass(each) and issubclass(each, WraithError)
    ]


def test_every_exception_is_importable_from_the_package() -> None:
    for each in _classes():
        assert getattr(wraith, each.__name__) is each
        assert each.__name__ in wraith.__all__


def test_exactly_the_known_classes_are_os_errors() -> None:
    found: set[type[WraithError]] = {each for each in _classes() if issubclass(each, OSError)}
    known: set[type[WraithError]] = {type(error) for error in ALSO_OS_ERRORS}
    assert found == known


@pytest.mark.parametrize("kind", [HandshakeTimeout, TransportTimeout])
def test_timeouts_are_timeout_errors(kind: type[WraithError]) -> None:
    with pytest.raises(TimeoutError):
        raise kind()


@pytest.mark.parametrize("kind", [ConnectFailed, NotAuthorised, ConnectionLost])
def test_ends_are_connection_errors(kind: type[WraithError]) -> None:
    with pytest.raises(ConnectionError):
        raise kind()


def test_an_orderly_end_is_told_apart() -> None:
    end = PeerClosed.of(CloseCode.NO_ERROR, "bye")
    assert type(end) is PeerFinished
    assert (end.close_code, end.reason) == (0, "bye")
    assert type(PeerClosed.of(1)) is PeerClosed
    assert isinstance(end, PeerClosed | ConnectionError)


@_by_name
def test_they_say_what_they_said_before(error: WraithError) -> None:
    """``OSError`` has a constructor, attributes and a text of its own: none of it shows."""
    assert isinstance(error, OSError)
    assert error.args == (str(error),)
    assert error.errno is None and error.strerror is None and error.filename is None


@_by_name
def test_exit_codes_and_words_are_their_own(error: WraithError) -> None:
    known = {
        ConnectFailed: (11, "connect-failed"),
        HandshakeTimeout: (12, "handshake-timeout"),
        TransportTimeout: (24, "timeout"),
        NotAuthorised: (14, "not-authorised"),
        PeerClosed: (22, "peer-closed"),
        PeerFinished: (22, "peer-finished"),
        ConnectionLost: (23, "connection-lost"),
    }
    assert (error.exit_code, error.code) == known[type(error)]


@pytest.mark.parametrize(
    "error",
    [
        *ALSO_OS_ERRORS,
        DecodeError("offer", 7),
        errors.HashMismatch("a/b", 3),
        errors.ConfigError("max_streams", 0, "a number"),
        errors.UnsupportedSuite(0x99, "nobody knows it"),
        errors.MissingExtra("qr", "a picture"),
        WraithError("plain", hint="do this"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("again", [copy.copy, lambda e: pickle.loads(pickle.dumps(e))])
def test_a_copy_is_equal(error: WraithError, again: object) -> None:
    assert callable(again)
    other = again(error)
    assert type(other) is type(error)
    assert (str(other), other.args, other.hint) == (str(error), error.args, error.hint)
    assert vars(other) == vars(error)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0x0000, "NO_ERROR (0x0000)"),
        (0x0301, "STREAM_LIMIT_EXCEEDED (0x0301)"),
        (0x1000, "application code 0x1000"),
        (0x1F42, "application code 0x1f42"),
        (0x0999, "unknown code 0x0999"),
    ],
)
def test_codes_are_named(code: int, text: str) -> None:
    assert str(StreamReset(code)) == f"the peer reset this stream with {text}"
    assert str(PeerClosed(code)) == f"the peer closed the connection with {text}"


def test_codes_of_libp2p_have_its_names() -> None:
    assert libp2p_code_words(0x1007) == "SHUTDOWN (0x1007)"
    assert libp2p_code_words(0x0002) == "code 0x0002"  # QUIC's, and not our PROTOCOL_ERROR


# --- blocks that mean the operating system ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Raises(Wish[None]):
    """A wish whose work ends with the exception."""

    error: Exception

    def fulfilled_by(self, store: Store) -> None:
        raise self.error


class _Disk(Store):
    def disk_error(self, exc: OSError) -> WraithError:
        raise AssertionError("taken for an error of the disk")


@_by_name
def test_the_disk_worker_hands_them_back_unchanged(error: WraithError) -> None:
    assert _Disk().fulfil(_Raises(1, error)) is error


@_by_name
def test_a_target_does_not_take_them_for_a_failed_disk(error: WraithError) -> None:
    target = object.__new__(FileTarget)
    assert target._fulfil_writing(_Raises(1, error)) is error


@_by_name
def test_disk_words_are_not_put_on_them(error: WraithError) -> None:
    with pytest.raises(type(error)) as caught, told("/some/where"):
        raise error
    assert caught.value is error


@_by_name
def test_a_command_ends_with_their_own_code(
    error: WraithError, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def raises(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(cli_main.cli, "main", raises)
    with pytest.raises(SystemExit) as stopped:
        cli_main.main([])
    assert stopped.value.code == error.exit_code
    shown = capsys.readouterr().err
    assert str(error)[1:].rstrip(".") in shown and "Traceback" not in shown


# --- every block of the package -----------------------------------------------------------------

_SYSTEM = {"OSError", "TimeoutError", "ConnectionError"}
_OURS = {each.__name__ for each in _classes()} | {"Exception", "BaseException"}
_SOCKETS = "sockets of the system alone; what failed is an OpenFailed, which is none of either"
#: Blocks that await something and catch an error of the system first: why none of ours comes there.
_REVIEWED = {
    ("aio/sessions/listener.py", "close"): "what it waits for keeps the errors of sessions",
    ("aio/libp2p/host.py", "close"): "the end of a connection comes back as a value",
    ("aio/libp2p/sockets.py", "resolve"): "the resolver of the system alone",
    ("cli/quic.py", "__aexit__"): "asyncio.timeout raises its own",
    ("aio/reach.py", "ask"): "waits for an event, which raises nothing",
    ("aio/transports/proxy.py", "_carry_out"): _SOCKETS,
    ("aio/transports/proxy.py", "_reach"): _SOCKETS,
    ("aio/transports/proxy.py", "connect_through"): _SOCKETS,
    ("aio/transports/tcp.py", "connect"): _SOCKETS,
    ("aio/transports/tcp.py", "link_over"): _SOCKETS,
    ("aio/transports/tcp_listener.py", "_accept_with_asyncio"): _SOCKETS,
    ("aio/transports/websocket.py", "open_link"): _SOCKETS,
    ("aio/transports/websocket.py", "_handshake"): _SOCKETS,
    ("aio/transports/websocket_dial.py", "connect_tcp"): _SOCKETS,
    ("aio/transports/websocket_listener.py", "_accept"): _SOCKETS,
}


def _names(kind: ast.expr | None) -> set[str]:
    return {each.id for each in ast.walk(kind) if isinstance(each, ast.Name)} if kind else set()


def _blocks_that_catch_the_system_first(tree: ast.AST) -> set[str]:
    """Functions with a block that awaits, and whose first fitting handler means the system."""
    found: set[str] = set()
    for function in ast.walk(tree):
        if not isinstance(function, ast.AsyncFunctionDef):
            continue
        for node in ast.walk(function):
            match node:
                case ast.Try(body=body, handlers=handlers):
                    caught = [_names(each.type) for each in handlers]
                case ast.With(body=body, items=items):
                    calls = [each.context_expr for each in items]
                    caught = [
                        set().union(*map(_names, call.args))
                        for call in calls
                        if isinstance(call, ast.Call) and "suppress" in ast.unparse(call.func)
                    ]
                case _:
                    continue
            awaits = any(isinstance(each, ast.Await) for part in body for each in ast.walk(part))
            for names in caught:
                if names & _OURS:
                    break
                if names & _SYSTEM and awaits:
                    found.add(function.name)
    return found


def test_no_block_takes_ours_for_an_error_of_the_system() -> None:
    package = Path(errors.__file__).parent
    found = {
        (path.relative_to(package).as_posix(), name)
        for path in package.rglob("*.py")
        if "testing" not in path.parts
        for name in _blocks_that_catch_the_system_first(ast.parse(path.read_text("utf-8")))
    }
    assert found == set(_REVIEWED)


def test_such_a_block_is_noticed() -> None:
    planted = (
        "async def f(s):\n    try:\n        await s.read()\n    except {0}:\n        pass\n"
        "    except {1}:\n        pass\n"
    )
    bad, good = (
        _blocks_that_catch_the_system_first(ast.parse(planted.format(*order)))
        for order in (("TimeoutError", "WraithError"), ("WraithError", "TimeoutError"))
    )
    assert (bad, good) == ({"f"}, set())
