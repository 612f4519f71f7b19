//! Keys of up to sixteen consecutive packets, derived side by side.
//!
//! The step keys of a block follow from one another and are computed in turn; the message keys that hang on
//! them do not, and neither do the subkeys of XChaCha20-Poly1305.

use wraith_lanes::{WIDTH, hchacha_subkeys, keyed_hashes};
use zeroize::Zeroize;

use crate::aead::Cipher;
use crate::kdf;

/// Step keys and AEAD keys of consecutive packets. Wipes what it held.
pub(crate) struct Batch {
    /// `P` of each packet, and one more: `P` of the packet behind them.
    pub(crate) steps: [[u8; 32]; WIDTH + 1],
    keys: [[u8; 32]; WIDTH],
    epoch: u32,
    first_pn: u32,
    n: usize,
    n_used: usize,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self {
            steps: [[0; 32]; WIDTH + 1],
            keys: [[0; 32]; WIDTH],
            epoch: 0,
            first_pn: 0,
            n: 0,
            n_used: 0,
        }
    }

    /// Compute the AEAD keys of `n <= WIDTH` packets from `first_pn`, whose steps have been set.
    pub(crate) fn derive(
        &mut self,
        cipher: Cipher,
        iv: &[u8; 24],
        epoch: u32,
        first_pn: u32,
        n: usize,
    ) {
        let mut messages = [[0; 16]; WIDTH];
        for (pn, message) in (first_pn..).zip(&mut messages[..n]) {
            message[..kdf::MESSAGE_KEY_BYTES].copy_from_slice(&kdf::message_key_input(pn));
        }
        let (steps, keys) = (&self.steps[..n], &mut self.keys[..n]);
        keyed_hashes(steps, &messages[..n], kdf::MESSAGE_KEY_BYTES, keys);
        if cipher == Cipher::XChaCha20Poly1305 {
            let mut message_keys = [[0; 32]; WIDTH];
            message_keys[..n].copy_from_slice(keys);
            hchacha_subkeys(&message_keys[..n], kdf::nonce_prefix(iv), keys);
            message_keys[..n].as_flattened_mut().zeroize();
        }
        (self.epoch, self.first_pn, self.n) = (epoch, first_pn, n);
        self.n_used = self.n_used.max(n);
    }

    /// Position of packet `pn` of `epoch` in the batch.
    #[inline]
    pub(crate) fn position(&self, epoch: u32, pn: u32) -> Option<usize> {
        if epoch != self.epoch {
            return None;
        }
        let at = pn.checked_sub(self.first_pn)? as usize;
        (at < self.n).then_some(at)
    }

    /// How many packets it holds keys for.
    pub(crate) fn len(&self) -> usize {
        self.n
    }

    /// The AEAD key of the packet at this position.
    #[inline]
    pub(crate) fn key(&self, at: usize) -> &[u8; 32] {
        &self.keys[at]
    }

    /// Forget which packets the batch was made for.
    pub(crate) fn clear(&mut self) {
        self.n = 0;
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let n = self.n_used;
        if n > 0 {
            self.steps[..=n].as_flattened_mut().zeroize();
            self.keys[..n].as_flattened_mut().zeroize();
        }
    }
}

/// Header masks of up to sixteen packets: keyed hashes of their samples, all with one key.
pub(crate) fn masks(key: &[u8; 32], samples: &[[u8; 16]], masks: &mut [[u8; 32]]) {
    let mut keys = [[0; 32]; WIDTH];
    for (samples, masks) in samples.chunks(WIDTH).zip(masks.chunks_mut(WIDTH)) {
        let keys = &mut keys[..samples.len()];
        keys.fill(*key);
        keyed_hashes(keys, samples, 16, masks);
        keys.as_flattened_mut().zeroize();
    }
}
