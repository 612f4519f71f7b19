//! AWS-LC: picks its code at run time; key schedules are cleansed when the keys go.

use wraith_aws_lc::{Algorithm, Keys};

use super::{Aead, Cipher, SLOTS};

/// The AEADs of AWS-LC.
pub type AwsLc = Keys<SLOTS>; // wrapped in a struct it would be copied, ten kilobytes of it, when it is made

impl Aead for AwsLc {
    #[inline]
    fn set_key(&mut self, at: usize, cipher: Cipher, key: &[u8; 32]) {
        let algorithm = match cipher {
            Cipher::XChaCha20Poly1305 => Algorithm::ChaCha20Poly1305,
            Cipher::Aes256Gcm => Algorithm::Aes256Gcm,
        };
        self.set(at, algorithm, key);
    }

    #[inline]
    fn seal(&self, at: usize, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> Option<[u8; 16]> {
        Keys::seal(self, at, nonce, aad, text)
    }

    #[inline]
    fn open(
        &self,
        at: usize,
        nonce: &[u8; 12],
        aad: &[u8],
        text: &[u8],
        tag: &[u8; 16],
        out: &mut [u8],
    ) -> bool {
        Keys::open(self, at, nonce, aad, text, tag, out)
    }
}
