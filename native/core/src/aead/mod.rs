//! The AEADs of the packet layer behind one small trait, so that `core` works without C or a libc.
//!
//! Every packet has a key of its own. The keys of a batch are set together, and used for a packet each.

#[cfg(feature = "aws-lc")]
mod aws_lc;
#[cfg(feature = "rustcrypto")]
mod rustcrypto;

#[cfg(feature = "aws-lc")]
pub use aws_lc::AwsLc;
#[cfg(feature = "rustcrypto")]
pub use rustcrypto::RustCrypto;

use wraith_lanes::WIDTH;

/// Which AEAD a session uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cipher {
    /// XChaCha20-Poly1305 (suites A and D).
    XChaCha20Poly1305,
    /// AES-256-GCM (suite B).
    Aes256Gcm,
}

impl Cipher {
    /// The cipher with this number (1 or 2), as Python passes it.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        match number {
            1 => Some(Self::XChaCha20Poly1305),
            2 => Some(Self::Aes256Gcm),
            _ => None,
        }
    }
}

/// Keys that an [`Aead`] holds at a time: those of a batch, and one more.
pub const SLOTS: usize = WIDTH + 1;
/// The slot of a packet that came by itself.
pub(crate) const SINGLE: usize = WIDTH;

/// What implements the two ciphers; made for one run, leaves no key behind when it goes.
pub trait Aead: Default {
    /// Put the key of a packet (with XChaCha20-Poly1305: its subkey) into a slot below [`SLOTS`].
    fn set_key(&mut self, at: usize, cipher: Cipher, key: &[u8; 32]);

    /// Encrypt in place with the key in a slot. `None`: there is none, or the library failed.
    fn seal(&self, at: usize, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> Option<[u8; 16]>;

    /// Decrypt `text` into `out` of the same size; `false` if it is not authentic, `out` is then void.
    fn open(
        &self,
        at: usize,
        nonce: &[u8; 12],
        aad: &[u8],
        text: &[u8],
        tag: &[u8; 16],
        out: &mut [u8],
    ) -> bool;
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use alloc::vec::Vec;

    pub(crate) fn hex(text: &str) -> Vec<u8> {
        (0..text.len() / 2)
            .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
            .collect()
    }

    fn key(text: &str) -> [u8; 32] {
        hex(text).try_into().unwrap()
    }

    /// RFC 8439 section 2.8.2 and the AES-256-GCM case of the GCM paper with 60 bytes and AAD.
    fn check<A: Aead>() {
        let mut aead = A::default();
        let sunscreen = b"Ladies and Gentlemen of the class of '99: If I could offer you only one \
tip for the future, sunscreen would be it.";
        let cha = key("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
        let nonce: [u8; 12] = hex("070000004041424344454647").try_into().unwrap();
        let aad = hex("50515253c0c1c2c3c4c5c6c7");
        let mut text = sunscreen.to_vec();
        aead.set_key(0, Cipher::XChaCha20Poly1305, &cha);
        let tag = aead.seal(0, &nonce, &aad, &mut text).unwrap();
        assert_eq!(tag.to_vec(), hex("1ae10b594f09e26a7e902ecbd0600691"));
        assert_eq!(text[..8], hex("d31a8d34648e60db")[..]);
        let mut plain = alloc::vec![0; text.len()];
        assert!(aead.open(0, &nonce, &aad, &text, &tag, &mut plain));
        assert_eq!(plain, sunscreen);
        text[3] ^= 1;
        assert!(!aead.open(0, &nonce, &aad, &text, &tag, &mut plain));

        let aes = key("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
        let nonce: [u8; 12] = hex("cafebabefacedbaddecaf888").try_into().unwrap();
        let aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let want = hex(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e24\
49a6b525b16aedf5aa0de657ba637b39",
        );
        let mut text = want.clone();
        aead.set_key(SINGLE, Cipher::Aes256Gcm, &aes);
        let tag = aead.seal(SINGLE, &nonce, &aad, &mut text).unwrap();
        assert_eq!(tag.to_vec(), hex("76fc6ece0f4e1768cddf8853bb2d551b"));
        let mut plain = alloc::vec![0; text.len()];
        assert!(aead.open(SINGLE, &nonce, &aad, &text, &tag, &mut plain));
        assert_eq!(plain, want);
        let mut bad = tag;
        bad[15] ^= 0x80;
        assert!(!aead.open(SINGLE, &nonce, &aad, &text, &bad, &mut plain));
        assert!(aead.seal(1, &nonce, &aad, &mut text).is_none(), "an empty slot");
        assert!(!aead.open(SLOTS, &nonce, &aad, &text, &tag, &mut plain));
    }

    #[cfg(feature = "aws-lc")]
    #[test]
    fn aws_lc_vectors() {
        check::<AwsLc>();
    }

    #[cfg(feature = "rustcrypto")]
    #[test]
    fn rustcrypto_vectors() {
        check::<RustCrypto>();
    }
}
