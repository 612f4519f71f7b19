//! One after the other, for machines without wide vectors.

pub(crate) fn keyed_chains(
    keys: &[[u8; 32]],
    messages: &[[u8; 16]],
    length: usize,
    n: usize,
    hashes: &mut [[u8; 32]],
) {
    for ((key, message), hash) in keys.iter().zip(messages).zip(hashes) {
        *hash = *key;
        for _ in 0..n {
            *hash = *blake3::keyed_hash(hash, &message[..length]).as_bytes();
        }
    }
}

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

pub(crate) fn hchacha_subkeys(keys: &[[u8; 32]], nonce: &[u8; 16], subkeys: &mut [[u8; 32]]) {
    for (key, subkey) in keys.iter().zip(subkeys) {
        let mut s = [0u32; 16];
        s[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
        let words = key.as_chunks::<4>().0.iter().chain(nonce.as_chunks::<4>().0);
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
        let kept = s[..4].iter().chain(&s[12..]);
        for (bytes, word) in subkey.as_chunks_mut::<4>().0.iter_mut().zip(kept) {
            *bytes = word.to_le_bytes();
        }
    }
}
