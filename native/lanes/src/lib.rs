//! Many short computations side by side: keyed BLAKE3 hashes of up to 16 bytes, HChaCha20 subkeys.
//!
//! A packet needs two such hashes that do not depend on other packets, and a subkey. One at a time they
//! are bound by latency; side by side, one per vector lane, they cost a fraction. The code is the plain
//! algorithm over arrays of words, which the compiler turns into vector instructions; what this crate adds
//! is the choice of instruction set at run time, and that choice is its only `unsafe` code.
#![cfg_attr(not(any(test, feature = "std")), no_std)]

mod blake3;
mod hchacha;

/// Computations that are done side by side on the widest machine; a good size for batches.
pub const WIDTH: usize = 16;

/// Run `$body` for lanes of the best width: `$wide`, `$middle` and `$narrow` are the same code compiled
/// for AVX-512, AVX2 and whatever the target has at least.
macro_rules! dispatch {
    ($wide:path, $middle:path, $narrow:path, ($($argument:expr),*)) => {{
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        {
            if std::is_x86_feature_detected!("avx512f") && std::is_x86_feature_detected!("avx512vl") {
                // SAFETY: the function needs AVX-512 F and VL, and this machine has both.
                return unsafe { $wide($($argument),*) };
            }
            if std::is_x86_feature_detected!("avx2") {
                // SAFETY: the function needs AVX2, and this machine has it.
                return unsafe { $middle($($argument),*) };
            }
        }
        $narrow($($argument),*)
    }};
}

/// Keyed BLAKE3 of the first `length` bytes (at most 16) of each message, zeros behind them.
///
/// `keys`, `messages` and `hashes` belong together by index; the shortest decides how many are done.
pub fn keyed_hashes(
    keys: &[[u8; 32]],
    messages: &[[u8; 16]],
    length: usize,
    hashes: &mut [[u8; 32]],
) {
    dispatch!(blake3::wide, blake3::middle, blake3::narrow, (keys, messages, length, hashes))
}

/// HChaCha20 of each key with the same 16 bytes.
///
/// `keys` and `subkeys` belong together by index; the shorter decides how many are done.
pub fn hchacha_subkeys(keys: &[[u8; 32]], nonce: &[u8; 16], subkeys: &mut [[u8; 32]]) {
    dispatch!(hchacha::wide, hchacha::middle, hchacha::narrow, (keys, nonce, subkeys))
}

/// One word per lane.
type Lanes<const L: usize> = [u32; L];

#[inline(always)]
fn add<const L: usize>(a: &mut Lanes<L>, b: &Lanes<L>) {
    for i in 0..L {
        a[i] = a[i].wrapping_add(b[i]);
    }
}

#[inline(always)]
fn xor_rotate<const L: usize, const RIGHT: u32>(a: &mut Lanes<L>, b: &Lanes<L>) {
    for i in 0..L {
        a[i] = (a[i] ^ b[i]).rotate_right(RIGHT);
    }
}

/// Words `from ..` of each lane's bytes, one array per word.
#[inline(always)]
fn transpose<const L: usize, const BYTES: usize, const WORDS: usize>(
    lanes: &[[u8; BYTES]; L],
) -> [Lanes<L>; WORDS] {
    let mut words = [[0; L]; WORDS];
    for (i, bytes) in lanes.iter().enumerate() {
        for (word, chunk) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            word[i] = u32::from_le_bytes(*chunk);
        }
    }
    words
}

/// The inverse of [`transpose`] for eight words.
#[inline(always)]
fn untranspose<const L: usize>(words: &[Lanes<L>; 8], lanes: &mut [[u8; 32]]) {
    for (i, bytes) in lanes.iter_mut().enumerate().take(L) {
        for (word, chunk) in words.iter().zip(bytes.as_chunks_mut::<4>().0) {
            *chunk = word[i].to_le_bytes();
        }
    }
}
