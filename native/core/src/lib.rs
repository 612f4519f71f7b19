//! Runs of packets, sealed and opened: the computation behind `wraith.hotpath`.
//!
//! One call cuts a run of stream bytes into packets, derives their keys, encrypts, lays the fields
//! out by the session's wire format and masks them; the inverse takes what one kernel read returned.
//! The Python module `wraith/hotpath/_python.py` is the reference: same names, same results, byte for
//! byte. What must not be here: I/O, clocks (time is an argument), randomness (an argument), threads,
//! global state, `unsafe`.
//!
//! Layouts, labels and limits: `docs/spec/` (packet layout, ratchet, replay window, frames).
#![cfg_attr(not(any(test, feature = "std")), no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

extern crate alloc;

pub mod aead;
mod batch;
mod chunks;
mod error;
mod format;
mod frames;
mod kdf;
mod open;
mod receive_epoch;
mod records;
mod replay;
mod report;
mod seal;
mod send_epoch;
mod step_table;

pub use chunks::{DIGEST_BYTES, chunk_digests};
pub use error::Error;
pub use format::{Fields, WireFormat};
pub use frames::{Frame, FrameWalker};
pub use kdf::Direction;
pub use open::Opener;
pub use records::{
    RECORD_HEADER_BYTES, RECORD_PACKET_BYTES, RECORDS_MAX, RecordReader, RecordRun, RecordSealer,
};
pub use report::{OpenReport, Other, Received, Run};
pub use seal::{FRAMES_MAX, FramesRequest, SealReport, SealRequest, Sealer};

/// Packet numbers of an epoch end here: this one is never sent and never accepted.
pub const PN_BOUND: u32 = 1 << 21;
/// Packets that share one block key of the two-level ratchet.
pub const BLOCK: u32 = 256;
/// Bytes of a packet's least payload: enough for a header sample inside the back group.
pub const MIN_PAYLOAD_BYTES: usize = 4;
/// Bytes of the largest datagram that is sealed: the largest UDP payload over IPv4.
pub const MAX_DATAGRAM_BYTES: usize = 65_507;
