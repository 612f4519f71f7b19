//! The frame walk over any bytes: it ends, and no step reads outside the payload.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wraith_core::{Frame, FrameWalker};

fuzz_target!(|payload: &[u8]| {
    let mut walked = 0;
    let mut ended = false;
    for frame in FrameWalker::new(payload) {
        assert!(!ended, "nothing follows what is malformed");
        walked += match frame {
            Frame::Data { bytes, .. } => 16 + bytes.len(),
            Frame::Other { encoded, .. } => {
                assert!(encoded.len() >= 4 && encoded[0] != 0);
                encoded.len()
            }
            Frame::Malformed(rest) => {
                ended = true;
                rest.len()
            }
        };
    }
    assert!(walked <= payload.len());
    assert!(!ended || walked == payload.len());
});
