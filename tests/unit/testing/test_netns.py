"""Networks of namespaces: each rule does what its name says, with plain sockets."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Iterator

import pytest

from wraith.testing import netns
from wraith.testing.foreign_peers import find_program, require_program
from wraith.testing.netns import (
    TCP,
    UDP,
    Direction,
    Flow,
    Namespace,
    RoutedNet,
    alone,
    paired,
    require_netns,
    routed,
)

ARRIVES_S = 5.0
LOST_S = 0.3  # longer than a wire within one machine ever needs


@pytest.fixture
def net() -> Iterator[RoutedNet]:
    require_netns()
    with routed() as made:
        yield made


def udp_socket(end: Namespace) -> socket.socket:
    with end.entered():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(ARRIVES_S)
    try:
        sock.bind((end.ipv4, 0))
    except OSError:
        sock.close()
        raise
    return sock


def arrives(sender: socket.socket, receiver: socket.socket) -> bool:
    """Whether a datagram that is sent now comes through."""
    receiver.settimeout(LOST_S)
    sender.sendto(b"hello", receiver.getsockname())
    try:
        return receiver.recv(64) == b"hello"
    except TimeoutError:
        return False


@contextlib.contextmanager
def tcp_link(net: RoutedNet, host: str = "") -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection from left to right."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with net.right.entered():
        server = socket.create_server((host or net.right.ipv4, 0), family=family)
    with server, net.left.entered():
        near = socket.create_connection(server.getsockname()[:2], timeout=ARRIVES_S)
        with near:
            far = server.accept()[0]
            with far:
                far.settimeout(ARRIVES_S)
                yield near, far


def names() -> set[str]:
    listed = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True)
    return {line.split()[0] for line in listed.stdout.splitlines()}


def test_both_families_cross_the_router(net: RoutedNet) -> None:
    for host in (net.right.ipv4, net.right.ipv6):
        with tcp_link(net, host) as (near, far):
            near.sendall(b"there")
            assert far.recv(64) == b"there"
            assert far.getpeername()[0] in (net.left.ipv4, net.left.ipv6)


def test_udp_is_dropped_in_the_direction_that_was_named(net: RoutedNet) -> None:
    with udp_socket(net.left) as left, udp_socket(net.right) as right:
        assert arrives(left, right) and arrives(right, left)
        out = net.drop_udp(Direction.OUT)
        assert not arrives(left, right) and arrives(right, left)
        assert out.n_packets == 1
        out.remove()
        net.drop_udp(Direction.BACK)
        assert arrives(left, right) and not arrives(right, left)
        net.drop_udp()
        assert not arrives(left, right)
        with tcp_link(net) as (near, far):
            near.sendall(b"TCP goes on")
            assert far.recv(64) == b"TCP goes on"


def test_what_comes_through_is_counted_and_what_is_dropped_is_not(net: RoutedNet) -> None:
    with udp_socket(net.left) as left, udp_socket(net.right) as right:
        counts = net.count(UDP), net.count(TCP)
        assert arrives(left, right)
        rule = net.drop_udp()
        assert not arrives(left, right)
        assert rule.n_packets == 1
        assert [each.n_packets for each in counts] == [1, 0]
        assert counts[0].n_bytes == 20 + 8 + len(b"hello")


def test_tcp_is_reset_for_both_ends(net: RoutedNet) -> None:
    with tcp_link(net) as (near, far):
        rule = net.reset_tcp()
        near.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            near.recv(1)
        with pytest.raises(ConnectionResetError):
            far.sendall(b"x")
            far.recv(1)
        with net.left.entered(), pytest.raises(ConnectionRefusedError):
            socket.create_connection(far.getsockname()[:2], timeout=ARRIVES_S)
        assert rule.n_packets == 3


def test_a_flow_may_be_that_of_one_port_or_of_all_others(net: RoutedNet) -> None:
    net.count(Flow("tcp", not_port=1))  # from now on the router knows who has connected
    with tcp_link(net) as (one, its_end), tcp_link(net) as (other, other_end):
        port = its_end.getsockname()[1]
        counts = net.count(Flow("tcp", port=port)), net.count(Flow("tcp", not_port=port))
        cut = net.drop(Flow("tcp", port=port), Direction.BACK)
        its_end.sendall(b"lost")
        other_end.sendall(b"there")
        assert other.recv(64) == b"there"
        one.settimeout(LOST_S)
        with pytest.raises(TimeoutError):
            one.recv(64)
        assert cut.n_packets
        assert [each.n_packets > 0 for each in counts] == [False, True]


def test_a_client_hello_is_answered_with_a_reset(net: RoutedNet) -> None:
    rule = net.reset_tcp_after_client_hello()
    with tcp_link(net) as (near, far):
        near.sendall(b"\x17\x03\x03 no ClientHello")
        assert far.recv(64).endswith(b"no ClientHello")
        near.sendall(b"\x16\x03\x01\x02\x00\x01")
        with pytest.raises(ConnectionResetError):
            near.recv(64)
        far.settimeout(LOST_S)
        with pytest.raises(TimeoutError):
            far.recv(64)
    assert rule.n_packets >= 1


def test_a_connection_freezes_after_so_many_bytes(net: RoutedNet) -> None:
    net.freeze_tcp_after(16 * 1024)
    with tcp_link(net) as (near, far):
        near.settimeout(LOST_S)
        with contextlib.suppress(TimeoutError):
            for _ in range(64):
                near.sendall(bytes(1024))
        far.settimeout(LOST_S)
        n = 0
        with pytest.raises(TimeoutError):  # neither a RST nor a FIN
            while True:
                n += len(far.recv(4096))
        assert 8 * 1024 < n <= 16 * 1024
    with tcp_link(net) as (near, far):  # the next one begins anew
        near.sendall(bytes(1024))
        assert far.recv(4096) == bytes(1024)


def test_a_cut_lets_nothing_through_until_it_is_mended(net: RoutedNet) -> None:
    with udp_socket(net.left) as left, udp_socket(net.right) as right, tcp_link(net) as (near, far):
        cut = net.drop_all(Direction.BACK)
        assert arrives(left, right) and not arrives(right, left)
        cut.remove()
        cut = net.drop_all()
        near.sendall(b"late")
        far.settimeout(LOST_S)
        with pytest.raises(TimeoutError):
            far.recv(64)
        cut.remove()
        far.settimeout(ARRIVES_S)
        assert far.recv(64) == b"late"
        with pytest.raises(ValueError, match="removed"):
            _ = cut.n_packets


def test_a_nat_forgets_and_gives_another_port(net: RoutedNet) -> None:
    require_program("conntrack")
    net.masquerade()
    with udp_socket(net.left) as left, udp_socket(net.right) as right:
        seen = []
        for forget in (False, False, True):
            if forget:
                net.forget_nat()
            left.sendto(b"hello", right.getsockname())
            seen.append(right.recvfrom(64)[1])
        assert seen[0] == seen[1] != left.getsockname()
        assert seen[2] != seen[1]
        assert seen[2][0] == seen[1][0] == "10.213.21.1"
        right.sendto(b"answer", seen[2])
        assert left.recv(64) == b"answer"


def test_a_nat_that_forgets_ends_a_connection(net: RoutedNet) -> None:
    require_program("conntrack")
    net.masquerade()
    with tcp_link(net) as (near, far):
        near.sendall(b"known")
        assert far.recv(64) == b"known"
        net.forget_nat()
        near.sendall(b"of a stranger")  # from another port, where nobody knows it
        with pytest.raises(ConnectionResetError):
            near.recv(64)


def test_an_end_changes_its_address(net: RoutedNet) -> None:
    moved = net.left.change_address("10.213.20.77")
    with udp_socket(moved) as left, udp_socket(net.right) as right:
        assert arrives(left, right) and arrives(right, left)
        with pytest.raises(OSError, match="assign"):
            udp_socket(net.left)


def test_two_ends_without_a_router() -> None:
    require_netns()
    with paired() as (left, right):
        with udp_socket(left) as near, udp_socket(right) as far:
            assert arrives(near, far) and arrives(far, near)
        said = left.run("sh", "-c", "cat; ip -o -4 address show dev eth0", text_in="in\n")
        assert said.stdout.startswith("in\n") and f"{left.ipv4}/24" in said.stdout


def test_a_command_ends_with_its_deadline_and_its_status() -> None:
    require_netns()
    with alone() as namespace:
        with pytest.raises(subprocess.TimeoutExpired):
            namespace.run("sleep", "60", timeout_s=0.1)
        with pytest.raises(subprocess.CalledProcessError) as failed:
            namespace.run("sh", "-c", "echo why >&2; exit 3")
        assert failed.value.returncode == 3 and failed.value.stderr == "why\n"


def test_only_the_calling_thread_enters() -> None:
    require_netns()
    stacks: dict[str, int] = {}
    may_look = threading.Event()

    def look(where: str) -> None:
        stacks[where] = os.stat("/proc/thread-self/ns/net").st_ino

    def look_beside() -> None:
        may_look.wait(ARRIVES_S)
        look("beside")

    look("before")
    other = threading.Thread(target=look_beside)
    other.start()
    with alone() as namespace, namespace.entered():
        look("inside")
        may_look.set()
        other.join()
    look("after")
    assert stacks["before"] == stacks["beside"] == stacks["after"] != stacks["inside"]


def test_nothing_stays_behind_and_what_a_killed_process_left_is_removed() -> None:
    require_netns()
    gone = subprocess.Popen(["true"])
    gone.wait()
    left_over = f"wraith-{gone.pid}-1-left"
    subprocess.run(["ip", "netns", "add", left_over], check=True)
    with pytest.raises(ZeroDivisionError), routed() as net:
        made = {net.left.name, net.router.name, net.right.name}
        assert made <= names()
        assert left_over not in names()
        _ = 1 / 0
    assert not made & names()


@pytest.mark.parametrize("lacking", ["ip", "nft", "the right"])
def test_a_required_network_fails_where_a_wanted_one_is_skipped(
    lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = find_program
    monkeypatch.setattr(netns, "find_program", lambda name: None if name == lacking else find(name))
    if lacking == "the right":

        def refuse(*_: object) -> None:
            raise subprocess.CalledProcessError(1, ["ip"], stderr="not permitted")

        monkeypatch.setattr(netns, "_run", refuse)
    monkeypatch.setattr(netns, "refusal", netns.refusal.__wrapped__)
    monkeypatch.setenv("WRAITH_REQUIRE_INTEROP", "nft,nginx")
    with pytest.raises(pytest.skip.Exception, match="netns"):
        require_netns()
    monkeypatch.setenv("WRAITH_REQUIRE_INTEROP", "nginx,netns")
    with pytest.raises(pytest.fail.Exception, match="netns"):
        require_netns()
