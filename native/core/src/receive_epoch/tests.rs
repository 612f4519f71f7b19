//! The receive chain alone: order, bounds, expiry.

use super::*;
use crate::send_epoch::SendEpoch;

const DIRECTION: Direction = Direction::InitiatorToResponder;

fn keys(n: u32) -> Vec<[u8; 32]> {
    let mut sender = SendEpoch::new(DIRECTION, 0, &[0x33; 32]);
    (0..n).map(|_| sender.next_key()).collect()
}

fn receive(epoch: &mut ReceiveEpoch, pn: u32) -> Option<[u8; 32]> {
    if !epoch.is_new(pn) {
        return None;
    }
    let key = epoch.message_key(pn)?.0;
    epoch.commit(pn);
    Some(key)
}

fn fresh(window: u32) -> ReceiveEpoch {
    ReceiveEpoch::new(DIRECTION, 0, &[0x33; 32], window)
}

#[test]
fn every_order_within_the_window_opens_once() {
    let want = keys(4000);
    let mut epoch = fresh(1024);
    let mut state = 7u64;
    let mut order: Vec<u32> = (0..4000).collect();
    for i in 0..order.len() {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let reach = if i % 500 == 0 { 900 } else { 30 };
        let j = (i + (state >> 33) as usize % reach).min(order.len() - 1);
        if j - i < 500 {
            order.swap(i, j);
        }
    }
    let mut highest = 0;
    for pn in order {
        let inside = i64::from(pn) > i64::from(highest) - 1024;
        let got = receive(&mut epoch, pn);
        assert_eq!(got, inside.then(|| want[pn as usize]), "pn {pn} highest {highest}");
        assert!(receive(&mut epoch, pn).is_none());
        highest = highest.max(pn);
    }
}

#[test]
fn far_jumps_recover_and_stay_within_the_bound() {
    let mut sender = SendEpoch::new(DIRECTION, 0, &[0x33; 32]);
    let mut epoch = fresh(8192);
    for pn in [5, 100_000, 100_001, 99_999, 1_000_000, 999_000, PN_BOUND - 1, PN_BOUND - 8000] {
        if pn < sender.next_pn() {
            sender = SendEpoch::new(DIRECTION, 0, &[0x33; 32]);
        }
        sender.skip_to(pn);
        let want = sender.next_key();
        assert_eq!(receive(&mut epoch, pn), Some(want), "pn {pn}");
    }
    assert!(!epoch.is_new(PN_BOUND));
}

#[test]
fn forged_numbers_cost_at_most_320_hashes_and_change_nothing() {
    let want = keys(600);
    let mut epoch = fresh(8192);
    for pn in 0..300 {
        receive(&mut epoch, pn);
    }
    epoch.message_key(PN_BOUND - 1); // fills the look-ahead once
    let kept = epoch.n_kept();
    for i in 0..3000u32 {
        let pn = 300 + (i.wrapping_mul(2_654_435_761) % (PN_BOUND - 300));
        epoch.n_hashes = 0;
        epoch.message_key(pn);
        assert!(epoch.n_hashes <= 320, "{} hashes for {pn}", epoch.n_hashes);
    }
    assert_eq!((epoch.n_kept(), epoch.next_block), (kept, 2));
    assert_eq!(receive(&mut epoch, 599), Some(want[599]));
    assert_eq!(receive(&mut epoch, 300), Some(want[300]));
}

#[test]
fn keys_below_the_window_are_gone() {
    let mut epoch = fresh(256);
    receive(&mut epoch, 100);
    assert_eq!(epoch.n_kept(), 100 + 1);
    receive(&mut epoch, 300); // floor 44: 45..99 and 101..255 stay
    assert_eq!(epoch.blocks[0].skipped.keys.len(), 55);
    receive(&mut epoch, 2000);
    assert_eq!(epoch.first_block(), 1745 / BLOCK);
    assert!(epoch.blocks.iter().all(|b| b.skipped.keys.iter().all(|(_, k)| *k != [0; 32])));
}

#[test]
fn expiry_counts_missing_numbers_as_seen() {
    let want = keys(1000);
    let mut epoch = fresh(8192);
    receive(&mut epoch, 10);
    epoch.note_time(1.0);
    receive(&mut epoch, 700);
    epoch.note_time(2.0);
    epoch.expire(2.9, 2.0);
    assert!(epoch.is_new(3), "not that old yet");
    epoch.expire(3.0, 2.0);
    assert!(!epoch.is_new(3));
    assert_eq!(receive(&mut epoch, 11), Some(want[11]));
    epoch.expire(10.0, 2.0);
    assert!(!epoch.is_new(699));
    assert_eq!(epoch.n_kept(), 1, "the step key of the block being read");
    assert_eq!(receive(&mut epoch, 701), Some(want[701]));
}

#[test]
fn marks_stay_few() {
    for missing in [false, true] {
        let mut epoch = fresh(8192);
        let mut most = 0;
        for pn in u32::from(missing)..20_000 {
            if !missing || pn % 100 != 0 {
                receive(&mut epoch, pn);
            }
            epoch.note_time(f64::from(pn) * 0.001);
            most = most.max(epoch.marks.len());
        }
        assert!(most <= if missing { MARKS_MAX } else { MARKS_EXACT }, "{most}");
        epoch.expire(10.0, 0.02);
        assert!(!epoch.is_new(9900));
        epoch.expire(30.0, 1.0);
        assert!(epoch.marks.is_empty());
    }
}

/// Receive what comes in order of `pn .. pn + n` as `open_run` does: keys derived ahead, committed one by one.
fn receive_run(epoch: &mut ReceiveEpoch, pn: u32, n: u32, want: &[[u8; 32]]) {
    let mut batch = Batch::new();
    let end = pn + n;
    let mut pn = pn;
    while pn < end {
        if epoch.derive_ahead(Cipher::Aes256Gcm, pn, (end - pn) as usize, &mut batch) {
            for at in 0..batch.len() {
                assert_eq!(*batch.key(at), want[pn as usize], "pn {pn}");
                assert!(epoch.is_new(pn) && epoch.step_if_next(pn).is_some());
                epoch.commit_next(pn, &batch.steps[at + 1]);
                pn += 1;
            }
        } else {
            assert_eq!(receive(epoch, pn), Some(want[pn as usize]), "pn {pn}");
            pn += 1;
        }
    }
}

/// Nothing in the table gives a key that the chains have forgotten.
fn assert_clean(epoch: &ReceiveEpoch) {
    if let Some(table) = &epoch.table {
        let at = table.block().checked_sub(epoch.first_block());
        let known = at.and_then(|at| epoch.blocks.get(at as usize));
        assert!(table.is_clean(known.map_or(BLOCK, |known| known.next_j), epoch.next_block));
    }
}

#[test]
fn runs_in_order_use_the_table() {
    let want = keys(9000);
    let mut epoch = fresh(1024);
    for (i, pn) in (0..9000).step_by(46).enumerate() {
        receive_run(&mut epoch, pn, 46.min(9000 - pn), &want);
        assert_clean(&epoch);
        let busy = i * 46 > 1100 && wraith_lanes::is_wide();
        assert!(!busy || epoch.table.as_ref().is_some_and(|t| t.block() + 1 == epoch.next_block));
    }
    for pn in 0..9000 {
        assert!(!epoch.is_new(pn));
    }
}

#[test]
fn gaps_late_packets_and_jumps_leave_nothing_in_the_table() {
    let want = keys(20_000);
    let mut state = 3u64;
    let mut random = |n: u32| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((state >> 33) % u64::from(n)) as u32
    };
    for _ in 0..20 {
        let mut epoch = fresh(1024);
        let mut missing = Vec::new();
        let (mut pn, mut n_table) = (0, 0);
        while pn < 18_000 {
            let n = 1 + random(120);
            receive_run(&mut epoch, pn, n, &want);
            assert_clean(&epoch);
            n_table += usize::from(epoch.table.is_some());
            pn += n;
            match random(12) {
                0 => pn += random(2000), // past whole blocks, past the window
                1..4 => {
                    missing.push(pn);
                    pn += 1;
                }
                _ => {}
            }
            if random(3) == 0
                && let Some(late) = missing.pop()
                && epoch.is_new(late)
            {
                assert_eq!(receive(&mut epoch, late), Some(want[late as usize]), "late {late}");
                assert_clean(&epoch);
            }
        }
        assert!(n_table > 0 || !wraith_lanes::is_wide());
    }
}

#[test]
fn forged_numbers_do_not_move_the_table() {
    let want = keys(5000);
    let mut epoch = fresh(8192);
    let mut batch = Batch::new();
    receive_run(&mut epoch, 0, 256 * 5, &want);
    assert!(epoch.message_key(256 * 5).is_some(), "the first of the next block");
    if wraith_lanes::is_wide() {
        assert_eq!(epoch.table.as_ref().map(|table| table.block()), Some(4));
    }
    receive_run(&mut epoch, 256 * 5, 10, &want);
    for forged in [256 * 5 + 10, 256 * 6, 256 * 30, PN_BOUND - 1] {
        epoch.message_key(forged);
        epoch.derive_ahead(Cipher::Aes256Gcm, forged, 16, &mut batch);
        if let Some(table) = &epoch.table {
            assert_eq!(table.block(), 5);
            assert!(table.is_clean(10, 6) && !table.is_clean(11, 6) && !table.is_clean(10, 7));
        }
    }
    receive_run(&mut epoch, 256 * 5 + 10, 2000, &want);
}

#[test]
fn a_table_that_is_not_used_goes() {
    for through_expire in [false, true] {
        let want = keys(3000);
        let mut epoch = fresh(1024);
        receive_run(&mut epoch, 0, 2000, &want);
        epoch.note_time(5.0);
        epoch.note_time(5.9);
        assert_eq!(epoch.table.is_some(), wraith_lanes::is_wide());
        if through_expire {
            epoch.expire(6.0, 9.0);
        } else {
            epoch.note_time(6.0);
        }
        assert!(epoch.table.is_none());
        receive_run(&mut epoch, 2000, 1000, &want);
    }
}
