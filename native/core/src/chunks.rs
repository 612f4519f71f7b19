//! BLAKE3 of the chunks of a run of bytes, one digest each: what content verification compares.

use alloc::vec::Vec;

use crate::error::Error;

/// Bytes of one digest.
pub const DIGEST_BYTES: usize = 32;

/// Digests of the consecutive `chunk_bytes`-sized chunks of what `parts` are when joined, back to back;
/// nothing is joined. The last chunk may be shorter, no bytes at all have no digest.
///
/// # Errors
/// `Invalid` if `chunk_bytes` is 0.
pub fn chunk_digests(parts: &[&[u8]], chunk_bytes: usize) -> Result<Vec<u8>, Error> {
    if chunk_bytes == 0 {
        return Err(Error::Invalid("chunk_bytes must be at least 1"));
    }
    let total = parts.iter().fold(0usize, |sum, part| sum.saturating_add(part.len()));
    let mut digests = Vec::with_capacity(total.div_ceil(chunk_bytes).saturating_mul(DIGEST_BYTES));
    // of the chunk that has begun in an earlier part, and how many bytes it still takes
    let (mut begun, mut missing) = (blake3::Hasher::new(), 0);
    for part in parts {
        let (head, rest) = part.split_at(missing.min(part.len()));
        if !head.is_empty() {
            begun.update(head);
            missing -= head.len();
            if missing == 0 {
                digests.extend_from_slice(begun.finalize().as_bytes());
            }
        }
        let whole = rest.chunks_exact(chunk_bytes);
        let tail = whole.remainder();
        for chunk in whole {
            digests.extend_from_slice(blake3::hash(chunk).as_bytes());
        }
        if !tail.is_empty() {
            begun.reset();
            begun.update(tail);
            missing = chunk_bytes - tail.len();
        }
    }
    if missing > 0 {
        digests.extend_from_slice(begun.finalize().as_bytes());
    }
    Ok(digests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_chunk_may_be_short() {
        let digests = chunk_digests(&[b"aaaabb"], 4).unwrap();
        assert_eq!(digests[..32], *blake3::hash(b"aaaa").as_bytes());
        assert_eq!(digests[32..], *blake3::hash(b"bb").as_bytes());
        assert!(chunk_digests(&[b""], 4).unwrap().is_empty());
        assert!(chunk_digests(&[], 4).unwrap().is_empty());
        assert!(chunk_digests(&[b"a"], 0).is_err());
    }

    #[test]
    fn parts_may_end_anywhere() {
        let data: Vec<u8> = (0..40).collect();
        for chunk_bytes in [1, 3, 8, 40, 41, usize::MAX] {
            let want: Vec<u8> = data
                .chunks(chunk_bytes)
                .flat_map(|chunk| *blake3::hash(chunk).as_bytes())
                .collect();
            for a in 0..=data.len() {
                for b in a..=data.len() {
                    let parts = [&data[..a], &[], &data[a..b], &data[b..]];
                    assert_eq!(chunk_digests(&parts, chunk_bytes).unwrap(), want);
                }
            }
        }
    }
}
