//! Opening what one kernel read returned: datagrams in, runs of stream bytes out.

use alloc::vec::Vec;
use core::marker::PhantomData;

use zeroize::{Zeroize, Zeroizing};

use crate::PN_BOUND;
use crate::aead::{Aead, Cipher, hchacha};
use crate::error::Error;
use crate::format::{
    Aad, CID_BYTES, Fields, HEADER_BYTES, SAMPLE_BYTES, WireFormat, take, xor_into,
};
use crate::frames::{Frame, FrameWalker};
use crate::kdf::{self, Direction, Key};
use crate::receive_epoch::ReceiveEpoch;
use crate::replay::ReplayWindow;

/// Most connection-id indices that are accepted at a time.
const CIDS_MAX: usize = 16;
/// Most header-mask keys of this endpoint that are live at a time.
const MASK_KEYS_MAX: usize = 2;
const RESERVED_FLAGS: u8 = 0x3f;

/// Stream bytes that lie together, both in their stream and in `out`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The stream.
    pub sid: u32,
    /// Offset of the first byte in the stream.
    pub offset: u64,
    /// Where the first byte lies in `out`.
    pub at: usize,
    /// How many bytes.
    pub length: usize,
    /// Whether the stream ends behind them.
    pub fin: bool,
}

/// Consecutive packet numbers that were authentic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Received {
    /// Their epoch.
    pub epoch: u32,
    /// The lowest.
    pub first: u32,
    /// The highest.
    pub last: u32,
    /// Whether any of them asks for an acknowledgement.
    pub eliciting: bool,
}

/// Frames of one packet that are not DATA: a range of [`OpenReport::frames`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Other {
    /// The packet's epoch.
    pub epoch: u32,
    /// The packet's number.
    pub pn: u32,
    /// Start in `frames`.
    pub start: usize,
    /// End in `frames`.
    pub end: usize,
}

/// What one call found. Reused from call to call, so that a call allocates nothing in the long run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OpenReport {
    /// Bytes written to `out`.
    pub stream_bytes: usize,
    /// Where they belong.
    pub runs: Vec<Run>,
    /// Which packets had frames that are not DATA.
    pub others: Vec<Other>,
    /// The bytes of those frames.
    pub frames: Vec<u8>,
    /// Packet numbers opened, merged and ascending.
    pub received: Vec<Received>,
    /// Packets that ask for an acknowledgement.
    pub n_eliciting: usize,
    /// Indices of datagrams whose header test failed: not this session's.
    pub unclaimed: Vec<usize>,
    /// Highest epoch and packet number opened.
    pub highest: Option<(u32, u32)>,
    /// Highest connection-id index opened.
    pub cid_index: Option<u32>,
    /// Bytes of the datagrams that were authentic.
    pub authenticated_bytes: usize,
    /// Datagrams that passed the header test and were dropped all the same.
    pub dropped: usize,
    /// Whether any authentic packet came in form B.
    pub form_b: bool,
}

impl OpenReport {
    fn clear(&mut self) {
        self.runs.clear();
        self.others.clear();
        self.frames.clear();
        self.received.clear();
        self.unclaimed.clear();
        self.stream_bytes = 0;
        self.n_eliciting = 0;
        self.highest = None;
        self.cid_index = None;
        self.authenticated_bytes = 0;
        self.dropped = 0;
        self.form_b = false;
    }

    fn add_received(&mut self, epoch: u32, pn: u32, eliciting: bool) {
        self.n_eliciting += usize::from(eliciting);
        self.highest = self.highest.max(Some((epoch, pn)));
        match self.received.last_mut() {
            Some(last) if last.epoch == epoch && last.last.checked_add(1) == Some(pn) => {
                last.last = pn;
                last.eliciting |= eliciting;
            }
            _ => self.received.push(Received { epoch, first: pn, last: pn, eliciting }),
        }
    }

    fn add_stream_bytes(&mut self, sid: u32, offset: u64, fin: bool, n: usize) {
        let at = self.stream_bytes;
        self.stream_bytes += n;
        match self.runs.last_mut() {
            Some(last)
                if last.sid == sid
                    && !last.fin
                    && last.offset.checked_add(last.length as u64) == Some(offset) =>
            {
                last.length += n;
                last.fin = fin;
            }
            _ => self.runs.push(Run { sid, offset, at, length: n, fin }),
        }
    }

    /// Sort the ranges of packet numbers and join neighbours.
    fn merge_received(&mut self) {
        if self.received.is_sorted_by(|a, b| (a.epoch, a.last + 1) < (b.epoch, b.first)) {
            return; // the usual case: in order
        }
        self.received.sort_unstable();
        self.received.dedup_by(|next, kept| {
            let joins = next.epoch == kept.epoch && next.first == kept.last + 1;
            if joins {
                kept.last = next.last;
                kept.eliciting |= next.eliciting;
            }
            joins
        });
    }
}

/// A datagram whose header test passed.
struct Claimed {
    fields: Fields,
    header: [u8; HEADER_BYTES],
    mask: [u8; 32],
    sample: [u8; SAMPLE_BYTES],
    pn: u32,
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
        for (i, datagram) in buf.chunks(segment_bytes).enumerate() {
            match self.unmask(datagram) {
                None => report.unclaimed.push(i),
                Some(claimed) => {
                    if self.open_one(datagram, &claimed, out, report).is_none() {
                        report.dropped += 1;
                    }
                }
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

    #[inline]
    fn unmask(&self, datagram: &[u8]) -> Option<Claimed> {
        let fields = self.format.fields(datagram.len())?;
        let sample: [u8; SAMPLE_BYTES] = take(datagram, datagram.len() - SAMPLE_BYTES);
        let mask = kdf::keyed_hash(&self.header_key.0, &sample);
        let mut header: [u8; HEADER_BYTES] = take(datagram, fields.header);
        xor_into(&mut header, &mask);
        let [flags, pn @ ..] = header;
        let pn = u32::from_be_bytes(pn);
        (flags & RESERVED_FLAGS == 0 && pn < PN_BOUND).then_some(Claimed {
            fields,
            header,
            mask,
            sample,
            pn,
        })
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
        let masked: [u8; CID_BYTES] = take(datagram, claimed.fields.cid);
        let mut cid = masked;
        xor_into(&mut cid, &claimed.mask[HEADER_BYTES..]);
        if let Some(index) = self.index_of(cid) {
            return Some((cid, index, false));
        }
        self.mask_keys.iter().find_map(|key| {
            let mut cid = masked;
            xor_into(&mut cid, &kdf::keyed_hash(&key.0, &claimed.sample));
            self.index_of(cid).map(|index| (cid, index, true))
        })
    }

    /// Open one claimed datagram and report it; `None` if it must be dropped.
    fn open_one(
        &mut self,
        datagram: &[u8],
        claimed: &Claimed,
        out: &mut [u8],
        report: &mut OpenReport,
    ) -> Option<()> {
        let (cid, cid_index, form_b) = self.accepted_cid(datagram, claimed)?;
        let bits = u32::from(claimed.header[0] >> 6);
        let pn = claimed.pn;
        let epoch = self.epochs.iter_mut().find(|live| live.epoch() % 4 == bits)?;
        if !epoch.is_new(pn) {
            return None;
        }
        let key = epoch.message_key(pn)?;

        let fields = &claimed.fields;
        let (d1, d2) = self.format.dummies();
        let dummy1 = &datagram[fields.dummy1..fields.dummy1 + d1];
        let dummy2 = &datagram[fields.dummy2..fields.dummy2 + d2];
        let aad = Aad::new(cid, claimed.header, dummy1, dummy2);
        let text = &datagram[fields.payload..fields.payload + fields.payload_bytes];
        let tag = take(datagram, fields.tag);
        let plain = &mut self.plain[..fields.payload_bytes];
        let authentic = match self.cipher {
            Cipher::Aes256Gcm => {
                let nonce = kdf::nonce_12(epoch.iv(), pn);
                A::aes_open(&key.0, nonce, aad.as_slice(), text, &tag, plain)
            }
            Cipher::XChaCha20Poly1305 => {
                let nonce = kdf::nonce_24(epoch.iv(), pn);
                let subkey = hchacha::subkey(&key.0, &nonce);
                let nonce = hchacha::short_nonce(&nonce);
                A::chacha_open(&subkey.0, nonce, aad.as_slice(), text, &tag, plain)
            }
        };
        if !authentic {
            return None;
        }
        epoch.commit(pn);
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
        Some(())
    }
}
