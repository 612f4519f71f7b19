//! The sending half of the two-level ratchet: one epoch, one key per packet, nothing kept of what was sent.

use alloc::boxed::Box;

use wraith_lanes::WIDTH;
use zeroize::Zeroizing;

use crate::aead::Cipher;
use crate::batch::Batch;
use crate::kdf::{self, Direction, Key};
use crate::step_table::StepTable;
use crate::{BLOCK, PN_BOUND};

/// After so many packets one by one a table is not worth its memory.
const SINGLES: u32 = 8;

/// Send chain of one epoch.
pub(crate) struct SendEpoch {
    epoch: u32,
    iv: [u8; 24],
    next_pn: u32,
    /// `C[b]` of the block that begins next.
    chain: Key,
    /// `P[b, j]` of `next_pn`, void at the start of a block.
    step: Key,
    /// Steps of a busy epoch's blocks.
    table: Option<Box<StepTable>>,
    /// Packets that have come one by one lately.
    n_single: u32,
}

impl SendEpoch {
    pub(crate) fn new(direction: Direction, epoch: u32, root: &[u8; 32]) -> Self {
        let (chain, iv) = kdf::first_chain(direction, epoch, root);
        Self { epoch, iv, next_pn: 0, chain, step: Key::ZERO, table: None, n_single: 0 }
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
        self.n_single = if n == 1 { self.n_single + 1 } else { 0 };
        if self.n_single >= SINGLES {
            self.table = None;
        }
        let first_pn = self.next_pn;
        let mut steps = &mut batch.steps[..n];
        while !steps.is_empty() {
            let (block, j) = (self.next_pn / BLOCK, self.next_pn % BLOCK);
            if j == 0 {
                self.begin_block(block, n);
            }
            let (now, later) = steps.split_at_mut(steps.len().min((BLOCK - j) as usize));
            self.take_steps(block, j, now);
            self.next_pn += now.len() as u32;
            steps = later;
        }
        batch.derive(cipher, &self.iv, self.epoch, first_pn, n);
        Some(first_pn)
    }

    /// Spend the next packet number on nothing: the chain moves on as if a packet had been sealed, and its
    /// key is forgotten unused. Returns the number, or `None` if the epoch has none left.
    pub(crate) fn skip(&mut self) -> Option<u32> {
        if self.left() == 0 {
            return None;
        }
        let pn = self.next_pn;
        let (block, j) = (pn / BLOCK, pn % BLOCK);
        if j == 0 {
            self.begin_block(block, 1);
        }
        let mut forgotten = Zeroizing::new([[0; 32]; 1]);
        self.take_steps(block, j, &mut forgotten[..]);
        self.next_pn += 1;
        Some(pn)
    }

    fn begin_block(&mut self, block: u32, n: usize) {
        if n == WIDTH || self.table.is_some() {
            StepTable::begin(&mut self.table, &self.chain, block);
        }
        self.step = kdf::block_key(&self.chain, block);
        kdf::next_chain(&mut self.chain);
    }

    /// Move `P[block, j]` and those that follow to `to`.
    fn take_steps(&mut self, block: u32, j: u32, to: &mut [[u8; 32]]) {
        let next_j = j + to.len() as u32;
        if let Some(table) = &mut self.table
            && table.copy(block, j, to)
        {
            table.copy(block, next_j, core::slice::from_mut(&mut self.step.0));
            table.forget_below(block, next_j);
            return;
        }
        for step in to {
            *step = self.step.0;
            kdf::next_step(&mut self.step);
        }
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

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn fresh() -> SendEpoch {
        SendEpoch::new(Direction::InitiatorToResponder, 0, &[0x33; 32])
    }

    #[test]
    fn batches_of_every_size_give_the_keys_of_single_packets() {
        let mut one_by_one = fresh();
        let want: Vec<[u8; 32]> = (0..9500).map(|_| one_by_one.next_key()).collect();
        assert!(one_by_one.table.is_none());
        for sizes in
            [&[16, 16, 14][..], &[16], &[16, 1, 3], &[16, 1, 1, 1, 1, 1, 1, 1, 1, 1], &[15]]
        {
            let (mut epoch, mut had_table) = (fresh(), false);
            for &n in sizes.iter().cycle() {
                let mut batch = Batch::new();
                let first = epoch.advance(Cipher::Aes256Gcm, n, &mut batch).unwrap();
                if first as usize + n > want.len() {
                    break;
                }
                for (i, want) in want[first as usize..].iter().enumerate().take(n) {
                    assert_eq!(batch.key(i), want, "pn {} of {sizes:?}", first as usize + i);
                }
                if let Some(table) = &epoch.table {
                    had_table = true;
                    let begun = epoch.next_pn.div_ceil(BLOCK);
                    let next_j = if table.block() + 1 == begun {
                        epoch.next_pn - table.block() * BLOCK
                    } else {
                        BLOCK
                    };
                    assert!(table.is_clean(next_j, begun), "{} of {sizes:?}", epoch.next_pn);
                }
            }
            let bulk = sizes.contains(&16);
            assert_eq!(had_table, bulk && wraith_lanes::is_wide(), "{sizes:?}");
        }
    }

    #[test]
    fn a_skipped_number_moves_the_chain_on_by_one_packet() {
        let mut one_by_one = fresh();
        let want: Vec<[u8; 32]> = (0..4000).map(|_| one_by_one.next_key()).collect();
        for n in [1, 5, WIDTH] {
            let mut epoch = fresh();
            while epoch.next_pn as usize + n < want.len() {
                let mut batch = Batch::new();
                let first = epoch.advance(Cipher::Aes256Gcm, n, &mut batch).unwrap();
                assert_eq!(batch.key(0), &want[first as usize], "pn {first} of {n}");
                assert_eq!(epoch.skip(), Some(first + n as u32));
            }
        }
    }

    #[test]
    fn nothing_is_skipped_beyond_the_bound() {
        let mut epoch = fresh();
        epoch.next_pn = PN_BOUND - 1;
        assert_eq!(epoch.skip(), Some(PN_BOUND - 1));
        assert_eq!(epoch.skip(), None);
        assert_eq!(epoch.next_pn, PN_BOUND);
    }

    #[test]
    fn a_table_goes_when_packets_trickle() {
        let mut epoch = fresh();
        for _ in 0..100 {
            epoch.advance(Cipher::Aes256Gcm, WIDTH, &mut Batch::new());
        }
        assert_eq!(epoch.table.is_some(), wraith_lanes::is_wide());
        let mut single = fresh();
        single.skip_to(1600);
        for i in 1..=SINGLES {
            assert_eq!(epoch.next_key(), single.next_key());
            assert_eq!(epoch.table.is_some(), i < SINGLES && wraith_lanes::is_wide());
        }
        assert_eq!(epoch.next_key(), single.next_key());
    }
}
