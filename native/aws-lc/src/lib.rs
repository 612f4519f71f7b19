//! The two AEADs of AWS-LC for messages that each have a key of their own.
//!
//! `aws-lc-rs` takes memory for every key, zeroes it, cleanses it and gives it back; beside a packet of
//! 1400 bytes that is not little. Here the schedules of a batch of keys lie side by side, are overwritten
//! by the next batch, and are cleansed when the batch goes. All `unsafe` code is in this file: the
//! calls into C.

use core::mem::MaybeUninit;
use core::ptr;

use aws_lc_sys::{
    EVP_AEAD, EVP_AEAD_CTX, EVP_AEAD_CTX_cleanup, EVP_AEAD_CTX_init, EVP_AEAD_CTX_open_gather,
    EVP_AEAD_CTX_seal_scatter, EVP_AEAD_CTX_zero, EVP_aead_aes_256_gcm, EVP_aead_chacha20_poly1305,
    OPENSSL_cleanse,
};

/// Bytes of a tag.
pub const TAG_BYTES: usize = 16;

/// Which AEAD a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// AES-256-GCM.
    Aes256Gcm,
    /// ChaCha20-Poly1305 (RFC 8439).
    ChaCha20Poly1305,
}

impl Algorithm {
    fn method(self) -> *const EVP_AEAD {
        // SAFETY: both return the address of a static table and take nothing.
        unsafe {
            match self {
                Self::Aes256Gcm => EVP_aead_aes_256_gcm(),
                Self::ChaCha20Poly1305 => EVP_aead_chacha20_poly1305(),
            }
        }
    }
}

/// Where one key's schedule lies, on a cache line's edge for the wide loads that read it.
#[repr(align(64))]
struct Slot(MaybeUninit<EVP_AEAD_CTX>);

/// The schedules of `N` keys.
///
/// They must stay where they are once a key has been set: what a move leaves behind is not cleansed.
pub struct Keys<const N: usize> {
    slots: [Slot; N],
    /// Which slots hold a key.
    ready: [bool; N],
    /// Slots that have been written to.
    used: [bool; N],
}

impl<const N: usize> Default for Keys<N> {
    fn default() -> Self {
        let slots = [const { Slot(MaybeUninit::uninit()) }; N];
        Self { slots, ready: [false; N], used: [false; N] }
    }
}

impl<const N: usize> Drop for Keys<N> {
    fn drop(&mut self) {
        for at in 0..N {
            self.forget(at);
            if self.used[at] {
                // SAFETY: a context is that many bytes, all of it zeroed once, and nothing reads it afterwards.
                unsafe {
                    OPENSSL_cleanse(
                        self.slots[at].0.as_mut_ptr().cast(),
                        size_of::<EVP_AEAD_CTX>(),
                    );
                }
            }
        }
    }
}

impl<const N: usize> Keys<N> {
    fn forget(&mut self, at: usize) {
        if self.ready[at] {
            self.ready[at] = false;
            // SAFETY: a slot is ready once `init` has succeeded; `cleanup` is its counterpart.
            unsafe { EVP_AEAD_CTX_cleanup(self.slots[at].0.as_mut_ptr()) };
        }
    }

    /// Put a key into a slot, in place of the one that is there; a slot that does not exist is ignored.
    ///
    /// Best done for a batch before its first message: a schedule that is read again while it is still on
    /// its way to the cache stalls.
    #[inline]
    pub fn set(&mut self, at: usize, algorithm: Algorithm, key: &[u8; 32]) {
        if at >= N {
            return;
        }
        self.forget(at);
        let ctx = self.slots[at].0.as_mut_ptr();
        if !self.used[at] {
            self.used[at] = true;
            // SAFETY: it writes zeros over exactly one context, which `ctx` is room for.
            unsafe { EVP_AEAD_CTX_zero(ctx) };
        }
        // SAFETY: `ctx` has been zeroed, and a key it held has been cleaned up. `key` is readable for the 32
        // bytes that both algorithms want (another size would be refused); there is no ENGINE.
        let code = unsafe {
            EVP_AEAD_CTX_init(
                ctx,
                algorithm.method(),
                key.as_ptr(),
                key.len(),
                TAG_BYTES,
                ptr::null_mut(),
            )
        };
        self.ready[at] = code == 1;
    }

    fn get(&self, at: usize) -> Option<*const EVP_AEAD_CTX> {
        self.ready.get(at)?.then(|| self.slots[at].0.as_ptr())
    }

    /// Encrypt in place with the key in a slot. `None`: it holds none, or the library failed.
    #[inline]
    pub fn seal(
        &self,
        at: usize,
        nonce: &[u8; 12],
        aad: &[u8],
        text: &mut [u8],
    ) -> Option<[u8; TAG_BYTES]> {
        let ctx = self.get(at)?;
        let (mut tag, mut tag_bytes) = ([0; TAG_BYTES], 0);
        let start = text.as_mut_ptr();
        // SAFETY: `ctx` is ready. Every pointer is good for the length that goes with it. `text` is read and
        // written in place, which this function allows (`in` equal to `out`); `tag` is apart from it,
        // because both are borrowed exclusively; there is no extra input.
        let code = unsafe {
            EVP_AEAD_CTX_seal_scatter(
                ctx,
                start,
                tag.as_mut_ptr(),
                &raw mut tag_bytes,
                TAG_BYTES,
                nonce.as_ptr(),
                nonce.len(),
                start,
                text.len(),
                ptr::null(),
                0,
                aad.as_ptr(),
                aad.len(),
            )
        };
        (code == 1 && tag_bytes == TAG_BYTES).then_some(tag)
    }

    /// Decrypt `text` into `out` of the same size; `false` if it is not authentic, `out` is then void.
    #[inline]
    pub fn open(
        &self,
        at: usize,
        nonce: &[u8; 12],
        aad: &[u8],
        text: &[u8],
        tag: &[u8; TAG_BYTES],
        out: &mut [u8],
    ) -> bool {
        let Some(ctx) = self.get(at).filter(|_| out.len() == text.len()) else {
            return false;
        };
        // SAFETY: `ctx` is ready. Every pointer is good for the length that goes with it; `out` has room for
        // as many bytes as `text` has, as just checked, and overlaps nothing, being borrowed exclusively.
        let code = unsafe {
            EVP_AEAD_CTX_open_gather(
                ctx,
                out.as_mut_ptr(),
                nonce.as_ptr(),
                nonce.len(),
                text.as_ptr(),
                text.len(),
                tag.as_ptr(),
                tag.len(),
                aad.as_ptr(),
                aad.len(),
            )
        };
        code == 1
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const BOTH: [Algorithm; 2] = [Algorithm::Aes256Gcm, Algorithm::ChaCha20Poly1305];
    const NONCE: [u8; 12] = [3; 12];

    #[test]
    fn slots_hold_a_key_each_and_take_another() {
        let mut keys = Keys::<2>::default();
        for n in [0usize, 1, 15, 16, 17, 255, 256, 1350, 9000] {
            for (at, algorithm) in BOTH.into_iter().enumerate() {
                keys.set(at, algorithm, &[n as u8; 32]);
            }
            for (at, algorithm) in BOTH.into_iter().enumerate() {
                let plain: Vec<u8> = (0..n).map(|i| i as u8).collect();
                let mut text = plain.clone();
                let tag = keys.seal(at, &NONCE, b"aad", &mut text).unwrap();
                let mut fresh = Keys::<1>::default();
                fresh.set(0, algorithm, &[n as u8; 32]);
                let mut again = plain.clone();
                assert_eq!(fresh.seal(0, &NONCE, b"aad", &mut again), Some(tag));
                assert_eq!(again, text, "what a slot held before leaves no trace");

                let mut out = vec![0; n];
                let mut bad = tag;
                bad[15] ^= 1;
                assert!(!keys.open(at, &NONCE, b"aad", &text, &bad, &mut out));
                assert!(!keys.open(at, &NONCE, b"aae", &text, &tag, &mut out));
                assert!(!keys.open(1 - at, &NONCE, b"aad", &text, &tag, &mut out));
                assert!(keys.open(at, &NONCE, b"aad", &text, &tag, &mut out));
                assert_eq!(out, plain);
            }
        }
    }

    #[test]
    fn an_empty_slot_does_nothing() {
        let mut keys = Keys::<2>::default();
        keys.set(2, BOTH[0], &[1; 32]);
        keys.set(1, BOTH[0], &[1; 32]);
        for at in [0, 2, usize::MAX] {
            assert!(keys.seal(at, &NONCE, &[], &mut [0; 4]).is_none());
            assert!(!keys.open(at, &NONCE, &[], &[0; 4], &[0; 16], &mut [0; 4]));
        }
        assert!(!keys.open(1, &NONCE, &[], &[0; 5], &[0; 16], &mut [0; 4]), "sizes must agree");
    }
}
