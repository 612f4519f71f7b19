//! Sealing a run: stream bytes in, datagrams for one kernel call out.

use alloc::vec::Vec;
use core::marker::PhantomData;

use wraith_lanes::WIDTH;
use zeroize::{Zeroize, Zeroizing};

use crate::aead::{Aead, Cipher};
use crate::batch::{self, Batch};
use crate::error::Error;
use crate::format::{Aad, CID_BYTES, HEADER_BYTES, SAMPLE_BYTES, WireFormat, take, xor_into};
use crate::frames::{DATA_HEADER_BYTES, data_header};
use crate::kdf::{self, Direction, Key};
use crate::send_epoch::SendEpoch;
use crate::{MAX_DATAGRAM_BYTES, MIN_PAYLOAD_BYTES};

/// Most packets of one `seal_frames` call.
pub const FRAMES_MAX: usize = 64;

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

/// What one call of `seal_frames` seals: packets of any size, one for each payload.
#[derive(Debug, Clone, Copy)]
pub struct FramesRequest<'a> {
    /// A live epoch.
    pub epoch: u32,
    /// Index of the connection id to write.
    pub cid_index: u32,
    /// Whether the connection id is masked with the destination's header-mask key (form B).
    pub form_b: bool,
    /// Encoded frames of each packet.
    pub payloads: &'a [&'a [u8]],
    /// Fresh random bytes for the dummies, `dummy_bytes` per packet.
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
    /// Has the processor fetch the next `n` bytes, as far as the segment has them.
    #[inline]
    fn prefetch(&self, n: usize) {
        if let Some(segment) = self.rest.first() {
            let next = &segment[self.at..];
            wraith_lanes::prefetch(&next[..n.min(next.len())]);
        }
    }

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

    /// Spend the next packet number of this epoch on nothing; its key is forgotten unused. Returns the number.
    ///
    /// # Errors
    /// `Invalid` if the epoch is not live, `NonceExhausted` if it has no number left.
    pub fn skip(&mut self, epoch: u32) -> Result<u32, Error> {
        let live = self.epochs.iter_mut().find(|live| live.epoch() == epoch);
        live.ok_or(Error::Invalid("this epoch is not live"))?.skip().ok_or(Error::NonceExhausted)
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

    /// Seal each payload into a packet of its own, back to back, as far as `out` has room. Returns the
    /// bytes written and the packets in them.
    ///
    /// # Errors
    /// `Invalid` and `NonceExhausted` before anything changes; `Aead` if the library failed.
    pub fn seal_frames(
        &mut self,
        request: &FramesRequest<'_>,
        out: &mut [u8],
    ) -> Result<(usize, usize), Error> {
        let overhead = self.format.overhead();
        let dummy_bytes = self.format.dummy_bytes();
        let n_max = request.payloads.len();
        if n_max == 0 || n_max > FRAMES_MAX {
            return Err(Error::Invalid("a call seals 1 to 64 payloads"));
        }
        if request.form_b && self.mask_key.is_none() {
            return Err(Error::Invalid("form B needs the destination's header-mask key"));
        }
        let sizes = request.payloads.iter().map(|payload| payload.len());
        if sizes.clone().any(|size| size == 0 || size + overhead > MAX_DATAGRAM_BYTES) {
            return Err(Error::Invalid("a payload is empty or does not fit into a datagram"));
        }
        if request.random.len() < n_max * dummy_bytes {
            return Err(Error::Invalid("random is too short for these payloads"));
        }
        let (mut n, mut bytes) = (0, 0);
        for size in sizes {
            let more = size.max(MIN_PAYLOAD_BYTES) + overhead;
            if bytes + more > out.len() {
                break;
            }
            (n, bytes) = (n + 1, bytes + more);
        }
        let live = self.epochs.iter().find(|live| live.epoch() == request.epoch);
        if n > live.ok_or(Error::Invalid("this epoch is not live"))?.left() as usize {
            return Err(Error::NonceExhausted);
        }
        let mut at = 0;
        for (i, payload) in request.payloads[..n].iter().enumerate() {
            let one = SealRequest {
                epoch: request.epoch,
                cid_index: request.cid_index,
                form_b: request.form_b,
                lead: payload,
                sid: 0,
                offset: 0,
                data: &[],
                fin: false,
                // A packet with its lead alone is as short as it may be, whatever this allows.
                datagram_bytes: payload.len().max(DATA_HEADER_BYTES + 1) + overhead,
                n_max: 1,
                random: &request.random[i * dummy_bytes..(i + 1) * dummy_bytes],
            };
            at += self.seal_run(&one, &mut out[at..bytes])?.bytes_written;
        }
        Ok((bytes, n))
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
        Ok(Plan { total, n, shares, report })
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
        let out = &mut out[..plan.report.bytes_written];
        let mut batch = Batch::new();
        let mut aead = A::default();
        let mut payloads = Payloads::new(request, plan);
        let mut dummies = request.random;
        let mut left = plan.n;
        for part in out.chunks_mut(WIDTH * request.datagram_bytes) {
            let n = left.min(WIDTH);
            left -= n;
            let first_pn =
                epoch.advance(self.cipher, n, &mut batch).ok_or(Error::NonceExhausted)?;
            for i in 0..n {
                aead.set_key(i, self.cipher, batch.key(i));
            }
            for (i, datagram) in part.chunks_mut(request.datagram_bytes).enumerate() {
                let pn = first_pn + i as u32;
                let size = datagram.len();
                let fields = self.format.fields(size).ok_or(Error::Invalid("too short"))?;
                let text = fields.payload..fields.payload + fields.payload_bytes;
                payloads.fill(&mut datagram[text.clone()]);
                // A file's bytes were read and hashed a while ago, perhaps on another core: they come
                // out of the outer caches while this packet is sealed and not when the next begins.
                payloads.segments.prefetch(size);
                let (d1, d2) = self.format.dummies();
                let (dummy1, more) = dummies.split_at(d1);
                let (dummy2, more) = more.split_at(d2);
                dummies = more;
                datagram[fields.dummy1..fields.dummy1 + d1].copy_from_slice(dummy1);
                datagram[fields.dummy2..fields.dummy2 + d2].copy_from_slice(dummy2);
                let header = header(request.epoch, pn);
                let aad = Aad::new(cid, header, dummy1, dummy2);
                let nonce = kdf::packet_nonce(self.cipher, &iv, pn);
                let text = &mut datagram[text];
                let Some(tag) = aead.seal(i, &nonce, aad.as_slice(), text) else {
                    out.fill(0); // plaintext must not be left where the kernel will read
                    return Err(Error::Aead);
                };
                datagram[fields.tag..fields.tag + tag.len()].copy_from_slice(&tag);
                datagram[fields.header..fields.header + HEADER_BYTES].copy_from_slice(&header);
                datagram[fields.cid..fields.cid + cid.len()].copy_from_slice(&cid);
            }
            let mask_key = self.mask_key.as_ref().filter(|_| request.form_b);
            mask(part, request.datagram_bytes, &self.format, &self.header_key, mask_key);
        }
        Ok(())
    }
}

/// Mask header and connection id of up to `WIDTH` datagrams. `mask_key`: for form B.
fn mask(
    datagrams: &mut [u8],
    datagram_bytes: usize,
    format: &WireFormat,
    header_key: &Key,
    mask_key: Option<&Key>,
) {
    let mut samples = [[0; SAMPLE_BYTES]; WIDTH];
    let n = datagrams.len().div_ceil(datagram_bytes);
    let samples = &mut samples[..n];
    for (sample, datagram) in samples.iter_mut().zip(datagrams.chunks(datagram_bytes)) {
        *sample = take(datagram, datagram.len() - SAMPLE_BYTES);
    }
    let (mut header_masks, mut cid_masks) = ([[0; 32]; WIDTH], [[0; 32]; WIDTH]);
    batch::masks(&header_key.0, samples, &mut header_masks);
    if let Some(key) = mask_key {
        batch::masks(&key.0, samples, &mut cid_masks);
    }
    let (header, cid) = (format.header_offset(), format.cid_offset());
    for (i, datagram) in datagrams.chunks_mut(datagram_bytes).enumerate() {
        xor_into(&mut datagram[header..header + HEADER_BYTES], &header_masks[i]);
        let for_cid = match mask_key {
            Some(_) => &cid_masks[i][..],
            None => &header_masks[i][HEADER_BYTES..],
        };
        xor_into(&mut datagram[cid..cid + CID_BYTES], for_cid);
    }
}

/// Fills the payloads of a run, one after the other: lead, stream bytes, zeros.
struct Payloads<'a> {
    request: &'a SealRequest<'a>,
    total: usize,
    taken: usize,
    segments: Segments<'a>,
    lead: &'a [u8],
    /// Whether the next payload carries stream bytes.
    streams: bool,
}

impl<'a> Payloads<'a> {
    fn new(request: &'a SealRequest<'a>, plan: &Plan) -> Self {
        Self {
            request,
            total: plan.total,
            taken: 0,
            segments: Segments { rest: request.data, at: 0 },
            lead: request.lead,
            streams: plan.shares,
        }
    }

    #[inline]
    fn fill(&mut self, payload: &mut [u8]) {
        let (lead, mut rest) = payload.split_at_mut(self.lead.len());
        lead.copy_from_slice(self.lead);
        if self.streams {
            let n = (self.total - self.taken).min(rest.len() - DATA_HEADER_BYTES);
            let fin = self.request.fin && self.taken + n == self.total;
            let offset = self.request.offset + self.taken as u64;
            let (header, bytes) = rest.split_at_mut(DATA_HEADER_BYTES);
            header.copy_from_slice(&data_header(self.request.sid, offset, n as u16, fin));
            let (bytes, fill) = bytes.split_at_mut(n);
            self.segments.copy_to(bytes);
            self.taken += n;
            rest = fill;
        }
        rest.fill(0);
        self.lead = &[];
        self.streams = true;
    }
}

/// Flags and packet number, as they stand before the mask.
fn header(epoch: u32, pn: u32) -> [u8; HEADER_BYTES] {
    let p = pn.to_be_bytes();
    [((epoch & 3) as u8) << 6, p[0], p[1], p[2], p[3]]
}
