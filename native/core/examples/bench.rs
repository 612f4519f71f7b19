//! Nanoseconds per packet, one core, median over runs of 46 packets: `cargo run --release --example bench [rounds [name]]`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Instant;

use wraith_core::aead::{Aead, AwsLc, Cipher};
use wraith_core::{Direction, OpenReport, Opener, SealRequest, Sealer, WireFormat};

const RUN: usize = 46;

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn measure<A: Aead>(name: &str, cipher: Cipher, datagram_bytes: usize, rounds: usize) {
    let format = WireFormat::unpack(&[0, 1, 2, 3, 3, 4, 5, 4]).unwrap();
    let direction = Direction::InitiatorToResponder;
    let bytes = vec![0x5a; RUN * datagram_bytes];
    let random = [0xa5; RUN * 7];
    let mut wire = vec![0; RUN * datagram_bytes];
    let mut out = vec![0; RUN * datagram_bytes];
    let mut report = OpenReport::default();
    let (mut seals, mut opens) = (Vec::new(), Vec::new());
    let mut sealer = Sealer::<A>::new(cipher, direction, format, &[1; 32], &[2; 32]);
    let mut opener = Opener::<A>::new(cipher, direction, format, &[1; 32], &[2; 32], 8192).unwrap();
    sealer.add_epoch(0, &[3; 32]).unwrap();
    opener.add_epoch(0, &[3; 32]).unwrap();
    opener.set_cids(0, 8).unwrap();
    for i in 0..rounds {
        let wanted = SealRequest {
            epoch: 0,
            cid_index: 0,
            form_b: false,
            lead: &[],
            sid: 1,
            offset: 0,
            data: &[&bytes],
            fin: false,
            datagram_bytes,
            n_max: RUN,
            random: &random,
        };
        let start = Instant::now();
        let sealed = sealer.seal_run(&wanted, &mut wire).unwrap();
        seals.push(start.elapsed().as_secs_f64() * 1e9 / RUN as f64);
        assert_eq!(sealed.n_datagrams, RUN);
        let start = Instant::now();
        opener.open_run(&wire, datagram_bytes, &mut out, i as f64, &mut report).unwrap();
        opens.push(start.elapsed().as_secs_f64() * 1e9 / RUN as f64);
        assert_eq!(report.received.len(), 1);
        assert_eq!(report.stream_bytes, sealed.stream_bytes);
    }
    let (seal, open) = (median(seals), median(opens));
    println!("{name:44} seal {seal:7.0} ns  open {open:7.0} ns");
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let rounds = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(1000);
    let only = arguments.next().unwrap_or_default();
    for (name, cipher) in [
        ("suite A XChaCha20-Poly1305", Cipher::XChaCha20Poly1305),
        ("suite B AES-256-GCM", Cipher::Aes256Gcm),
    ] {
        for datagram_bytes in [1400, 8900, 100] {
            let row = format!("{name}, aws-lc, {datagram_bytes} B");
            if row.contains(&only) {
                measure::<AwsLc>(&row, cipher, datagram_bytes, rounds);
            }
            #[cfg(feature = "rustcrypto")]
            if row.contains(&only) {
                let row = format!("{name}, rustcrypto, {datagram_bytes} B");
                measure::<wraith_core::aead::RustCrypto>(&row, cipher, datagram_bytes, rounds);
            }
        }
    }
}
