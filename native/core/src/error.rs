//! What a call can refuse. A bad packet is never an error: it is a count in the report.

use core::fmt;

/// Why a call did nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// An argument is out of its range; nothing has changed.
    Invalid(&'static str),
    /// The epoch has no packet number left for this run; nothing has changed.
    NonceExhausted,
    /// The AEAD itself failed (no memory): the packet number is spent, nothing was written.
    Aead,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(what) => f.write_str(what),
            Self::NonceExhausted => f.write_str("the epoch has no packet number left"),
            Self::Aead => f.write_str("the AEAD failed"),
        }
    }
}

impl core::error::Error for Error {}
