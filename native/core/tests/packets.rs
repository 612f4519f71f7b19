//! Whole runs, sealed and opened: round trips in every layout, bad input, no panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use wraith_core::aead::{AwsLc, Cipher};
use wraith_core::{
    Direction, Error, OpenReport, Opener, Run, SealReport, SealRequest, Sealer, WireFormat,
};

const CIPHERS: [Cipher; 2] = [Cipher::XChaCha20Poly1305, Cipher::Aes256Gcm];
const ROOT: [u8; 32] = [0x33; 32];

/// Deterministic bytes and numbers (xorshift64*).
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: u64) -> usize {
        (self.next() % n) as usize
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| (self.next() >> 32) as u8).collect()
    }

    fn layout(&mut self) -> WireFormat {
        const ORDERS: [[u8; 3]; 6] =
            [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        let (f, b) = (ORDERS[self.below(6)], ORDERS[self.below(6)]);
        let (d1, d2) = (self.below(9) as u8, self.below(9) as u8);
        WireFormat::unpack(&[f[0], f[1], f[2], d1, b[0] + 3, b[1] + 3, b[2] + 3, d2]).unwrap()
    }
}

fn pair(cipher: Cipher, format: WireFormat) -> (Sealer<AwsLc>, Opener<AwsLc>) {
    let direction = Direction::ResponderToInitiator;
    let mut sealer = Sealer::new(cipher, direction, format, &[1; 32], &[2; 32]);
    let mut opener = Opener::new(cipher, direction, format, &[1; 32], &[2; 32], 1024).unwrap();
    sealer.add_epoch(6, &ROOT).unwrap();
    opener.add_epoch(6, &ROOT).unwrap();
    opener.set_cids(0, 7).unwrap();
    (sealer, opener)
}

fn request<'a>(data: &'a [&'a [u8]], random: &'a [u8]) -> SealRequest<'a> {
    SealRequest {
        epoch: 6,
        cid_index: 3,
        form_b: false,
        lead: &[],
        sid: 9,
        offset: 1000,
        data,
        fin: false,
        datagram_bytes: 1400,
        n_max: 46,
        random,
    }
}

#[test]
fn a_run_comes_back_in_every_layout() {
    let mut seeded = Seeded(1);
    for round in 0..300 {
        let format = seeded.layout();
        let (mut sealer, mut opener) = pair(CIPHERS[round % 2], format);
        let random = seeded.bytes(64 * 16);
        let n_bytes = seeded.below(30_000);
        let bytes = seeded.bytes(n_bytes);
        let (a, b) = bytes.split_at(seeded.below(bytes.len() as u64 + 1));
        let data = [a, &[], b];
        let lead = [&[5, 0, 0, 8][..], &seeded.bytes(8)].concat();
        let mut wanted = SealRequest {
            lead: if round % 3 == 0 { &[] } else { &lead },
            fin: round % 2 == 0,
            form_b: round % 5 == 0,
            datagram_bytes: 120 + seeded.below(1400),
            ..request(&data, &random)
        };
        if bytes.is_empty() {
            wanted.fin = true;
        }
        sealer.set_mask_key(Some(&[7; 32]));
        opener.set_mask_keys(&[[8; 32], [7; 32]]).unwrap();
        let mut wire = vec![0u8; 64_000];
        let sealed = sealer.seal_run(&wanted, &mut wire).unwrap();
        wire.truncate(sealed.bytes_written);
        let mut out = vec![0u8; wire.len()];
        let mut report = OpenReport::default();
        opener.open_run(&wire, wanted.datagram_bytes, &mut out, 0.0, &mut report).unwrap();

        assert_eq!(report.dropped + report.unclaimed.len(), 0);
        assert_eq!(out[..report.stream_bytes], bytes[..sealed.stream_bytes]);
        let fin = wanted.fin && sealed.stream_bytes == bytes.len();
        let run = Run { sid: 9, offset: 1000, at: 0, length: sealed.stream_bytes, fin };
        assert_eq!(report.runs, [run]);
        assert_eq!(report.frames, wanted.lead);
        assert_eq!(report.others.len(), usize::from(!wanted.lead.is_empty()));
        let n = sealed.n_datagrams as u32;
        assert_eq!(report.received.len(), 1);
        assert_eq!((report.received[0].first, report.received[0].last), (0, n - 1));
        assert_eq!(report.n_eliciting, sealed.n_datagrams);
        assert_eq!((report.highest, report.cid_index), (Some((6, n - 1)), Some(3)));
        assert_eq!(report.authenticated_bytes, wire.len());
        assert_eq!(report.form_b, wanted.form_b);
        assert_eq!(sealer.next_pn(6), Ok(n));
    }
}

#[test]
fn a_short_room_behind_the_lead_stays_empty() {
    let format = WireFormat::unpack(&[0, 1, 2, 0, 3, 4, 5, 0]).unwrap();
    let (mut sealer, mut opener) = pair(Cipher::Aes256Gcm, format);
    let lead = [&[8, 0, 0, 100][..], &[1; 100]].concat();
    let data = [&[9u8; 50][..]];
    let wanted = SealRequest {
        lead: &lead,
        datagram_bytes: 29 + 104 + 63,
        fin: true,
        ..request(&data, &[])
    };
    let mut wire = [0u8; 4096];
    let sealed = sealer.seal_run(&wanted, &mut wire).unwrap();
    let want = SealReport {
        bytes_written: 196 + 29 + 66,
        n_datagrams: 2,
        stream_bytes: 50,
        first_stream_bytes: 0,
    };
    assert_eq!(sealed, want);
    let mut report = OpenReport::default();
    opener.open_run(&wire[..291], 196, &mut [0; 291], 0.0, &mut report).unwrap();
    assert_eq!((report.runs.len(), report.frames.len(), report.n_eliciting), (1, 104, 1));

    let wanted = SealRequest { datagram_bytes: 29 + 104 + 64, ..wanted };
    let sealed = sealer.seal_run(&wanted, &mut wire).unwrap();
    assert_eq!((sealed.n_datagrams, sealed.first_stream_bytes), (2, 48));
    let wanted = SealRequest { datagram_bytes: 29 + 104 + 63, n_max: 1, ..wanted };
    let sealed = sealer.seal_run(&wanted, &mut wire).unwrap();
    assert_eq!((sealed.bytes_written, sealed.stream_bytes), (196, 0), "cut short: full size");
}

#[test]
fn a_full_out_stops_early_and_a_lead_alone_is_short() {
    let format = WireFormat::unpack(&[0, 1, 2, 2, 3, 4, 5, 2]).unwrap();
    let (mut sealer, _) = pair(Cipher::Aes256Gcm, format);
    let bytes = [1u8; 5000];
    let data = [&bytes[..]];
    let random = [0u8; 400];
    let per = 1400 - 33 - 16;
    let mut wire = [0u8; 3000];
    let sealed = sealer.seal_run(&request(&data, &random), &mut wire).unwrap();
    assert_eq!((sealed.bytes_written, sealed.n_datagrams, sealed.stream_bytes), (2800, 2, 2 * per));
    let sealed = sealer.seal_run(&request(&data, &random), &mut wire[..1399]).unwrap();
    assert_eq!(sealed, SealReport::default());
    let alone = SealRequest { lead: &[6, 0, 0, 0], ..request(&[], &random) };
    assert_eq!(sealer.seal_run(&alone, &mut wire).unwrap().bytes_written, 33 + 4);
    assert_eq!(sealer.next_pn(6), Ok(3));
}

#[test]
fn refused_before_anything_changes() {
    let format = WireFormat::unpack(&[0, 1, 2, 2, 3, 4, 5, 2]).unwrap();
    let (mut sealer, mut opener) = pair(Cipher::Aes256Gcm, format);
    let bytes = [1u8; 100];
    let data = [&bytes[..]];
    let random = [0u8; 400];
    let good = request(&data, &random);
    let lead = [8u8; 1368];
    for bad in [
        SealRequest { epoch: 7, ..good },
        SealRequest { form_b: true, ..good },
        SealRequest { lead: &lead, ..good },
        SealRequest { datagram_bytes: 0, ..good },
        SealRequest { n_max: 0, ..good },
        SealRequest { datagram_bytes: 33 + 16, ..good },
        SealRequest { datagram_bytes: 65_508, ..good },
        SealRequest { random: &random[..3], ..good },
        SealRequest { offset: u64::MAX - 98, ..good },
        SealRequest { data: &[], ..good },
    ] {
        let refused = sealer.seal_run(&bad, &mut [0; 2000]);
        assert!(matches!(refused, Err(Error::Invalid(_))), "{bad:?}");
    }
    assert_eq!(sealer.next_pn(6), Ok(0));
    assert!(sealer.add_epoch(6, &ROOT).is_err() && opener.add_epoch(10, &ROOT).is_err());
    assert!(opener.set_cids(3, 19).is_err() && opener.set_cids(4, 3).is_err());
    assert!(opener.set_mask_keys(&[[0; 32]; 3]).is_err());
    let mut report = OpenReport::default();
    assert!(opener.open_run(&[0; 10], 0, &mut [0; 10], 0.0, &mut report).is_err());
    assert!(opener.open_run(&[0; 10], 10, &mut [0; 9], 0.0, &mut report).is_err());
    sealer.close();
    assert!(sealer.seal_run(&good, &mut [0; 2000]).is_err());
}

#[test]
fn the_last_number_is_never_passed() {
    let format = WireFormat::unpack(&[0, 1, 2, 0, 3, 4, 5, 0]).unwrap();
    let (mut sealer, mut opener) = pair(Cipher::Aes256Gcm, format);
    let bytes = vec![0u8; 2 * 65_000];
    let data = [&bytes[..]];
    let mut wire = vec![0u8; 65_536];
    let wanted = SealRequest { datagram_bytes: 29 + 17, n_max: 1024, ..request(&data, &[]) };
    for _ in 0..2048 {
        assert_eq!(sealer.seal_run(&wanted, &mut wire).unwrap().n_datagrams, 1024);
    }
    assert_eq!(sealer.next_pn(6), Ok(1 << 21));
    assert_eq!(sealer.seal_run(&wanted, &mut wire), Err(Error::NonceExhausted));
    let mut report = OpenReport::default();
    opener.open_run(&wire[..46 * 1024], 46, &mut vec![0; 46 * 1024], 0.0, &mut report).unwrap();
    assert_eq!((report.highest, report.stream_bytes), (Some((6, (1 << 21) - 1)), 1024));
}

#[test]
fn every_flipped_bit_and_every_replay_is_a_count() {
    let mut seeded = Seeded(5);
    for cipher in CIPHERS {
        let format = seeded.layout();
        let (mut sealer, mut opener) = pair(cipher, format);
        let data = [&b"hello"[..]];
        let random = seeded.bytes(16);
        let mut wire = [0u8; 200];
        let n = sealer.seal_run(&request(&data, &random), &mut wire).unwrap().bytes_written;
        let mut report = OpenReport::default();
        let mut out = [0u8; 200];
        for bit in 0..n * 8 {
            let mut bad = wire;
            bad[bit / 8] ^= 1 << (bit % 8);
            opener.open_run(&bad[..n], n, &mut out, 0.0, &mut report).unwrap();
            assert_eq!(report.dropped + report.unclaimed.len(), 1, "bit {bit}");
            assert!(report.received.is_empty() && report.highest.is_none());
            assert_eq!(out, [0; 200], "nothing that is not authentic reaches out");
        }
        opener.open_run(&wire[..n], n, &mut out, 0.0, &mut report).unwrap();
        assert_eq!((report.stream_bytes, &out[..5]), (5, &b"hello"[..]));
        opener.open_run(&wire[..n], n, &mut out, 0.0, &mut report).unwrap();
        assert_eq!(report.dropped, 1);
        assert!(opener.claims(&wire[..n]));
        opener.close();
        opener.open_run(&wire[..n], n, &mut out, 0.0, &mut report).unwrap();
        assert!(report.received.is_empty());
    }
}

#[test]
fn forged_copies_do_not_keep_out_the_packets_of_a_run() {
    for cipher in CIPHERS {
        for where_forged in 0..3 {
            let format = WireFormat::unpack(&[0, 1, 2, 3, 3, 4, 5, 4]).unwrap();
            let (mut sealer, mut opener) = pair(cipher, format);
            let (bytes, random) = ([7; 60_000], [1; 7 * 46]);
            let mut wire = vec![0; 46 * 1400];
            let report = sealer.seal_run(&request(&[&bytes], &random), &mut wire).unwrap();
            let n = report.bytes_written / 1400; // the full ones
            let mut buf = Vec::new();
            for packet in wire.chunks(1400).take(n) {
                let mut forged = packet.to_vec();
                forged[700] ^= 1; // its payload: number and connection id stay
                let both = [&forged[..], packet, &forged[..]];
                let copies = [&both[..2], &both[1..], &both[..]][where_forged];
                buf.extend(copies.iter().copied().flatten());
            }
            let mut out = vec![0; buf.len()];
            let mut got = OpenReport::default();
            opener.open_run(&buf, 1400, &mut out, 0.0, &mut got).unwrap();
            assert_eq!(got.dropped, buf.len() / 1400 - n);
            assert_eq!((got.received[0].first, got.received[0].last), (0, n as u32 - 1));
            assert_eq!(out[..got.stream_bytes], bytes[..got.stream_bytes]);
        }
    }
}

#[test]
fn ranges_come_merged_and_ascending() {
    let format = WireFormat::unpack(&[0, 1, 2, 0, 3, 4, 5, 0]).unwrap();
    let (mut sealer, mut opener) = pair(Cipher::Aes256Gcm, format);
    sealer.add_epoch(7, &ROOT).unwrap();
    opener.add_epoch(7, &ROOT).unwrap();
    let size = 29 + 16 + 1;
    let seal = |sealer: &mut Sealer<AwsLc>, epoch, n: usize| {
        let bytes = vec![epoch as u8; n];
        let data = [&bytes[..]];
        let mut wire = vec![0; n * size];
        let wanted = SealRequest { epoch, datagram_bytes: size, ..request(&data, &[]) };
        assert_eq!(sealer.seal_run(&wanted, &mut wire).unwrap().n_datagrams, n);
        wire
    };
    let six = seal(&mut sealer, 6, 6);
    let seven = seal(&mut sealer, 7, 2);
    let at = |wire: &[u8], i: usize| wire[i * size..][..size].to_vec();
    let mixed = [
        at(&seven, 1),
        at(&six, 4),
        at(&six, 1),
        vec![0xaa; size],
        at(&six, 0),
        at(&six, 2),
        at(&six, 1),
        at(&seven, 0),
    ]
    .concat();
    let mut report = OpenReport::default();
    opener.open_run(&mixed, size, &mut vec![0; mixed.len()], 0.0, &mut report).unwrap();
    let ranges: Vec<_> = report.received.iter().map(|r| (r.epoch, r.first, r.last)).collect();
    assert_eq!(ranges, [(6, 0, 2), (6, 4, 4), (7, 0, 1)]);
    assert_eq!((report.highest, report.dropped + report.unclaimed.len()), (Some((7, 1)), 2));
    let runs: Vec<_> = report.runs.iter().map(|r| (r.offset, r.at, r.length)).collect();
    assert_eq!(
        runs,
        [(1001, 0, 1), (1004, 1, 1), (1001, 2, 1), (1000, 3, 1), (1002, 4, 1), (1000, 5, 1)]
    );
}

#[test]
fn no_bytes_panic() {
    let mut seeded = Seeded(11);
    for round in 0..4000 {
        let format = seeded.layout();
        let (mut sealer, mut opener) = pair(CIPHERS[round % 2], format);
        let n = seeded.below(400);
        let mut buf = seeded.bytes(n);
        if round % 2 == 0 {
            // authentic packets whose frames are noise, some of it after truncation or repetition
            let n = 1 + seeded.below(80);
            let lead = seeded.bytes(n);
            let random = seeded.bytes(16);
            let wanted = SealRequest { lead: &lead, ..request(&[], &random) };
            let mut wire = [0u8; 200];
            let n = sealer.seal_run(&wanted, &mut wire).unwrap().bytes_written;
            buf = wire[..n].to_vec();
            if round % 8 == 0 {
                buf.truncate(seeded.below(n as u64 + 1));
            }
        }
        let segment = 1 + seeded.below(300).max(if round % 4 == 0 { buf.len() } else { 0 });
        let mut out = vec![0; buf.len()];
        let mut report = OpenReport::default();
        opener.open_run(&buf, segment, &mut out, f64::NAN, &mut report).unwrap();
        opener.expire(f64::INFINITY, 1.0);
        assert!(!opener.fits(&buf) || opener.claims(&buf));
        assert!(report.authenticated_bytes <= buf.len());
    }
}
