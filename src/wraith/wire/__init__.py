"""Bytes ⇄ values: the packet layout, frames, stream-0 records, handshake bodies.

Floor: above ``crypto``, below ``hotpath``. No time, no keys held, no policy, no I/O. Every decoder
is total: a value or ``DecodeError``, in linear time, and one canonical encoding per value where the
protocol gives a choice.

Start with ``packet`` (sizes), then ``format`` (where the fields of a packet lie), ``frames`` (what
a packet carries), ``control_records`` (what stream 0 carries) and ``handshake`` (what comes
before packets).
"""
