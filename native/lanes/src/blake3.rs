//! BLAKE3's compression of one short keyed block, `L` blocks side by side.

use crate::{Lanes, add, transpose, untranspose, xor_rotate};

const IV: [u32; 4] = [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a];
/// CHUNK_START, CHUNK_END, ROOT, KEYED_HASH: a whole message in one block.
const FLAGS: u32 = 1 | 2 | 8 | 16;
/// Which message word each of a round's sixteen additions takes.
const SCHEDULE: [[usize; 16]; 7] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8],
    [3, 4, 10, 12, 13, 2, 7, 14, 6, 5, 9, 0, 11, 15, 8, 1],
    [10, 7, 12, 9, 14, 3, 13, 15, 4, 0, 11, 2, 5, 8, 1, 6],
    [12, 13, 9, 11, 15, 10, 14, 8, 7, 2, 5, 3, 0, 1, 6, 4],
    [9, 14, 11, 5, 8, 12, 15, 1, 13, 3, 0, 10, 2, 6, 4, 7],
    [11, 15, 5, 0, 1, 9, 8, 6, 14, 10, 2, 12, 3, 4, 7, 13],
];

/// Half of G. Message words from the fourth on are zero, so they are not added.
#[inline(always)]
fn half<const L: usize, const D: u32, const B: u32>(
    v: &mut [Lanes<L>; 16],
    [a, b, c, d]: [usize; 4],
    m: &[Lanes<L>; 4],
    word: usize,
) {
    let (vb, vd) = (v[b], v[d]);
    add(&mut v[a], &vb);
    if word < 4 {
        add(&mut v[a], &m[word]);
    }
    let va = v[a];
    v[d] = vd;
    xor_rotate::<L, D>(&mut v[d], &va);
    let vd = v[d];
    add(&mut v[c], &vd);
    let vc = v[c];
    xor_rotate::<L, B>(&mut v[b], &vc);
}

#[inline(always)]
fn compress<const L: usize>(key: &[Lanes<L>; 8], m: &[Lanes<L>; 4], length: u32) -> [Lanes<L>; 8] {
    let mut v = [[0; L]; 16];
    v[..8].copy_from_slice(key);
    for (word, iv) in v[8..12].iter_mut().zip(IV) {
        *word = [iv; L];
    }
    v[14] = [length; L];
    v[15] = [FLAGS; L];
    macro_rules! g {
        ($round:literal, $i:literal, $a:literal, $b:literal, $c:literal, $d:literal) => {
            half::<L, 16, 12>(&mut v, [$a, $b, $c, $d], m, SCHEDULE[$round][2 * $i]);
            half::<L, 8, 7>(&mut v, [$a, $b, $c, $d], m, SCHEDULE[$round][2 * $i + 1]);
        };
    }
    macro_rules! round {
        ($($round:literal)*) => {$(
            g!($round, 0, 0, 4, 8, 12);
            g!($round, 1, 1, 5, 9, 13);
            g!($round, 2, 2, 6, 10, 14);
            g!($round, 3, 3, 7, 11, 15);
            g!($round, 4, 0, 5, 10, 15);
            g!($round, 5, 1, 6, 11, 12);
            g!($round, 6, 2, 7, 8, 13);
            g!($round, 7, 3, 4, 9, 14);
        )*};
    }
    round!(0 1 2 3 4 5 6);
    let mut out = [[0; L]; 8];
    for i in 0..8 {
        for lane in 0..L {
            out[i][lane] = v[i][lane] ^ v[i + 8][lane];
        }
    }
    out
}

#[inline(always)]
fn all<const L: usize>(
    keys: &[[u8; 32]],
    messages: &[[u8; 16]],
    length: usize,
    hashes: &mut [[u8; 32]],
) {
    let n = keys.len().min(messages.len()).min(hashes.len());
    let (keys, messages, hashes) = (&keys[..n], &messages[..n], &mut hashes[..n]);
    for ((keys, messages), hashes) in
        keys.chunks(L).zip(messages.chunks(L)).zip(hashes.chunks_mut(L))
    {
        let (mut key, mut message) = ([[0; 32]; L], [[0; 16]; L]);
        key[..keys.len()].copy_from_slice(keys);
        for (to, from) in message.iter_mut().zip(messages) {
            *to = *from;
            to[length.min(16)..].fill(0);
        }
        let length = length.min(16) as u32;
        let words = compress::<L>(&transpose(&key), &transpose(&message), length);
        untranspose(&words, hashes);
    }
}

/// For any machine.
pub(crate) fn narrow(k: &[[u8; 32]], m: &[[u8; 16]], n: usize, h: &mut [[u8; 32]]) {
    all::<4>(k, m, n, h);
}

/// For machines with AVX2.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[target_feature(enable = "avx2")]
pub(crate) fn middle(k: &[[u8; 32]], m: &[[u8; 16]], n: usize, h: &mut [[u8; 32]]) {
    all::<8>(k, m, n, h);
}

/// For machines with AVX-512.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[target_feature(enable = "avx512f,avx512vl")]
pub(crate) fn wide(k: &[[u8; 32]], m: &[[u8; 16]], n: usize, h: &mut [[u8; 32]]) {
    all::<16>(k, m, n, h);
}

#[cfg(test)]
mod tests {
    use super::*;

    type Hashes = fn(&[[u8; 32]], &[[u8; 16]], usize, &mut [[u8; 32]]);

    fn check(hashes: Hashes) {
        for n in [0, 1, 3, 4, 5, 8, 15, 16, 17, 46] {
            for length in [0, 1, 5, 15, 16] {
                let keys: Vec<[u8; 32]> = (0..n).map(|i| [i as u8 * 3 + 1; 32]).collect();
                let messages: Vec<[u8; 16]> =
                    (0..n).map(|i| core::array::from_fn(|j| (i * 16 + j) as u8)).collect();
                let mut got = vec![[0; 32]; n];
                hashes(&keys, &messages, length, &mut got);
                for i in 0..n {
                    let want = ::blake3::keyed_hash(&keys[i], &messages[i][..length]);
                    assert_eq!(got[i], *want.as_bytes(), "{i} of {n}, {length} bytes");
                }
            }
        }
    }

    #[test]
    fn equals_blake3_in_every_width() {
        check(narrow);
        check(all::<8>);
        check(all::<16>);
        check(crate::keyed_hashes);
    }
}
