"""UDP sockets and addresses of this machine. No file here knows a protocol.

Part of ``aio``. Start at ``udp``. ``datagram_endpoint`` serves loops that have no ``add_reader``.
"""
