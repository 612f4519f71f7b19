//! BLAKE3 of a buffer's chunks, one digest each: what content verification compares.

use alloc::vec::Vec;

use crate::error::Error;

/// Bytes of one digest.
pub const DIGEST_BYTES: usize = 32;

/// Digests of the consecutive `chunk_bytes`-sized chunks of `data`, back to back; the last chunk may
/// be shorter, empty data has none.
///
/// # Errors
/// `Invalid` if `chunk_bytes` is 0.
pub fn chunk_digests(data: &[u8], chunk_bytes: usize) -> Result<Vec<u8>, Error> {
    if chunk_bytes == 0 {
        return Err(Error::Invalid("chunk_bytes must be at least 1"));
    }
    let mut digests = Vec::with_capacity(data.len().div_ceil(chunk_bytes).saturating_mul(32));
    for chunk in data.chunks(chunk_bytes) {
        digests.extend_from_slice(blake3::hash(chunk).as_bytes());
    }
    Ok(digests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_chunk_may_be_short() {
        let digests = chunk_digests(b"aaaabb", 4).unwrap();
        assert_eq!(digests[..32], *blake3::hash(b"aaaa").as_bytes());
        assert_eq!(digests[32..], *blake3::hash(b"bb").as_bytes());
        assert!(chunk_digests(b"", 4).unwrap().is_empty());
        assert!(chunk_digests(b"a", 0).is_err());
    }
}
