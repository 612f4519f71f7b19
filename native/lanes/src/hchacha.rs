//! HChaCha20 with `L` keys side by side.

use crate::{Lanes, add, transpose, untranspose, xor_rotate};

const SIGMA: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

#[inline(always)]
fn quarter<const L: usize>(s: &mut [Lanes<L>; 16], [a, b, c, d]: [usize; 4]) {
    macro_rules! step {
        ($x:ident, $y:ident, $z:ident, $right:literal) => {
            let y = s[$y];
            add(&mut s[$x], &y);
            let x = s[$x];
            xor_rotate::<L, $right>(&mut s[$z], &x);
        };
    }
    step!(a, b, d, 16);
    step!(c, d, b, 20);
    step!(a, b, d, 24);
    step!(c, d, b, 25);
}

#[inline(always)]
fn all<const L: usize>(keys: &[[u8; 32]], nonce: &[u8; 16], subkeys: &mut [[u8; 32]]) {
    let n = keys.len().min(subkeys.len());
    for (keys, subkeys) in keys[..n].chunks(L).zip(subkeys[..n].chunks_mut(L)) {
        let mut key = [[0; 32]; L];
        key[..keys.len()].copy_from_slice(keys);
        let mut s = [[0; L]; 16];
        for (word, sigma) in s.iter_mut().zip(SIGMA) {
            *word = [sigma; L];
        }
        s[4..12].copy_from_slice(&transpose::<L, 32, 8>(&key));
        for (word, bytes) in s[12..].iter_mut().zip(nonce.as_chunks::<4>().0) {
            *word = [u32::from_le_bytes(*bytes); L];
        }
        for _ in 0..10 {
            quarter(&mut s, [0, 4, 8, 12]);
            quarter(&mut s, [1, 5, 9, 13]);
            quarter(&mut s, [2, 6, 10, 14]);
            quarter(&mut s, [3, 7, 11, 15]);
            quarter(&mut s, [0, 5, 10, 15]);
            quarter(&mut s, [1, 6, 11, 12]);
            quarter(&mut s, [2, 7, 8, 13]);
            quarter(&mut s, [3, 4, 9, 14]);
        }
        let [a, b, c, d, .., w, x, y, z] = s;
        untranspose(&[a, b, c, d, w, x, y, z], subkeys);
    }
}

/// For any machine.
pub(crate) fn narrow(keys: &[[u8; 32]], nonce: &[u8; 16], subkeys: &mut [[u8; 32]]) {
    all::<4>(keys, nonce, subkeys);
}

/// For machines with AVX2.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[target_feature(enable = "avx2")]
pub(crate) fn middle(keys: &[[u8; 32]], nonce: &[u8; 16], subkeys: &mut [[u8; 32]]) {
    all::<8>(keys, nonce, subkeys);
}

/// For machines with AVX-512.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[target_feature(enable = "avx512f,avx512vl")]
pub(crate) fn wide(keys: &[[u8; 32]], nonce: &[u8; 16], subkeys: &mut [[u8; 32]]) {
    all::<16>(keys, nonce, subkeys);
}

#[cfg(test)]
mod tests {
    use super::*;

    type Subkeys = fn(&[[u8; 32]], &[u8; 16], &mut [[u8; 32]]);

    /// The vector of draft-irtf-cfrg-xchacha section 2.2.1, in every lane, beside other keys.
    fn check(subkeys: Subkeys) {
        let key: [u8; 32] = core::array::from_fn(|i| i as u8);
        let nonce = [0, 0, 0, 9, 0, 0, 0, 0x4a, 0, 0, 0, 0, 0x31, 0x41, 0x59, 0x27];
        let want = [
            0x82, 0x41, 0x3b, 0x42, 0x27, 0xb2, 0x7b, 0xfe, 0xd3, 0x0e, 0x42, 0x50, 0x8a, 0x87,
            0x7d, 0x73, 0xa0, 0xf9, 0xe4, 0xd5, 0x8a, 0x74, 0xa8, 0x53, 0xc1, 0x2e, 0xc4, 0x13,
            0x26, 0xd3, 0xec, 0xdc,
        ];
        for n in 1..40 {
            for at in 0..n {
                let mut keys = vec![[0x55; 32]; n];
                keys[at] = key;
                let mut got = vec![[0; 32]; n];
                subkeys(&keys, &nonce, &mut got);
                assert_eq!(got[at], want, "{at} of {n}");
                assert!(got.iter().enumerate().all(|(i, other)| i == at || *other != want));
            }
        }
    }

    #[test]
    fn vector_in_every_width() {
        check(narrow);
        check(all::<8>);
        check(all::<16>);
        check(crate::hchacha_subkeys);
    }
}
