//! The sending half of the two-level ratchet: one epoch, one key per packet, nothing kept.

use crate::aead::Cipher;
use crate::batch::Batch;
use crate::kdf::{self, Direction, Key};
use crate::{BLOCK, PN_BOUND};

/// Send chain of one epoch.
pub(crate) struct SendEpoch {
    epoch: u32,
    iv: [u8; 24],
    next_pn: u32,
    /// `C[b]` of the block that begins next.
    chain: Key,
    /// `P[b, j]` of `next_pn`, void at the start of a block.
    step: Key,
}

impl SendEpoch {
    pub(crate) fn new(direction: Direction, epoch: u32, root: &[u8; 32]) -> Self {
        let (chain, iv) = kdf::first_chain(direction, epoch, root);
        Self { epoch, iv, next_pn: 0, chain, step: Key::ZERO }
    }

    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(crate) fn iv(&self) -> &[u8; 24] {
        &self.iv
    }

    pub(crate) fn next_pn(&self) -> u32 {
        self.next_pn
    }

    /// Packet numbers left in this epoch.
    pub(crate) fn left(&self) -> u32 {
        PN_BOUND - self.next_pn
    }

    /// The keys of the next `n <= WIDTH` packets; the chain moves on and forgets them. Returns the first
    /// one's number, or `None` if the epoch has not so many left.
    pub(crate) fn advance(&mut self, cipher: Cipher, n: usize, batch: &mut Batch) -> Option<u32> {
        if n > self.left() as usize {
            return None;
        }
        let first_pn = self.next_pn;
        for step in &mut batch.steps[..n] {
            if self.next_pn.is_multiple_of(BLOCK) {
                self.step = kdf::block_key(&self.chain, self.next_pn / BLOCK);
                kdf::next_chain(&mut self.chain);
            }
            *step = self.step.0;
            kdf::next_step(&mut self.step);
            self.next_pn += 1;
        }
        batch.derive(cipher, &self.iv, self.epoch, first_pn, n);
        Some(first_pn)
    }

    /// The next packet's message key.
    #[cfg(test)]
    pub(crate) fn next_key(&mut self) -> [u8; 32] {
        let mut batch = Batch::new();
        self.advance(Cipher::Aes256Gcm, 1, &mut batch);
        *batch.key(0)
    }

    /// Pretend that `pn` packets were sent: for tests at the far end of an epoch.
    #[cfg(test)]
    pub(crate) fn skip_to(&mut self, pn: u32) {
        while self.next_pn < pn {
            self.next_key();
        }
    }
}

impl Drop for SendEpoch {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.iv);
    }
}
