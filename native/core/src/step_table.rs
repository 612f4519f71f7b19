//! Step keys of a busy epoch, computed for sixteen blocks side by side.
//!
//! Within a block each step key follows from the one before, so one block alone is bound by latency. But
//! blocks do not depend on one another: from the chain keys of sixteen blocks their step keys are computed
//! together, one block per lane, and every sixteenth is kept. When a block begins, its sixteen kept
//! keys are the starts of sixteen short chains, which again are computed together. That is two lane
//! steps per packet in place of one single step, and 16 KiB in place of 128 KiB for all keys.
//!
//! A cache: what it holds follows from the chain key that the epoch holds anyway. It must not outlive it,
//! and a step key must be gone from here when it is gone there.

use alloc::boxed::Box;

use wraith_lanes::{WIDTH, chain_steps};
use zeroize::Zeroize;

use crate::BLOCK;
use crate::kdf::{self, Key};

/// Steps between two kept keys of a block.
const STRIDE: usize = BLOCK as usize / WIDTH;
/// Epochs that never get here never have a table: it is for bulk, and small sessions are to stay small.
const FROM_BLOCK: u32 = 4;

/// Step keys ahead of a chain.
pub(crate) struct StepTable {
    /// `P[first_block + i, STRIDE * k]` at `[k][i]`.
    kept: [[[u8; 32]; WIDTH]; WIDTH],
    first_block: u32,
    /// `P[block, STRIDE * k + i]` at `[i][k]`, wiped below `next_j`.
    steps: [[[u8; 32]; WIDTH]; STRIDE],
    block: u32,
    next_j: u32,
}

impl StepTable {
    /// Make `table` hold the steps of `block`, which begins, if this epoch and this machine make that
    /// worthwhile. `chain`: `C[block]`.
    pub(crate) fn begin(table: &mut Option<Box<Self>>, chain: &Key, block: u32) {
        if block < FROM_BLOCK || !wraith_lanes::is_wide() {
            return;
        }
        let table = table.get_or_insert_with(|| {
            Box::new(Self {
                kept: [[[0; 32]; WIDTH]; WIDTH],
                first_block: 0,
                steps: [[[0; 32]; WIDTH]; STRIDE],
                block: 0,
                next_j: BLOCK,
            })
        });
        let covers = table.first_block..table.first_block + WIDTH as u32;
        if table.first_block == 0 || !covers.contains(&block) {
            table.look_ahead(chain, block);
        }
        table.open_block(block);
    }

    fn look_ahead(&mut self, chain: &Key, block: u32) {
        let mut chain = chain.clone();
        for (block, start) in (block..).zip(&mut self.kept[0]) {
            *start = kdf::block_key(&chain, block).0;
            kdf::next_chain(&mut chain);
        }
        for k in 1..WIDTH {
            let (before, rest) = self.kept.split_at_mut(k);
            chain_steps(&before[k - 1], kdf::STEP, STRIDE, &mut rest[0]);
        }
        self.first_block = block;
    }

    fn open_block(&mut self, block: u32) {
        let lane = (block - self.first_block) as usize;
        for (start, kept) in self.steps[0].iter_mut().zip(&mut self.kept) {
            *start = kept[lane];
            kept[lane].zeroize();
        }
        for i in 1..STRIDE {
            let (before, rest) = self.steps.split_at_mut(i);
            chain_steps(&before[i - 1], kdf::STEP, 1, &mut rest[0]);
        }
        (self.block, self.next_j) = (block, 0);
    }

    /// Copy `P[block, j]` and those that follow to `to`; `false` if they are not here. `P[block, 256]`, which
    /// does not exist, is zero.
    pub(crate) fn copy(&self, block: u32, j: u32, to: &mut [[u8; 32]]) -> bool {
        if block != self.block || j < self.next_j {
            return false;
        }
        for (j, to) in (j as usize..).zip(to) {
            *to = if j < BLOCK as usize { self.steps[j % STRIDE][j / STRIDE] } else { [0; 32] };
        }
        true
    }

    /// Wipe the steps of `block` below `next_j`.
    pub(crate) fn forget_below(&mut self, block: u32, next_j: u32) {
        if block == self.block && next_j > self.next_j {
            let next_j = next_j.min(BLOCK);
            for j in self.next_j as usize..next_j as usize {
                self.steps[j % STRIDE][j / STRIDE].zeroize();
            }
            self.next_j = next_j;
        }
    }

    /// Wipe what is kept for the blocks up to and including `block`, which begin without the table.
    pub(crate) fn pass(&mut self, block: u32) {
        let n = (block + 1).saturating_sub(self.first_block).min(WIDTH as u32) as usize;
        for kept in &mut self.kept {
            kept[..n].as_flattened_mut().zeroize();
        }
    }

    #[cfg(test)]
    pub(crate) fn block(&self) -> u32 {
        self.block
    }

    /// Whether no step of its block below `next_j` is left, and none kept for blocks below `next_block`.
    #[cfg(test)]
    pub(crate) fn is_clean(&self, next_j: u32, next_block: u32) -> bool {
        let zero = |key: &[u8; 32]| *key == [0; 32];
        let n = next_block.saturating_sub(self.first_block).min(WIDTH as u32) as usize;
        (0..next_j as usize).all(|j| zero(&self.steps[j % STRIDE][j / STRIDE]))
            && self.kept.iter().all(|kept| kept[..n].iter().all(zero))
    }
}

impl Zeroize for StepTable {
    fn zeroize(&mut self) {
        self.kept.as_flattened_mut().as_flattened_mut().zeroize();
        self.steps.as_flattened_mut().as_flattened_mut().zeroize();
    }
}

impl Drop for StepTable {
    fn drop(&mut self) {
        self.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `C[block]` of some epoch.
    fn chain_at(block: u32) -> Key {
        let mut chain = Key([7; 32]);
        (0..block).for_each(|_| kdf::next_chain(&mut chain));
        chain
    }

    fn steps_of(block: u32) -> Vec<[u8; 32]> {
        let mut step = kdf::block_key(&chain_at(block), block);
        let mut steps = Vec::new();
        for _ in 0..BLOCK {
            steps.push(step.0);
            kdf::next_step(&mut step);
        }
        steps
    }

    fn begun(blocks: core::ops::Range<u32>) -> Option<Box<StepTable>> {
        let mut table = None;
        for block in blocks {
            StepTable::begin(&mut table, &chain_at(block), block);
        }
        table
    }

    #[test]
    fn steps_are_those_of_the_chain() {
        // in order, past the edge of what is kept, and with blocks that begin without the table
        for blocks in [4..40, 4..5, 9..26] {
            let block = blocks.end - 1;
            let Some(table) = begun(blocks) else { return };
            let want = steps_of(block);
            let mut got = [[1; 32]; 257];
            assert!(table.copy(block, 0, &mut got));
            assert_eq!((&got[..256], got[256]), (&want[..], [0; 32]));
            assert!(table.copy(block, 250, &mut got[..6]));
            assert_eq!(got[..6], want[250..]);
            assert!(!table.copy(block - 1, 3, &mut got));
        }
        let Some(mut table) = begun(4..6) else { return };
        table.pass(9);
        let mut table = Some(table);
        StepTable::begin(&mut table, &chain_at(10), 10);
        let mut got = [[1; 32]; 256];
        assert!(table.is_some_and(|table| table.copy(10, 0, &mut got)));
        assert_eq!(got[..], steps_of(10));
    }

    #[test]
    fn small_epochs_have_none() {
        assert!(begun(0..4).is_none());
        assert_eq!(begun(0..5).is_some(), wraith_lanes::is_wide());
    }

    #[test]
    fn what_has_been_used_is_wiped() {
        let Some(mut table) = begun(4..7) else { return };
        assert!(table.is_clean(0, 7) && !table.is_clean(1, 7) && !table.is_clean(0, 8));
        table.forget_below(6, 100);
        assert!(table.is_clean(100, 7) && !table.is_clean(101, 7));
        table.forget_below(5, 200);
        table.forget_below(6, 50);
        assert!(
            table.is_clean(100, 7) && !table.is_clean(101, 7),
            "another block, an older number"
        );
        let mut to = [[1; 32]; 2];
        assert!(!table.copy(6, 99, &mut to) && table.copy(6, 100, &mut to));
        table.pass(12);
        assert!(table.is_clean(100, 13) && !table.is_clean(100, 14));
        table.zeroize();
        assert!(table.is_clean(BLOCK, 20), "what drop leaves");
    }
}
