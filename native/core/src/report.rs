//! What a call of [`Opener::open_run`](crate::Opener::open_run) found.

use alloc::vec::Vec;

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
    /// Those of them that neither an erased epoch nor the end of the window explains.
    pub broken: usize,
    /// Whether any authentic packet came in form B.
    pub form_b: bool,
}

impl OpenReport {
    pub(crate) fn clear(&mut self) {
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
        self.broken = 0;
        self.form_b = false;
    }

    pub(crate) fn add_received(&mut self, epoch: u32, pn: u32, eliciting: bool) {
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

    pub(crate) fn add_stream_bytes(&mut self, sid: u32, offset: u64, fin: bool, n: usize) {
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
    pub(crate) fn merge_received(&mut self) {
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
