"""Which carrier opens which road (``select``), and those that stand on a room above
``aio.transports``: QUIC, over a libp2p host.

A libp2p host is driven by the driver, and ``aio.transports`` lies below that. So what is a
transport to its users, and has its shape, stands here: ``quic.open_link``, ``quic.bind_listener``.
The links of a node get the opener handed in by its assembly.
"""
