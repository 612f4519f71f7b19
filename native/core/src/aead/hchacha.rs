//! HChaCha20: the subkey of XChaCha20-Poly1305, from a key and the first 16 bytes of its nonce.

use crate::kdf::Key;

#[inline(always)]
fn quarter(s: &mut [u32; 16], a: usize, b: usize, c: usize, d: usize) {
    s[a] = s[a].wrapping_add(s[b]);
    s[d] = (s[d] ^ s[a]).rotate_left(16);
    s[c] = s[c].wrapping_add(s[d]);
    s[b] = (s[b] ^ s[c]).rotate_left(12);
    s[a] = s[a].wrapping_add(s[b]);
    s[d] = (s[d] ^ s[a]).rotate_left(8);
    s[c] = s[c].wrapping_add(s[d]);
    s[b] = (s[b] ^ s[c]).rotate_left(7);
}

/// The subkey for `key` and the first 16 bytes of a 24-byte nonce.
#[inline]
pub(crate) fn subkey(key: &[u8; 32], nonce: &[u8; 24]) -> Key {
    let mut s = [0u32; 16];
    s[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
    let words = key.as_chunks::<4>().0.iter().chain(nonce[..16].as_chunks::<4>().0);
    for (word, bytes) in s[4..].iter_mut().zip(words) {
        *word = u32::from_le_bytes(*bytes);
    }
    for _ in 0..10 {
        quarter(&mut s, 0, 4, 8, 12);
        quarter(&mut s, 1, 5, 9, 13);
        quarter(&mut s, 2, 6, 10, 14);
        quarter(&mut s, 3, 7, 11, 15);
        quarter(&mut s, 0, 5, 10, 15);
        quarter(&mut s, 1, 6, 11, 12);
        quarter(&mut s, 2, 7, 8, 13);
        quarter(&mut s, 3, 4, 9, 14);
    }
    let mut subkey = Key::ZERO;
    let kept = s[..4].iter().chain(&s[12..]);
    for (bytes, word) in subkey.0.as_chunks_mut::<4>().0.iter_mut().zip(kept) {
        *bytes = word.to_le_bytes();
    }
    subkey
}

/// The ChaCha20-Poly1305 nonce behind [`subkey`]: four zeros and the nonce's last eight bytes.
#[inline]
pub(crate) fn short_nonce(nonce: &[u8; 24]) -> [u8; 12] {
    let mut short = [0u8; 12];
    short[4..].copy_from_slice(&nonce[16..]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aead::tests::hex;

    #[test]
    fn draft_irtf_cfrg_xchacha_vector() {
        let key: [u8; 32] = core::array::from_fn(|i| i as u8);
        let mut nonce = [0u8; 24];
        nonce[..16].copy_from_slice(&hex("000000090000004a0000000031415927"));
        assert_eq!(
            subkey(&key, &nonce).0.to_vec(),
            hex("82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc")
        );
    }
}
