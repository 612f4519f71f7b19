//! Opening what one kernel read returned: datagrams in, runs of stream bytes out.

use alloc::vec::Vec;
use core::marker::PhantomData;

use wraith_lanes::WIDTH;
use zeroize::{Zeroize, Zeroizing};

use crate::aead::{Aead, Cipher, SINGLE};
use crate::batch::{self, Batch};
use crate::error::Error;
use crate::format::{Aad, CID_BYTES, HEADER_BYTES, SAMPLE_BYTES, WireFormat, take, xor_into};
use crate::frames::{Frame, FrameWalker};
use crate::kdf::{self, Direction, Key};
use crate::receive_epoch::ReceiveEpoch;
use crate::replay::ReplayWindow;
use crate::report::{OpenReport, Other};
use crate::{MIN_PAYLOAD_BYTES, PN_BOUND};

/// Most connection-id indices that are accepted at a time.
const CIDS_MAX: usize = 16;
/// Most header-mask keys of this endpoint that are live at a time.
const MASK_KEYS_MAX: usize = 2;
/// Fewer packets in order than this are not worth deriving together.
const AHEAD_MIN: usize = 3;
const RESERVED_FLAGS: u8 = 0x3f;

/// A datagram whose header test passed.
#[derive(Clone, Copy)]
struct Claimed {
    flags: u8,
    pn: u32,
    /// The connection id, unmasked as in form A.
    cid: [u8; CID_BYTES],
}

impl Claimed {
    fn header(&self) -> [u8; HEADER_BYTES] {
        let [a, b, c, d] = self.pn.to_be_bytes();
        [self.flags, a, b, c, d]
    }

    /// The two bits of the epoch that a packet shows.
    fn epoch_bits(&self) -> u32 {
        u32::from(self.flags >> 6)
    }
}

/// Why a claimed datagram is dropped.
enum Dropped {
    /// Its epoch is erased or its number has left the window.
    Late,
    /// Nobody who has the keys has sent it in this form, or it was here before.
    Broken,
}

/// Opens the packets that one session receives; keeps receive chains and replay windows.
pub struct Opener<A: Aead> {
    cipher: Cipher,
    direction: Direction,
    format: WireFormat,
    header_key: Key,
    cid_key: Key,
    window: u32,
    mask_keys: Vec<Key>,
    cids: Vec<[u8; CID_BYTES]>,
    first_cid: u32,
    epochs: Vec<ReceiveEpoch>,
    /// Plaintext of the packet at hand: `out` only ever gets authentic stream bytes.
    plain: Zeroizing<Vec<u8>>,
    aead: PhantomData<fn() -> A>,
}

impl<A: Aead> Opener<A> {
    /// An opener without epochs and without accepted connection ids. `direction`: of the packets it
    /// opens. `cid_key`: of this side's own ids. `window`: replay window in packets.
    ///
    /// # Errors
    /// `Invalid` unless `window` is a power of two in 256 to 65,536.
    pub fn new(
        cipher: Cipher,
        direction: Direction,
        format: WireFormat,
        header_key: &[u8; 32],
        cid_key: &[u8; 32],
        window: i64,
    ) -> Result<Self, Error> {
        if !ReplayWindow::accepts(window) {
            return Err(Error::Invalid("window must be a power of two in 256 to 65536"));
        }
        Ok(Self {
            cipher,
            direction,
            format,
            header_key: Key(*header_key),
            cid_key: Key(*cid_key),
            window: window as u32,
            mask_keys: Vec::with_capacity(MASK_KEYS_MAX),
            cids: Vec::with_capacity(CIDS_MAX),
            first_cid: 0,
            epochs: Vec::new(),
            plain: Zeroizing::new(Vec::new()),
            aead: PhantomData,
        })
    }

    /// The session's layout.
    #[must_use]
    pub fn format(&self) -> &WireFormat {
        &self.format
    }

    /// Derive the receive chain of an epoch from its root.
    ///
    /// # Errors
    /// `Invalid` if an epoch with the same two visible bits is live.
    pub fn add_epoch(&mut self, epoch: u32, root: &[u8; 32]) -> Result<(), Error> {
        if self.epochs.iter().any(|live| live.epoch() % 4 == epoch % 4) {
            return Err(Error::Invalid("an epoch with these two bits is live"));
        }
        self.epochs.push(ReceiveEpoch::new(self.direction, epoch, root, self.window));
        Ok(())
    }

    /// Forget an epoch and wipe its chains; unknown ones are ignored.
    pub fn drop_epoch(&mut self, epoch: u32) {
        self.epochs.retain(|live| live.epoch() != epoch);
    }

    /// Set this endpoint's header-mask keys, newest first: what form B packets are masked with.
    ///
    /// # Errors
    /// `Invalid` if there are more than two.
    pub fn set_mask_keys(&mut self, keys: &[[u8; 32]]) -> Result<(), Error> {
        if keys.len() > MASK_KEYS_MAX {
            return Err(Error::Invalid("at most two header-mask keys"));
        }
        self.mask_keys.clear();
        self.mask_keys.extend(keys.iter().map(|key| Key(*key)));
        Ok(())
    }

    /// Accept the connection ids with these indices, both ends included.
    ///
    /// # Errors
    /// `Invalid` if there are none or more than 16.
    pub fn set_cids(&mut self, low: u32, high: u32) -> Result<(), Error> {
        if low > high || (high - low) as usize >= CIDS_MAX {
            return Err(Error::Invalid("between 1 and 16 connection-id indices"));
        }
        self.cids.clear();
        self.cids.extend((low..=high).map(|i| kdf::connection_id(&self.cid_key.0, i)));
        self.first_cid = low;
        Ok(())
    }

    /// Whether the datagram passes the header test: reserved bits zero, packet number in range.
    #[must_use]
    pub fn claims(&self, datagram: &[u8]) -> bool {
        self.unmask(datagram).is_some()
    }

    /// [`Self::claims`], and its connection id, in form A or B, is one that is accepted now.
    #[must_use]
    pub fn fits(&self, datagram: &[u8]) -> bool {
        self.unmask(datagram).is_some_and(|claimed| self.accepted_cid(datagram, &claimed).is_some())
    }

    /// Drop the keys of packets that have been missing for longer than `ttl_s`.
    pub fn expire(&mut self, now: f64, ttl_s: f64) {
        for epoch in &mut self.epochs {
            epoch.expire(now, ttl_s);
        }
    }

    /// Wipe every key. Nothing opens afterwards.
    pub fn close(&mut self) {
        self.epochs.clear();
        self.mask_keys.clear();
        self.cids.clear();
        self.header_key.zeroize();
        self.cid_key.zeroize();
        self.plain.zeroize();
    }

    /// Open the datagrams of `buf`, each `segment_bytes` long but the last, which may be shorter.
    ///
    /// Stream bytes land back to back in `out`, everything else in `report`, which is cleared first. A
    /// datagram that is not ours, malformed, replayed or forged is a count.
    ///
    /// # Errors
    /// `Invalid` before anything changes, if `segment_bytes` is 0 or `out` is shorter than `buf`.
    pub fn open_run(
        &mut self,
        buf: &[u8],
        segment_bytes: usize,
        out: &mut [u8],
        now: f64,
        report: &mut OpenReport,
    ) -> Result<(), Error> {
        if segment_bytes == 0 {
            return Err(Error::Invalid("segment_bytes must be at least 1"));
        }
        if out.len() < buf.len() {
            return Err(Error::Invalid("out must be at least as long as buf"));
        }
        report.clear();
        let largest = segment_bytes.min(buf.len());
        if self.plain.len() < largest {
            self.plain.zeroize();
            self.plain.resize(largest, 0);
        }
        let mut batch = Batch::new();
        let mut aead = A::default();
        let mut claimed = [None; WIDTH];
        let mut index = 0;
        for part in buf.chunks(segment_bytes.saturating_mul(WIDTH)) {
            let n = part.len().div_ceil(segment_bytes);
            self.unmask_all(part, segment_bytes, &mut claimed[..n]);
            batch.clear();
            for (i, datagram) in part.chunks(segment_bytes).enumerate() {
                if claimed[i].is_none() {
                    report.unclaimed.push(index);
                } else if let Err(why) =
                    self.open_one(datagram, &claimed[i..n], &mut batch, &mut aead, out, report)
                {
                    report.dropped += 1;
                    report.broken += usize::from(matches!(why, Dropped::Broken));
                }
                index += 1;
            }
        }
        report.merge_received();
        if !report.received.is_empty() {
            for epoch in &mut self.epochs {
                epoch.note_time(now);
            }
        }
        Ok(())
    }

    fn unmask(&self, datagram: &[u8]) -> Option<Claimed> {
        let mut claimed = [None];
        self.unmask_all(datagram, datagram.len().max(1), &mut claimed);
        claimed[0]
    }

    /// Unmask up to `WIDTH` datagrams; `None` for those whose header test fails.
    fn unmask_all(&self, part: &[u8], segment_bytes: usize, claimed: &mut [Option<Claimed>]) {
        let mut samples = [[0; SAMPLE_BYTES]; WIDTH];
        let mut masks = [[0; 32]; WIDTH];
        let least = self.format.overhead() + MIN_PAYLOAD_BYTES;
        for (datagram, sample) in part.chunks(segment_bytes).zip(&mut samples) {
            if datagram.len() >= least {
                *sample = take(datagram, datagram.len() - SAMPLE_BYTES);
            }
        }
        batch::masks(&self.header_key.0, &samples[..claimed.len()], &mut masks);
        claimed.fill(None);
        for ((datagram, mask), claimed) in part.chunks(segment_bytes).zip(&masks).zip(claimed) {
            if datagram.len() < least {
                continue;
            }
            let mut header: [u8; HEADER_BYTES] = take(datagram, self.format.header_offset());
            xor_into(&mut header, mask);
            let [flags, pn @ ..] = header;
            let pn = u32::from_be_bytes(pn);
            if flags & RESERVED_FLAGS == 0 && pn < PN_BOUND {
                let mut cid: [u8; CID_BYTES] = take(datagram, self.format.cid_offset());
                xor_into(&mut cid, &mask[HEADER_BYTES..]);
                *claimed = Some(Claimed { flags, pn, cid });
            }
        }
    }

    /// The accepted index of a connection id, looked at in full whatever it is.
    #[inline]
    fn index_of(&self, cid: [u8; CID_BYTES]) -> Option<u32> {
        let wanted = u64::from_ne_bytes(cid);
        let mut found = None;
        for (i, known) in (self.first_cid..).zip(&self.cids) {
            if u64::from_ne_bytes(*known) == wanted && found.is_none() {
                found = Some(i);
            }
        }
        found
    }

    /// The unmasked connection id, its index, and whether it came in form B.
    #[inline]
    fn accepted_cid(
        &self,
        datagram: &[u8],
        claimed: &Claimed,
    ) -> Option<([u8; CID_BYTES], u32, bool)> {
        if let Some(index) = self.index_of(claimed.cid) {
            return Some((claimed.cid, index, false));
        }
        let sample: [u8; SAMPLE_BYTES] = take(datagram, datagram.len() - SAMPLE_BYTES);
        self.mask_keys.iter().find_map(|key| {
            let mut cid: [u8; CID_BYTES] = take(datagram, self.format.cid_offset());
            xor_into(&mut cid, &kdf::keyed_hash(&key.0, &sample));
            self.index_of(cid).map(|index| (cid, index, true))
        })
    }

    /// Open a claimed datagram, the first of `claimed`, and report it.
    /// `batch` holds keys derived ahead, for it and for those that follow it in order.
    fn open_one(
        &mut self,
        datagram: &[u8],
        claimed: &[Option<Claimed>],
        batch: &mut Batch,
        aead: &mut A,
        out: &mut [u8],
        report: &mut OpenReport,
    ) -> Result<(), Dropped> {
        let here = claimed.first().copied().flatten().ok_or(Dropped::Broken)?;
        let accepted = self.accepted_cid(datagram, &here);
        let (cid, cid_index, form_b) = accepted.ok_or(Dropped::Broken)?;
        let (bits, pn) = (here.epoch_bits(), here.pn);
        let live = self.epochs.iter_mut().find(|live| live.epoch() % 4 == bits);
        let epoch = live.ok_or(Dropped::Late)?;
        if !epoch.is_new(pn) {
            return Err(if epoch.is_below_window(pn) { Dropped::Late } else { Dropped::Broken });
        }
        // Where several packets come in order, their keys are derived together, on copies.
        let in_order = epoch.step_if_next(pn).is_some();
        let mut ahead = batch.position(epoch.epoch(), pn);
        if in_order && ahead.is_none() {
            let n = consecutive(claimed, bits, pn);
            if n >= AHEAD_MIN && epoch.derive_ahead(self.cipher, pn, n, batch) {
                for at in 0..batch.len() {
                    aead.set_key(at, self.cipher, batch.key(at));
                }
                ahead = Some(0);
            }
        }
        if ahead.is_none() {
            let key = epoch.message_key(pn).ok_or(Dropped::Broken)?;
            let key = kdf::packet_key(self.cipher, epoch.iv(), key);
            aead.set_key(SINGLE, self.cipher, &key.0);
        }

        let fields = self.format.fields(datagram.len()).ok_or(Dropped::Broken)?;
        let (d1, d2) = self.format.dummies();
        let dummy1 = &datagram[fields.dummy1..fields.dummy1 + d1];
        let dummy2 = &datagram[fields.dummy2..fields.dummy2 + d2];
        let aad = Aad::new(cid, here.header(), dummy1, dummy2);
        let text = &datagram[fields.payload..fields.payload + fields.payload_bytes];
        let tag = take(datagram, fields.tag);
        let plain = &mut self.plain[..fields.payload_bytes];
        let nonce = kdf::packet_nonce(self.cipher, epoch.iv(), pn);
        if !aead.open(ahead.unwrap_or(SINGLE), &nonce, aad.as_slice(), text, &tag, plain) {
            return Err(Dropped::Broken);
        }
        match ahead.filter(|_| in_order) {
            Some(at) => epoch.commit_next(pn, &batch.steps[at + 1]),
            None => epoch.commit(pn),
        }
        let epoch = epoch.epoch();

        report.authenticated_bytes += datagram.len();
        report.cid_index = report.cid_index.max(Some(cid_index));
        report.form_b |= form_b;
        let start = report.frames.len();
        let mut eliciting = false;
        for frame in FrameWalker::new(plain) {
            match frame {
                Frame::Data { sid, offset, fin, bytes } => {
                    eliciting = true;
                    let at = report.stream_bytes;
                    out[at..at + bytes.len()].copy_from_slice(bytes);
                    report.add_stream_bytes(sid, offset, fin, bytes.len());
                }
                Frame::Other { encoded, eliciting: asks } => {
                    eliciting |= asks;
                    report.frames.extend_from_slice(encoded);
                }
                Frame::Malformed(rest) => report.frames.extend_from_slice(rest),
            }
        }
        let end = report.frames.len();
        if end > start {
            report.others.push(Other { epoch, pn, start, end });
        }
        report.add_received(epoch, pn, eliciting);
        Ok(())
    }
}

/// How many of the claimed datagrams, from the first on, carry `pn`, `pn + 1` and so on of one epoch;
/// those that are not claimed do not interrupt.
fn consecutive(claimed: &[Option<Claimed>], bits: u32, pn: u32) -> usize {
    let numbers = claimed.iter().flatten();
    numbers.zip(pn..).take_while(|(c, pn)| c.epoch_bits() == bits && c.pn == *pn).count()
}
