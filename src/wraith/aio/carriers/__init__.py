"""Carriers of links that stand on a room above ``aio.transports``: QUIC, over a libp2p host.

``aio.transports`` lies below the driver, and a libp2p host is driven by one. So what is a transport
to its users, and has its shape, stands here: ``quic.open_link``, ``quic.bind_listener``.
Whoever opens roads gets an opener of this room handed in; nothing below may import it.
"""
