//! A walk over the frames of one opened packet: DATA is cut out, the rest is passed on as it stands.
//!
//! Nothing is interpreted here but the common header, DATA, and whether a frame asks for an
//! acknowledgement; the frames' meaning is the business of `wraith.wire.frames`.

const HEADER_BYTES: usize = 4;
/// Bytes of a DATA frame before its stream bytes.
pub(crate) const DATA_HEADER_BYTES: usize = 16;
const DATA_BODY_MIN: usize = 12;

const END: u8 = 0x00;
const DATA: u8 = 0x01;
const ACK: u8 = 0x02;
const CLOSE: u8 = 0x07;
const PAD: u8 = 0x08;
/// FIN of a DATA frame, ELICIT of a PAD frame.
const FLAG: u8 = 0x01;

/// One step of the walk.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Bytes of one stream.
    Data {
        /// The stream.
        sid: u32,
        /// Offset of `bytes` in the stream.
        offset: u64,
        /// Whether the stream ends behind `bytes`.
        fin: bool,
        /// The stream bytes.
        bytes: &'a [u8],
    },
    /// A whole frame of another type, header included.
    Other {
        /// The encoded frame.
        encoded: &'a [u8],
        /// Whether it asks for an acknowledgement.
        eliciting: bool,
    },
    /// What cannot be read as a frame: the rest of the packet. Always the last step.
    Malformed(&'a [u8]),
}

/// Iterator over the frames of a packet's payload.
#[derive(Debug, Clone)]
pub struct FrameWalker<'a> {
    rest: &'a [u8],
}

impl<'a> FrameWalker<'a> {
    /// Walk over `payload`.
    #[must_use]
    pub fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload }
    }
}

impl<'a> Iterator for FrameWalker<'a> {
    type Item = Frame<'a>;

    #[inline]
    fn next(&mut self) -> Option<Frame<'a>> {
        let here = self.rest;
        if *here.first()? == END {
            self.rest = &[];
            return None;
        }
        let Some((&[kind, flags, high, low], body)) = here.split_first_chunk::<HEADER_BYTES>()
        else {
            self.rest = &[];
            return Some(Frame::Malformed(here));
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > body.len() || (kind == DATA && length < DATA_BODY_MIN) {
            self.rest = &[];
            return Some(Frame::Malformed(here));
        }
        let (body, rest) = body.split_at(length);
        self.rest = rest;
        if kind == DATA
            && let Some((&[s0, s1, s2, s3, offset @ ..], bytes)) =
                body.split_first_chunk::<DATA_BODY_MIN>()
        {
            return Some(Frame::Data {
                sid: u32::from_be_bytes([s0, s1, s2, s3]),
                offset: u64::from_be_bytes(offset),
                fin: flags & FLAG != 0,
                bytes,
            });
        }
        let eliciting = !matches!(kind, ACK | CLOSE) && (kind != PAD || flags & FLAG != 0);
        Some(Frame::Other { encoded: &here[..HEADER_BYTES + length], eliciting })
    }
}

/// Write the 16 bytes before the stream bytes of a DATA frame.
#[inline]
pub(crate) fn data_header(sid: u32, offset: u64, n: u16, fin: bool) -> [u8; DATA_HEADER_BYTES] {
    let mut header = [0u8; DATA_HEADER_BYTES];
    header[0] = DATA;
    header[1] = if fin { FLAG } else { 0 };
    header[2..4].copy_from_slice(&n.saturating_add(DATA_BODY_MIN as u16).to_be_bytes());
    header[4..8].copy_from_slice(&sid.to_be_bytes());
    header[8..].copy_from_slice(&offset.to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn walk(payload: &[u8]) -> Vec<Frame<'_>> {
        FrameWalker::new(payload).collect()
    }

    #[test]
    fn data_then_ping_then_fill() {
        let mut payload = data_header(0x4000_0001, 7, 3, true).to_vec();
        payload.extend_from_slice(b"abc");
        payload.extend_from_slice(&[5, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
        payload.extend_from_slice(&[0, 0, 9, 9, 9]);
        assert_eq!(
            walk(&payload),
            [
                Frame::Data { sid: 0x4000_0001, offset: 7, fin: true, bytes: b"abc" },
                Frame::Other { encoded: &payload[19..31], eliciting: true },
            ]
        );
    }

    #[test]
    fn who_asks_for_an_acknowledgement() {
        for (frame, want) in [
            ([2, 0, 0, 0], false),
            ([7, 0, 0, 0], false),
            ([8, 0, 0, 0], false),
            ([8, 1, 0, 0], true),
            ([8, 2, 0, 0], false),
            ([6, 0, 0, 0], true),
            ([0x3f, 0, 0, 0], true),
            ([0xff, 0, 0, 0], true),
        ] {
            assert_eq!(walk(&frame), [Frame::Other { encoded: &frame, eliciting: want }]);
        }
    }

    #[test]
    fn malformed_takes_the_rest() {
        for bad in [
            &[5][..],
            &[5, 0, 0][..],
            &[5, 0, 0, 1][..],
            &[1, 0, 0, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
            &[1, 0, 0, 13, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
        ] {
            assert_eq!(walk(bad), [Frame::Malformed(bad)]);
        }
        assert_eq!(walk(&[]), []);
        assert_eq!(walk(&[0, 1, 2]), []);
    }
}
