//! AWS-LC: picks its code at run time and cleanses the key schedule when a key is freed.

use aws_lc_rs::aead::{
    AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};

use super::Aead;

/// The AEADs of AWS-LC.
#[derive(Debug, Clone, Copy)]
pub struct AwsLc;

#[inline]
fn seal(
    algorithm: &'static Algorithm,
    key: &[u8; 32],
    nonce: [u8; 12],
    aad: &[u8],
    text: &mut [u8],
) -> Option<[u8; 16]> {
    let key = LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let mut tag = [0u8; 16];
    key.seal_in_place_scatter(nonce, Aad::from(aad), text, &[], &mut tag).ok()?;
    Some(tag)
}

#[inline]
fn open(
    algorithm: &'static Algorithm,
    key: &[u8; 32],
    nonce: [u8; 12],
    aad: &[u8],
    text: &[u8],
    tag: &[u8; 16],
    out: &mut [u8],
) -> bool {
    let Ok(key) = UnboundKey::new(algorithm, key) else {
        return false;
    };
    let nonce = Nonce::assume_unique_for_key(nonce);
    LessSafeKey::new(key).open_separate_gather(nonce, Aad::from(aad), text, tag, out).is_ok()
}

impl Aead for AwsLc {
    fn chacha_seal(
        key: &[u8; 32],
        nonce: [u8; 12],
        aad: &[u8],
        text: &mut [u8],
    ) -> Option<[u8; 16]> {
        seal(&CHACHA20_POLY1305, key, nonce, aad, text)
    }

    fn chacha_open(
        key: &[u8; 32],
        nonce: [u8; 12],
        aad: &[u8],
        text: &[u8],
        tag: &[u8; 16],
        out: &mut [u8],
    ) -> bool {
        open(&CHACHA20_POLY1305, key, nonce, aad, text, tag, out)
    }

    fn aes_seal(key: &[u8; 32], nonce: [u8; 12], aad: &[u8], text: &mut [u8]) -> Option<[u8; 16]> {
        seal(&AES_256_GCM, key, nonce, aad, text)
    }

    fn aes_open(
        key: &[u8; 32],
        nonce: [u8; 12],
        aad: &[u8],
        text: &[u8],
        tag: &[u8; 16],
        out: &mut [u8],
    ) -> bool {
        open(&AES_256_GCM, key, nonce, aad, text, tag, out)
    }
}
