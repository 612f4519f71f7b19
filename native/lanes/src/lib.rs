//! Many short computations side by side: keyed BLAKE3 hashes of up to 16 bytes, HChaCha20 subkeys.
//!
//! A packet needs two such hashes that do not depend on other packets, and, with one of the ciphers, a
//! subkey; and chains of such hashes do not depend on one another. One at a time they are bound by latency;
//! side by side, one per vector lane, they cost a fraction. Beside them stands one hint to the processor,
//! [`prefetch`]. All `unsafe` code is in `x86`: the choice of instructions at run time and the passage
//! between arrays and vector registers.
#![cfg_attr(not(any(test, feature = "std")), no_std)]

mod scalar;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod x86;

/// Computations that are done side by side on the widest machine; a good size for batches.
pub const WIDTH: usize = 16;

/// Keyed BLAKE3 of the first `length` bytes (at most 16) of each message.
///
/// `keys`, `messages` and `hashes` belong together by index; the shortest decides how many are done.
pub fn keyed_hashes(
    keys: &[[u8; 32]],
    messages: &[[u8; 16]],
    length: usize,
    hashes: &mut [[u8; 32]],
) {
    let n = keys.len().min(messages.len()).min(hashes.len());
    let (keys, messages, hashes) = (&keys[..n], &messages[..n], &mut hashes[..n]);
    let length = length.min(16);
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    if x86::keyed_chains(keys, messages, length, 1, hashes) {
        return;
    }
    scalar::keyed_chains(keys, messages, length, 1, hashes);
}

/// Whether this machine computes chains side by side at all; if not, [`chain_steps`] gains nothing.
#[must_use]
pub fn is_wide() -> bool {
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    return x86::is_wide();
    #[cfg(not(all(feature = "std", target_arch = "x86_64")))]
    return false;
}

/// Keyed BLAKE3 of the one byte `message`, with each key; then with the hash as key; `n` times in all.
pub fn chain_steps(
    keys: &[[u8; 32]; WIDTH],
    message: u8,
    n: usize,
    hashes: &mut [[u8; 32]; WIDTH],
) {
    let mut block = [0; 16];
    block[0] = message;
    let messages = [block; WIDTH];
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    if x86::keyed_chains(keys, &messages, 1, n, hashes) {
        return;
    }
    scalar::keyed_chains(keys, &messages, 1, n, hashes);
}

/// HChaCha20 of each key with the same 16 bytes.
///
/// `keys` and `subkeys` belong together by index; the shorter decides how many are done.
pub fn hchacha_subkeys(keys: &[[u8; 32]], nonce: &[u8; 16], subkeys: &mut [[u8; 32]]) {
    let n = keys.len().min(subkeys.len());
    let (keys, subkeys) = (&keys[..n], &mut subkeys[..n]);
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    if x86::hchacha_subkeys(keys, nonce, subkeys) {
        return;
    }
    scalar::hchacha_subkeys(keys, nonce, subkeys);
}

/// Asks the processor to fetch `bytes` into its cache, because they are read soon. A hint: it changes
/// nothing, and where the machine has no such instruction it does nothing.
#[inline]
pub fn prefetch(bytes: &[u8]) {
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    x86::prefetch(bytes);
    #[cfg(not(all(feature = "std", target_arch = "x86_64")))]
    let _ = bytes;
}

#[cfg(test)]
mod tests {
    use super::*;

    type Hashes = fn(&[[u8; 32]], &[[u8; 16]], usize, &mut [[u8; 32]]);
    type Subkeys = fn(&[[u8; 32]], &[u8; 16], &mut [[u8; 32]]);

    pub(crate) fn check_hashes(hashes: Hashes) {
        for n in [0, 1, 3, 7, 8, 9, 15, 16, 17, 46] {
            for length in [0, 1, 4, 5, 15, 16] {
                let keys: Vec<[u8; 32]> =
                    (0..n).map(|i| core::array::from_fn(|j| (i * 37 + j * 11 + 1) as u8)).collect();
                let messages: Vec<[u8; 16]> =
                    (0..n).map(|i| core::array::from_fn(|j| (i * 16 + j + 3) as u8)).collect();
                let mut got = vec![[0; 32]; n];
                hashes(&keys, &messages, length, &mut got);
                for i in 0..n {
                    let want = blake3::keyed_hash(&keys[i], &messages[i][..length]);
                    assert_eq!(got[i], *want.as_bytes(), "{i} of {n}, {length} bytes");
                }
            }
        }
    }

    type Chains = fn(&[[u8; 32]], &[[u8; 16]], usize, &mut [[u8; 32]]);

    /// `chains`: with messages of one byte.
    pub(crate) fn check_chains(chains: Chains) {
        let keys: [[u8; 32]; WIDTH] =
            core::array::from_fn(|i| core::array::from_fn(|j| (i * 37 + j * 11 + 1) as u8));
        for n in [0, 1, 2, 17] {
            let mut want = keys;
            for key in &mut want {
                for _ in 0..n {
                    *key = *blake3::keyed_hash(key, &[3]).as_bytes();
                }
            }
            let mut got = [[0; 32]; WIDTH];
            chains(&keys, &[[3; 16]; WIDTH], n, &mut got);
            assert_eq!(got, want, "{n} steps");
            chain_steps(&keys, 3, n, &mut got);
            assert_eq!(got, want, "{n} steps");
        }
    }

    /// The vector of draft-irtf-cfrg-xchacha section 2.2.1, in every lane, beside other keys.
    pub(crate) fn check_subkeys(subkeys: Subkeys) {
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
    fn scalar_code() {
        check_hashes(|k, m, n, h| scalar::keyed_chains(k, m, n, 1, h));
        check_subkeys(scalar::hchacha_subkeys);
        check_chains(|k, m, n, h| scalar::keyed_chains(k, m, 1, n, h));
    }

    #[test]
    fn what_this_machine_chooses() {
        check_hashes(keyed_hashes);
        check_subkeys(hchacha_subkeys);
    }

    #[test]
    fn the_shortest_slice_decides() {
        let mut hashes = [[0; 32]; 3];
        keyed_hashes(&[[1; 32]; 2], &[[2; 16]; 5], 99, &mut hashes);
        assert_eq!(hashes[1], *blake3::keyed_hash(&[1; 32], &[2; 16]).as_bytes());
        assert_eq!(hashes[2], [0; 32]);
    }
}
