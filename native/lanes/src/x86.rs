//! Eight lanes with AVX2, sixteen with AVX-512: the same code, expanded for either register. And the
//! prefetch instruction.

use core::arch::x86_64::*;
use core::mem::transmute;

/// Message words of BLAKE3's sixteen additions per round. Words from the fourth on are zero here.
const SCHEDULE: [[usize; 16]; 7] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8],
    [3, 4, 10, 12, 13, 2, 7, 14, 6, 5, 9, 0, 11, 15, 8, 1],
    [10, 7, 12, 9, 14, 3, 13, 15, 4, 0, 11, 2, 5, 8, 1, 6],
    [12, 13, 9, 11, 15, 10, 14, 8, 7, 2, 5, 3, 0, 1, 6, 4],
    [9, 14, 11, 5, 8, 12, 15, 1, 13, 3, 0, 10, 2, 6, 4, 7],
    [11, 15, 5, 0, 1, 9, 8, 6, 14, 10, 2, 12, 3, 4, 7, 13],
];
const BLAKE3_IV: [u32; 4] = [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a];
/// CHUNK_START, CHUNK_END, ROOT, KEYED_HASH: a whole message in one block.
const BLAKE3_FLAGS: u32 = 1 | 2 | 8 | 16;
const CHACHA_SIGMA: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

macro_rules! lanes {
    ($name:ident, $features:literal, $width:literal, $vector:ident, $add:ident, $xor:ident, $rotate:ident, $gather:ident, $scatter:ident) => {
        mod $name {
            use super::*;

            type Words = [u32; $width];

            #[inline]
            #[target_feature(enable = $features)]
            fn vector(words: Words) -> $vector {
                // SAFETY: both are the same number of plain bytes, and every pattern is valid in either.
                unsafe { transmute::<Words, $vector>(words) }
            }

            /// `a += b; d = (d ^ a) >>> RIGHT`, the step that both ciphers consist of.
            #[inline]
            #[target_feature(enable = $features)]
            fn step<const RIGHT: i32, const LEFT: i32>(
                v: &mut [$vector; 16],
                a: usize,
                b: usize,
                d: usize,
            ) {
                v[a] = $add(v[a], v[b]);
                v[d] = $rotate::<RIGHT, LEFT>($xor(v[d], v[a]));
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn mix(v: &mut [$vector; 16], m: &[$vector; 4], [x, y]: [usize; 2], i: [usize; 4]) {
                let [a, b, c, d] = i;
                if x < 4 {
                    v[a] = $add(v[a], m[x]);
                }
                step::<16, 16>(v, a, b, d);
                step::<12, 20>(v, c, d, b);
                if y < 4 {
                    v[a] = $add(v[a], m[y]);
                }
                step::<8, 24>(v, a, b, d);
                step::<7, 25>(v, c, d, b);
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn round<const ROUND: usize>(v: &mut [$vector; 16], m: &[$vector; 4]) {
                let s = SCHEDULE[ROUND];
                mix(v, m, [s[0], s[1]], [0, 4, 8, 12]);
                mix(v, m, [s[2], s[3]], [1, 5, 9, 13]);
                mix(v, m, [s[4], s[5]], [2, 6, 10, 14]);
                mix(v, m, [s[6], s[7]], [3, 7, 11, 15]);
                mix(v, m, [s[8], s[9]], [0, 5, 10, 15]);
                mix(v, m, [s[10], s[11]], [1, 6, 11, 12]);
                mix(v, m, [s[12], s[13]], [2, 7, 8, 13]);
                mix(v, m, [s[14], s[15]], [3, 4, 9, 14]);
            }

            /// Hash each message with its key, and again with what came out, `n` times in all.
            #[target_feature(enable = $features)]
            pub(super) fn keyed_chains(
                keys: &[[u8; 32]],
                messages: &[[u8; 16]],
                length: usize,
                n: usize,
                hashes: &mut [[u8; 32]],
            ) {
                let all = keys.chunks($width).zip(messages.chunks($width));
                for ((keys, messages), hashes) in all.zip(hashes.chunks_mut($width)) {
                    let mut block = [[0; 32]; $width];
                    for (to, from) in block.iter_mut().zip(messages) {
                        to[..length].copy_from_slice(&from[..length]);
                    }
                    let [a, b, c, d, ..] = $gather(&block);
                    let m = [a, b, c, d];
                    let mut chain = $gather(keys);
                    for _ in 0..n {
                        let mut v = [vector([0; $width]); 16];
                        v[..8].copy_from_slice(&chain);
                        for (word, iv) in v[8..].iter_mut().zip(BLAKE3_IV) {
                            *word = vector([iv; $width]);
                        }
                        v[14] = vector([length as u32; $width]);
                        v[15] = vector([BLAKE3_FLAGS; $width]);
                        round::<0>(&mut v, &m);
                        round::<1>(&mut v, &m);
                        round::<2>(&mut v, &m);
                        round::<3>(&mut v, &m);
                        round::<4>(&mut v, &m);
                        round::<5>(&mut v, &m);
                        round::<6>(&mut v, &m);
                        for at in 0..8 {
                            chain[at] = $xor(v[at], v[at + 8]);
                        }
                    }
                    $scatter(chain, hashes);
                }
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn quarter(v: &mut [$vector; 16], [a, b, c, d]: [usize; 4]) {
                step::<16, 16>(v, a, b, d);
                step::<20, 12>(v, c, d, b);
                step::<24, 8>(v, a, b, d);
                step::<25, 7>(v, c, d, b);
            }

            #[target_feature(enable = $features)]
            pub(super) fn hchacha_subkeys(
                keys: &[[u8; 32]],
                nonce: &[u8; 16],
                subkeys: &mut [[u8; 32]],
            ) {
                for (keys, subkeys) in keys.chunks($width).zip(subkeys.chunks_mut($width)) {
                    let mut v = [vector([0; $width]); 16];
                    for (word, sigma) in v.iter_mut().zip(CHACHA_SIGMA) {
                        *word = vector([sigma; $width]);
                    }
                    v[4..12].copy_from_slice(&$gather(keys));
                    for (word, bytes) in v[12..].iter_mut().zip(nonce.as_chunks::<4>().0) {
                        *word = vector([u32::from_le_bytes(*bytes); $width]);
                    }
                    for _ in 0..10 {
                        quarter(&mut v, [0, 4, 8, 12]);
                        quarter(&mut v, [1, 5, 9, 13]);
                        quarter(&mut v, [2, 6, 10, 14]);
                        quarter(&mut v, [3, 7, 11, 15]);
                        quarter(&mut v, [0, 5, 10, 15]);
                        quarter(&mut v, [1, 6, 11, 12]);
                        quarter(&mut v, [2, 7, 8, 13]);
                        quarter(&mut v, [3, 4, 9, 14]);
                    }
                    let [a, b, c, d, .., w, x, y, z] = v;
                    $scatter([a, b, c, d, w, x, y, z], subkeys);
                }
            }
        }
    };
}

/// Eight lanes of eight words as eight vectors of a word each, and back: it is its own inverse.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose([a, b, c, d, e, f, g, h]: [__m256i; 8]) -> [__m256i; 8] {
    let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
    let (ef, gh) = (_mm256_unpacklo_epi32(e, f), _mm256_unpacklo_epi32(g, h));
    let (ab2, cd2) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
    let (ef2, gh2) = (_mm256_unpackhi_epi32(e, f), _mm256_unpackhi_epi32(g, h));
    let (p0, q0) = (_mm256_unpacklo_epi64(ab, cd), _mm256_unpacklo_epi64(ef, gh));
    let (p1, q1) = (_mm256_unpackhi_epi64(ab, cd), _mm256_unpackhi_epi64(ef, gh));
    let (p2, q2) = (_mm256_unpacklo_epi64(ab2, cd2), _mm256_unpacklo_epi64(ef2, gh2));
    let (p3, q3) = (_mm256_unpackhi_epi64(ab2, cd2), _mm256_unpackhi_epi64(ef2, gh2));
    [
        _mm256_permute2x128_si256::<0x20>(p0, q0),
        _mm256_permute2x128_si256::<0x20>(p1, q1),
        _mm256_permute2x128_si256::<0x20>(p2, q2),
        _mm256_permute2x128_si256::<0x20>(p3, q3),
        _mm256_permute2x128_si256::<0x31>(p0, q0),
        _mm256_permute2x128_si256::<0x31>(p1, q1),
        _mm256_permute2x128_si256::<0x31>(p2, q2),
        _mm256_permute2x128_si256::<0x31>(p3, q3),
    ]
}

/// Word by word what the lanes hold; lanes beyond the last are zero.
#[inline]
#[target_feature(enable = "avx2")]
fn gather_256(lanes: &[[u8; 32]]) -> [__m256i; 8] {
    let mut rows = [_mm256_setzero_si256(); 8];
    for (row, lane) in rows.iter_mut().zip(lanes) {
        // SAFETY: both are 32 plain bytes, and every pattern is valid in either.
        *row = unsafe { transmute::<[u8; 32], __m256i>(*lane) };
    }
    transpose(rows)
}

/// The inverse of `gather_256`.
#[inline]
#[target_feature(enable = "avx2")]
fn scatter_256(words: [__m256i; 8], lanes: &mut [[u8; 32]]) {
    for (row, lane) in transpose(words).into_iter().zip(lanes) {
        // SAFETY: both are 32 plain bytes, and every pattern is valid in either.
        *lane = unsafe { transmute::<__m256i, [u8; 32]>(row) };
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn gather_512(lanes: &[[u8; 32]]) -> [__m512i; 8] {
    let (low, high) = lanes.split_at(lanes.len().min(8));
    let (low, high) = (gather_256(low), gather_256(high));
    let mut words = [_mm512_setzero_si512(); 8];
    for at in 0..8 {
        words[at] = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low[at]), high[at]);
    }
    words
}

#[inline]
#[target_feature(enable = "avx512f")]
fn scatter_512(words: [__m512i; 8], lanes: &mut [[u8; 32]]) {
    let (mut low, mut high) = ([_mm256_setzero_si256(); 8], [_mm256_setzero_si256(); 8]);
    for at in 0..8 {
        low[at] = _mm512_castsi512_si256(words[at]);
        high[at] = _mm512_extracti64x4_epi64::<1>(words[at]);
    }
    let (first, second) = lanes.split_at_mut(lanes.len().min(8));
    scatter_256(low, first);
    scatter_256(high, second);
}

/// AVX2 has no rotation: a byte shuffle where it can be one, else two shifts.
#[inline]
#[target_feature(enable = "avx2")]
fn rotate_256<const RIGHT: i32, const LEFT: i32>(x: __m256i) -> __m256i {
    match RIGHT {
        16 => {
            let halves = _mm_setr_epi8(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
            _mm256_shuffle_epi8(x, _mm256_broadcastsi128_si256(halves))
        }
        8 => {
            let bytes = _mm_setr_epi8(1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12);
            _mm256_shuffle_epi8(x, _mm256_broadcastsi128_si256(bytes))
        }
        _ => _mm256_or_si256(_mm256_srli_epi32::<RIGHT>(x), _mm256_slli_epi32::<LEFT>(x)),
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn rotate_512<const RIGHT: i32, const LEFT: i32>(x: __m512i) -> __m512i {
    _mm512_ror_epi32::<RIGHT>(x)
}

lanes!(
    eight,
    "avx2",
    8,
    __m256i,
    _mm256_add_epi32,
    _mm256_xor_si256,
    rotate_256,
    gather_256,
    scatter_256
);
lanes!(
    sixteen,
    "avx512f",
    16,
    __m512i,
    _mm512_add_epi32,
    _mm512_xor_si512,
    rotate_512,
    gather_512,
    scatter_512
);

/// Fewer than this are quicker one by one.
const WORTH_IT: usize = 3;

pub(crate) fn is_wide() -> bool {
    std::is_x86_feature_detected!("avx2")
}

const CACHE_LINE_BYTES: usize = 64;

/// Fetches `bytes` into the nearest cache, line by line.
#[inline]
pub(crate) fn prefetch(bytes: &[u8]) {
    for line in bytes.chunks(CACHE_LINE_BYTES) {
        // SAFETY: SSE, where this instruction comes from, is part of every x86-64, and the instruction
        // neither reads nor faults whatever the address; this one is of borrowed bytes.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
}

/// `false` if there are too few or this machine has no wide vectors: nothing has been done then.
pub(crate) fn keyed_chains(
    keys: &[[u8; 32]],
    messages: &[[u8; 16]],
    length: usize,
    n: usize,
    hashes: &mut [[u8; 32]],
) -> bool {
    if keys.len() < WORTH_IT {
        return false;
    }
    if keys.len() > 8 && std::is_x86_feature_detected!("avx512f") {
        // SAFETY: this function needs AVX-512F, and the machine has it.
        unsafe { sixteen::keyed_chains(keys, messages, length, n, hashes) };
    } else if std::is_x86_feature_detected!("avx2") {
        // SAFETY: this function needs AVX2, and the machine has it.
        unsafe { eight::keyed_chains(keys, messages, length, n, hashes) };
    } else {
        return false;
    }
    true
}

/// `false` if there are too few or this machine has no wide vectors: nothing has been done then.
pub(crate) fn hchacha_subkeys(
    keys: &[[u8; 32]],
    nonce: &[u8; 16],
    subkeys: &mut [[u8; 32]],
) -> bool {
    if keys.len() < WORTH_IT {
        return false;
    }
    if keys.len() > 8 && std::is_x86_feature_detected!("avx512f") {
        // SAFETY: this function needs AVX-512F, and the machine has it.
        unsafe { sixteen::hchacha_subkeys(keys, nonce, subkeys) };
    } else if std::is_x86_feature_detected!("avx2") {
        // SAFETY: this function needs AVX2, and the machine has it.
        unsafe { eight::hchacha_subkeys(keys, nonce, subkeys) };
    } else {
        return false;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{check_chains, check_hashes, check_subkeys};

    #[test]
    fn eight_lanes() {
        if std::is_x86_feature_detected!("avx2") {
            // SAFETY: just detected.
            check_hashes(|k, m, n, h| unsafe { eight::keyed_chains(k, m, n, 1, h) });
            // SAFETY: just detected.
            check_subkeys(|k, n, s| unsafe { eight::hchacha_subkeys(k, n, s) });
            // SAFETY: just detected.
            check_chains(|k, m, n, h| unsafe { eight::keyed_chains(k, m, 1, n, h) });
        }
    }

    #[test]
    fn sixteen_lanes() {
        if std::is_x86_feature_detected!("avx512f") {
            // SAFETY: just detected.
            check_hashes(|k, m, n, h| unsafe { sixteen::keyed_chains(k, m, n, 1, h) });
            // SAFETY: just detected.
            check_subkeys(|k, n, s| unsafe { sixteen::hchacha_subkeys(k, n, s) });
            // SAFETY: just detected.
            check_chains(|k, m, n, h| unsafe { sixteen::keyed_chains(k, m, 1, n, h) });
        }
    }
}
