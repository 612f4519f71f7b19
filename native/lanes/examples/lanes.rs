//! Nanoseconds per item: `cargo run --release -p wraith-lanes --features std --example lanes`.
#![allow(missing_docs)]

use std::hint::black_box;
use std::time::Instant;

fn per_item(mut batch: impl FnMut()) -> f64 {
    let rounds = 100_000;
    let start = Instant::now();
    for _ in 0..rounds {
        batch();
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(rounds) / wraith_lanes::WIDTH as f64
}

fn main() {
    let keys = [[7; 32]; wraith_lanes::WIDTH];
    let messages = [[1; 16]; wraith_lanes::WIDTH];
    let mut out = [[0; 32]; wraith_lanes::WIDTH];
    let one = per_item(|| {
        for (key, message) in keys.iter().zip(&messages) {
            black_box(blake3::keyed_hash(black_box(key), &message[..5]));
        }
    });
    let many = per_item(|| wraith_lanes::keyed_hashes(black_box(&keys), &messages, 5, &mut out));
    let subkeys = per_item(|| wraith_lanes::hchacha_subkeys(black_box(&keys), &[9; 16], &mut out));
    let step = per_item(|| wraith_lanes::chain_steps(black_box(&keys), 3, 1, &mut out));
    let steps = per_item(|| wraith_lanes::chain_steps(black_box(&keys), 3, 16, &mut out)) / 16.0;
    println!(
        "keyed BLAKE3 one by one {one:.1} ns, in lanes {many:.1} ns; HChaCha20 {subkeys:.1} ns; \
         step of a chain {step:.1} ns, sixteen at once {steps:.1} ns"
    );
}
