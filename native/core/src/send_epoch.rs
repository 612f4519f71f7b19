//! The sending half of the two-level ratchet: one epoch, one key per packet, nothing kept.

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

    /// The next packet's number and key; the chain moves on and forgets it. `None` at the bound.
    #[inline]
    pub(crate) fn advance(&mut self) -> Option<(u32, Key)> {
        if self.next_pn >= PN_BOUND {
            return None;
        }
        let pn = self.next_pn;
        if pn.is_multiple_of(BLOCK) {
            self.step = kdf::block_key(&self.chain, pn / BLOCK);
            kdf::next_chain(&mut self.chain);
        }
        let key = kdf::message_key(&self.step, pn);
        kdf::next_step(&mut self.step);
        self.next_pn = pn + 1;
        Some((pn, key))
    }

    /// Pretend that `pn` packets were sent: for tests at the far end of an epoch.
    #[cfg(test)]
    pub(crate) fn skip_to(&mut self, pn: u32) {
        while self.next_pn < pn {
            self.advance();
        }
    }
}

impl Drop for SendEpoch {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.iv);
    }
}
