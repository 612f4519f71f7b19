//! The session's wire format: where the six fields of a packet lie.
//!
//! A packet is a front group (connection id, header, first dummy) and a back group (payload, tag,
//! second dummy), each permuted per session. Only the payload's size varies.

use crate::MIN_PAYLOAD_BYTES;
use crate::error::Error;

pub(crate) const CID_BYTES: usize = 8;
pub(crate) const HEADER_BYTES: usize = 5;
pub(crate) const TAG_BYTES: usize = 16;
pub(crate) const SAMPLE_BYTES: usize = 16;
const DUMMY_MAX: usize = 8;
/// Associated data: connection id, flags, packet number, both dummies.
pub(crate) const AAD_MAX: usize = CID_BYTES + HEADER_BYTES + 2 * DUMMY_MAX;

const CID: u8 = 0;
const HEADER: u8 = 1;
const DUMMY1: u8 = 2;
const PAYLOAD: u8 = 3;
const TAG: u8 = 4;
const DUMMY2: u8 = 5;

/// Offsets of the six fields inside one datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields {
    /// Of the masked connection id (8 bytes).
    pub cid: usize,
    /// Of the masked header: flags and packet number (5 bytes).
    pub header: usize,
    /// Of the first dummy.
    pub dummy1: usize,
    /// Of the encrypted frames.
    pub payload: usize,
    /// Bytes of the encrypted frames.
    pub payload_bytes: usize,
    /// Of the AEAD tag (16 bytes).
    pub tag: usize,
    /// Of the second dummy.
    pub dummy2: usize,
}

/// One session's layout.
#[derive(Debug, Clone, Copy)]
pub struct WireFormat {
    cid: usize,
    header: usize,
    dummy1: usize,
    back: [u8; 3],
    d1: usize,
    d2: usize,
}

impl WireFormat {
    /// Read the packed form: three field ids and `d1` of the front, the same with `d2` of the back.
    ///
    /// # Errors
    /// `Invalid` unless it is eight bytes that hold a permutation per group and sizes up to eight.
    pub fn unpack(packed: &[u8]) -> Result<Self, Error> {
        let &[f0, f1, f2, d1, b0, b1, b2, d2] = packed else {
            return Err(Error::Invalid("a wire format has 8 bytes"));
        };
        let (front, back) = ([f0, f1, f2], [b0, b1, b2]);
        let permutes = |group: [u8; 3], of: [u8; 3]| of.iter().all(|id| group.contains(id));
        if !permutes(front, [CID, HEADER, DUMMY1]) || !permutes(back, [PAYLOAD, TAG, DUMMY2]) {
            return Err(Error::Invalid("a wire format names each field once, in its group"));
        }
        let (d1, d2) = (usize::from(d1), usize::from(d2));
        if d1 > DUMMY_MAX || d2 > DUMMY_MAX {
            return Err(Error::Invalid("a wire format's dummies have at most 8 bytes"));
        }
        let mut format = Self { cid: 0, header: 0, dummy1: 0, back, d1, d2 };
        let mut at = 0;
        for id in front {
            let (field, size) = match id {
                CID => (&mut format.cid, CID_BYTES),
                HEADER => (&mut format.header, HEADER_BYTES),
                _ => (&mut format.dummy1, d1),
            };
            *field = at;
            at += size;
        }
        Ok(format)
    }

    /// Bytes of a datagram that are not payload.
    #[must_use]
    pub fn overhead(&self) -> usize {
        CID_BYTES + HEADER_BYTES + TAG_BYTES + self.d1 + self.d2
    }

    /// Bytes of both dummies together.
    #[must_use]
    pub fn dummy_bytes(&self) -> usize {
        self.d1 + self.d2
    }

    /// Bytes of the first and of the second dummy.
    pub(crate) fn dummies(&self) -> (usize, usize) {
        (self.d1, self.d2)
    }

    /// Where the connection id starts: 0 to 13.
    #[must_use]
    pub fn cid_offset(&self) -> usize {
        self.cid
    }

    /// Where the header starts.
    #[must_use]
    pub fn header_offset(&self) -> usize {
        self.header
    }

    /// The field offsets of a datagram of this size, or `None` if it is too short.
    #[inline]
    #[must_use]
    pub fn fields(&self, datagram_bytes: usize) -> Option<Fields> {
        let payload_bytes = datagram_bytes.checked_sub(self.overhead())?;
        if payload_bytes < MIN_PAYLOAD_BYTES {
            return None;
        }
        let mut fields = Fields {
            cid: self.cid,
            header: self.header,
            dummy1: self.dummy1,
            payload: 0,
            payload_bytes,
            tag: 0,
            dummy2: 0,
        };
        let mut at = CID_BYTES + HEADER_BYTES + self.d1;
        for id in self.back {
            let (field, size) = match id {
                PAYLOAD => (&mut fields.payload, payload_bytes),
                TAG => (&mut fields.tag, TAG_BYTES),
                _ => (&mut fields.dummy2, self.d2),
            };
            *field = at;
            at += size;
        }
        Some(fields)
    }
}

/// Associated data of a packet, built on the stack.
pub(crate) struct Aad {
    bytes: [u8; AAD_MAX],
    n: usize,
}

impl Aad {
    #[inline]
    pub(crate) fn new(cid: [u8; 8], header: [u8; 5], dummy1: &[u8], dummy2: &[u8]) -> Self {
        let mut bytes = [0u8; AAD_MAX];
        let mut n = 0;
        for part in [&cid[..], &header[..], dummy1, dummy2] {
            bytes[n..n + part.len()].copy_from_slice(part);
            n += part.len();
        }
        Self { bytes, n }
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.n]
    }
}

/// `into ^= mask`, over the shorter of both.
#[inline]
pub(crate) fn xor_into(into: &mut [u8], mask: &[u8]) {
    for (byte, m) in into.iter_mut().zip(mask) {
        *byte ^= m;
    }
}

/// The `N` bytes at `at`; the caller's offsets come from [`WireFormat::fields`] of this datagram.
#[inline]
pub(crate) fn take<const N: usize>(from: &[u8], at: usize) -> [u8; N] {
    let mut bytes = [0u8; N];
    bytes.copy_from_slice(&from[at..at + N]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_follow_the_order() {
        let format = WireFormat::unpack(&[1, 2, 0, 4, 4, 5, 3, 3]).unwrap();
        assert_eq!((format.overhead(), format.dummy_bytes(), format.cid_offset()), (36, 7, 9));
        let want = Fields {
            header: 0,
            dummy1: 5,
            cid: 9,
            tag: 17,
            dummy2: 33,
            payload: 36,
            payload_bytes: 64,
        };
        assert_eq!(format.fields(100), Some(want));
    }

    #[test]
    fn fields_tile_the_datagram_in_every_layout() {
        let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        for front in orders {
            for back in orders {
                for (d1, d2) in [(0, 0), (8, 8), (3, 0), (0, 5)] {
                    let packed = [
                        front[0],
                        front[1],
                        front[2],
                        d1,
                        back[0] + 3,
                        back[1] + 3,
                        back[2] + 3,
                        d2,
                    ];
                    let format = WireFormat::unpack(&packed).unwrap();
                    let fields = format.fields(97).unwrap();
                    let mut used = [0u8; 97];
                    for (at, n) in [
                        (fields.cid, 8),
                        (fields.header, 5),
                        (fields.dummy1, usize::from(d1)),
                        (fields.payload, fields.payload_bytes),
                        (fields.tag, 16),
                        (fields.dummy2, usize::from(d2)),
                    ] {
                        used[at..at + n].iter_mut().for_each(|b| *b += 1);
                    }
                    assert_eq!(used, [1; 97]);
                    assert!(fields.cid.max(fields.header) + 8 <= 97 - SAMPLE_BYTES);
                }
            }
        }
    }

    #[test]
    fn refuses_what_is_no_format() {
        for bad in [
            &[][..],
            &[0, 1, 2, 0, 3, 4, 5][..],
            &[0, 0, 2, 0, 3, 4, 5, 0][..],
            &[0, 1, 2, 9, 3, 4, 5, 0][..],
            &[0, 1, 2, 0, 3, 4, 2, 0][..],
            &[0, 1, 2, 0, 3, 4, 5, 0, 0][..],
        ] {
            assert!(WireFormat::unpack(bad).is_err());
        }
        let format = WireFormat::unpack(&[0, 1, 2, 0, 3, 4, 5, 0]).unwrap();
        assert!(format.fields(32).is_none() && format.fields(33).is_some());
    }
}
