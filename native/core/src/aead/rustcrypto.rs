//! The RustCrypto AEADs: plain Rust, for targets without an operating system or a C compiler.

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{AeadInOut, KeyInit};
use chacha20poly1305::ChaCha20Poly1305;

use super::{Aead, Cipher, SLOTS};
use crate::kdf::Key;

/// The AEADs of RustCrypto.
#[derive(Default)]
pub struct RustCrypto([Option<(Cipher, Key)>; SLOTS]);

fn seal<C>(key: &[u8; 32], nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> Option<[u8; 16]>
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
    nonce: &[u8; 12],
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
    fn set_key(&mut self, at: usize, cipher: Cipher, key: &[u8; 32]) {
        if let Some(slot) = self.0.get_mut(at) {
            *slot = Some((cipher, Key(*key)));
        }
    }

    fn seal(&self, at: usize, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> Option<[u8; 16]> {
        match self.0.get(at)?.as_ref()? {
            (Cipher::XChaCha20Poly1305, key) => seal::<ChaCha20Poly1305>(&key.0, nonce, aad, text),
            (Cipher::Aes256Gcm, key) => seal::<Aes256Gcm>(&key.0, nonce, aad, text),
        }
    }

    fn open(
        &self,
        at: usize,
        nonce: &[u8; 12],
        aad: &[u8],
        text: &[u8],
        tag: &[u8; 16],
        out: &mut [u8],
    ) -> bool {
        match self.0.get(at) {
            Some(Some((Cipher::XChaCha20Poly1305, key))) => {
                open::<ChaCha20Poly1305>(&key.0, nonce, aad, text, tag, out)
            }
            Some(Some((Cipher::Aes256Gcm, key))) => {
                open::<Aes256Gcm>(&key.0, nonce, aad, text, tag, out)
            }
            _ => false,
        }
    }
}
