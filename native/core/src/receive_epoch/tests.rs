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
