"""The blocking facade."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

import wraith
from wraith.aio import blocking
from wraith.aio.sessions import sync
from wraith.errors import HandshakeTimeout, LocalProtocolError, PeerClosed

pytestmark = pytest.mark.timeout(60)


def test_echo_without_asyncio() -> None:
    with wraith.sync.listen("127.0.0.1:0") as listener:

        def serve() -> None:
            for session in listener:
                for stream in session:
                    for data in stream:
                        stream.write(data)
                    stream.finish()
                return

        server = threading.Thread(target=serve)
        server.start()
        with wraith.sync.connect(listener.code) as session:
            assert session.security.post_quantum
            with session.open_stream() as stream:
                stream.write(b"hello")
                assert stream.read() == b"hello"
                stream.write(b"x" * 500_000)
                stream.finish()
                assert stream.read_all() == b"x" * 500_000
                stream.wait_sent()
        server.join(20)
        assert not server.is_alive()


def test_one_loop_thread_serves_everything() -> None:
    with sync.listen("127.0.0.1:0"), sync.listen("127.0.0.1:0"):
        assert [t.name for t in threading.enumerate()].count("wraith-loop") == 1


def test_timeouts_and_errors_come_through() -> None:
    config = wraith.EndpointConfig(handshake_timeout_s=1)
    with sync.listen("127.0.0.1:0") as listener:
        with pytest.raises(TimeoutError):
            listener.accept(timeout_s=0.05)
        with sync.connect(listener.code) as session:
            accepted = listener.accept(timeout_s=10)
            with pytest.raises(TimeoutError):
                session.accept_stream(timeout_s=0.05)
            session.send_datagram(b"hi")
            assert accepted.receive_datagram(timeout_s=10) == b"hi"
            accepted.close(0x1001, "bye")
            with pytest.raises(PeerClosed):
                session.wait_closed()
        record = listener.code
    with pytest.raises(HandshakeTimeout):
        sync.connect(record, config=config)


def test_calling_from_the_loop_itself_is_refused_instead_of_hanging() -> None:
    caught: list[Exception] = []

    def inside() -> None:
        try:
            sync.listen("127.0.0.1:0")
        except LocalProtocolError as exc:
            caught.append(exc)
        done.set()

    done = threading.Event()
    blocking.running_loop().call_soon_threadsafe(inside)
    assert done.wait(10)
    assert len(caught) == 1


def test_the_process_ends_with_sessions_open() -> None:
    program = (
        "import wraith\n"
        "listener = wraith.sync.listen('127.0.0.1:0')\n"
        "session = wraith.sync.connect(listener.code)\n"
        "print(session.security.key_exchange)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
        env={"PYTHONPATH": ":".join(filter(None, sys.path)), "PATH": ""},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "X25519+ML-KEM-768\n"


def test_the_facts_are_the_same_without_asyncio() -> None:
    with wraith.sync.listen("127.0.0.1:0") as listener:
        code = listener.code
        assert listener.addresses[0].port == listener.port
        assert not listener.sessions
        with wraith.sync.connect(code) as session, listener.accept() as accepted:
            assert listener.sessions[0].peer == accepted.peer and listener.n_refused == 0
            assert session.export_key("use", context=b"a") == accepted.export_key(
                "use", context=b"a"
            )
            assert session.stats().sent_packets and session.max_datagram_bytes > 1_000
            assert not session.is_going_away and not session.suspect
            assert session.close_error is None
            for n in range(3):
                session.send_datagram(bytes([n]))
            messages = accepted.datagrams()
            assert [next(messages) for _ in range(3)] == [b"\0", b"\1", b"\2"]
            with session.open_stream() as stream:
                assert stream.write_nowait(b"abc") == stream.n_accepted == 3
                stream.set_priority(3)
                incoming = accepted.accept_stream()
                assert b"".join(map(bytes, incoming.read_chunks())) == b"abc"
            session.drain()
            session.close()
            assert list(messages) == []
            assert isinstance(accepted.close_error, wraith.PeerFinished)
        with listener.connect(code) as again:
            assert again.peer == again.peer
        listener.allow = frozenset()
        assert listener.allow == frozenset()
        for thing in (session, accepted, stream, listener):
            assert repr(thing).startswith("sync.") and "object at" not in repr(thing)
