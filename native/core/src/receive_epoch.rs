//! The receiving half of the two-level ratchet: one epoch, out of order, within a work bound.
//!
//! A key is derived on copies; the chain moves only when [`ReceiveEpoch::commit`] is called, after the
//! packet has proved authentic. Two caches reveal no more than the chain itself. The look-ahead entries are
//! filled at most once, and keep a forged number from costing more than 320 hashes. The step table of a
//! busy epoch is filled by authentic packets only.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use wraith_lanes::WIDTH;
use zeroize::Zeroize;

use crate::aead::Cipher;
use crate::batch::Batch;
use crate::kdf::{self, Direction, Key};
use crate::replay::ReplayWindow;
use crate::step_table::StepTable;
use crate::{BLOCK, PN_BOUND};

/// Blocks between two look-ahead entries.
const AHEAD_STEP: u32 = 64;
const AHEAD_ENTRIES: usize = (PN_BOUND / BLOCK / AHEAD_STEP) as usize;
/// With more marks than this, advances closer together than the spacing are remembered as one.
const MARKS_EXACT: usize = 256;
const MARK_SPACING_S: f64 = 0.02;
const MARKS_MAX: usize = 512;
const TABLE_IDLE_S: f64 = 1.0;

/// A block that the chain has reached and the window still covers.
struct Block {
    /// `P[b, next_j]`; void once `next_j` is 256.
    step: Key,
    next_j: u32,
    skipped: SkippedKeys,
}

/// Keys of packets of one block that have not come, ascending by number within the block.
struct SkippedKeys {
    keys: Vec<(u8, [u8; 32])>,
}

impl SkippedKeys {
    fn push(&mut self, j: u32, key: &Key) {
        if self.keys.len() == self.keys.capacity() {
            // grown by hand: a Vec that grows leaves its old keys in freed memory
            let mut grown = Vec::with_capacity((self.keys.capacity() * 4).max(8));
            grown.extend_from_slice(&self.keys);
            self.keys.iter_mut().for_each(|(_, key)| key.zeroize());
            self.keys = grown;
        }
        self.keys.push(((j & 0xff) as u8, key.0));
    }

    fn position(&self, j: u32) -> Option<usize> {
        self.keys.binary_search_by_key(&j, |(at, _)| u32::from(*at)).ok()
    }

    fn get(&self, j: u32) -> Option<Key> {
        Some(Key(self.keys[self.position(j)?].1))
    }

    /// Wipe and forget the first `n` keys.
    fn forget_front(&mut self, n: usize) {
        let kept = self.keys.len() - n;
        self.keys.rotate_left(n);
        self.keys[kept..].iter_mut().for_each(|(_, key)| key.zeroize());
        self.keys.truncate(kept);
    }

    fn forget(&mut self, j: u32) {
        if let Some(at) = self.position(j) {
            self.keys[at..].rotate_left(1);
            if let Some((_, key)) = self.keys.last_mut() {
                key.zeroize();
            }
            self.keys.pop();
        }
    }

    fn forget_through(&mut self, j: u32) {
        self.forget_front(self.keys.partition_point(|(at, _)| u32::from(*at) <= j));
    }
}

impl Drop for SkippedKeys {
    fn drop(&mut self) {
        self.keys.iter_mut().for_each(|(_, key)| key.zeroize());
    }
}

/// Cache of `C[b]` for `b` divisible by 64, ahead of the chain.
struct LookAhead {
    keys: Box<[Key]>,
    /// Entries `first .. end` are filled.
    first: usize,
    end: usize,
}

/// Receive chain and replay window of one epoch.
pub(crate) struct ReceiveEpoch {
    epoch: u32,
    iv: [u8; 24],
    window: ReplayWindow,
    /// `C[next_block]`.
    chain: Key,
    next_block: u32,
    /// The consecutive blocks that end at `next_block - 1`.
    blocks: VecDeque<Block>,
    ahead: Option<LookAhead>,
    /// Steps of the newest block of a busy epoch.
    table: Option<Box<StepTable>>,
    /// Whether the table has been of use since `table_time`.
    table_used: bool,
    table_time: f64,
    /// Authentic packets that came in order since the newest block began.
    n_in_order: u32,
    /// `(time, highest)`: numbers below `highest` were passed over at `time` or before.
    marks: VecDeque<(f64, u32)>,
    #[cfg(test)]
    pub(crate) n_hashes: u32,
}

impl ReceiveEpoch {
    pub(crate) fn new(direction: Direction, epoch: u32, root: &[u8; 32], window: u32) -> Self {
        let (chain, iv) = kdf::first_chain(direction, epoch, root);
        Self {
            epoch,
            iv,
            window: ReplayWindow::new(window),
            chain,
            next_block: 0,
            blocks: VecDeque::with_capacity((window / BLOCK) as usize + 2),
            ahead: None,
            table: None,
            table_used: false,
            table_time: 0.0,
            n_in_order: 0,
            marks: VecDeque::new(),
            #[cfg(test)]
            n_hashes: 0,
        }
    }

    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(crate) fn iv(&self) -> &[u8; 24] {
        &self.iv
    }

    /// Whether a packet with this number may still be opened.
    #[inline]
    pub(crate) fn is_new(&self, pn: u32) -> bool {
        pn < PN_BOUND && self.window.is_new(pn)
    }

    /// Whether this number has left the window: who sent it may know nothing of that.
    pub(crate) fn is_below_window(&self, pn: u32) -> bool {
        self.window.is_below(pn)
    }

    fn count(&mut self, _n: u32) {
        #[cfg(test)]
        {
            self.n_hashes += _n;
        }
    }

    fn first_block(&self) -> u32 {
        self.next_block - self.blocks.len() as u32
    }

    /// `C[block]` on a copy, `block >= next_block`: at most 63 hashes once the look-ahead is filled.
    fn chain_at(&mut self, block: u32) -> Key {
        let (mut key, mut at) = (self.chain.clone(), self.next_block);
        if block - self.next_block >= AHEAD_STEP {
            let entry = (block / AHEAD_STEP) as usize;
            self.fill_ahead(entry);
            if let Some(ahead) = &self.ahead {
                key = ahead.keys[entry].clone();
                at = entry as u32 * AHEAD_STEP;
            }
        }
        self.count(block - at);
        while at < block {
            kdf::next_chain(&mut key);
            at += 1;
        }
        key
    }

    /// Fill the look-ahead up to and including `entry`, which lies ahead of the chain.
    fn fill_ahead(&mut self, entry: usize) {
        let ahead = self.ahead.get_or_insert_with(|| LookAhead {
            keys: (0..AHEAD_ENTRIES).map(|_| Key::ZERO).collect(),
            first: 0,
            end: 0,
        });
        let (mut key, mut at) = if ahead.first < ahead.end {
            (ahead.keys[ahead.end - 1].clone(), (ahead.end - 1) as u32 * AHEAD_STEP)
        } else {
            ahead.first = self.next_block.div_ceil(AHEAD_STEP) as usize;
            ahead.end = ahead.first;
            (self.chain.clone(), self.next_block)
        };
        while ahead.end <= entry {
            let want = ahead.end as u32 * AHEAD_STEP;
            while at < want {
                kdf::next_chain(&mut key);
                at += 1;
            }
            ahead.keys[ahead.end] = key.clone();
            ahead.end += 1;
        }
    }

    /// The key of packet `pn`, on copies; `None` if it has been used or has expired.
    #[inline]
    pub(crate) fn message_key(&mut self, pn: u32) -> Option<Key> {
        let (block, j) = (pn / BLOCK, pn % BLOCK);
        let (mut step, mut at) = if block >= self.next_block {
            let chain = self.chain_at(block);
            self.count(1);
            (kdf::block_key(&chain, block), 0)
        } else {
            let known = self.blocks.get(block.checked_sub(self.first_block())? as usize)?;
            if j < known.next_j {
                return known.skipped.get(j);
            }
            if j == known.next_j {
                return Some(kdf::message_key(&known.step, pn)); // in order: nothing to copy
            }
            (known.step.clone(), known.next_j)
        };
        self.count(j - at + 1);
        while at < j {
            kdf::next_step(&mut step);
            at += 1;
        }
        Some(kdf::message_key(&step, pn))
    }

    /// Derive ahead, on copies, what the next `n` packets from `pn` need if they come in order: `false` if
    /// `pn` is not the next packet of a block that has been begun.
    pub(crate) fn derive_ahead(
        &self,
        cipher: Cipher,
        pn: u32,
        n: usize,
        batch: &mut Batch,
    ) -> bool {
        let Some(step) = self.step_if_next(pn) else {
            return false;
        };
        let n = n.min((BLOCK - pn % BLOCK) as usize).min(WIDTH);
        let steps = &mut batch.steps[..=n];
        let table = self.table.as_ref();
        if !table.is_some_and(|table| table.copy(pn / BLOCK, pn % BLOCK, steps)) {
            steps[0] = step.0;
            for i in 0..n {
                steps[i + 1] = kdf::next_step_of(&steps[i]);
            }
        }
        batch.derive(cipher, &self.iv, self.epoch, pn, n);
        true
    }

    /// `P` of packet `pn`, if it is the next one of a block that has been begun.
    #[inline]
    pub(crate) fn step_if_next(&self, pn: u32) -> Option<&Key> {
        let at = (pn / BLOCK).checked_sub(self.first_block())?;
        let known = self.blocks.get(at as usize)?;
        (known.next_j == pn % BLOCK).then_some(&known.step)
    }

    /// [`Self::commit`] for a packet that [`Self::step_if_next`] knows, with the step that follows.
    #[inline]
    pub(crate) fn commit_next(&mut self, pn: u32, next_step: &[u8; 32]) {
        let at = (pn / BLOCK).wrapping_sub(self.first_block());
        if let Some(known) = self.blocks.get_mut(at as usize) {
            known.next_j += 1;
            known.step.0 = *next_step;
            if known.next_j == BLOCK {
                known.step.zeroize();
            }
            self.n_in_order += 1;
            if let Some(table) = &mut self.table {
                table.forget_below(pn / BLOCK, known.next_j);
                self.table_used = true;
            }
        }
        self.mark(pn);
    }

    fn mark(&mut self, pn: u32) {
        let moves = i64::from(pn) > self.window.highest();
        self.window.mark(pn);
        if moves {
            self.drop_through(self.window.floor());
        }
    }

    /// Packet `pn` was authentic: move the chains past it, keep the keys it skipped, forget its own.
    #[inline]
    pub(crate) fn commit(&mut self, pn: u32) {
        let (block, j) = (pn / BLOCK, pn % BLOCK);
        if block >= self.next_block {
            self.reach(block, self.window.floor_after(pn));
        }
        let first = self.first_block();
        if let Some(known) = self.blocks.get_mut(block.wrapping_sub(first) as usize) {
            if j < known.next_j {
                known.skipped.forget(j);
            } else {
                let base = block * BLOCK;
                while known.next_j < j {
                    let key = kdf::message_key(&known.step, base + known.next_j);
                    known.skipped.push(known.next_j, &key);
                    kdf::next_step(&mut known.step);
                    known.next_j += 1;
                }
                known.next_j = j + 1;
                if j + 1 == BLOCK {
                    known.step.zeroize();
                } else {
                    kdf::next_step(&mut known.step);
                }
                if let Some(table) = &mut self.table {
                    table.forget_below(block, known.next_j);
                }
            }
        }
        self.mark(pn);
    }

    /// Move the block chain past `block`; keep the keys of blocks that reach above `floor`.
    fn reach(&mut self, block: u32, floor: i64) {
        self.drop_through(floor);
        let first_kept = u32::try_from((floor + 1).max(0)).unwrap_or(0) / BLOCK;
        let from = self.next_block.max(first_kept);
        let mut chain = self.chain_at(from);
        let in_order = core::mem::take(&mut self.n_in_order);
        // Worth its while, and its work, only where packets come in runs.
        if from == block && in_order >= BLOCK / 2 {
            StepTable::begin(&mut self.table, &chain, block);
            self.table_used = true;
        } else if let Some(table) = &mut self.table {
            table.pass(block);
        }
        for b in from..=block {
            self.blocks.push_back(Block {
                step: kdf::block_key(&chain, b),
                next_j: 0,
                skipped: SkippedKeys { keys: Vec::new() },
            });
            kdf::next_chain(&mut chain);
        }
        self.chain = chain;
        self.next_block = block + 1;
        if let Some(ahead) = &mut self.ahead {
            while ahead.first < ahead.end && (ahead.first as u32) * AHEAD_STEP < self.next_block {
                ahead.keys[ahead.first].zeroize();
                ahead.first += 1;
            }
        }
    }

    /// Forget every key of the numbers up to and including `floor`.
    fn drop_through(&mut self, floor: i64) {
        let Ok(floor) = u32::try_from(floor) else {
            return; // still below the first number
        };
        let mut first = self.first_block();
        while !self.blocks.is_empty() && first * BLOCK + (BLOCK - 1) <= floor {
            self.blocks.pop_front();
            if let Some(table) = &mut self.table {
                table.forget_below(first, BLOCK);
            }
            first += 1;
        }
        let Some(front) = self.blocks.front_mut() else {
            return;
        };
        if let Some(last) = floor.checked_sub(first * BLOCK) {
            front.skipped.forget_through(last);
            while front.next_j <= last {
                kdf::next_step(&mut front.step);
                front.next_j += 1;
            }
            if let Some(table) = &mut self.table {
                table.forget_below(first, front.next_j);
            }
        }
    }

    /// Give the table's memory back once it has not been used for a while: an idle connection is small.
    fn tidy(&mut self, now: f64) {
        if core::mem::take(&mut self.table_used) {
            self.table_time = now;
        } else if now - self.table_time >= TABLE_IDLE_S {
            self.table = None;
        }
    }

    /// Remember that everything below the highest number has been passed over by `now`.
    pub(crate) fn note_time(&mut self, now: f64) {
        self.tidy(now);
        let Ok(highest) = u32::try_from(self.window.highest()) else {
            return;
        };
        let n = self.marks.len();
        if let Some(back) = self.marks.back() {
            if back.1 == highest {
                return;
            }
            if n >= MARKS_EXACT && self.is_complete() {
                self.marks.clear();
            } else if back.0 == now
                || (n >= MARKS_EXACT && now - self.marks[n - 2].0 < MARK_SPACING_S)
            {
                self.marks.pop_back();
            } else if n >= MARKS_MAX {
                self.marks.pop_front();
            }
        }
        self.marks.push_back((now, highest));
    }

    /// Whether no number below the highest is missing, so that nothing can expire.
    fn is_complete(&self) -> bool {
        let older = self.blocks.len().saturating_sub(1);
        self.blocks.iter().all(|b| b.skipped.keys.is_empty())
            && self.blocks.iter().take(older).all(|b| b.next_j == BLOCK)
    }

    /// Count the numbers that have been missing for longer than `ttl_s` as seen and drop their keys.
    pub(crate) fn expire(&mut self, now: f64, ttl_s: f64) {
        let mut floor = None;
        while let Some(&(time, highest)) = self.marks.front() {
            if time + ttl_s <= now {
                floor = Some(highest);
                self.marks.pop_front();
            } else {
                break;
            }
        }
        self.tidy(now);
        if let Some(highest) = floor {
            self.window.raise_floor(i64::from(highest));
            self.drop_through(self.window.floor());
        }
    }

    /// Keys held for packets that have not come: skipped ones and those of untouched blocks.
    #[cfg(test)]
    pub(crate) fn n_kept(&self) -> usize {
        self.blocks.iter().map(|b| b.skipped.keys.len() + usize::from(b.next_j < BLOCK)).sum()
    }
}

impl Drop for ReceiveEpoch {
    fn drop(&mut self) {
        self.iv.zeroize();
    }
}

#[cfg(test)]
mod tests;
