//! Any bytes as what a kernel read returned, and any frames inside authentic packets.
//!
//! Must hold: no panic, no authentic byte from noise, counts that add up.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wraith_core::aead::{AwsLc, Cipher};
use wraith_core::{Direction, OpenReport, Opener, SealRequest, Sealer, WireFormat};

fuzz_target!(|input: &[u8]| {
    let Some((&[shape, segment, cut], rest)) = input.split_first_chunk::<3>() else {
        return;
    };
    let cipher = if shape & 1 == 0 { Cipher::Aes256Gcm } else { Cipher::XChaCha20Poly1305 };
    let d = shape >> 5;
    let Ok(format) = WireFormat::unpack(&[2, 0, 1, d, 4, 3, 5, d]) else {
        return;
    };
    let direction = Direction::InitiatorToResponder;
    let mut sealer = Sealer::<AwsLc>::new(cipher, direction, format, &[1; 32], &[2; 32]);
    let opener = Opener::<AwsLc>::new(cipher, direction, format, &[1; 32], &[2; 32], 256);
    let Ok(mut opener) = opener else {
        return;
    };
    let epochs = sealer.add_epoch(0, &[3; 32]).is_ok() && opener.add_epoch(0, &[3; 32]).is_ok();
    assert!(epochs && opener.set_cids(0, 7).is_ok());

    let mut wire = vec![0; 4096];
    let mut n = rest.len().min(wire.len());
    if shape & 2 == 0 {
        wire[..n].copy_from_slice(&rest[..n]);
    } else {
        let request = SealRequest {
            epoch: 0,
            cid_index: 0,
            form_b: false,
            lead: &rest[..n.min(1000)],
            sid: 1,
            offset: 0,
            data: &[],
            fin: false,
            datagram_bytes: 1400,
            n_max: 1,
            random: &[0x55; 16],
        };
        n = sealer.seal_run(&request, &mut wire).map_or(0, |report| report.bytes_written);
        if shape & 4 != 0 {
            n = n.saturating_sub(usize::from(cut));
        }
    }
    let segment = if shape & 8 == 0 { n.max(1) } else { usize::from(segment) + 1 };
    let mut out = vec![0; n];
    let mut report = OpenReport::default();
    assert!(opener.open_run(&wire[..n], segment, &mut out, 1.0, &mut report).is_ok());
    let accepted: u32 = report.received.iter().map(|r| r.last - r.first + 1).sum();
    let counted = accepted as usize + report.dropped + report.unclaimed.len();
    assert_eq!(counted, n.div_ceil(segment));
    assert!(report.stream_bytes <= report.authenticated_bytes);
    assert_eq!(report.runs.iter().map(|run| run.length).sum::<usize>(), report.stream_bytes);
    opener.expire(100.0, 1.0);
    let mut again = OpenReport::default();
    assert!(opener.open_run(&wire[..n], segment, &mut out, 2.0, &mut again).is_ok());
    assert!(again.received.is_empty(), "nothing opens twice");
});
