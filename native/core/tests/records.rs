//! Records of a link: sealed and read in pieces, and ended by anything that is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use wraith_core::aead::AwsLc;
use wraith_core::{RECORD_HEADER_BYTES, RecordReader, RecordRun, RecordSealer};

const KEY: [u8; 32] = [7; 32];

fn stream(packets: &[&[u8]]) -> Vec<u8> {
    let mut sealer = RecordSealer::<AwsLc>::new(&KEY);
    let mut out = Vec::new();
    for packet in packets {
        out.extend(sealer.seal(packet.len(), packet.len()).unwrap());
        out.extend_from_slice(packet);
    }
    out
}

/// The packets that a reader finds when the stream comes in pieces of `piece` bytes.
fn packets(mut reader: RecordReader<AwsLc>, stream: &[u8], piece: usize) -> Vec<Vec<u8>> {
    let (mut waiting, mut found) = (Vec::new(), Vec::new());
    for part in stream.chunks(piece) {
        waiting.extend_from_slice(part);
        let (runs, rest) = reader.read(&mut waiting);
        for RecordRun { at, n_bytes, segment_bytes } in runs {
            found.extend(waiting[at..at + n_bytes].chunks(segment_bytes).map(<[u8]>::to_vec));
        }
        waiting.drain(..rest);
    }
    found
}

#[test]
fn packets_come_back_however_the_stream_is_cut() {
    let sent: [&[u8]; 5] = [&[1; 40], &[2; 40], &[3; 33], &[4; 40], &[5; 16_384]];
    let stream = stream(&sent);
    for piece in [1, 17, 18, 19, 58, 59, 1000, stream.len()] {
        assert_eq!(packets(RecordReader::new(&KEY), &stream, piece), sent);
    }
}

#[test]
fn equal_packets_make_one_run_that_a_shorter_one_ends() {
    let mut stream = stream(&[&[1; 40], &[2; 40], &[3; 33], &[4; 33], &[5; 50]]);
    let (runs, rest) = RecordReader::<AwsLc>::new(&KEY).read(&mut stream);
    let run = |at, n_bytes, segment_bytes| RecordRun { at, n_bytes, segment_bytes };
    assert_eq!(runs, [run(0, 113, 40), run(113, 33, 33), run(146, 50, 50)]);
    assert_eq!(rest, stream.len());
}

#[test]
fn a_wrong_bit_ends_it_and_keeps_what_came_before() {
    let right = stream(&[&[1; 40], &[2; 40]]);
    for bit in 0..8 * RECORD_HEADER_BYTES {
        let mut wrong = right.clone();
        wrong[58 + bit / 8] ^= 1 << (bit % 8);
        let mut reader = RecordReader::<AwsLc>::new(&KEY);
        let (runs, rest) = reader.read(&mut wrong);
        assert_eq!(runs, [RecordRun { at: 0, n_bytes: 40, segment_bytes: 40 }]);
        assert_eq!(rest, wrong.len());
        assert!(!reader.is_open());
        assert!(reader.read(&mut right.clone()).0.is_empty());
    }
}

#[test]
fn sizes_out_of_range_are_refused_and_spend_no_number() {
    let mut sealer = RecordSealer::<AwsLc>::new(&KEY);
    for (data_bytes, segment_bytes) in
        [(1, 0), (32, 32), (100, 90), (16_385, 16_385), (40_000, 20_000)]
    {
        assert!(sealer.seal(data_bytes, segment_bytes).is_err());
    }
    let mut first = RecordSealer::<AwsLc>::new(&KEY);
    assert_eq!(sealer.seal(80, 40).unwrap(), first.seal(80, 40).unwrap());
    assert!(sealer.seal(usize::MAX, 40).is_err());
    assert!(sealer.seal(0, 40).unwrap().is_empty());
}
