//! Sealing a run: stream bytes in, datagrams for one kernel call out.

use alloc::vec::Vec;
use core::marker::PhantomData;

use zeroize::{Zeroize, Zeroizing};

use crate::aead::{Aead, Cipher, hchacha};
use crate::error::Error;
use crate::format::{Aad, HEADER_BYTES, SAMPLE_BYTES, WireFormat, take, xor_into};
use crate::frames::{DATA_HEADER_BYTES, data_header};
use crate::kdf::{self, Direction, Key};
use crate::send_epoch::SendEpoch;
use crate::{MAX_DATAGRAM_BYTES, MIN_PAYLOAD_BYTES};

/// A first datagram with less room than this behind its lead carries no stream bytes.
const SHARE_MIN_BYTES: usize = 64;

/// What one call seals.
#[derive(Debug, Clone, Copy)]
pub struct SealRequest<'a> {
    /// A live epoch.
    pub epoch: u32,
    /// Index of the connection id to write.
    pub cid_index: u32,
    /// Whether the connection id is masked with the destination's header-mask key (form B).
    pub form_b: bool,
    /// Encoded frames that go first, whole, in the first datagram; may be empty.
    pub lead: &'a [u8],
    /// The stream of `data`.
    pub sid: u32,
    /// Offset of `data` in the stream.
    pub offset: u64,
    /// Stream bytes, in segments.
    pub data: &'a [&'a [u8]],
    /// Whether the stream ends behind `data`.
    pub fin: bool,
    /// Size of every datagram but the last, which may be shorter.
    pub datagram_bytes: usize,
    /// Most datagrams to write.
    pub n_max: usize,
    /// Fresh random bytes for the dummies, `dummy_bytes` per datagram.
    pub random: &'a [u8],
}

/// What one call sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SealReport {
    /// Bytes written to `out`.
    pub bytes_written: usize,
    /// Datagrams in them.
    pub n_datagrams: usize,
    /// Stream bytes taken from the front of `data`.
    pub stream_bytes: usize,
    /// How many of them are in the first datagram.
    pub first_stream_bytes: usize,
}

/// How a request is cut into datagrams, before anything is written.
struct Plan {
    capacity: usize,
    total: usize,
    n: usize,
    /// Whether the first datagram carries stream bytes behind its lead.
    shares: bool,
    report: SealReport,
}

/// Seals the packets that one session sends; keeps the send chains of its live epochs.
pub struct Sealer<A: Aead> {
    cipher: Cipher,
    direction: Direction,
    format: WireFormat,
    header_key: Key,
    cid_key: Key,
    mask_key: Option<Key>,
    epochs: Vec<SendEpoch>,
    aead: PhantomData<fn() -> A>,
}

/// Reads across the segments of a request's data, front to back.
struct Segments<'a> {
    rest: &'a [&'a [u8]],
    at: usize,
}

impl Segments<'_> {
    #[inline]
    fn copy_to(&mut self, mut out: &mut [u8]) {
        while let Some(segment) = self.rest.first() {
            let from = &segment[self.at..];
            if out.len() < from.len() {
                out.copy_from_slice(&from[..out.len()]);
                self.at += out.len();
                return;
            }
            out[..from.len()].copy_from_slice(from);
            out = &mut out[from.len()..];
            self.rest = &self.rest[1..];
            self.at = 0;
        }
    }
}

impl<A: Aead> Sealer<A> {
    /// A sealer without epochs. `direction`: of the packets it seals. `cid_key`: of the peer's ids.
    #[must_use]
    pub fn new(
        cipher: Cipher,
        direction: Direction,
        format: WireFormat,
        header_key: &[u8; 32],
        cid_key: &[u8; 32],
    ) -> Self {
        Self {
            cipher,
            direction,
            format,
            header_key: Key(*header_key),
            cid_key: Key(*cid_key),
            mask_key: None,
            epochs: Vec::new(),
            aead: PhantomData,
        }
    }

    /// The session's layout.
    #[must_use]
    pub fn format(&self) -> &WireFormat {
        &self.format
    }

    /// Derive the send chain of an epoch from its root.
    ///
    /// # Errors
    /// `Invalid` if it is live already.
    pub fn add_epoch(&mut self, epoch: u32, root: &[u8; 32]) -> Result<(), Error> {
        if self.epochs.iter().any(|live| live.epoch() == epoch) {
            return Err(Error::Invalid("this epoch is live already"));
        }
        self.epochs.push(SendEpoch::new(self.direction, epoch, root));
        Ok(())
    }

    /// Forget an epoch and wipe its chain; unknown ones are ignored.
    pub fn drop_epoch(&mut self, epoch: u32) {
        self.epochs.retain(|live| live.epoch() != epoch);
    }

    /// Set or clear the destination's header-mask key, which form B needs.
    pub fn set_mask_key(&mut self, key: Option<&[u8; 32]>) {
        self.mask_key = key.map(|key| Key(*key));
    }

    /// The number that the next packet of this epoch gets.
    ///
    /// # Errors
    /// `Invalid` if the epoch is not live.
    pub fn next_pn(&self, epoch: u32) -> Result<u32, Error> {
        let live = self.epochs.iter().find(|live| live.epoch() == epoch);
        Ok(live.ok_or(Error::Invalid("this epoch is not live"))?.next_pn())
    }

    /// Wipe every key. Nothing can be sealed afterwards.
    pub fn close(&mut self) {
        self.epochs.clear();
        self.mask_key = None;
        self.header_key.zeroize();
        self.cid_key.zeroize();
    }

    /// Seal as much of the request as `out` and `n_max` allow.
    ///
    /// # Errors
    /// `Invalid` and `NonceExhausted` before anything changes; `Aead` if the library failed.
    pub fn seal_run(
        &mut self,
        request: &SealRequest<'_>,
        out: &mut [u8],
    ) -> Result<SealReport, Error> {
        let at = self.epochs.iter().position(|live| live.epoch() == request.epoch);
        let at = at.ok_or(Error::Invalid("this epoch is not live"))?;
        if request.form_b && self.mask_key.is_none() {
            return Err(Error::Invalid("form B needs the destination's header-mask key"));
        }
        let plan = self.plan(request, out.len())?;
        if plan.n > self.epochs[at].left() as usize {
            return Err(Error::NonceExhausted);
        }
        if plan.n > 0 {
            self.write_run(at, request, &plan, out)?;
        }
        Ok(plan.report)
    }

    fn plan(&self, request: &SealRequest<'_>, room: usize) -> Result<Plan, Error> {
        let size = request.datagram_bytes;
        let overhead = self.format.overhead();
        let capacity = size.saturating_sub(overhead);
        if capacity <= DATA_HEADER_BYTES || size > MAX_DATAGRAM_BYTES {
            return Err(Error::Invalid("datagrams of this size cannot be sealed"));
        }
        if request.n_max == 0 {
            return Err(Error::Invalid("n_max must be at least 1"));
        }
        let per_packet = capacity - DATA_HEADER_BYTES;
        let lead = request.lead.len();
        if lead > capacity {
            return Err(Error::Invalid("the lead does not fit into a datagram"));
        }
        let total: usize = request.data.iter().map(|segment| segment.len()).sum();
        if request.offset.checked_add(total as u64).is_none() {
            return Err(Error::Invalid("offset plus length is a u64"));
        }
        let streams = total > 0 || request.fin;
        if !streams && lead == 0 {
            return Err(Error::Invalid("there is nothing to seal"));
        }

        let shares = streams && (lead == 0 || capacity - lead >= SHARE_MIN_BYTES);
        let first = if shares { total.min(capacity - lead - DATA_HEADER_BYTES) } else { 0 };
        let more = (total - first).div_ceil(per_packet).max(usize::from(streams && !shares));
        let last_payload = match (more, shares) {
            (0, false) => lead.max(MIN_PAYLOAD_BYTES),
            (0, true) => lead + DATA_HEADER_BYTES + first,
            _ => DATA_HEADER_BYTES + (total - first) - (more - 1) * per_packet,
        };
        // Where everything fits, the last datagram is as short as it may be; else all are full.
        let (mut n, mut bytes, mut taken) =
            (more + 1, more * size + overhead + last_payload, total);
        if n > request.n_max || bytes > room {
            n = n.min(request.n_max).min(room / size);
            bytes = n * size;
            taken = total.min(first + n.saturating_sub(1) * per_packet);
        }
        if request.random.len() < n * self.format.dummy_bytes() {
            return Err(Error::Invalid("random is too short for this run"));
        }
        let report = if n == 0 {
            SealReport::default()
        } else {
            SealReport {
                bytes_written: bytes,
                n_datagrams: n,
                stream_bytes: taken,
                first_stream_bytes: first,
            }
        };
        Ok(Plan { capacity, total, n, shares, report })
    }

    fn write_run(
        &mut self,
        at: usize,
        request: &SealRequest<'_>,
        plan: &Plan,
        out: &mut [u8],
    ) -> Result<(), Error> {
        let cid = kdf::connection_id(&self.cid_key.0, request.cid_index);
        let epoch = &mut self.epochs[at];
        let iv = Zeroizing::new(*epoch.iv());
        let mut segments = Segments { rest: request.data, at: 0 };
        let mut taken = 0;
        let mut random = request.random;
        let mut left = &mut out[..plan.report.bytes_written];
        for i in 0..plan.n {
            let size = request.datagram_bytes.min(left.len());
            let (datagram, rest) = left.split_at_mut(size);
            left = rest;
            let (pn, key) = epoch.advance().ok_or(Error::NonceExhausted)?;
            let fields = self.format.fields(size).ok_or(Error::Invalid("datagram too short"))?;

            let payload = &mut datagram[fields.payload..fields.payload + fields.payload_bytes];
            let lead = if i == 0 { request.lead } else { &[] };
            payload[..lead.len()].copy_from_slice(lead);
            let mut end = lead.len();
            if i > 0 || plan.shares {
                let n = (plan.total - taken).min(plan.capacity - end - DATA_HEADER_BYTES);
                let fin = request.fin && taken + n == plan.total;
                let header = data_header(request.sid, request.offset + taken as u64, n as u16, fin);
                payload[end..end + DATA_HEADER_BYTES].copy_from_slice(&header);
                end += DATA_HEADER_BYTES;
                segments.copy_to(&mut payload[end..end + n]);
                end += n;
                taken += n;
            }
            payload[end..].fill(0);

            let (d1, d2) = self.format.dummies();
            let (dummy1, more) = random.split_at(d1);
            let (dummy2, more) = more.split_at(d2);
            random = more;
            datagram[fields.dummy1..fields.dummy1 + d1].copy_from_slice(dummy1);
            datagram[fields.dummy2..fields.dummy2 + d2].copy_from_slice(dummy2);
            let header = header(request.epoch, pn);
            let aad = Aad::new(cid, header, dummy1, dummy2);
            let payload = &mut datagram[fields.payload..fields.payload + fields.payload_bytes];
            let tag = match self.cipher {
                Cipher::Aes256Gcm => {
                    A::aes_seal(&key.0, kdf::nonce_12(&iv, pn), aad.as_slice(), payload)
                }
                Cipher::XChaCha20Poly1305 => {
                    let nonce = kdf::nonce_24(&iv, pn);
                    let subkey = hchacha::subkey(&key.0, &nonce);
                    A::chacha_seal(&subkey.0, hchacha::short_nonce(&nonce), aad.as_slice(), payload)
                }
            };
            let Some(tag) = tag else {
                out.fill(0); // plaintext must not be left where the kernel will read
                return Err(Error::Aead);
            };
            datagram[fields.tag..fields.tag + tag.len()].copy_from_slice(&tag);
            datagram[fields.header..fields.header + HEADER_BYTES].copy_from_slice(&header);
            datagram[fields.cid..fields.cid + cid.len()].copy_from_slice(&cid);

            let sample: [u8; SAMPLE_BYTES] = take(datagram, size - SAMPLE_BYTES);
            let mask = kdf::keyed_hash(&self.header_key.0, &sample);
            xor_into(&mut datagram[fields.header..fields.header + HEADER_BYTES], &mask);
            let cid_field = &mut datagram[fields.cid..fields.cid + cid.len()];
            match &self.mask_key {
                Some(key) if request.form_b => {
                    xor_into(cid_field, &kdf::keyed_hash(&key.0, &sample));
                }
                _ => xor_into(cid_field, &mask[HEADER_BYTES..]),
            }
        }
        debug_assert_eq!(taken, plan.report.stream_bytes);
        Ok(())
    }
}

/// Flags and packet number, as they stand before the mask.
fn header(epoch: u32, pn: u32) -> [u8; HEADER_BYTES] {
    let p = pn.to_be_bytes();
    [((epoch & 3) as u8) << 6, p[0], p[1], p[2], p[3]]
}
