"""The node: one endpoint and the services at its port, joined. Still no I/O of any kind.

Floor: above ``connection`` and ``transfer``, below ``aio``. ``Node`` decides to whom a connection
belongs: one that came in to the service whose access key its hello proved, one that was dialled to
the service that dialled. At most four services listen at one node.

- ``SessionService``: what programs open. It hands on events; the program decides.
- ``TransferService``: one transfer. It routes stream bytes between connections and the transfer,
  decides who may have the offer, dials again when a peer falls silent, and says when all is over.

**How to drive it.** The contract of an ``Endpoint``; each service has commands of its own::

    node = Node(endpoint, now=now)                           # an endpoint without access keys
    send = TransferService(node, key=key, offer=source.outgoing, config=NodeConfig(), now=now)
    take = TransferService(node, rules=target.rules, config=NodeConfig(), now=now)
    node.add(SessionService(), now, key=other_key)
    take.dial(record_of(code), now)                          # what listens may dial, too

    node.receive_datagrams(data, segment_bytes, path, now)   # bytes in
    node.handle_timer(now)                                   # time in
    node.datagrams_to_send(now)                              # bytes out; again until it is empty
    node.records_to_store()                                  # before those bytes leave
    node.next_event() -> (service, event) | None             # facts
    send.next_wish() -> Wish | None                          # for the disk, until None
    send.io_done(wish.id, result, now)                       # its answer (or a WraithError)
    node.next_timer()
    node.remove(send, now)                                   # with its key; its peers are told

``aio.running.RunningNode`` drives it on sockets, ``aio.disk.store_worker.StoreWorker`` fulfils the
wishes of a transfer in a thread, and ``aio.transfers.Transfer`` joins the two.

**Commands of a transfer.** ``accept(offer_id, now)`` / ``decline(now, reason=…)`` answer
``OfferReceived``;
``stop(now)`` ends everything gracefully (Ctrl-C): the peer is told, what is verified stays.

**Events of a transfer** (``node.events`` and ``transfer.events``), roughly in this order:

- ``Dialling(attempt)``, ``StillTrying(seconds)``: nobody has answered yet.
- ``Connected(peer, security, is_this_machine, address, again, carrier)``: with the security card.
- ``RoadFailed(road, failure)``, ``PathChanged(path)``: of the ways to the peer.
- ``TurnedAway(peer, busy)``: someone else tried (a sender's code that is bound already).
- ``ClockSkewSeen(skew_s)``: a proven hello with a clock that is off.
- ``PeerDeciding`` at the sender, ``OfferReceived`` at the receiver (answer it).
- ``Bound(peer)``: the sender's code now belongs to this receiver; worth storing.
- ``Accepted(bytes_reused, bytes_total)``, ``Progress(bytes_done, bytes_total, n_files_done)``,
  ``FileFailed(entry, reason, path)``; ``Declined``, ``Aborted``.
- ``Interrupted(reason, until)``: the peer is silent or gone; it is dialled or waited for.
- ``Placed(placed, text, failed_paths, file_ids)`` at the receiver: the files are there.
- ``Done(n_files, bytes_total, bytes_transferred, bytes_reused, n_failed)``.
- ``Finished(done, error)``: the last one. Exit status: ``error.exit_code``, else 3 if
  ``done.n_failed``, else 0. Go on driving until it ``is_quiet`` (a few round trips at most), so
  that the CLOSE leaves.

With ``keep`` a sender never finishes by itself; each complete receiver gives one ``Done``.

Start reading at ``node`` and ``service``; of a transfer at ``transfer_service``, then ``peers``
(who comes in, dialling again) and ``link``.
Spec: docs/spec/transfer.md §10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wraith.node.codes import code_of as code_of
    from wraith.node.codes import record_of as record_of
    from wraith.node.config import NodeConfig as NodeConfig
    from wraith.node.node import Node as Node
    from wraith.node.session_service import SessionService as SessionService
    from wraith.node.transfer_service import TransferService as TransferService

#: Public name -> the module that defines it. They load on first use: a code alone needs no node.
_HOMES = {
    "Node": "node",
    "NodeConfig": "config",
    "SessionService": "session_service",
    "TransferService": "transfer_service",
    "code_of": "codes",
    "record_of": "codes",
}

__all__ = ["Node", "NodeConfig", "SessionService", "TransferService", "code_of", "record_of"]


def __getattr__(name: str) -> object:
    from importlib import import_module

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'wraith.node' has no attribute {name!r}")
    value: object = getattr(import_module(f"wraith.node.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
