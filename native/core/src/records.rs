//! Records of a link: a sealed length in front of each packet, so that no byte on it is constant.
//!
//! Layout: `docs/spec/carriers.md`. A length is sealed with ChaCha20-Poly1305 under the key of the
//! link and direction; the nonce counts the records. Packets are only moved, never read.

use alloc::vec::Vec;
use core::marker::PhantomData;

use crate::aead::{Aead, Cipher, SINGLE};
use crate::error::Error;
use crate::format::take;
use crate::kdf::Key;

/// Bytes of a sealed length: u16 and tag.
pub const RECORD_HEADER_BYTES: usize = LENGTH_BYTES + TAG_BYTES;
/// Bytes of the smallest and of the largest packet on a link.
pub const RECORD_PACKET_BYTES: core::ops::RangeInclusive<usize> = 33..=16_384;

/// Most records of one call.
pub const RECORDS_MAX: usize = 65_536;

const LENGTH_BYTES: usize = 2;
const TAG_BYTES: usize = 16;

/// The AEAD is that of RFC 8439; the number of XChaCha20's cipher means its inner one.
const CIPHER: Cipher = Cipher::XChaCha20Poly1305;

/// The key of one direction of one link, and how many lengths it has protected.
struct LengthKey {
    key: Key,
    counter: u64,
}

impl LengthKey {
    fn aead<A: Aead>(&self) -> A {
        let mut aead = A::default();
        aead.set_key(SINGLE, CIPHER, &self.key.0);
        aead
    }

    /// The nonce of the next record, which is spent by this.
    fn next_nonce(&mut self) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.counter.to_be_bytes());
        self.counter += 1;
        nonce
    }
}

/// Seals the lengths of what one end of a link sends.
pub struct RecordSealer<A> {
    key: LengthKey,
    aead: PhantomData<fn() -> A>,
}

impl<A: Aead> RecordSealer<A> {
    /// A sealer whose first record has the number 0.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self { key: LengthKey { key: Key(*key), counter: 0 }, aead: PhantomData }
    }

    /// The headers, back to back, of a run: `data_bytes` in packets of `segment_bytes`, the last one
    /// possibly shorter.
    ///
    /// # Errors
    /// `Invalid` if a packet is smaller than 33 or larger than 16,384 bytes, or there are more than
    /// 65,536; nothing has changed.
    pub fn seal(&mut self, data_bytes: usize, segment_bytes: usize) -> Result<Vec<u8>, Error> {
        let (whole, rest) = match segment_bytes {
            0 => (0, 1),
            _ => (data_bytes / segment_bytes, data_bytes % segment_bytes),
        };
        if (whole > 0 && !RECORD_PACKET_BYTES.contains(&segment_bytes))
            || (rest > 0 && !RECORD_PACKET_BYTES.contains(&rest))
        {
            return Err(Error::Invalid("a packet on a link has 33 to 16384 bytes"));
        }
        let n_records = whole + usize::from(rest > 0);
        if n_records > RECORDS_MAX {
            return Err(Error::Invalid("a run on a link has at most 65536 packets"));
        }
        let aead = self.key.aead::<A>();
        let mut out = Vec::with_capacity(n_records * RECORD_HEADER_BYTES);
        for i in 0..n_records {
            let packet_bytes = if i < whole { segment_bytes } else { rest };
            let mut length = (packet_bytes as u16).to_be_bytes();
            let nonce = self.key.next_nonce();
            let tag = aead.seal(SINGLE, &nonce, &[], &mut length).ok_or(Error::Aead)?;
            out.extend_from_slice(&length);
            out.extend_from_slice(&tag);
        }
        Ok(out)
    }

    /// Wipe the key; what is sealed afterwards opens nowhere.
    pub fn close(&mut self) {
        self.key.key = Key::ZERO;
    }
}

/// Packets that lie back to back: `segment_bytes` each, the last one possibly shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordRun {
    /// Where they begin in the buffer.
    pub at: usize,
    /// Bytes of all of them.
    pub n_bytes: usize,
    /// Bytes of each but the last.
    pub segment_bytes: usize,
}

/// Opens what one end of a link receives.
pub struct RecordReader<A> {
    key: LengthKey,
    /// Bytes of the packet whose length has been opened; 0: a header comes next.
    wanted: usize,
    is_open: bool,
    aead: PhantomData<fn() -> A>,
}

impl<A: Aead> RecordReader<A> {
    /// A reader that expects the record with the number 0.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        let key = LengthKey { key: Key(*key), counter: 0 };
        Self { key, wanted: 0, is_open: true, aead: PhantomData }
    }

    /// False for good once a length did not open or was out of range.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether neither a part of a header nor a part of a packet has been left over.
    #[must_use]
    pub fn expects_header(&self) -> bool {
        self.wanted == 0
    }

    /// Open the lengths in `buffer` and move the complete packets together at its front.
    ///
    /// Returns the runs, in order, and where what is left over begins: it comes first in the `buffer`
    /// of the next call. Behind a length that is wrong nothing is read any more.
    pub fn read(&mut self, buffer: &mut [u8]) -> (Vec<RecordRun>, usize) {
        let mut runs: Vec<RecordRun> = Vec::new();
        let aead = self.key.aead::<A>();
        let (mut at, mut to) = (0, 0);
        while self.is_open {
            if self.wanted == 0 {
                if buffer.len() - at < RECORD_HEADER_BYTES {
                    break;
                }
                self.wanted = self.open_length(&aead, buffer, at);
                self.is_open = self.wanted != 0;
                at += RECORD_HEADER_BYTES;
                continue;
            }
            if buffer.len() - at < self.wanted {
                break;
            }
            buffer.copy_within(at..at + self.wanted, to);
            add_packet(&mut runs, to, self.wanted);
            at += self.wanted;
            to += self.wanted;
            self.wanted = 0;
        }
        (runs, if self.is_open { at } else { buffer.len() })
    }

    /// The length that the header at `at` holds, or 0 if it is not one.
    fn open_length(&mut self, aead: &A, buffer: &[u8], at: usize) -> usize {
        let sealed: [u8; LENGTH_BYTES] = take(buffer, at);
        let tag: [u8; TAG_BYTES] = take(buffer, at + LENGTH_BYTES);
        let nonce = self.key.next_nonce();
        let mut length = [0; LENGTH_BYTES];
        if !aead.open(SINGLE, &nonce, &[], &sealed, &tag, &mut length) {
            return 0;
        }
        let length = usize::from(u16::from_be_bytes(length));
        if RECORD_PACKET_BYTES.contains(&length) { length } else { 0 }
    }

    /// Wipe the key, and read nothing any more.
    pub fn close(&mut self) {
        self.key.key = Key::ZERO;
        self.is_open = false;
    }
}

/// A packet joins the last run if it is of its size, or ends it by being shorter.
fn add_packet(runs: &mut Vec<RecordRun>, at: usize, n_bytes: usize) {
    match runs.last_mut() {
        Some(run) if n_bytes <= run.segment_bytes && run.n_bytes % run.segment_bytes == 0 => {
            run.n_bytes += n_bytes;
        }
        _ => runs.push(RecordRun { at, n_bytes, segment_bytes: n_bytes }),
    }
}
