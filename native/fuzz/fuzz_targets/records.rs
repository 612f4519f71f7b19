//! Records of a link: any bytes end it or wait, and records that are right come back however they are cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wraith_core::aead::AwsLc;
use wraith_core::{RecordReader, RecordRun, RecordSealer};

const KEY: [u8; 32] = [7; 32];
/// Bytes of the largest record.
const RECORD_BYTES_MAX: usize = 18 + 16_384;

/// The sizes of the packets in a stream that comes in pieces.
fn sizes(stream: &[u8], piece: usize) -> Vec<usize> {
    let mut reader = RecordReader::<AwsLc>::new(&KEY);
    let (mut waiting, mut found) = (Vec::new(), Vec::new());
    for part in stream.chunks(piece) {
        waiting.extend_from_slice(part);
        let (runs, rest) = reader.read(&mut waiting);
        let mut end = 0;
        for RecordRun { at, n_bytes, segment_bytes } in runs {
            assert!(at == end && at + n_bytes <= rest, "packets lie back to back");
            end = at + n_bytes;
            found.extend(waiting[at..end].chunks(segment_bytes).map(<[u8]>::len));
        }
        waiting.drain(..rest);
        assert!(waiting.len() < RECORD_BYTES_MAX);
    }
    found
}

fuzz_target!(|data: &[u8]| {
    assert_eq!(sizes(data, 4096), sizes(data, 37));
    let (Some(&first), Some(&second)) = (data.first(), data.get(1)) else {
        return;
    };
    let mut sealer = RecordSealer::<AwsLc>::new(&KEY);
    let (mut stream, mut sent) = (Vec::new(), Vec::new());
    for size in
        data.chunks_exact(2).take(32).map(|two| usize::from(two[0]) << 6 | usize::from(two[1]))
    {
        match sealer.seal(size, size) {
            Ok(header) => {
                stream.extend(header);
                stream.resize(stream.len() + size, first);
                sent.push(size);
            }
            Err(_) => assert!(!(33..=16_384).contains(&size)),
        }
    }
    assert_eq!(sizes(&stream, 1 + usize::from(second)), sent);
});
