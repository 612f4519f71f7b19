"""What moves packets between machines: sockets, stream connections, and addresses of this host.

Part of ``aio``. No file here knows the protocol inside the packets. Start at ``base``, which says
what the driver needs; then ``udp``. ``datagram_endpoint`` serves loops without ``add_reader``.
"""
