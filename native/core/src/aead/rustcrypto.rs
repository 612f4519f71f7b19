//! The RustCrypto AEADs: plain Rust, for targets without an operating system or a C compiler.

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{AeadInOut, KeyInit};
use chacha20poly1305::ChaCha20Poly1305;

use super::Aead;

/// The AEADs of RustCrypto.
#[derive(Debug, Clone, Copy)]
pub struct RustCrypto;

fn seal<C>(key: &[u8; 32], nonce: [u8; 12], aad: &[u8], text: &mut [u8]) -> Option<[u8; 16]>
where
    C: KeyInit + AeadInOut,
{
    let cipher = C::new_from_slice(key).ok()?;
    let nonce = (&nonce[..]).try_into().ok()?;
    let tag = cipher.encrypt_inout_detached(nonce, aad, InOutBuf::from(text)).ok()?;
    tag.as_slice().try_into().ok()
}

fn open<C>(
    key: &[u8; 32],
    nonce: [u8; 12],
    aad: &[u8],
    text: &[u8],
    tag: &[u8; 16],
    out: &mut [u8],
) -> bool
where
    C: KeyInit + AeadInOut,
{
    let (Ok(cipher), Ok(nonce)) = (C::new_from_slice(key), (&nonce[..]).try_into()) else {
        return false;
    };
    let (Ok(tag), Ok(buffer)) = ((&tag[..]).try_into(), InOutBuf::new(text, out)) else {
        return false;
    };
    cipher.decrypt_inout_detached(nonce, aad, buffer, tag).is_ok()
}

impl Aead for RustCrypto {
    fn chacha_seal(
        key: &[u8; 32],
        nonce: [u8; 12],
        aad: &[u8],
        text: &mut [u8],
    ) -> Option<[u8; 16]> {
        seal::<ChaCha20Poly1305>(key, nonce, aad, text)
    }

    fn chacha_open(
        key: &[u8; 32],
        nonce: [u8; 12],
        aad: &[u8],
        text: &[u8],
        tag: &[u8; 16],
        out: &mut [u8],
    ) -> bool {
        open::<ChaCha20Poly1305>(key, nonce, aad, text, tag, out)
    }

    fn aes_seal(key: &[u8; 32], nonce: [u8; 12], aad: &[u8], text: &mut [u8]) -> Option<[u8; 16]> {
        seal::<Aes256Gcm>(key, nonce, aad, text)
    }

    fn aes_open(
        key: &[u8; 32],
        nonce: [u8; 12],
        aad: &[u8],
        text: &[u8],
        tag: &[u8; 16],
        out: &mut [u8],
    ) -> bool {
        open::<Aes256Gcm>(key, nonce, aad, text, tag, out)
    }
}
