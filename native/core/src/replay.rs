//! Replay window of one epoch: which packet numbers still count as new.

use alloc::boxed::Box;
use alloc::vec;

/// Ring of `window` bits over the numbers `highest - window + 1 ..= highest`, above a floor.
///
/// A number is new if it is above `highest`, or above the floor with its bit clear. The floor is
/// `highest - window`, or higher once missing numbers have expired.
pub(crate) struct ReplayWindow {
    bits: Box<[u64]>,
    window: i64,
    highest: i64,
    floor: i64,
}

impl ReplayWindow {
    /// Whether a window may have this size: a power of two in 256 to 65,536.
    pub(crate) fn accepts(window: i64) -> bool {
        (256..=65_536).contains(&window) && window.count_ones() == 1
    }

    /// An empty window; `window` passed [`Self::accepts`].
    pub(crate) fn new(window: u32) -> Self {
        Self {
            bits: vec![0; (window / 64) as usize].into_boxed_slice(),
            window: i64::from(window),
            highest: -1,
            floor: -1 - i64::from(window),
        }
    }

    /// The highest number marked, -1 at first.
    pub(crate) fn highest(&self) -> i64 {
        self.highest
    }

    /// Numbers at or below this one are not accepted any more.
    pub(crate) fn floor(&self) -> i64 {
        self.floor
    }

    /// The floor once `pn` is marked.
    pub(crate) fn floor_after(&self, pn: u32) -> i64 {
        self.floor.max(i64::from(pn) - self.window)
    }

    fn slot(&self, pn: i64) -> (usize, u64) {
        let at = pn & (self.window - 1);
        ((at >> 6) as usize, 1 << (at & 63))
    }

    /// Whether a packet with this number may still be opened.
    #[inline]
    pub(crate) fn is_new(&self, pn: u32) -> bool {
        let pn = i64::from(pn);
        if pn > self.highest {
            return true;
        }
        let (word, bit) = self.slot(pn);
        pn > self.floor && self.bits[word] & bit == 0
    }

    /// Whether a number has left the window.
    pub(crate) fn is_below(&self, pn: u32) -> bool {
        i64::from(pn) <= self.highest - self.window
    }

    /// Mark a number that [`Self::is_new`] admitted.
    #[inline]
    pub(crate) fn mark(&mut self, pn: u32) {
        let pn = i64::from(pn);
        if pn > self.highest {
            if pn - self.highest >= self.window {
                self.bits.fill(0);
            } else {
                self.clear(self.highest + 1, pn);
            }
            self.highest = pn;
            self.floor = self.floor.max(pn - self.window);
        }
        let (word, bit) = self.slot(pn);
        self.bits[word] |= bit;
    }

    /// Clear the bits of `first ..= last`, fewer than `window` numbers.
    #[inline]
    fn clear(&mut self, first: i64, last: i64) {
        let mut pn = first;
        while pn <= last {
            let (word, bit) = self.slot(pn);
            if bit == 1 && pn + 63 <= last {
                self.bits[word] = 0;
                pn += 64;
            } else {
                self.bits[word] &= !bit;
                pn += 1;
            }
        }
    }

    /// Count every missing number up to `floor` as seen.
    pub(crate) fn raise_floor(&mut self, floor: i64) {
        self.floor = self.floor.max(floor.min(self.highest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn equals_a_set() {
        for window in [256, 1024, 8192] {
            let mut ring = ReplayWindow::new(window);
            let mut seen = HashSet::new();
            let (mut highest, mut state) = (-1i64, 0x9e37_79b9_7f4a_7c15u64 ^ u64::from(window));
            for _ in 0..40_000 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let spread = if state & 0xff == 0 { 3 * i64::from(window) } else { 300 };
                let pn =
                    (highest + (state >> 8) as i64 % spread - spread / 2).clamp(0, (1 << 21) - 1);
                let want = pn > highest - i64::from(window) && !seen.contains(&pn);
                let pn = pn as u32;
                assert_eq!(ring.is_new(pn), want, "window {window}, pn {pn}, highest {highest}");
                if want {
                    ring.mark(pn);
                    seen.insert(i64::from(pn));
                    highest = highest.max(i64::from(pn));
                }
            }
            assert_eq!(ring.highest(), highest);
        }
    }

    #[test]
    fn raised_floor_counts_as_seen() {
        let mut ring = ReplayWindow::new(256);
        ring.mark(10);
        ring.raise_floor(10);
        assert!(!ring.is_new(9) && !ring.is_new(10) && ring.is_new(11));
        ring.raise_floor(5000);
        assert!(ring.is_new(11));
        assert_eq!(ring.floor(), 10);
    }

    #[test]
    fn sizes() {
        assert!(ReplayWindow::accepts(256) && ReplayWindow::accepts(65_536));
        assert!(![0, -256, 128, 300, 131_072].into_iter().any(ReplayWindow::accepts));
    }
}
