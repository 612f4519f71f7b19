//! `seal_frames`: packets of any size, one for each payload. Opened again, and refused whole.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use wraith_core::aead::{AwsLc, Cipher};
use wraith_core::{
    Direction, Error, FramesRequest, OpenReport, Opener, SealRequest, Sealer, WireFormat,
};

const CIPHERS: [Cipher; 2] = [Cipher::XChaCha20Poly1305, Cipher::Aes256Gcm];
const DUMMY_BYTES: usize = 4;
/// Bytes of a packet around its frames in this layout, and the fewest frames that it holds.
const OVERHEAD: usize = 29 + DUMMY_BYTES;
const SHORTEST: usize = 4;

fn pair(cipher: Cipher) -> (Sealer<AwsLc>, Opener<AwsLc>) {
    let format = WireFormat::unpack(&[0, 1, 2, 2, 3, 4, 5, 2]).unwrap();
    let direction = Direction::InitiatorToResponder;
    let mut sealer = Sealer::new(cipher, direction, format, &[1; 32], &[2; 32]);
    let mut opener = Opener::new(cipher, direction, format, &[1; 32], &[2; 32], 1024).unwrap();
    sealer.add_epoch(6, &[3; 32]).unwrap();
    opener.add_epoch(6, &[3; 32]).unwrap();
    opener.set_cids(0, 7).unwrap();
    (sealer, opener)
}

fn request<'a>(payloads: &'a [&'a [u8]], random: &'a [u8]) -> FramesRequest<'a> {
    FramesRequest { epoch: 6, cid_index: 3, form_b: false, payloads, random }
}

/// The frames of the packet that `datagram` is; `None` if it does not open.
fn opened(opener: &mut Opener<AwsLc>, datagram: &[u8]) -> Option<Vec<u8>> {
    let mut report = OpenReport::default();
    let mut out = vec![0; datagram.len()];
    opener.open_run(datagram, datagram.len(), &mut out, 0.0, &mut report).unwrap();
    assert!(report.others.len() <= 1, "one packet");
    report.others.first().map(|other| report.frames[other.start..other.end].to_vec())
}

#[test]
fn each_payload_is_a_packet_of_its_own_in_order() {
    // PING frames: type, flags and two bytes of length, so that none is padded by itself
    let payloads: Vec<Vec<u8>> =
        [4usize, 8, 400, 4, 1200].iter().map(|n| [6, 0, 0, 0].repeat(n / 4)).collect();
    let views: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    let random: Vec<u8> = (1..=DUMMY_BYTES as u8 * 5).collect();
    for cipher in CIPHERS {
        let (mut sealer, mut opener) = pair(cipher);
        let mut wire = vec![0; 4000];
        let (bytes, n) = sealer.seal_frames(&request(&views, &random), &mut wire).unwrap();
        assert_eq!((bytes, n), (4 + 8 + 400 + 4 + 1200 + 5 * OVERHEAD, 5));
        assert_eq!(sealer.next_pn(6), Ok(5));
        assert!(wire[bytes..].iter().all(|&byte| byte == 0), "nothing behind the last packet");
        let mut at = 0;
        for payload in &payloads {
            let datagram = &wire[at..at + payload.len() + OVERHEAD];
            assert_eq!(opened(&mut opener, datagram).as_ref(), Some(payload));
            at += datagram.len();
        }
    }
}

#[test]
fn the_packets_are_those_of_as_many_runs_of_one() {
    let views: [&[u8]; 3] = [&[6, 0, 0, 0], &[6; 64], &[6; 900]];
    let random = [9u8; DUMMY_BYTES * 3];
    for cipher in CIPHERS {
        let (mut sealer, _) = pair(cipher);
        let mut together = vec![0; 2000];
        let (bytes, _) = sealer.seal_frames(&request(&views, &random), &mut together).unwrap();
        let (mut sealer, _) = pair(cipher);
        let mut apart = vec![0; 2000];
        let mut at = 0;
        for lead in views {
            let one = SealRequest {
                epoch: 6,
                cid_index: 3,
                form_b: false,
                lead,
                sid: 0,
                offset: 0,
                data: &[],
                fin: false,
                datagram_bytes: 1400,
                n_max: 1,
                random: &random[..DUMMY_BYTES],
            };
            at += sealer.seal_run(&one, &mut apart[at..]).unwrap().bytes_written;
        }
        assert_eq!((bytes, together), (at, apart));
    }
}

#[test]
fn a_full_out_takes_what_fits_and_the_rest_later() {
    let views: [&[u8]; 3] = [&[6; 100]; 3];
    let random = [0u8; DUMMY_BYTES * 3];
    let (mut sealer, mut opener) = pair(Cipher::Aes256Gcm);
    let mut wire = vec![0; 2 * (100 + OVERHEAD) + 99];
    let sealed = sealer.seal_frames(&request(&views, &random), &mut wire);
    assert_eq!(sealed, Ok((2 * (100 + OVERHEAD), 2)));
    let rest = sealer.seal_frames(&request(&views[2..], &random), &mut wire[..100 + OVERHEAD]);
    assert_eq!(rest, Ok((100 + OVERHEAD, 1)));
    assert_eq!(opened(&mut opener, &wire[..100 + OVERHEAD]), Some(vec![6; 100]));
    assert_eq!(sealer.seal_frames(&request(&views, &random), &mut []), Ok((0, 0)));
    assert_eq!(sealer.next_pn(6), Ok(3));
}

#[test]
fn a_short_payload_is_filled_to_the_shortest_packet() {
    let (mut sealer, mut opener) = pair(Cipher::XChaCha20Poly1305);
    let mut wire = vec![0; 100];
    let sealed = sealer.seal_frames(&request(&[&[8]], &[0; DUMMY_BYTES]), &mut wire);
    assert_eq!(sealed, Ok((SHORTEST + OVERHEAD, 1)));
    let frames = opened(&mut opener, &wire[..SHORTEST + OVERHEAD]).expect("it opens");
    assert_eq!((frames[0], frames.len()), (8, SHORTEST));
}

#[test]
fn refused_before_anything_changes() {
    let (mut sealer, _) = pair(Cipher::Aes256Gcm);
    let random = [0u8; DUMMY_BYTES * 65];
    let good: [&[u8]; 2] = [&[6, 0, 0, 0]; 2];
    let many: [&[u8]; 65] = [&[6, 0, 0, 0]; 65];
    let empty: [&[u8]; 2] = [&[6, 0, 0, 0], &[]];
    let long = [6u8; 65_507];
    let huge: [&[u8]; 2] = [&[6, 0, 0, 0], &long];
    let mut wire = vec![0xAA; 70_000];
    for bad in [
        request(&[], &random),
        request(&many, &random),
        request(&empty, &random),
        request(&huge, &random),
        request(&good, &random[..DUMMY_BYTES * 2 - 1]),
        FramesRequest { epoch: 7, ..request(&good, &random) },
        FramesRequest { form_b: true, ..request(&good, &random) },
    ] {
        let refused = sealer.seal_frames(&bad, &mut wire);
        assert!(matches!(refused, Err(Error::Invalid(_))), "{} payloads", bad.payloads.len());
    }
    assert!(wire.iter().all(|&byte| byte == 0xAA));
    assert_eq!(sealer.next_pn(6), Ok(0));
    assert_eq!(sealer.seal_frames(&request(&many[..64], &random), &mut wire).unwrap().1, 64);
    sealer.close();
    assert!(sealer.seal_frames(&request(&good, &random), &mut wire).is_err());
}
